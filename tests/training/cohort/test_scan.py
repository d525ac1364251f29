"""Two patients with one CT are found wherever the tumour was drawn."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from numpy.typing import NDArray
from typer.testing import CliRunner

from pdl1es.dicom.series import CTSlice
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.grid.placement import Stack
from tests.training.cohort.rewritten_study import SETTINGS, rewritten
from training.cohort.case import CaseSource, read_case
from training.cohort.prepared import CASES_FILE, PreparedCohort
from training.cohort.scan import not_compared, same_scan_pairs, scan_digests
from training.cohort.table import write_cohort
from training.commands.cli import app


@pytest.fixture(scope="module")
def volumes(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> CaseSource:
    """The DICOM study as a pair of volumes, stored in another orientation."""
    return rewritten(synthetic, tmp_path_factory.mktemp("volumes"), ".nrrd", "RAI")


def digests(source: CaseSource) -> tuple[str, ...]:
    case = read_case(source, SETTINGS)
    return scan_digests(case.resampled().placed.stack, case.read_slice)


def test_one_ct_with_another_contour_is_named(
    synthetic: Path, prepared: PreparedCohort, volumes: CaseSource, tmp_path: Path
) -> None:
    """DICOM with its own SEG, and a volume whose mask lies 6 pixels beside it."""
    assert volumes.seg is not None
    image = SimpleITK.ReadImage(str(volumes.seg))
    moved = SimpleITK.GetImageFromArray(np.roll(SimpleITK.GetArrayFromImage(image), 6, axis=2))
    moved.CopyInformation(image)
    SimpleITK.WriteImage(moved, str(tmp_path / "mask.nrrd"))
    rows = [
        {"id": "A", "ct": str(synthetic / "images" / "E0001"), "label": 1},
        {"id": "B", "ct": str(volumes.ct), "seg": str(tmp_path / "mask.nrrd"), "label": 0},
    ]
    (tmp_path / "cohort.csv").write_bytes(write_cohort(rows))
    told = CliRunner().invoke(
        app, ["cohort", "prepare", str(tmp_path / "cohort.csv"), str(tmp_path / "out"), "--workers", "1"]
    )
    assert "A and B have the same CT, another contour: one patient is one row" in " ".join(told.output.split())
    cohort = PreparedCohort.load(tmp_path / "out")
    assert cohort.manifest["same_scan"] == [["A", "B"]]
    assert not any(same for *_, same in cohort.manifest["alike"])
    assert same_scan_pairs(cohort.scans) == ((0, 1),)
    assert not_compared(cohort.scans) is None
    assert prepared.manifest["same_scan"] == []


def test_neither_format_nor_orientation_nor_contour_counts(synthetic: Path, volumes: CaseSource) -> None:
    found = digests(volumes)
    assert len(found) >= 2
    assert found == digests(CaseSource("A", synthetic / "images" / "E0001", None, {}))


def test_fewer_slices_leave_the_others_as_they_are(volumes: CaseSource) -> None:
    case = read_case(volumes, SETTINGS)
    stack = case.resampled().placed.stack
    fewer = Stack(replace(case.ct, slices=case.ct.slices[3:]), stack.axes, stack.z[3:])
    whole, part = (scan_digests(one, case.read_slice) for one in (stack, fewer))
    assert part
    assert part == whole[-len(part) :]


def test_slices_that_cannot_be_read_or_do_not_vary_are_passed_over(volumes: CaseSource) -> None:
    case = read_case(volumes, SETTINGS)
    stack = case.resampled().placed.stack
    read: list[CTSlice] = []

    def first_unreadable(ct_slice: CTSlice) -> NDArray[Any]:
        read.append(ct_slice)
        if len(read) == 1:
            raise Refusal(RefusalCode.INPUT_UNREADABLE, "as a damaged file")
        return case.read_slice(ct_slice)

    assert scan_digests(stack, first_unreadable) == scan_digests(stack, case.read_slice)[1:]
    assert scan_digests(stack, lambda ct_slice: np.full_like(case.read_slice(ct_slice), -1024)) == ()


def test_one_equal_slice_is_enough_only_where_there_is_no_second() -> None:
    scans = [("a", "b", "c"), ("a", "d", "e"), ("c",), None, (), ("e", "d", "x")]
    assert same_scan_pairs(scans) == ((0, 2), (1, 5))


def test_a_cohort_of_an_earlier_version_is_told_as_not_checked(prepared: PreparedCohort, tmp_path: Path) -> None:
    assert prepared.folder is not None
    shutil.copytree(prepared.folder, tmp_path / "old", ignore=shutil.ignore_patterns("cache"))
    path = tmp_path / "old" / CASES_FILE
    pd.read_parquet(path).drop(columns="scan_slices").to_parquet(path)
    old = PreparedCohort.load(tmp_path / "old")
    assert f"not checked for {len(old)} of {len(old)} patients" in str(not_compared(old.scans))
    assert same_scan_pairs(old.scans) == ()
