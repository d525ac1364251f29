"""The reports on two patients' CT in software that no one here wrote: a validator, two renderers, a TID 1500 reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.run import run_study
from pdl1es.settings import DEFAULT_FILE, load_settings
from tests.e2e.dicom_tools import codes_and_texts, numbers, rendered, run

RequireTool = Callable[[str], str]

CASES = {"4D-Lung 113": "ct_4dlung113", "IBSI phantom": "ibsi1/ct_phantom"}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SR of a real case; result.json lies beside it."""
    folder = tmp_path_factory.mktemp("case")
    study = shared_data / CASES[request.param]
    outcome = run_study(
        study,
        folder,
        settings=load_settings(DEFAULT_FILE),
        model_folder=DEFAULT_FILE.parent / "models",
        when=datetime(2025, 1, 16, 8, 30, tzinfo=UTC),
    )
    assert outcome.exit_code == 0, outcome.refusal
    (report,) = (path for path in folder.glob("*.dcm") if pydicom.dcmread(path).Modality == "SR")
    return report


def content(report: Path) -> Dataset:
    return pydicom.dcmread(report)


def test_dciodvfy_finds_no_error(case: Path, require_tool: RequireTool) -> None:
    said = run(require_tool("dciodvfy"), case).splitlines()
    assert "ComprehensiveSR" in said
    assert not [line for line in said if line.startswith("Error")]


def test_dsrdump_shows_every_number_with_label_and_unit(case: Path, require_tool: RequireTool) -> None:
    said = run(require_tool("dsrdump"), "+Pl", case)
    found = list(numbers(content(case)))
    assert len(found) >= 10
    for label, value, unit in found:
        assert f'NUM:(,,"{label}")="{value}" ({unit},UCUM' in said, label


def test_dsr2html_shows_the_notice_first_and_every_number_code_and_text_with_its_label(
    case: Path, require_tool: RequireTool
) -> None:
    page = rendered(require_tool, case)
    for label, value, unit in numbers(content(case)):
        assert f"{label}: {value} {unit}" in page, label
    for label, value in codes_and_texts(content(case)):
        assert f"{label}: {value}" in page, label
    body = page[page.rindex("Oncology Measurement Report") :]
    assert body.startswith("Oncology Measurement Report Notice: DEMONSTRATION MODEL - NOT FOR CLINICAL USE")


def test_tid1500reader_reads_every_measurement_back_with_segment_and_series(
    case: Path, require_tool: RequireTool, tmp_path: Path
) -> None:
    output = tmp_path / "measurements.json"
    run(require_tool("tid1500reader"), "--inputDICOM", case, "--outputMetadata", output)
    (group,) = json.loads(output.read_text(encoding="utf-8"))["Measurements"]
    read = [
        (item["quantity"]["CodeMeaning"], item["value"], item["units"]["CodeValue"])
        for item in group["measurementItems"]
    ]
    assert sorted(read) == sorted(numbers(content(case)))
    selection = json.loads((case.parent / "result.json").read_text(encoding="utf-8"))["assessment"]["selection"]
    assert group["ReferencedSegment"] == selection["segment"]["number"]
    assert group["segmentationSOPInstanceUID"] == selection["segmentation_sop_instance_uid"]
    assert group["SourceSeriesForImageSegmentation"] == selection["ct_series_instance_uid"]
    assert group["Finding"]["CodeMeaning"] == "Neoplasm, Primary"  # as dcmqi coded the segment


def test_volume_and_score_in_the_report_are_those_of_the_result(case: Path) -> None:
    result = json.loads((case.parent / "result.json").read_text(encoding="utf-8"))["assessment"]
    values = {label: float(value) for label, value, _ in numbers(content(case))}
    volume = next(value for label, value in values.items() if "volume" in label.lower())
    assert volume == pytest.approx(result["tumour"]["volume_ml"], abs=0.01)
    assert any(value == pytest.approx(result["score"], abs=5e-4) for value in values.values())
