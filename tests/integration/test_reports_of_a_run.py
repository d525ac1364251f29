"""Which reports a run writes, as the settings ask: structured report, picture, page, a refusal's report, a correction."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest

from pdl1es.phantom.dicom import PhantomStudy
from pdl1es.report.earlier_reports import EarlierReportError
from pdl1es.run import run_study
from pdl1es.settings import ReportSettings, Settings
from tests.integration.chain_runs import WHEN, Score, Scored

ALL = ("sr", "cam", "pdf", "json")


@pytest.fixture(scope="module")
def everything(score: Score, phantom_study: PhantomStudy) -> Scored:
    return score(phantom_study.folder, outputs=ALL)


@pytest.fixture(scope="module")
def without_seg(phantom_study: PhantomStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom's CT alone."""
    folder = tmp_path_factory.mktemp("without_seg") / "CT"
    folder.mkdir()
    for path in phantom_study.ct.paths:
        shutil.copy(path, folder)
    return folder.parent


def kinds(scored: Scored) -> dict[str, Path]:
    return {report["kind"]: scored.folder / report["file"] for report in scored.result["reports"]}


def test_only_the_structured_report_is_written_unless_more_is_asked_for(
    score: Score, phantom_study: PhantomStudy
) -> None:
    scored = score(phantom_study.folder)
    assert set(kinds(scored)) == {"sr"}
    assert sorted(path.name for path in scored.folder.iterdir()) == sorted(
        ["result.json", *(path.name for path in kinds(scored).values())]
    )


def test_picture_and_page_are_written_where_they_are_asked_for(everything: Scored) -> None:
    found = {kind: pydicom.dcmread(path) for kind, path in kinds(everything).items()}
    assert {kind: (d.Modality, d.SeriesNumber) for kind, d in found.items()} == {
        "sr": ("SR", 9601),
        "cam": ("OT", 9602),
        "pdf": ("DOC", 9603),
    }
    assert len({d.StudyInstanceUID for d in found.values()}) == 1
    assert len({d.SeriesInstanceUID for d in found.values()}) == 3
    for report in everything.result["reports"]:
        assert found[report["kind"]].SOPInstanceUID == report["sop_instance_uid"]


def test_a_second_run_gives_the_same_bytes_of_every_object(
    everything: Scored, score: Score, phantom_study: PhantomStudy
) -> None:
    again = score(phantom_study.folder, outputs=ALL)
    for kind, path in kinds(everything).items():
        assert kinds(again)[kind].read_bytes() == path.read_bytes(), kind


def test_a_run_writes_fhir_beside_its_reports_and_replaces_an_earlier_report_that_lies_elsewhere(
    everything: Scored, phantom_study: PhantomStudy, repository: Path, tmp_path: Path
) -> None:
    earlier = kinds(everything)["sr"]
    outcome = run_study(
        phantom_study.folder,
        tmp_path / "out",
        settings=Settings(outputs=("sr", "fhir"), contour_stability="off"),
        model_folder=repository / "models",
        earlier_files=[earlier],
        when=WHEN + timedelta(hours=1),
    )
    assert outcome.result is not None
    (report,) = outcome.result.reports
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {report.file, "fhir.json", "result.json"}
    bundle = json.loads((tmp_path / "out" / "fhir.json").read_bytes())
    assert bundle["entry"][0]["resource"]["identifier"][0]["value"] == f"urn:oid:{report.sop_instance_uid}"
    sr = pydicom.dcmread(tmp_path / "out" / report.file)
    (replaced,) = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert replaced.ReferencedSOPInstanceUID == pydicom.dcmread(earlier).SOPInstanceUID


def test_the_picture_is_the_result_files_map(everything: Scored) -> None:
    """The cells that are drawn add up to the deep term of the report."""
    slices = everything.result["assessment"]["slices"]
    deep = sum(sum(map(sum, entry["cam"])) for entry in slices) / len(slices)
    assert deep == pytest.approx(everything.result["assessment"]["contributions"]["deep"], abs=1e-4)
    assert pydicom.dcmread(kinds(everything)["cam"]).NumberOfFrames == len(slices)


def test_a_site_chooses_series_numbers_and_whether_clinical_values_are_shown(
    score: Score, phantom_study: PhantomStudy
) -> None:
    scored = score(
        phantom_study.folder, outputs=ALL, report=ReportSettings(series_number=501, show_clinical_values=False)
    )
    found = {kind: pydicom.dcmread(path) for kind, path in kinds(scored).items()}
    assert {kind: d.SeriesNumber for kind, d in found.items()} == {"sr": 501, "cam": 502, "pdf": 503}
    assert all(variable["value"] is None for variable in scored.result["assessment"]["clinical"])
    assert " years (from" not in str(found["sr"])


def test_a_refusal_has_no_report_unless_it_is_asked_for(score: Score, without_seg: Path) -> None:
    refused = score(without_seg)
    assert refused.outcome.exit_code == 3
    assert refused.result["status"] == "refused"
    assert [path.name for path in refused.folder.iterdir()] == ["result.json"]


def test_a_refusals_report_is_delivered_with_exit_code_0(score: Score, without_seg: Path) -> None:
    """Orchestrators drop what a failed process has written."""
    refused = score(without_seg, report_refusals=True)
    assert refused.outcome.exit_code == 0
    assert refused.result["status"] == "refused"
    assert refused.result["refusal"]["code"] == "NO_SEG"
    (report,) = refused.result["reports"]
    assert refused.report.SOPInstanceUID == report["sop_instance_uid"]
    reason = next(
        item for item in refused.report.ContentSequence if item.ConceptNameCodeSequence[0].CodeMeaning == "Reason"
    )
    assert reason.ConceptCodeSequence[0].CodeMeaning == "NO_SEG"


def test_a_refusal_is_told_in_fhir_too_where_that_is_asked_for(score: Score, without_seg: Path) -> None:
    refused = score(without_seg, report_refusals=True, outputs=("sr", "fhir"))
    assert refused.result["fhir"] == "fhir.json"
    report = json.loads((refused.folder / "fhir.json").read_bytes())["entry"][0]["resource"]
    assert report["conclusion"].startswith("PD-L1ES did not analyse this study")
    assert report["identifier"][0]["value"] == f"urn:oid:{refused.report.SOPInstanceUID}"


def test_an_earlier_report_of_another_study_is_an_error_of_usage_and_nothing_is_written(
    everything: Scored, without_seg: Path, repository: Path, tmp_path: Path
) -> None:
    foreign = pydicom.dcmread(kinds(everything)["sr"])
    foreign.StudyInstanceUID = "2.25.4711"
    foreign.save_as(tmp_path / "foreign.dcm")
    with pytest.raises(EarlierReportError, match=r"foreign\.dcm holds no report of the study"):
        run_study(
            without_seg,
            tmp_path / "out",
            settings=Settings(),
            model_folder=repository / "models",
            earlier_files=[tmp_path / "foreign.dcm"],
            when=WHEN,
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_two_patients_in_one_folder_get_no_report_even_then(
    score: Score, without_seg: Path, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    shutil.copytree(without_seg, tmp_path / "study")
    image = pydicom.dcmread(phantom_study.ct.paths[0])
    image.PatientID = "SOMEONE-ELSE"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(
        f"{image.SOPInstanceUID[:50]}.9"
    )
    image.save_as(tmp_path / "study" / "other.dcm")
    refused = score(tmp_path / "study", report_refusals=True)
    assert refused.code == "SEVERAL_PATIENTS"
    assert refused.outcome.exit_code == 3
    assert refused.result["reports"] == []


def test_a_scored_study_is_reported_as_ever_where_refusals_would_be(
    score: Score, phantom_study: PhantomStudy, everything: Scored
) -> None:
    scored = score(phantom_study.folder, report_refusals=True, outputs=ALL)
    assert scored.outcome.exit_code == 0
    assert kinds(scored)["sr"].read_bytes() == kinds(everything)["sr"].read_bytes()


def test_a_report_names_the_earlier_one_that_came_with_the_study(
    score: Score, phantom_study: PhantomStudy, everything: Scored, tmp_path: Path
) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    earlier = pydicom.dcmread(kinds(everything)["sr"])
    shutil.copy(kinds(everything)["sr"], tmp_path / "study")
    corrected = score(tmp_path / "study")
    (study,) = corrected.report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (item,) = series.ReferencedSOPSequence
    assert study.StudyInstanceUID == earlier.StudyInstanceUID
    assert series.SeriesInstanceUID == earlier.SeriesInstanceUID
    assert item.ReferencedSOPInstanceUID == earlier.SOPInstanceUID
    assert corrected.report.SOPInstanceUID != earlier.SOPInstanceUID
    assert corrected.result["assessment"]["score"] == everything.result["assessment"]["score"]


def test_an_earlier_report_of_another_patient_is_never_named(
    score: Score, phantom_study: PhantomStudy, everything: Scored, tmp_path: Path
) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    foreign = pydicom.dcmread(kinds(everything)["sr"])
    foreign.PatientID = "SOMEONE-ELSE"
    foreign.save_as(tmp_path / "study" / "foreign.dcm")
    assert score(tmp_path / "study").code == "SEVERAL_PATIENTS"


def test_a_study_refused_for_the_models_sake_is_reported_too(
    settings: Settings, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    """The model is looked at before the study; the report needs the study's header all the same."""
    outcome = run_study(
        phantom_study.folder,
        tmp_path / "out",
        settings=settings.model_copy(update={"report_refusals": True}),
        model_folder=tmp_path,
        when=WHEN,
    )
    assert outcome.refusal is not None
    assert outcome.refusal.code.name == "MODEL_UNFIT"
    assert outcome.exit_code == 0
    (path,) = (tmp_path / "out").glob("*.dcm")
    assert pydicom.dcmread(path).StudyInstanceUID == phantom_study.ct.datasets[0].StudyInstanceUID


def test_a_defect_in_the_report_of_a_refusal_is_a_defect_and_leaves_no_report(
    score: Score, without_seg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a value of the header")

    monkeypatch.setattr("pdl1es.report.refusal_report.build_refusal_report", fail)
    scored = score(without_seg, report_refusals=True)
    assert scored.outcome.exit_code == 1
    assert scored.result["status"] == "failed"
    assert [path.name for path in scored.folder.iterdir()] == ["result.json"]
