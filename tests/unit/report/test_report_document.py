"""The structured report as a DICOM object, read back with pydicom alone: identity, context, references, bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import highdicom as hd
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pdl1es.assessment import Assessment
from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.header_keywords import HEADER_KEYWORDS
from pdl1es.report.build import build_sr
from pdl1es.report.options import ReportOptions
from pdl1es.report.software import SOFTWARE
from pdl1es.report.study_context import PATIENT_AND_STUDY, encode
from tests.report_cases import OPTIONS, ROOT, SMOOTH, WHEN, Case, metadata, prediction, report_case, with_segment

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
CHINESE = "Wang^XiaoDong=王^小东=㐀𠮷"


def written(assessment: Assessment) -> Dataset:
    """The report as it is read from its file."""
    return pydicom.dcmread(BytesIO(build_sr(assessment, OPTIONS).data))


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def report(case: Case) -> Dataset:
    return written(case.assessment)


def items(node: Dataset) -> Iterator[Dataset]:
    """Every content item below a node."""
    for item in node.get("ContentSequence", []):
        yield item
        yield from items(item)


def test_the_same_assessment_and_clock_give_the_same_bytes(case: Case) -> None:
    first, second = (build_sr(c.assessment, OPTIONS).data for c in (case, report_case()))
    assert first == second


def test_reading_and_writing_the_file_again_changes_nothing(case: Case) -> None:
    encoded = build_sr(case.assessment, OPTIONS).data
    assert encode(pydicom.dcmread(BytesIO(encoded))) == encoded


def test_one_uid_never_names_two_reports(case: Case, report: Dataset) -> None:
    assessment = case.assessment
    others = [
        build_sr(assessment, ReportOptions(WHEN + timedelta(seconds=1))).dataset,
        build_sr(assessment, ReportOptions(WHEN, software=replace(SOFTWARE, device_uid=UID(f"{ROOT}.99")))).dataset,
        build_sr(report_case(warnings=()).assessment, OPTIONS).dataset,
        build_sr(report_case(ct={"PatientID": "P-0816"}).assessment, OPTIONS).dataset,
        build_sr(report_case(model=metadata(version="2")).assessment, OPTIONS).dataset,
        build_sr(replace(assessment, prediction=prediction(score=0.7312345678901235)), OPTIONS).dataset,
    ]
    uids = {report.SOPInstanceUID, *(other.SOPInstanceUID for other in others)}
    assert len(uids) == len(others) + 1


def test_later_reports_join_the_same_series(case: Case, report: Dataset) -> None:
    later = build_sr(case.assessment, ReportOptions(WHEN + timedelta(days=30))).dataset
    for keyword in ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality", "Manufacturer"):
        assert later[keyword].value == report[keyword].value


def test_it_is_complete_preliminary_and_unverified(report: Dataset) -> None:
    assert report.SOPClassUID == report.file_meta.MediaStorageSOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert report.SOPInstanceUID == report.file_meta.MediaStorageSOPInstanceUID
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert report.Modality == "SR"


def test_its_times_are_the_clocks_alone(report: Dataset) -> None:
    dates = {
        e.keyword: e.value for e in report if e.VR in ("DA", "TM") and not e.keyword.startswith(("Study", "Patient"))
    }
    assert dates == {
        "InstanceCreationDate": "20260301",
        "InstanceCreationTime": "093015",
        "ContentDate": "20260301",
        "ContentTime": "093015",
    }
    assert report.ContributingEquipmentSequence[0].ContributionDateTime == "20260301093015+0000"
    assert "TimezoneOffsetFromUTC" not in report


def test_its_times_are_in_the_zone_that_the_images_state() -> None:
    report = written(report_case(ct={"TimezoneOffsetFromUTC": "+0800"}).assessment)
    assert (report.ContentDate, report.ContentTime, report.TimezoneOffsetFromUTC) == ("20260301", "173015", "+0800")
    assert report.ContributingEquipmentSequence[0].ContributionDateTime == "20260301173015+0800"


def test_patient_and_study_are_the_images_own(case: Case, report: Dataset) -> None:
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID",
                    "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
                    "ReferringPhysicianName"):  # fmt: skip
        assert report[keyword].value == case.ct[0][keyword].value, keyword


def test_whatever_it_copies_is_read_from_the_images() -> None:
    read = set(HEADER_KEYWORDS)
    assert set(PATIENT_AND_STUDY) <= read
    assert {"TimezoneOffsetFromUTC", "SpecificCharacterSet", "SeriesNumber", "ProcedureCodeSequence"} <= read


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("GB18030", CHINESE),
        (["", "ISO 2022 IR 87"], JAPANESE),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 192", "Σωκράτης^Ωμέγα=王^小東"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 100", "Buc^Jérôme"),
    ],
)
def test_a_name_of_any_script_reads_back_as_it_was(character_set: Any, name: str) -> None:
    """Names of PS3.5 annexes H, I, J and K, and beyond the basic plane."""
    case = report_case(ct={"SpecificCharacterSet": character_set, "PatientName": name, "ReferringPhysicianName": name})
    report = written(case.assessment)
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == str(report.ReferringPhysicianName) == name
    raw = encode(report)
    assert name.encode("utf-8") in raw
    assert b"\x1b$" not in raw, "an escape sequence of ISO 2022 was left"


def test_images_without_any_type_2_attribute_still_give_a_report() -> None:
    """The IBSI phantom has no sex and no dates."""
    absent = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate", "StudyTime",
              "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
              "SpecificCharacterSet", "SeriesNumber")  # fmt: skip
    report = written(report_case(ct=dict.fromkeys(absent)).assessment)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                    "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        assert keyword in report, keyword
        assert not report[keyword].value, keyword


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_value_that_breaks_dicom_does_not_cost_the_report() -> None:
    case = report_case()
    for ct_slice in case.assessment.selection.ct.slices:
        header = ct_slice.instance.header
        header["PatientBirthDate"] = pydicom.DataElement("PatientBirthDate", "DA", "19500000", validation_mode=0)
        header["PatientSex"] = pydicom.DataElement("PatientSex", "CS", "male?", validation_mode=0)
    report = written(case.assessment)
    assert (report.PatientBirthDate, report.PatientSex) == ("19500000", "male?")


def test_its_evidence_is_what_it_refers_to_and_no_more(case: Case, report: Dataset) -> None:
    evidence = {
        (series.SeriesInstanceUID, sop.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }
    referred = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items(report) if item.ValueType == "IMAGE"
    }
    assert evidence == {(f"{ROOT}.2", case.assessment.roi_slice.sop_instance_uid), (f"{ROOT}.4", f"{ROOT}.5")}
    assert {uid for _, uid in evidence} == referred


def test_every_private_code_is_of_a_declared_scheme(report: Dataset) -> None:
    declared = {item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence}
    used = {e.value for e in report.iterall() if e.keyword == "CodingSchemeDesignator"}
    assert {scheme for scheme in used if scheme.startswith("99")} <= declared
    own = report.CodingSchemeIdentificationSequence[0]
    assert own.CodingSchemeDesignator == "99PDL1ES"
    assert own.CodingSchemeName
    assert own.CodingSchemeVersion
    assert own.CodingSchemeResponsibleOrganization


def test_a_segmentations_own_private_scheme_is_passed_on(case: Case) -> None:
    foreign = with_segment(case.assessment, property_type=Code("GTVp", "99ACME", "Primary"))
    report = written(foreign)
    assert "99ACME" in {item.CodingSchemeDesignator for item in report.CodingSchemeIdentificationSequence}


def test_no_code_of_the_tissue_assay_is_used(report: Dataset) -> None:
    values = {e.value for e in report.iterall() if e.keyword == "CodeValue"}
    assert not values & {"85147-7", "C184941"}


def test_codes_keep_within_dicoms_lengths_and_mean_one_thing(report: Dataset) -> None:
    meanings: dict[tuple[str, str], set[str]] = {}
    for element in report.iterall():
        if element.VR == "SQ":
            for item in element.value:
                if "CodeValue" in item:
                    key = (item.CodingSchemeDesignator, item.CodeValue)
                    meanings.setdefault(key, set()).add(item.CodeMeaning)
                    assert len(item.CodeValue) <= 16
                    assert len(item.CodeMeaning) <= 64
    assert all(len(found) == 1 for found in meanings.values())


def test_the_algorithm_is_contributing_equipment_as_ihe_asks(case: Case, report: Dataset) -> None:
    """IHE AI Results 6.5.3.1."""
    (equipment,) = report.ContributingEquipmentSequence
    (purpose,) = equipment.PurposeOfReferenceCodeSequence
    assert purpose.CodeMeaning == "Processing Algorithm"
    assert equipment.Manufacturer == SOFTWARE.manufacturer
    assert equipment.ManufacturerModelName == "PD-L1ES"
    assert list(equipment.SoftwareVersions) == [f"PD-L1ES {SOFTWARE.version}", "phantom 0.3.1", "5e" * 32]
    assert equipment.DeviceUID == SOFTWARE.device_uid_with("5e" * 32)


def test_another_model_is_another_device(case: Case) -> None:
    """IHE AI Results 6.5.3.1: the Device UID changes with the model, even where only its file does."""
    other = report_case(predicted=prediction(model_sha256="6f" * 32))
    uids = [
        {
            written(some.assessment).ContributingEquipmentSequence[0].DeviceUID,
            *(item.UID for item in items(written(some.assessment)) if item.ValueType == "UIDREF"
              and item.ConceptNameCodeSequence[0].CodeMeaning == "Device Observer UID"),
        }
        for some in (case, other)
    ]  # fmt: skip
    assert [len(found) for found in uids] == [1, 1]
    assert not uids[0] & uids[1]


def test_highdicom_reads_it_as_a_measurement_report(report: Dataset) -> None:
    content = hd.sr.ComprehensiveSR.from_dataset(report).content
    assert isinstance(content, hd.sr.MeasurementReport)
    (group,) = content.get_volumetric_roi_measurement_groups()
    assert group.referenced_segment is not None
    assert group.finding_type is not None
    assert group.referenced_segment.referenced_sop_instance_uid == f"{ROOT}.5"
    assert group.tracking_identifier == "PD-L1ES tumour, segment 1"
    assert group.finding_type.meaning == "Neoplasm"
    assert [site.value.meaning for site in group.finding_sites] == ["Lung"]
    values = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
    assert values["Volume"] == (1.152, "mL")
    assert values["3-D maximum diameter"] == (17.234, "mm")
    assert values["PD-L1ES score (0 to 1; not a probability)"] == (0.7312345678901234, "{score}")


def test_its_character_set_holds_the_reasons_for_withholding() -> None:
    warning = replace(SMOOTH, message="The kernel was smooth: B30f, “weich”.")
    report = written(report_case(warnings=(warning,)).assessment)
    texts = [item.TextValue for item in items(report) if item.ValueType == "TEXT"]
    assert any("Reason: The kernel was smooth: B30f, “weich”." in text for text in texts)
