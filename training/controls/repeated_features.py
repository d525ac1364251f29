"""Features of the same patients measured several times: under image perturbations, or on second scans."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es import chain
from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method_digest import method_digest
from pdl1es.perturbation.perturbation import Perturbation, perturbations
from pdl1es.perturbation.volume import perturbed_volume
from training.cohort.case import CaseSource, PreparationSettings, read_case
from training.cohort.cluster import run_on_cluster
from training.cohort.prepared import MANIFEST_FILE, PreparedCohort, parquet_bytes
from training.controls.disturbed import seed_of
from training.errors import UsageError
from training.progress import Count

REPEATS_FILE: Final = "repeats.parquet"
REPEATS_RECORD: Final = "repeats.json"
KINDS: Final = "NRTVC"
"""By default everything that there is, each perturbation with an amount of all of it."""
PER_PATIENT: Final = 8
PATIENTS: Final = 60
_WAY: Final = 1
"""Rises where a perturbed patient is measured in another way, so that nothing of an earlier way is taken from a cache."""
_INDEX: Final = ("case_id", "content_digest", "repeat")


class RepeatedFeaturesError(UsageError):
    """Features that were measured again cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class RepeatedFeatures:
    """Features of the same patients, measured several times.

    Attributes
    ----------
    case_ids
        Pseudonyms.
    contents
        Digest of each patient's images; empty for second scans, which have other images.
    values
        float64, shape (N, K, 1316).
    source
        How they came about, in words.
    left_out
        How many patients could not be measured again, by reason.
    """

    case_ids: tuple[str, ...]
    contents: tuple[str, ...]
    values: NDArray[np.float64]
    source: str
    left_out: Mapping[str, int] = field(default_factory=dict)

    def digest(self) -> str:
        """Return the SHA-256 of patients and values."""
        digest = hashlib.sha256(json.dumps([self.source, self.case_ids]).encode("utf-8"))
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()

    def of(self, cases: pd.DataFrame) -> NDArray[np.float64]:
        """Return the values of those of the given patients who were measured again, in any order.

        Parameters
        ----------
        cases
            ``cases.parquet`` of a prepared cohort, or rows of it.

        Returns
        -------
        NDArray[np.float64]
            Shape (n, K, 1316).

        Raises
        ------
        RepeatedFeaturesError
            A pseudonym has other images there.
        """
        wanted = dict(zip(cases["case_id"], cases["content_digest"], strict=True))
        rows = [row for row, case in enumerate(self.case_ids) if case in wanted]
        if self.contents and any(self.contents[row] != str(wanted[self.case_ids[row]]) for row in rows):
            raise RepeatedFeaturesError(
                "the features measured again are of other images than the cohort's: perturb this cohort's patients"
            )
        return self.values[rows]


def draw_to_repeat(cases: pd.DataFrame, rows: NDArray[np.bool_], patients: int, seed: int) -> NDArray[np.intp]:
    """Draw patients to be measured again.

    Parameters
    ----------
    cases
        Of the cohort.
    rows
        Who may be drawn, shape (N,): the training patients.
    patients
        How many, at most.
    seed
        Of the draw; it does not depend on the order of the rows.

    Returns
    -------
    NDArray[np.intp]
        Positions, ascending.
    """
    able = sorted(np.flatnonzero(rows), key=lambda row: str(cases["case_id"].iloc[row]))
    drawn = np.random.default_rng([seed, 21]).permutation(len(able))[:patients]
    return np.sort(np.array([able[place] for place in drawn], dtype=np.intp))


def perturb_features(
    prepared: PreparedCohort,
    sources: Mapping[str, CaseSource],
    settings: PreparationSettings,
    folder: Path,
    *,
    kinds: str = KINDS,
    per_patient: int = PER_PATIENT,
    workers: int | None = None,
    progress: Count | None = None,
) -> RepeatedFeatures:
    """Compute patients' features under image perturbations, and write them; a stopped run continues.

    Parameters
    ----------
    prepared
        The patients, for instance ``cohort.subset(draw_to_repeat(...))``.
    sources
        Where their images lie, by case_id.
    settings
        Those that the cohort was prepared with.
    folder
        Of the result.
    kinds
        As `pdl1es.perturbation.perturbation.perturbations` takes them.
    per_patient
        How many of all these perturbations each patient gets, drawn for each anew.
    workers
        As `run_on_cluster`.
    progress
        Called with patients done and in all.

    Returns
    -------
    RepeatedFeatures
        Without the patients of whom a perturbation could not be measured; their number and why are in the record.

    Raises
    ------
    RepeatedFeaturesError
        The kinds are no letters of NRTVC, a patient would get fewer than two perturbations, or none could be measured.
    """
    chosen = {case: _drawn(kinds, per_patient, seed_of(case)) for case in prepared.case_ids}
    cache = folder / "cache"
    contents = dict(zip(prepared.case_ids, map(str, prepared.cases["content_digest"]), strict=True))
    keys = {case: _key(contents[case], settings, chosen[case]) for case in prepared.case_ids}
    found: dict[str, NDArray[np.float64]] = {}
    failed: Counter[str] = Counter()
    tasks: dict[str, _Task] = {}
    for case in prepared.case_ids:
        kept = _kept(cache / f"{keys[case]}.npz", keys[case], per_patient)
        if kept is not None:
            found[case] = kept
        elif case in sources:
            tasks[case] = _Task(sources[case], settings, chosen[case])
        else:
            failed["the table has no such patient"] += 1
    done = len(prepared) - len(tasks)
    for case, result in run_on_cluster(_measure, tasks, workers=workers):
        done += 1
        if isinstance(result, BaseException):
            failed[result.code.name if isinstance(result, Refusal) else type(result).__name__] += 1
        else:
            found[case] = result
            content = io.BytesIO()
            np.savez(content, key=np.array(keys[case]), values=result)
            write_atomically(cache / f"{keys[case]}.npz", content.getvalue())
        if progress is not None:
            progress(done, len(prepared))
    if not found:
        raise RepeatedFeaturesError(f"no patient could be perturbed: {dict(failed)}")
    cases = tuple(case for case in prepared.case_ids if case in found)
    measured = RepeatedFeatures(
        cases,
        tuple(contents[case] for case in cases),
        np.stack([found[case] for case in cases]),
        f"{per_patient} image perturbations ({kinds.upper()}) of each patient",
        dict(sorted(failed.items())),
    )
    _write(folder, measured, settings)
    return measured


def read_repeated_features(folder: Path, first: PreparedCohort) -> RepeatedFeatures:
    """Read what `perturb_features` wrote, or take a prepared cohort of second scans.

    Parameters
    ----------
    folder
        Of either.
    first
        The cohort that is trained on; second scans are paired with it by pseudonym.

    Returns
    -------
    RepeatedFeatures

    Raises
    ------
    RepeatedFeaturesError
        The folder holds neither, or one of another method; no second scan is of a patient of the cohort.
    """
    if (folder / MANIFEST_FILE).is_file():
        return _second_scans(first, PreparedCohort.load(folder))
    try:
        record = json.loads((folder / REPEATS_RECORD).read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / REPEATS_FILE)
        cases = table.drop_duplicates("case_id")
        values = table[list(FEATURE_NAMES)].to_numpy(np.float64).reshape(len(cases), -1, len(FEATURE_NAMES))
        method, source = record["method_digest"], str(record["source"])
    except (OSError, ValueError, KeyError) as error:
        raise RepeatedFeaturesError(
            f"{folder} holds no features measured again: give the folder of `pdl1es cohort perturb`, or a prepared cohort of "
            f"second scans ({type(error).__name__})"
        ) from error
    if method != method_digest():
        raise RepeatedFeaturesError(f"{folder} was perturbed by another version's method: perturb again")
    return RepeatedFeatures(tuple(cases["case_id"]), tuple(cases["content_digest"]), values, source)


@dataclass(frozen=True, slots=True)
class _Task:
    source: CaseSource
    settings: PreparationSettings
    chosen: tuple[Perturbation, ...]


def _measure(task: _Task) -> NDArray[np.float64]:
    """Return a patient's features under each perturbation, shape (K, 1316); the images are read once."""
    source = read_case(task.source, task.settings).source()
    rows = []
    for perturbation in task.chosen:
        volume = perturbed_volume(source, perturbation).volume
        limit = task.settings.limits.memory_bytes
        rows.append(chain.describe(volume, memory_bytes=limit, threads=1).features.values)
    return np.stack(rows)


def _drawn(kinds: str, per_patient: int, seed: int) -> tuple[Perturbation, ...]:
    if per_patient < 2:
        raise RepeatedFeaturesError(f"each patient needs two perturbations or more, got {per_patient}")
    try:
        once = len(perturbations(kinds))
        all_of_them = perturbations(kinds, repetitions=-(-per_patient // once), seed=seed)
    except ValueError as error:
        raise RepeatedFeaturesError(str(error)) from error
    order = np.random.default_rng([seed, 22]).permutation(len(all_of_them))[:per_patient]
    return tuple(all_of_them[place] for place in sorted(order))


def _key(content: str, settings: PreparationSettings, chosen: Sequence[Perturbation]) -> str:
    document = "\n".join((str(_WAY), content, settings.digest(), *map(repr, chosen)))
    return hashlib.sha256(document.encode("utf-8")).hexdigest()


def _kept(path: Path, key: str, per_patient: int) -> NDArray[np.float64] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values: NDArray[np.float64] = arrays["values"]
            whole = str(arrays["key"]) == key and values.shape == (per_patient, len(FEATURE_NAMES))
            return values if whole else None
    except (OSError, ValueError, KeyError):
        return None


def _write(folder: Path, measured: RepeatedFeatures, settings: PreparationSettings) -> None:
    n, repeats, _ = measured.values.shape
    table = pd.DataFrame(measured.values.reshape(n * repeats, -1), columns=list(FEATURE_NAMES))
    for place, (name, values) in enumerate(
        zip(
            _INDEX,
            (np.repeat(measured.case_ids, repeats), np.repeat(measured.contents, repeats), np.tile(range(repeats), n)),
            strict=True,
        )
    ):
        table.insert(place, name, values)
    record: dict[str, Any] = {
        "schema_version": 1,
        "method_digest": method_digest(),
        "config_digest": settings.digest(),
        "source": measured.source,
        "patients": n,
        "left_out": dict(measured.left_out),
    }
    write_atomically(folder / REPEATS_FILE, parquet_bytes(table))
    write_atomically(folder / REPEATS_RECORD, (json.dumps(record, indent=1) + "\n").encode("utf-8"))


def _second_scans(first: PreparedCohort, second: PreparedCohort) -> RepeatedFeatures:
    place = {case: row for row, case in enumerate(second.case_ids)}
    pairs = [(row, place[case]) for row, case in enumerate(first.case_ids) if case in place]
    if not pairs:
        raise RepeatedFeaturesError("no patient of the cohort was scanned again: pairs have the same pseudonym in both")
    one, two = (list(side) for side in zip(*pairs, strict=True))
    values = np.stack([first.radiomics[one], second.radiomics[two]], axis=1)
    return RepeatedFeatures(tuple(first.case_ids[row] for row in one), (), values, "second scans of the same patients")
