"""The prepared cohort: a folder of tables and arrays from which everything is trained and evaluated."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdl1es.atomic import write_atomically
from pdl1es.clinical import VARIABLES
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.method import PATCH_SIZE, PATCH_SLICES
from pdl1es.method_digest import method_digest
from training.errors import UsageError

SCHEMA_VERSION: Final = 1
MANIFEST_FILE: Final = "manifest.json"
CASES_FILE: Final = "cases.parquet"
RADIOMICS_FILE: Final = "radiomics.parquet"
RIM_FILE: Final = "rim.parquet"
PATCHES_FILE: Final = "patches.npz"
FAILURES_FILE: Final = "failures.parquet"
FAILURES_CSV: Final = "failures.csv"
"""The same as `FAILURES_FILE`, for people."""
SPLITS: Final = ("train", "validation", "test", "prognosis", "gate", "pretrain")
"""``prognosis`` are patients under immunotherapy; ``gate`` are further synthetic cases that only quality gates use;
``pretrain`` are patients whose images alone are used, without any label (`training.pretrain`)."""
Split = Literal["train", "validation", "test", "prognosis", "gate", "pretrain"]
PRETRAIN: Final = "pretrain"
_FLOAT, _TEXT, _LIST = "float64", "object", "list"
CASE_COLUMNS: Final[dict[str, str]] = {
    "case_id": _TEXT,
    "split": _TEXT,
    "label": _FLOAT,
    "pdl1_tps": _FLOAT,
    "pdl1_assay": _TEXT,
    "age": _FLOAT,
    "sex": _FLOAT,
    "smoking": _FLOAT,
    "smoking_graded": "bool",
    "family_history": _FLOAT,
    "stage": _TEXT,
    "histology": _TEXT,
    "pfs_days": _FLOAT,
    "progressed": _FLOAT,
    "event_cause": _TEXT,
    "treatment": _TEXT,
    "site": _TEXT,
    "manufacturer": _TEXT,
    "scanner_model": _TEXT,
    "convolution_kernel": _TEXT,
    "slice_thickness_mm": _FLOAT,
    "tube_current_ma": _FLOAT,
    "volume_ml": _FLOAT,
    "longest_diameter_mm": _FLOAT,
    "warnings": _LIST,
    "content_digest": _TEXT,
    "scan_slices": _LIST,
}
"""Columns of ``cases.parquet`` and what they hold: floats are NaN and texts None where they are missing.

``label`` and ``progressed`` are 0.0, 1.0 or NaN; age, sex, smoking and family_history are the codes of
`pdl1es.clinical`. A smoker of unknown grade has smoking NaN and ``smoking_graded`` False. ``event_cause`` is ``progression``,
``death`` or None. ``scan_slices`` are digests of whole slices of the CT (`scan.scan_digests`), None in cohorts that lack them."""
_LATER_COLUMNS: Final = ("event_cause", "site", "scanner_model", "scan_slices")
"""Of `CASE_COLUMNS`: came after the first cohorts were prepared, and are not known of these."""
FAILURE_COLUMNS: Final = ("case_id", "step", "code", "message")


class PreparedCohortError(UsageError):
    """A prepared cohort cannot be read, or arrays do not fit together; the message says what and where."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCohort:
    """Cases that can be trained on and scored; row i of everything is the same patient.

    Attributes
    ----------
    cases
        One row per case with the columns of `CASE_COLUMNS`, index 0 to n - 1.
    patches
        int16 whole HU, shape (n, 3, 112, 112).
    masks
        bool, same shape: the tumour on the patches (for controls and figures; no network sees it).
    radiomics
        float64, shape (n, 1316), in the order of `FEATURE_NAMES`; NaN where a feature could not be computed.
    failures
        Cases that could not be prepared: case_id, step, code, message.
    manifest
        ``manifest.json``.
    folder
        Where it was read from, or None.
    rim
        float64, shape (n, 1316): features of the tissue around the tumour (`rim.rim_features`). None where they were not
        kept.
    """

    cases: pd.DataFrame
    patches: NDArray[np.int16]
    masks: NDArray[np.bool_]
    radiomics: NDArray[np.float64]
    failures: pd.DataFrame
    manifest: Mapping[str, Any]
    folder: Path | None = None
    rim: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together."""
        n = len(self.cases)
        absent = set(CASE_COLUMNS) - set(self.cases.columns)
        if absent:
            raise PreparedCohortError(f"the cases lack the columns {sorted(absent)}")
        patch = (n, PATCH_SLICES, PATCH_SIZE, PATCH_SIZE)
        for name, array, dtype, shape in (
            ("patches", self.patches, np.int16, patch),
            ("masks", self.masks, np.bool_, patch),
            ("radiomics", self.radiomics, np.float64, (n, len(FEATURE_NAMES))),
            ("rim", self.rim, np.float64, (n, len(FEATURE_NAMES))),
        ):
            if array is None:
                continue
            if array.dtype != dtype or array.shape != shape:
                raise PreparedCohortError(
                    f"{name} must be {np.dtype(dtype)} of shape {shape}, got {array.dtype} {array.shape}"
                )
        if self.cases["case_id"].duplicated().any():
            raise PreparedCohortError("a case_id occurs twice: one patient is one row")
        unknown = set(self.cases["split"].dropna()) - set(SPLITS)
        if unknown:
            raise PreparedCohortError(f"unknown splits {sorted(unknown)}; known: {', '.join(SPLITS)}")

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.cases)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Pseudonyms, in order."""
        return tuple(self.cases["case_id"])

    @property
    def labels(self) -> NDArray[np.float64]:
        """1 for high PD-L1 expression, 0 for low, NaN where it is not known; shape (n,)."""
        return self.cases["label"].to_numpy(np.float64)

    @property
    def scans(self) -> tuple[tuple[str, ...] | None, ...]:
        """Digests of whole slices of each CT, by which `scan.same_scan_pairs` knows it again; None where they were not kept."""
        return tuple(None if isinstance(one, float) or one is None else tuple(one) for one in self.cases["scan_slices"])

    @property
    def clinical(self) -> NDArray[np.float64]:
        """Codes in the paper's order, NaN where missing; shape (n, 4)."""
        return self.cases[list(VARIABLES)].to_numpy(np.float64)

    @property
    def smoking_graded(self) -> NDArray[np.bool_]:
        """False for smokers of unknown grade; shape (n,)."""
        return self.cases["smoking_graded"].to_numpy(np.bool_)

    @property
    def synthetic(self) -> bool:
        """Whether the cohort consists of phantoms, whose truth is known."""
        return bool(self.manifest.get("truth"))

    def subset(self, which: str | NDArray[np.bool_] | NDArray[np.intp]) -> PreparedCohort:
        """Return some of the cases.

        Parameters
        ----------
        which
            A split's name, a mask of shape (n,), or positions.

        Returns
        -------
        PreparedCohort
            In the order of the positions; failures and manifest are unchanged.
        """
        if isinstance(which, str):
            if which not in SPLITS:
                raise PreparedCohortError(f"unknown split {which!r}; known: {', '.join(SPLITS)}")
            which = (self.cases["split"] == which).to_numpy(np.bool_)
        which = np.asarray(which)
        positions = np.flatnonzero(which) if which.dtype == np.bool_ else which
        return replace(
            self,
            cases=self.cases.iloc[positions].reset_index(drop=True),
            patches=self.patches[positions],
            masks=self.masks[positions],
            radiomics=self.radiomics[positions],
            rim=None if self.rim is None else self.rim[positions],
        )

    def without_pretraining(self) -> PreparedCohort:
        """Return the cases that are trained on, scored and evaluated: all but those of the split ``pretrain``."""
        kept = (self.cases["split"] != PRETRAIN).to_numpy(np.bool_)
        return self if kept.all() else self.subset(kept)

    @classmethod
    def load(cls, folder: Path) -> PreparedCohort:
        """Read a folder that `cohort prepare` wrote.

        Raises
        ------
        PreparedCohortError
            A file is missing or damaged, or the cohort was prepared by another method than this version's.
        """
        try:
            manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
            cases = _with_later_columns(pd.read_parquet(folder / CASES_FILE))
            table = pd.read_parquet(folder / RADIOMICS_FILE)
            failures = pd.read_parquet(folder / FAILURES_FILE)
            rims = pd.read_parquet(folder / RIM_FILE) if manifest.get("rim") else None
            with np.load(folder / PATCHES_FILE, allow_pickle=False) as arrays:
                patches, packed = arrays["patches"], arrays["masks_packed"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise PreparedCohortError(f"{folder} holds no whole prepared cohort: {error}") from error
        if manifest.get("schema_version") != SCHEMA_VERSION:
            raise PreparedCohortError(
                f"{folder / MANIFEST_FILE} has schema_version {manifest.get('schema_version')!r}, not {SCHEMA_VERSION}"
            )
        if manifest.get("method_digest") != method_digest():
            raise PreparedCohortError(
                f"{folder} was prepared by method {str(manifest.get('method_digest'))[:12]}, this version's is "
                f"{method_digest()[:12]}: run `pdl1es cohort prepare` again"
            )
        radiomics = _features(folder / RADIOMICS_FILE, table, cases)
        rim = None if rims is None else _features(folder / RIM_FILE, rims, cases)
        shape = (len(cases), PATCH_SLICES, PATCH_SIZE, PATCH_SIZE)
        bits = int(np.prod(shape))
        if packed.size * 8 < bits:
            raise PreparedCohortError(f"{folder / PATCHES_FILE}: masks are shorter than {len(cases)} cases")
        masks = np.unpackbits(packed, count=bits).reshape(shape).astype(np.bool_)
        return cls(cases, patches, masks, radiomics, failures, manifest, folder, rim)


def _with_later_columns(cases: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that cohorts lack which were prepared before there were these."""
    return cases.assign(
        **{name: pd.Series(None, cases.index, "object") for name in _LATER_COLUMNS if name not in cases}
    )


def _features(path: Path, table: pd.DataFrame, cases: pd.DataFrame) -> NDArray[np.float64]:
    """Return a table of features as an array in the order of `FEATURE_NAMES`; refuse one of other cases."""
    if list(table["case_id"]) != list(cases["case_id"]):
        raise PreparedCohortError(f"{path.parent}: {path.name} and {CASES_FILE} are of different cases")
    try:
        return np.ascontiguousarray(table[list(FEATURE_NAMES)].to_numpy(np.float64))
    except KeyError as error:
        raise PreparedCohortError(f"{path}: {error}") from None


def cohort_digest(prepared: PreparedCohort) -> str:
    """Return the SHA-256 of everything in a cohort that training looks at; pretraining has a digest of its own."""
    prepared = prepared.without_pretraining()
    digest = hashlib.sha256(method_digest().encode("ascii"))
    for column in ("case_id", "split"):
        digest.update("\n".join(str(value) for value in prepared.cases[column]).encode("utf-8"))
    for array in (prepared.labels, prepared.clinical, prepared.smoking_graded, prepared.radiomics, prepared.patches):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def case_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return cases as a table with every column of `CASE_COLUMNS`, ordered by case_id; what a row lacks is missing.

    Raises
    ------
    PreparedCohortError
        A row has a column that is none of them, or no case_id.
    """
    for row in rows:
        unknown = set(row) - set(CASE_COLUMNS)
        if unknown or not row.get("case_id"):
            raise PreparedCohortError(f"a case needs a case_id and may not have {sorted(unknown)}")
    empty: dict[str, Any] = {_FLOAT: np.nan, _TEXT: None, _LIST: [], "bool": True}
    ordered = sorted(rows, key=lambda row: str(row["case_id"]))
    columns: dict[str, pd.Series] = {}
    for name, kind in CASE_COLUMNS.items():
        values = [row.get(name) for row in ordered]
        values = [empty[kind] if value is None else value for value in values]
        columns[name] = pd.Series(values, dtype=kind if kind in (_FLOAT, "bool") else "object")
    return pd.DataFrame(columns)


def write_prepared_cohort(
    folder: Path,
    cases: pd.DataFrame,
    patches: NDArray[np.int16],
    masks: NDArray[np.bool_],
    radiomics: NDArray[np.float64],
    *,
    rim: NDArray[np.float64] | None = None,
    failures: pd.DataFrame | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> PreparedCohort:
    """Write a prepared cohort; each file appears whole or not at all, the manifest last.

    Parameters
    ----------
    folder
        Made where it is missing.
    cases
        As `case_table` makes it; rows of the arrays are in its order.
    patches, masks
        Shape (n, 3, 112, 112).
    radiomics
        float64, shape (n, 1316).
    rim
        Same shape: of the tissue around the tumours; None writes no file of them.
    failures
        Cases that could not be prepared, with the columns of `FAILURE_COLUMNS`.
    manifest
        Further entries of ``manifest.json``: config_digest, seed, flow_chart, sources, truth.

    Returns
    -------
    PreparedCohort
        What was written.

    Raises
    ------
    PreparedCohortError
        The parts do not belong together.
    """
    if failures is None:
        failures = pd.DataFrame({name: pd.Series(dtype="object") for name in FAILURE_COLUMNS})
    document = {
        **(manifest or {}),
        "schema_version": SCHEMA_VERSION,
        "method_digest": method_digest(),
        "cases": len(cases),
        "failures": len(failures),
        "rim": rim is not None,
    }
    cohort = PreparedCohort(cases, patches, masks, radiomics, failures, document, folder, rim)
    archive = io.BytesIO()
    np.savez_compressed(archive, patches=patches, masks_packed=np.packbits(masks))
    write_atomically(folder / CASES_FILE, parquet_bytes(cases))
    for name, features in ((RADIOMICS_FILE, radiomics), (RIM_FILE, rim)):
        if features is not None:
            table = pd.DataFrame(features, columns=list(FEATURE_NAMES))
            table.insert(0, "case_id", cases["case_id"].to_numpy())
            write_atomically(folder / name, parquet_bytes(table))
    write_atomically(folder / PATCHES_FILE, archive.getvalue())
    write_atomically(folder / FAILURES_FILE, parquet_bytes(failures))
    # The byte order mark lets spreadsheets read it as UTF-8.
    write_atomically(folder / FAILURES_CSV, failures.to_csv(index=False, lineterminator="\n").encode("utf-8-sig"))
    write_atomically(folder / MANIFEST_FILE, json_bytes(document))
    return cohort


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file."""
    file = io.BytesIO()
    table.to_parquet(file, index=False, compression="zstd")
    return file.getvalue()


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document as a JSON file that people can read: sorted keys, indented, no NaN."""
    return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("utf-8")
