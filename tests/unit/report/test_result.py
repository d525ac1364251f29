"""result.json: what a program may rely on."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pdl1es.dicom.files import UnreadableFile
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.report.result import failed_result, refused_result, scored_result
from pdl1es.report.result_schema import ReportFile, ResultDocument, result_schema_text
from tests.report_cases import SMOOTH, WHEN, Case, report_case

SECONDS = {"study_loader": 0.12345, "resample": 1.0}
REPORTS = (ReportFile(kind="sr", file="2.25.1.dcm", sop_instance_uid="2.25.1"),)


def study_of(case: Case) -> Study:
    selection = case.assessment.selection
    instances = (*(s.instance for s in selection.ct.slices), selection.segmentation.instance)
    unreadable = (
        UnreadableFile("Müller/1.dcm", "truncated"),
        UnreadableFile("Müller/2.dcm", "truncated"),
        UnreadableFile("x", "nested too deep"),
    )
    return Study(Path("/in/Müller"), instances, unreadable, ignored_files=2)


@pytest.fixture(scope="module")
def case() -> Case:
    return report_case()


@pytest.fixture(scope="module")
def scored(case: Case) -> ResultDocument:
    return scored_result(case.assessment, study=study_of(case), reports=REPORTS, seconds=SECONDS, when=WHEN)


def refused() -> ResultDocument:
    refusal = Refusal(RefusalCode.NOT_HU, "no rescale", tag="RescaleSlope (0028,1053)", value=None, uid="1.2.3")
    return refused_result(refusal, study=None, seconds={}, when=WHEN)


def test_the_schema_in_the_docs_is_current(repository: Path) -> None:
    """Renew it with: python -m pdl1es.report.result_schema > docs/result.schema.json"""
    assert (repository / "docs" / "result.schema.json").read_text(encoding="utf-8") == result_schema_text()


def test_every_field_of_the_schema_is_explained_in_the_docs(repository: Path) -> None:
    text = (repository / "docs" / "result-schema.md").read_text(encoding="utf-8")
    schema = json.loads(result_schema_text())
    records = [schema, *schema["$defs"].values()]
    fields = {name for record in records for name in record.get("properties", {})}
    assert not [name for name in sorted(fields) if f"`{name}`" not in text]


def test_every_kind_of_document_follows_the_schema(scored: ResultDocument) -> None:
    validator = Draft202012Validator(json.loads(result_schema_text()))
    for document in (scored, refused(), failed_result(KeyError("x"), study=None, seconds={}, when=WHEN)):
        assert not list(validator.iter_errors(json.loads(document.model_dump_json())))


def test_a_document_reads_back_as_it_was_written(scored: ResultDocument) -> None:
    assert ResultDocument.model_validate_json(scored.model_dump_json()) == scored


def test_it_shows_itself_in_one_line(scored: ResultDocument) -> None:
    assert repr(scored) == "ResultDocument(status='scored', score=0.731, warnings=2, reports=1)" == str(scored)
    assert repr(refused()) == "ResultDocument(status='refused', warnings=0, reports=0)"


def test_nothing_in_it_identifies_the_patient(case: Case, scored: ResultDocument) -> None:
    text = scored.model_dump_json()
    header = case.ct[0]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber",
                    "ReferringPhysicianName", "StudyDescription"):  # fmt: skip
        for part in str(header[keyword].value).split("^"):
            assert part not in text, keyword
    assert "Müller" not in text, "a file's name may be a patient's"


def test_unreadable_files_are_counted_by_reason(scored: ResultDocument) -> None:
    assert scored.input is not None
    assert [(entry.reason, entry.files) for entry in scored.input.unreadable] == [
        ("nested too deep", 1),
        ("truncated", 2),
    ]
    assert scored.input.ignored_files == 2


def test_the_same_run_gives_the_same_bytes_but_for_its_times(case: Case, scored: ResultDocument) -> None:
    study = study_of(case)
    shuffled = replace(study, instances=tuple(reversed(study.instances)), unreadable=tuple(reversed(study.unreadable)))
    again = scored_result(
        report_case().assessment, study=shuffled, reports=REPORTS, seconds={"study_loader": 9.0}, when=WHEN
    )
    assert again.model_copy(update={"seconds": {}}).model_dump_json() == (
        scored.model_copy(update={"seconds": {}}).model_dump_json()
    )


def test_contributions_add_up_and_the_ten_largest_are_named(scored: ResultDocument) -> None:
    assert scored.assessment is not None
    contributions = scored.assessment.contributions
    parts = (contributions.bias, contributions.deep, contributions.radiomic_total, contributions.clinical_total)
    assert sum(parts) == pytest.approx(contributions.logit, abs=1e-12)
    assert sum(term.log_odds for term in contributions.radiomic) == pytest.approx(contributions.radiomic_total)
    sizes = [abs(term.log_odds) for term in contributions.largest]
    assert len(sizes) == 10
    assert sizes == sorted(sizes, reverse=True)
    smaller = {t.name for t in (*contributions.radiomic, *contributions.clinical)} - {
        t.name for t in contributions.largest
    }
    by_name = {t.name: abs(t.log_odds) for t in (*contributions.radiomic, *contributions.clinical)}
    assert max(by_name[name] for name in smaller) <= sizes[-1]


def test_each_clinical_value_tells_source_and_imputation(scored: ResultDocument) -> None:
    assert scored.assessment is not None
    by_name = {variable.name: variable for variable in scored.assessment.clinical}
    assert (by_name["age"].value, by_name["age"].used, by_name["age"].imputed) == (66.0, 66.0, False)
    assert (by_name["smoking"].value, by_name["smoking"].used, by_name["smoking"].imputed) == (None, 1.3333, True)
    assert by_name["smoking"].source == "missing"


def test_clinical_values_can_be_kept_out(case: Case) -> None:
    hidden = scored_result(
        case.assessment, study=None, reports=(), seconds={}, when=WHEN, show_clinical_values=False
    ).assessment
    assert hidden is not None
    assert {(variable.value, variable.used) for variable in hidden.clinical} == {(None, None)}
    assert [variable.imputed for variable in hidden.clinical] == [False, False, True, True]


def test_a_withheld_group_is_null_with_its_reason() -> None:
    document = scored_result(report_case(warnings=(SMOOTH,)).assessment, study=None, reports=(), seconds={}, when=WHEN)
    assert document.assessment is not None
    groups = document.assessment.groups
    assert groups.risk.group is None
    assert groups.expression.group is None
    assert groups.withheld == "The CT was reconstructed with the smooth kernel B30f"
    assert "withhold_group" in {warning.effect for warning in document.warnings}


def test_a_demonstration_is_called_one_beside_its_score(scored: ResultDocument) -> None:
    assert scored.assessment is not None
    assert scored.assessment.notice.startswith("DEMONSTRATION MODEL - NOT FOR CLINICAL USE")


def test_a_refusal_names_code_tag_value_uid_and_remedy() -> None:
    document = refused()
    assert document.status == "refused"
    assert document.assessment is None
    assert document.refusal is not None
    assert document.refusal.code == "NOT_HU"
    assert document.refusal.tag == "RescaleSlope (0028,1053)"
    assert document.refusal.uid == "1.2.3"
    assert document.refusal.remedy


def test_a_defects_message_stays_out() -> None:
    text = failed_result(ValueError("Doe^Jane"), study=None, seconds={}, when=WHEN).model_dump_json()
    assert "Doe" not in text
    assert '"kind":"ValueError"' in text


def test_versions_of_what_can_change_a_result_are_recorded(scored: ResultDocument) -> None:
    assert {"pdl1es", "python", "pydicom", "highdicom", "SimpleITK", "numpy"} <= set(scored.versions)
    assert {"pyradiomics", "pyradiomics-bhklab"} & set(scored.versions)
    assert {"onnxruntime", "onnxruntime-gpu"} & set(scored.versions)
    assert all(re.match(r"\d", version) for version in scored.versions.values())


def test_the_series_of_the_input_are_counted(case: Case) -> None:
    instance: Instance = case.assessment.selection.segmentation.instance
    document = scored_result(case.assessment, study=Study(Path("/in"), (instance,)), reports=(), seconds={}, when=WHEN)
    assert document.input is not None
    assert [(s.modality, s.instances) for s in document.input.series] == [("SEG", 1)]
