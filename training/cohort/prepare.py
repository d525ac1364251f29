"""Prepare a cohort: every patient's patches and features, computed once and kept, on one machine or many."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import PATCH_SIZE, PATCH_SLICES
from pdl1es.score_warning import ScoreWarning
from training.cohort.case import (
    CaseSource,
    PreparationSettings,
    PreparedCase,
    content_digest,
    prepare_case,
    stat_digest,
)
from training.cohort.cluster import run_on_cluster
from training.cohort.prepared import FAILURE_COLUMNS, SPLITS, PreparedCohort, case_table, write_prepared_cohort
from training.cohort.scan import pairs_of_images
from training.cohort.table import CheckedTable, CohortRow
from training.cohort.volumes import VolumeError
from training.errors import FailedError
from training.progress import Count

CACHE_FOLDER: Final = "cache"
TRUTH_FILES: Final = ("truth.json", "truth.csv")
PATIENTS_AT_A_TIME: Final = 2
"""Patients of a worker: the files of one are read while the other is computed."""
FILES: Final = "files"
"""Step of a failure: the files cannot be listed or opened, which another run may not meet."""
WITHHELD: Final = "protocol"
"""Step of a failure: the paper's inclusion rule leaves the CT out (a smooth kernel)."""
_MAY_PASS: Final = frozenset({RefusalCode.LIMIT_EXCEEDED.name})
"""Refusals that depend on more than content and configuration, so that another run may succeed."""
COHORT_NAMES: Final = {
    "train": "Training",
    "validation": "Validation",
    "test": "Test",
    "prognosis": "Immunotherapy",
    "gate": "Further test cases",
    "pretrain": "Pretraining, without label",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a patient could not be prepared.

    Attributes
    ----------
    step
        The step of the chain that refused it, ``"volume"``, ``"protocol"``, or ``"worker"``.
    code
        Refusal code, or type of the exception.
    message
        What was found; empty for an exception that is no refusal, because its text may quote a header.
    """

    step: str
    code: str
    message: str

    def to_bytes(self, key: str) -> bytes:
        """Return it as JSON that names the key under which it is kept."""
        document = {"key": key, "step": self.step, "code": self.code, "message": self.message}
        return json.dumps(document, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes, key: str) -> Failure:
        """Read what `to_bytes` wrote.

        Parameters
        ----------
        content
            The file's bytes.
        key
            The key that they have to name.

        Returns
        -------
        Failure

        Raises
        ------
        ValueError
            The bytes are damaged, or name another key.
        """
        try:
            document = json.loads(content)
            if document.pop("key") != key:
                raise ValueError("a failure was kept under another key: it is another case's")
            return cls(**document)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("a kept failure is damaged") from error


@dataclass(frozen=True, slots=True)
class _PreparationTask:
    """What a worker is given."""

    source: CaseSource
    settings: PreparationSettings


@dataclass(frozen=True, slots=True)
class _Done:
    """What a worker gives back: digests, and either a prepared case's bytes or a failure."""

    stat_digest: str
    content_digest: str
    case: bytes | None
    failure: Failure | None


def cache_key(content: str, configuration: str) -> str:
    """Return the key of a prepared case, which its entry names.

    Parameters
    ----------
    content
        Digest of its files by role.
    configuration
        Digest of settings and method.

    Returns
    -------
    str
    """
    return f"{content}-{configuration}"


@dataclass(frozen=True, slots=True)
class _Kept:
    """A prepared case without its arrays: they stay in the cache until the cohort is written."""

    content: str
    facts: Mapping[str, str | float | None]
    scan_slices: tuple[str, ...]
    warnings: tuple[ScoreWarning, ...]


@dataclass(frozen=True, slots=True)
class Cache:
    """Prepared cases by the digests of their content and of the configuration; failures that cannot change as well.

    Clinical data are not part of the digests, so correcting the table computes nothing again.

    Attributes
    ----------
    folder
        Where it lies; several cohorts may share it.
    configuration
        Digest of the settings.
    """

    folder: Path
    configuration: str

    def is_begun(self) -> bool:
        """Tell whether anything was kept."""
        return (self.folder / "content").is_dir()

    def known_content(self, stat: str) -> str | None:
        """Return the content digest of files that were read before, and have not changed since."""
        try:
            entry = json.loads((self.folder / "content" / stat).read_bytes())
            content = entry["content"] if entry["stat"] == stat else None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return content if isinstance(content, str) else None

    def read(self, content: str) -> PreparedCase | Failure | None:
        """Return what was kept for a content digest; None where nothing was kept, or a damaged or another case's file."""
        key = cache_key(content, self.configuration)
        try:
            return PreparedCase.from_bytes(self._case(content).read_bytes(), key)
        except (OSError, ValueError):
            pass
        try:
            return Failure.from_bytes(self._failure(content).read_bytes(), key)
        except (OSError, ValueError):
            return None

    def keep(self, done: _Done) -> None:
        """Keep a result, but no error that another run may not meet."""
        if done.case is None and (done.failure is None or done.failure.code in _MAY_PASS or done.failure.step == FILES):
            return
        # The content's digest comes first: a run that ends between the two lines computes again and loses nothing.
        entry = {"stat": done.stat_digest, "content": done.content_digest}
        write_atomically(self.folder / "content" / done.stat_digest, json.dumps(entry, sort_keys=True).encode("ascii"))
        if done.case is not None:
            write_atomically(self._case(done.content_digest), done.case)
        elif done.failure is not None:
            key = cache_key(done.content_digest, self.configuration)
            write_atomically(self._failure(done.content_digest), done.failure.to_bytes(key))

    def _case(self, content: str) -> Path:
        return self.folder / "cases" / f"{content}-{self.configuration[:16]}.npz"

    def _failure(self, content: str) -> Path:
        return self.folder / "cases" / f"{content}-{self.configuration[:16]}.json"


def prepare_cohort(
    table: CheckedTable,
    output: Path,
    settings: PreparationSettings,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    cache_folder: Path | None = None,
    keep_withheld: bool = False,
    sources: Iterable[str] = (),
    truth: Path | None = None,
    progress: Count = lambda done, total: None,
) -> PreparedCohort:
    """Prepare every patient of a table, and write the prepared cohort.

    Parameters
    ----------
    table
        Without faults.
    output
        Folder of the prepared cohort.
    settings
        Of ``app.yaml``, as the chain runs with them.
    scheduler, workers
        As `run_on_cluster`.
    cache_folder
        ``cache`` in the output folder where None.
    keep_withheld
        Keep patients whose CT breaks a rule that withholds the group (a smooth kernel); the paper excluded them.
    sources
        Names of what the cohort was made from, for the manifest.
    truth
        Folder with ``truth.json`` and ``truth.csv`` of a synthetic cohort; they are copied.
    progress
        Called with the number of patients done and in all.

    Returns
    -------
    PreparedCohort

    Raises
    ------
    ValueError
        The table has faults.
    FailedError
        Something else removed entries of the cache meanwhile.
    """
    if table.faults:
        raise ValueError(f"the table has {len(table.faults)} faults")
    cache = Cache(cache_folder or output / CACHE_FOLDER, settings.digest())
    cases, failures = _prepared(table.rows, cache, settings, scheduler, workers, progress)
    if not keep_withheld:
        for case_id, case in list(cases.items()):
            withheld = next((warning for warning in case.warnings if warning.effect == "withhold_group"), None)
            if withheld is not None:
                failures[case_id] = Failure(WITHHELD, withheld.code, withheld.message)
                del cases[case_id]
    rows = {row.id: row for row in table.rows if row.id in cases}
    frame = case_table([_case_row(row, cases[row.id]) for row in rows.values()])
    patches, masks, radiomics, rim = _arrays(cache, [cases[case_id].content for case_id in frame["case_id"]])
    manifest = {
        "config_digest": settings.digest(),
        "flow_chart": flow_chart_counts(table, failures, frame),
        "sources": sorted(sources),
        **_copied_truth(truth, output),
        **pairs_of_images(frame["case_id"], patches, frame["scan_slices"]),
    }
    return write_prepared_cohort(
        output,
        frame,
        patches,
        masks,
        radiomics,
        rim=rim,
        failures=_failure_table(failures),
        manifest=manifest,
    )


def flow_chart_counts(table: CheckedTable, failures: Mapping[str, Failure], cases: pd.DataFrame) -> dict[str, Any]:
    """Return the counts of the flow chart (paper, Supplementary Figure 1): screened, exclusions, cohorts.

    `training.figures.flow_chart.FlowChart` draws them.

    Parameters
    ----------
    table
        The table that was prepared.
    failures
        By case_id, of the patients that could not be.
    cases
        The prepared cases.

    Returns
    -------
    dict[str, Any]
    """
    excluded = Counter(_exclusion(failure) for failure in failures.values())
    cohorts = Counter(cases["split"].fillna("undivided"))
    names = {**COHORT_NAMES, "undivided": "Expression, not yet divided"}
    return {
        "screened": table.screened,
        "exclusions": [[reason, count] for reason, count in (*table.exclusions, *sorted(excluded.items()))],
        "cohorts": [[names[split], cohorts[split]] for split in (*SPLITS, "undivided") if cohorts[split]],
    }


def _prepared(
    rows: tuple[CohortRow, ...],
    cache: Cache,
    settings: PreparationSettings,
    scheduler: str | None,
    workers: int | None,
    progress: Count,
) -> tuple[dict[str, _Kept], dict[str, Failure]]:
    """Return the cases and the failures by case_id: from the cache, else computed and kept."""
    cases: dict[str, _Kept] = {}
    failures: dict[str, Failure] = {}
    missing: dict[str, _PreparationTask] = {}

    def settle(case_id: str, content: str, result: PreparedCase | Failure) -> None:
        if isinstance(result, Failure):
            failures[case_id] = result
        else:
            cases[case_id] = _Kept(content, result.facts, result.scan_slices, result.warnings)
        progress(len(cases) + len(failures), len(rows))

    progress(0, len(rows))
    begun = cache.is_begun()
    for row in rows:
        source = CaseSource.of(row)
        try:
            # An empty cache knows nothing, and looking at each file of 100,000 patients takes long.
            content = cache.known_content(stat_digest(source)) if begun else None
        except OSError as error:
            settle(row.id, "", _unlisted(error))
            continue
        known = None if content is None else cache.read(content)
        if content is not None and known is not None:
            settle(row.id, content, known)
        else:
            missing[row.id] = _PreparationTask(source, settings)
    for case_id, outcome in run_on_cluster(
        _work, missing, scheduler=scheduler, workers=workers, threads=PATIENTS_AT_A_TIME
    ):
        if isinstance(outcome, BaseException):
            settle(
                case_id, "", Failure("worker", type(outcome).__name__, "the step ended with a defect, not a refusal")
            )
        else:
            cache.keep(outcome)
            key = cache_key(outcome.content_digest, cache.configuration)
            result = outcome.failure or PreparedCase.from_bytes(outcome.case or b"", key)
            settle(case_id, outcome.content_digest, result)
    return cases, failures


def _arrays(
    cache: Cache, contents: Sequence[str]
) -> tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return patches, masks, features and the rims' features of cases by the digests of their content, in this order."""
    shape = (len(contents), PATCH_SLICES, PATCH_SIZE, PATCH_SIZE)
    patches, masks = np.empty(shape, np.int16), np.empty(shape, np.bool_)
    radiomics, rim = (np.empty((len(contents), len(FEATURE_NAMES)), np.float64) for _ in range(2))
    for place, content in enumerate(contents):
        case = cache.read(content)
        if not isinstance(case, PreparedCase):
            raise FailedError("the cache was changed by something else while the cohort was prepared: prepare it again")
        patches[place], masks[place], radiomics[place], rim[place] = case.patches, case.mask, case.radiomics, case.rim
    return patches, masks, radiomics, rim


def _work(task: _PreparationTask) -> _Done:
    """Prepare one patient (on a worker); its digest reads every file, while another patient is computed."""
    try:
        stat, content = stat_digest(task.source), content_digest(task.source)
    except OSError as error:
        return _Done("", "", None, _unlisted(error))
    key = cache_key(content, task.settings.digest())
    try:
        return _Done(stat, content, prepare_case(task.source, task.settings).to_bytes(key), None)
    except Refusal as refusal:
        return _Done(stat, content, None, Failure(refusal.code.row.stage, refusal.code.name, refusal.found))
    except VolumeError as error:
        return _Done(stat, content, None, Failure("volume", "VOLUME", str(error)))


def _unlisted(error: OSError) -> Failure:
    return Failure(FILES, type(error).__name__, error.strerror or "the files cannot be listed")


def _exclusion(failure: Failure) -> str:
    if failure.step == WITHHELD:
        return {"SMOOTH_KERNEL": "Smooth reconstruction kernel"}.get(failure.code, "CT outside the protocol")
    if failure.code in RefusalCode.__members__:
        meaning = RefusalCode[failure.code].row.meaning
        return meaning[0].upper() + meaning[1:]
    return "Volume files that cannot be used" if failure.step == "volume" else "Defect while preparing"


def _case_row(row: CohortRow, case: _Kept) -> dict[str, Any]:
    return {
        "case_id": row.id,
        "split": row.split,
        "label": row.high_expression,
        "pdl1_tps": row.pdl1_tps,
        "pdl1_assay": row.pdl1_assay,
        **row.clinical_codes(),
        "stage": row.stage,
        "histology": row.histology,
        "pfs_days": row.pfs_days,
        "progressed": row.progressed,
        "event_cause": row.event_cause,
        "treatment": row.treatment,
        "site": row.site,
        **case.facts,
        "warnings": [warning.code for warning in case.warnings],
        "content_digest": case.content,
        "scan_slices": list(case.scan_slices),
    }


def _failure_table(failures: Mapping[str, Failure]) -> pd.DataFrame:
    rows = [(name, failure.step, failure.code, failure.message) for name, failure in sorted(failures.items())]
    return pd.DataFrame(rows, columns=list(FAILURE_COLUMNS), dtype="object")


def _copied_truth(folder: Path | None, output: Path) -> dict[str, Any]:
    if folder is None or not (folder / TRUTH_FILES[0]).is_file():
        return {}
    for name in TRUTH_FILES:
        write_atomically(output / name, (folder / name).read_bytes())
    truth = json.loads((folder / TRUTH_FILES[0]).read_bytes())
    return {"truth": TRUTH_FILES[0], "truth_table": TRUTH_FILES[1], "seed": truth.get("seed")}
