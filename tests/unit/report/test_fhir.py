"""The FHIR Bundle: valid R4, the same words and numbers as the structured report, whole or not at all."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from pdl1es.assessment import Assessment
from pdl1es.clinical import ClinicalValue
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.study import Study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.model.metadata import CutOff
from pdl1es.report.build import build_pdf, build_refusal_fhir, build_refusal_sr, build_sr, draw_roi
from pdl1es.report.delivery import FHIR_FILE, Delivery
from pdl1es.report.fhir import fhir_bundle
from pdl1es.report.result import failed_result, scored_result
from pdl1es.report.statements import report_statements
from pdl1es.report.uids import tracking
from tests.report_cases import CLINICAL, OPTIONS, SMOOTH, WHEN, as_read, metadata, prediction, report_case

COX = {
    "clinical_cut_off": CutOff(value=0.05, method="X-tile", above="high risk", below="low risk"),
    "fusion_cut_off": CutOff(value=1.78, method="X-tile", above="high risk", below="low risk"),
}


def parsed(assessment: Assessment) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(fhir_bundle(assessment, OPTIONS))
    return document


def resources(document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in document["entry"] if entry["resource"]["resourceType"] == kind]


def observations(assessment: Assessment) -> dict[str, dict[str, Any]]:
    return {found["code"]["text"]: found for found in resources(parsed(assessment), "Observation")}


@pytest.mark.parametrize(
    "assessment",
    [
        report_case().assessment,
        report_case(warnings=(SMOOTH,), site=False).assessment,
        report_case(model=metadata(calibrated=True, training_data="patients")).assessment,
        report_case(
            model=metadata(**COX),
            predicted=prediction(clinical_risk=0.2, fusion_risk=1.2),
            clinical=replace(CLINICAL, treatment="pembrolizumab", smoking=ClinicalValue(2.0, "clinical.json")),
        ).assessment,
        report_case(ct={"PatientName": "", "PatientID": "", "PatientBirthDate": "", "PatientSex": "", "StudyDate": "",
                        "StudyTime": "", "AccessionNumber": ""}).assessment,
        report_case(ct={"PatientBirthDate": None, "PatientSex": "X", "TimezoneOffsetFromUTC": "-0330"}).assessment,
    ],
    ids=["plain", "withheld", "patients", "all groups", "anonymous", "odd header"],
)  # fmt: skip
def test_the_bundle_is_valid_r4_and_its_references_lead_somewhere(assessment: Assessment) -> None:
    content = fhir_bundle(assessment, OPTIONS)
    Bundle.model_validate_json(content)
    document = json.loads(content)
    urls = {entry["fullUrl"] for entry in document["entry"]}
    assert len(urls) == len(document["entry"])
    assert set(re.findall(r'"reference": "([^"]+)"', content.decode())) <= urls


def test_the_same_assessment_gives_the_same_bytes() -> None:
    first, second = (fhir_bundle(report_case().assessment, OPTIONS) for _ in range(2))
    assert first == second


def test_every_statement_stands_in_the_narrative_and_results_are_observations() -> None:
    assessment = report_case().assessment
    (report,) = resources(parsed(assessment), "DiagnosticReport")
    text = (
        re.sub(r"<[^>]+>", " ", report["text"]["div"]).replace("&gt;", ">").replace("&lt;", "<").replace("&#x27;", "'")
    )
    statements = report_statements(assessment)
    for statement in statements:
        assert statement.words in text, statement.words
    assert len(report["result"]) == sum(s.section in ("result", "why", "tumour") for s in statements)
    assert report["conclusion"].startswith("DEMONSTRATION MODEL - NOT FOR CLINICAL USE")
    assert report["status"] == "preliminary"


def test_numbers_groups_and_sentences_have_the_type_that_a_portal_expects() -> None:
    found = observations(report_case().assessment)
    score = found["PD-L1ES score (0 to 1; not a probability)"]["valueQuantity"]
    assert (score["value"], score["unit"], score["code"]) == (0.731, "score", "{score}")
    volume = found["Volume"]["valueQuantity"]
    assert (volume["value"], volume["code"], volume["system"]) == (1.15, "mL", "http://unitsofmeasure.org")
    risk = found["Estimated risk of progression under first-line pembrolizumab"]["valueCodeableConcept"]
    assert risk["coding"][0] == {"system": "http://snomed.info/sct", "code": "15508007", "display": "High risk"}
    assert "contrary to what is expected" in found["Direction of the score"]["valueString"]


def test_a_withheld_group_has_no_value_and_says_so() -> None:
    found = observations(report_case(warnings=(SMOOTH,)).assessment)
    for label in ("Estimated PD-L1 expression", "Estimated risk of progression under first-line pembrolizumab"):
        assert not [name for name in found[label] if name.startswith("value")]
        reason = found[label]["dataAbsentReason"]
        assert reason["text"].startswith("withheld")
        # The test was performed; not-performed would say that there is no score either.
        assert [coding["code"] for coding in reason["coding"]] == ["not-applicable"]


def test_it_identifies_patient_study_device_and_structured_report() -> None:
    assessment = report_case().assessment
    sr = build_sr(assessment, OPTIONS)
    document = json.loads(fhir_bundle(assessment, OPTIONS, (sr,)))
    (patient,) = resources(document, "Patient")
    assert (patient["name"][0]["family"], patient["name"][0]["given"]) == ("Müller", ["Jörg"])
    assert (patient["identifier"][0]["value"], patient["birthDate"], patient["gender"]) == (
        "P-0815",
        "1960-01-02",
        "male",
    )
    (study,) = resources(document, "ImagingStudy")
    assert study["identifier"][0]["value"] == f"urn:oid:{assessment.selection.ct.study_instance_uid}"
    assert study["identifier"][1]["value"] == "A-4711"
    (report,) = resources(document, "DiagnosticReport")
    assert report["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{sr.sop_instance_uid}"}]
    (device,) = resources(document, "Device")
    assert "5e" * 32 in [version["value"] for version in device["version"]]


def test_a_name_without_letters_of_the_alphabet_is_given_in_its_own() -> None:
    assessment = report_case(
        ct={"PatientName": "=山田^太郎=やまだ^たろう", "SpecificCharacterSet": "ISO_IR 192"}
    ).assessment
    (patient,) = resources(parsed(assessment), "Patient")
    assert patient["name"] == [{"family": "山田", "given": ["太郎"]}]


def test_every_observation_has_an_identifier_of_its_own_within_the_tumours_tracking_uid() -> None:
    assessment = report_case(
        model=metadata(**COX),
        predicted=prediction(clinical_risk=0.2, fusion_risk=1.2),
        clinical=replace(CLINICAL, treatment="pembrolizumab", smoking=ClinicalValue(2.0, "clinical.json")),
    ).assessment
    found = resources(parsed(assessment), "Observation")
    identifiers = [(one["system"], one["value"]) for observation in found for one in observation["identifier"]]
    assert len(set(identifiers)) == len(identifiers) == len(found) > 10
    assert {system for system, _ in identifiers} == {f"urn:oid:{tracking(assessment)[1]}"}
    assert "PDL1-SCORE (99PDL1ES)" in {value for _, value in identifiers}


def test_the_page_is_attached_where_one_is_written() -> None:
    assessment = report_case().assessment
    page = build_pdf(assessment, OPTIONS, draw_roi(assessment))
    (report,) = resources(json.loads(fhir_bundle(assessment, OPTIONS, (page,))), "DiagnosticReport")
    assert base64.b64decode(report["presentedForm"][0]["data"]).startswith(b"%PDF-")
    assert "presentedForm" not in resources(parsed(assessment), "DiagnosticReport")[0]


def test_clinical_values_can_be_kept_out() -> None:
    assessment = report_case().assessment
    assert b"66 years" in fhir_bundle(assessment, OPTIONS)
    assert b"66 years" not in fhir_bundle(assessment, replace(OPTIONS, show_clinical_values=False))


def test_a_refused_study_has_a_report_without_observations_that_says_what_the_refusals_report_says() -> None:
    case = report_case()
    refusal = Refusal(RefusalCode.SEG_GEOMETRY, "the planes are <askew>", tag="ImageOrientationPatient (0020,0037)")
    images = [Instance(Path(f"{number}.dcm"), as_read(image)) for number, image in enumerate(case.ct[:2])]
    former = build_refusal_sr(refusal, Study(Path("study"), tuple(images)), OPTIONS)
    assert former is not None
    study = Study(Path("study"), (*images, Instance(Path("sr.dcm"), as_read(former.dataset))))
    sr = build_refusal_sr(refusal, study, replace(OPTIONS, when=WHEN + timedelta(hours=1)))
    assert sr is not None
    content = build_refusal_fhir(refusal, study, replace(OPTIONS, when=WHEN + timedelta(hours=1)), (sr,))
    assert content is not None
    Bundle.model_validate_json(content)
    document = json.loads(content)
    assert resources(document, "Observation") == []
    (report,) = resources(document, "DiagnosticReport")
    assert report["identifier"] == [{"system": "urn:dicom:uid", "value": f"urn:oid:{sr.sop_instance_uid}"}]
    assert (report["status"], report.get("result")) == ("cancelled", None)
    (patient,) = resources(document, "Patient")
    assert patient["identifier"][0]["value"] == "P-0815"
    told = [html.unescape(part) for part in re.findall(r"<(?:li|p)>(.*?)</(?:li|p)>", report["text"]["div"])]
    texts = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item.TextValue
        for item in sr.dataset.ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99PDL1ES"
    }
    assert "Replaces" in texts
    assert told[0] == texts.pop("Notice")
    assert {f"{label}: {text}" for label, text in texts.items()} | {"Reason: SEG_GEOMETRY"} == set(told[1:])
    assert report["conclusion"] == f"{told[0]} {texts['What to do']}"


def test_a_refusal_that_no_patient_is_known_of_has_no_bundle() -> None:
    refusal = Refusal(RefusalCode.SEVERAL_PATIENTS, "two")
    image = Instance(Path("ct.dcm"), as_read(report_case().ct[0]))
    assert build_refusal_fhir(refusal, Study(Path("study"), (image,)), OPTIONS, ()) is None


def test_a_later_run_takes_the_bundle_of_an_earlier_one_away(tmp_path: Path) -> None:
    assessment = report_case().assessment
    with Delivery(tmp_path) as delivery:
        name = delivery.deliver_document(FHIR_FILE, fhir_bundle(assessment, OPTIONS))
        result = scored_result(assessment, study=None, reports=(), seconds={}, when=WHEN, fhir=name)
        delivery.deliver_result(result)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fhir.json", "result.json"]
    with Delivery(tmp_path) as delivery:
        delivery.deliver_result(failed_result(KeyError("x"), study=None, seconds={}, when=WHEN))
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
