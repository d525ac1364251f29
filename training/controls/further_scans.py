"""Further scans of a synthetic cohort's patients: a wide field for displaced masks, and a second scan for test-retest.

Both are drawn from the patient's own seed, so that chest, tumour and scanner are those of the first scan.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
import SimpleITK

from pdl1es.atomic import write_atomically
from pdl1es.phantom.scanner import Scan, ScanCrop, ScannerParameters, scan
from training.cohort.cluster import run_on_cluster
from training.cohort.synthesise import (
    CT_FILE,
    MASK_FILE,
    TABLE_FILE,
    TRUTH_FILE,
    TRUTH_TABLE_FILE,
    SynthesisError,
    SynthesisSettings,
    SyntheticCase,
    scanned_chest,
    scanned_settings,
    small_field,
    synthetic_cases,
)
from training.cohort.table import write_cohort
from training.controls.disturbed import REACH_MM
from training.progress import Count

Kind = Literal["wide", "second"]
SECOND_SEED: Final = 1_000_003
"""Added to the seed of the first scan's noise."""


@dataclass(frozen=True, slots=True)
class _ScanTask:
    case: SyntheticCase
    kind: Kind
    folder: Path


def cases_of(cohort: Path) -> dict[str, SyntheticCase]:
    """Return what the images of a synthetic cohort were made from, by case_id.

    Parameters
    ----------
    cohort
        Folder that `synthesise_cohort` filled.

    Raises
    ------
    SynthesisError
        It holds no synthetic cohort.
    """
    try:
        request = json.loads((cohort / TRUTH_FILE).read_bytes())["request"]
        patients = pd.read_csv(cohort / TRUTH_TABLE_FILE)
    except (FileNotFoundError, KeyError) as error:
        raise SynthesisError("the folder holds no synthetic cohort") from error
    # the truth is stored with the patients already; the images need sizes and seed only
    known = {field.name for field in fields(SynthesisSettings)} - {"truth"}
    settings = SynthesisSettings(**{name: request[name] for name in known})
    return {case.case_id: case for case in synthetic_cases(settings, patients)}


def further_scans(
    cohort: Path,
    case_ids: Iterable[str],
    kind: Kind,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Count | None = None,
) -> Path:
    """Scan some patients again, or finish what was interrupted; returns a table as `cohort prepare` reads it.

    Parameters
    ----------
    cohort
        Folder of the synthetic cohort.
    case_ids
        Whom.
    kind
        ``wide``: the first scan with 60 mm around the tumour. ``second``: the same patient with other noise, the grid
        shifted by half a pixel in the slice. Position, breath and contour are the same, so real rescans repeat less
        well.
    folder
        For the volumes.
    workers
        As `run_on_cluster`.
    progress
        Called with patients done and in all.

    Returns
    -------
    Path
        Where the table lies.

    Raises
    ------
    SynthesisError
        A patient is unknown, or a scan failed.
    """
    cases = cases_of(cohort)
    wanted = list(case_ids)
    unknown = [case for case in wanted if case not in cases]
    if unknown:
        raise SynthesisError(f"{len(unknown)} patients are not of the synthetic cohort")
    missing = {
        case: _ScanTask(cases[case], kind, folder / case)
        for case in wanted
        if not (folder / case / MASK_FILE).is_file()
    }
    done = len(wanted) - len(missing)
    for _, outcome in run_on_cluster(_make, missing, workers=workers):
        if isinstance(outcome, BaseException):
            raise SynthesisError(f"a scan failed: {outcome}") from outcome
        done += 1
        if progress is not None:
            progress(done, len(wanted))
    with (cohort / TABLE_FILE).open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    table = write_cohort({**rows[case], **_scanned(cases[case])} for case in wanted)
    write_atomically(folder / TABLE_FILE, table)
    return folder / TABLE_FILE


def _make(task: _ScanTask) -> None:
    chest, scanner, noise = scanned_chest(task.case)
    if task.kind == "wide":
        made = scan(chest, scanner, seed=noise, crop=_widened(small_field(chest, scanner), scanner))
    else:
        # one column fewer: the field's centre is the same, so every pixel moves by half its size
        scanner = replace(scanner, matrix=scanner.matrix - 1)
        made = scan(chest, scanner, seed=noise + SECOND_SEED, crop=small_field(chest, scanner))
    task.folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{task.case.case_id}.", dir=task.folder.parent))
    try:
        _write(aside / CT_FILE, made, made.hu)
        _write(aside / MASK_FILE, made, made.mask.astype(np.uint8))
        aside.rename(task.folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _widened(crop: ScanCrop, scanner: ScannerParameters) -> ScanCrop:
    in_plane = round(REACH_MM / scanner.pixel_spacing_mm)
    across = round(REACH_MM / scanner.slice_spacing_mm)

    def grown(part: tuple[int, int], by: int, size: int) -> tuple[int, int]:
        return max(part[0] - by, 0), min(part[1] + by, size)

    return ScanCrop(
        grown(crop.slices, across, scanner.slices),
        grown(crop.rows, in_plane, scanner.matrix),
        grown(crop.columns, in_plane, scanner.matrix),
    )


def _scanned(case: SyntheticCase) -> dict[str, str]:
    """Return the columns of a table's row that describe the scan; a second scan is stored as a volume."""
    scanner = scanned_settings(case)
    return {
        "ct": f"{case.case_id}/{CT_FILE}",
        "seg": f"{case.case_id}/{MASK_FILE}",
        "manufacturer": scanner.manufacturer,
        "convolution_kernel": scanner.kernel,
        "slice_thickness_mm": f"{scanner.slice_thickness_mm:g}",
        "tube_current_ma": f"{scanner.tube_current_ma:g}",
    }


def _write(path: Path, made: Scan, values: np.ndarray) -> None:
    image = SimpleITK.GetImageFromArray(values)
    image.SetOrigin(made.origin)
    image.SetSpacing(made.spacing)
    SimpleITK.WriteImage(image, str(path), useCompression=True)
