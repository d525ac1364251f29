"""The structured report in software that no one here wrote: validators, renderers, a TID 1500 reader."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest

from pdl1es.dicom.header import read_instance
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.structure_set import parse_structure_set
from pdl1es.model.metadata import CutOff
from pdl1es.report.build import build_sr
from tests.e2e.dicom_tools import codes_and_texts, numbers, rendered, run
from tests.report_cases import OPTIONS, SMOOTH, Case, as_read, metadata, prediction, report_case
from tests.structure_sets import Drawn, Region, circle, structure_set
from tests.structure_sets import write as write_structure_set

RequireTool = Callable[[str], str]

EXPLAINED_WARNINGS = (
    # No standard code exists for a score of PD-L1 expression from CT; the scheme is declared in the object.
    re.compile(r"Unrecognized defined term <99PDL1ES> for value 1 of attribute <Coding Scheme Designator>"),
    # IHE AI Results 6.5.3.1 asks for it in the Contributing Equipment Sequence; Debian's dicom3tools does not know it
    # there.
    re.compile(r"Attribute is not present in standard DICOM IOD - \(0x0018,0x1002\) UI Device UID"),
    re.compile(r"this is a Standard Extended SOP Class"),
    # What the images themselves lack.
    re.compile(r"Missing attribute or value that would be needed to build DICOMDIR"),
)


@dataclass(frozen=True)
class Files:
    """A case and its report on the disk."""

    case: Case
    report: Path
    segmentation: Path
    ct: list[Path]


def write(case: Case, folder: Path) -> Files:
    ct, segmentation = case.write(folder)
    report = folder / "report.dcm"
    report.write_bytes(build_sr(case.assessment, OPTIONS).data)
    return Files(case, report, segmentation, ct)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A case whose names are ASCII: dcentvfy compares bytes, which differ between character sets."""
    ascii_names = {"PatientName": "Doe^Jane", "ReferringPhysicianName": "Roe^Richard"}
    return write(report_case(ct=ascii_names), tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def all_parts(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A case in which every optional part of the report is there."""
    cut = CutOff(value=0.05, method="X-tile", above="high risk", below="low risk")
    case = report_case(
        model=metadata(clinical_cut_off=cut, fusion_cut_off=cut, calibrated=True, training_data="patients"),
        predicted=prediction(clinical_risk=0.2, fusion_risk=-1.2, missing_features=("original_shape_Flatness",)),
        tracked=("Lesion 7", "1.2.826.0.1.3680043.8.498.77.70"),
    )
    return write(case, tmp_path_factory.mktemp("all_parts"))


@pytest.fixture(scope="module")
def withheld(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A case without groups, site and patient's data."""
    absent = dict.fromkeys(("PatientName", "PatientBirthDate", "PatientSex", "StudyTime", "StudyID", "AccessionNumber"))
    return write(report_case(warnings=(SMOOTH,), site=False, ct=absent), tmp_path_factory.mktemp("withheld"))


@pytest.fixture(scope="module")
def by_planner(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A case whose tumour was drawn in an RT Structure Set, by software alone."""
    folder = tmp_path_factory.mktemp("by_planner")
    case = report_case(ct={"PatientName": "Doe^Jane", "ReferringPhysicianName": "Roe^Richard"})
    ct, seg = case.write(folder)
    seg.unlink()
    whole = structure_set(case.ct[0], [Region("GTV", (Drawn(circle((0.0, 0.0, -94.0), 8.0)),), algorithm="AUTOMATIC")])
    file = write_structure_set(whole, folder / "rs.dcm")
    (region,) = parse_structure_set(read_instance(file)).regions
    selection = replace(case.assessment.selection, segmentation=region, segment=region.segment)
    assessment = replace(case.assessment, selection=selection)
    report = folder / "report.dcm"
    report.write_bytes(build_sr(assessment, OPTIONS).data)
    return Files(replace(case, assessment=assessment), report, file, ct)


@pytest.fixture(params=["plain", "all_parts", "withheld", "by_planner"])
def files(request: pytest.FixtureRequest) -> Files:
    """Each of the four cases."""
    return request.getfixturevalue(request.param)


def test_dciodvfy_finds_no_error_and_no_warning_that_is_not_explained(files: Files, require_tool: RequireTool) -> None:
    lines = run(require_tool("dciodvfy"), files.report).splitlines()
    assert "ComprehensiveSR" in lines
    assert not [line for line in lines if line.startswith("Error")]
    others = [line for line in lines if not any(known.search(line) for known in EXPLAINED_WARNINGS)]
    assert others == ["ComprehensiveSR"]


def test_a_comprehensive_3d_report_is_valid_and_shows_the_same(
    plain: Files, tmp_path: Path, require_tool: RequireTool
) -> None:
    report = tmp_path / "3d.dcm"
    report.write_bytes(build_sr(plain.case.assessment, replace(OPTIONS, comprehensive_3d=True)).data)
    lines = run(require_tool("dciodvfy"), report).splitlines()
    assert "Comprehensive3DSR" in lines
    assert not [line for line in lines if line.startswith("Error")]
    assert rendered(require_tool, report).replace("Comprehensive 3D SR", "Comprehensive SR") == rendered(
        require_tool, plain.report
    )


def test_dcmtk_reads_a_report_on_a_label_map(plain: Files, tmp_path: Path, require_tool: RequireTool) -> None:
    """Version 3.6.7 reads nothing of a report with an IMAGE item on one."""
    selection = plain.case.assessment.selection
    header = as_read(plain.case.segmentation)
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    drawn = replace(selection.segmentation, instance=Instance(plain.segmentation, header))
    assessment = replace(plain.case.assessment, selection=replace(selection, segmentation=drawn))
    report = tmp_path / "label_map.dcm"
    report.write_bytes(build_sr(assessment, OPTIONS).data)
    assert f"{assessment.prediction.score:.3f}" in run(require_tool("dsrdump"), report)
    assert not [line for line in run(require_tool("dciodvfy"), report).splitlines() if line.startswith("Error")]


def test_the_fixtures_own_ct_and_seg_are_valid(plain: Files, require_tool: RequireTool) -> None:
    """Otherwise dcentvfy below would compare with nonsense."""
    for path in (plain.ct[0], plain.segmentation):
        assert "Error" not in run(require_tool("dciodvfy"), path)


def test_dcentvfy_finds_patient_and_study_consistent_with_ct_and_seg(plain: Files, require_tool: RequireTool) -> None:
    said = run(require_tool("dcentvfy"), plain.report, plain.segmentation, *plain.ct)
    assert not [line for line in said.splitlines() if line.startswith("Error")]


def test_dsrdump_shows_every_number_with_label_and_unit(files: Files, require_tool: RequireTool) -> None:
    said = run(require_tool("dsrdump"), "+Pl", files.report)
    found = list(numbers(pydicom.dcmread(files.report)))
    assert len(found) >= 10
    for label, value, unit in found:
        assert f'NUM:(,,"{label}")="{value}" ({unit},UCUM' in said, label


def test_dsr2html_shows_every_number_code_and_text_with_its_label(files: Files, require_tool: RequireTool) -> None:
    """It drops the labels where a container is CONTINUOUS."""
    page = rendered(require_tool, files.report)
    report = pydicom.dcmread(files.report)
    for label, value, unit in numbers(report):
        assert f"{label}: {value} {unit}" in page, label
    for label, value in codes_and_texts(report):
        assert f"{label}: {value}" in page, label


def test_dsr2html_shows_the_notice_before_anything_else(plain: Files, require_tool: RequireTool) -> None:
    page = rendered(require_tool, plain.report)
    body = page[page.rindex("Oncology Measurement Report") :]
    assert body.startswith("Oncology Measurement Report Notice: DEMONSTRATION MODEL - NOT FOR CLINICAL USE")


def test_tid1500reader_reads_every_measurement_back(files: Files, require_tool: RequireTool, tmp_path: Path) -> None:
    output = tmp_path / "measurements.json"
    run(require_tool("tid1500reader"), "--inputDICOM", files.report, "--outputMetadata", output)
    (group,) = json.loads(output.read_text(encoding="utf-8"))["Measurements"]
    read = [
        (item["quantity"]["CodeMeaning"], item["value"], item["units"]["CodeValue"])
        for item in group["measurementItems"]
    ]
    assert sorted(read) == sorted(numbers(pydicom.dcmread(files.report)))
    selection = files.case.assessment.selection
    if selection.segmentation.kind == "SEG":  # the reader knows no other kind of region
        assert group["ReferencedSegment"] == selection.segment.number
        assert group["segmentationSOPInstanceUID"] == files.case.segmentation.SOPInstanceUID
    assert group["SourceSeriesForImageSegmentation"] == selection.ct.series_instance_uid
    assert group["Finding"]["CodeMeaning"] == "Neoplasm"
    assert group.get("FindingSite", {}).get("CodeMeaning") == (
        "Lung" if selection.segment.anatomic_region is not None else None
    )
    assert group["measurementAlgorithmIdentification"]["AlgorithmName"] == "PD-L1ES phantom"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Ωμέγα^Σωκράτης"),
        ("ISO_IR 100", "Müller^Jörg"),
    ],
)
def test_dcmtk_reads_names_of_any_script(
    character_set: str | list[str], name: str, require_tool: RequireTool, tmp_path: Path
) -> None:
    files = write(report_case(ct={"SpecificCharacterSet": character_set, "PatientName": name}), tmp_path)
    said = run(require_tool("dsrdump"), files.report)
    assert f"Patient             : {name} (M" in said
    assert f"(0010,0010) PN [{name}]" in run(require_tool("dcmdump"), "+P", "PatientName", files.report)
    assert not [line for line in run(require_tool("dciodvfy"), files.report).splitlines() if line.startswith("Error")]
