"""Text of a file that could hold a patient's name is repeated nowhere but in the reports' own patient and study modules."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pydicom
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from app.run import run_operators
from pdl1es.command_line.cli import app
from pdl1es.dicom.free_text import hidden, shown_code, shown_kernel, shown_words
from pdl1es.report.study_context import PATIENT_AND_STUDY
from pdl1es.run import Execute, run_in_python, run_study
from tests.integration.chain_runs import Score

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

MARKER: Final = "Zebrafink"
TEXT: Final = ("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
Edit = Callable[[Dataset], None]


def nothing_more(dataset: Dataset) -> None:
    """Leave it at the text."""


def mark_all_text(dataset: Dataset) -> None:
    """Put the marker into every attribute whose VR is text, at every depth."""
    for element in dataset.iterall():
        if element.VR in TEXT and element.keyword != "RescaleType":  # which has a case of its own
            element.value = MARKER


def set_to(**attributes: Any) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    return edit


def mark_segments(dataset: Dataset) -> None:
    for segment in dataset.SegmentSequence:
        segment.SegmentLabel = segment.SegmentDescription = segment.TrackingID = f"GTV {MARKER}"
        segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = MARKER
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "86049000"
        segment.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator = "SCT"
        segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue = "49755003"
        segment.SegmentedPropertyCategoryCodeSequence[0].CodingSchemeDesignator = "SCT"
        if "AnatomicRegionSequence" in segment:
            del segment.AnatomicRegionSequence


def uncoded(dataset: Dataset) -> None:
    mark_segments(dataset)
    for segment in dataset.SegmentSequence:
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        code.CodeValue, code.CodingSchemeDesignator = MARKER, f"99{MARKER[:6].upper()}"


CASES: Final[dict[str, tuple[Edit, Edit]]] = {
    "all text": (nothing_more, mark_segments),
    "a segment of another kind": (nothing_more, uncoded),
    "Modality of the CT": (set_to(Modality=MARKER), mark_segments),
    "Modality of the SEG": (nothing_more, set_to(Modality=MARKER)),
    "Rescale Type": (set_to(RescaleType=MARKER), mark_segments),
    "Image Type": (set_to(ImageType=["ORIGINAL", MARKER, MARKER]), mark_segments),
    "Image Type, third": (set_to(ImageType=["DERIVED", "SECONDARY", MARKER, f"MIP {MARKER}"]), mark_segments),
    "Photometric Interpretation": (set_to(PhotometricInterpretation=MARKER), mark_segments),
    "Patient Position": (set_to(PatientPosition=MARKER), mark_segments),
    "Segmentation Type": (nothing_more, set_to(SegmentationType=MARKER.upper())),
    "Lossy Image Compression": (
        set_to(LossyImageCompression=MARKER, LossyImageCompressionMethod=MARKER),
        mark_segments,
    ),
    "kernels": (set_to(ConvolutionKernel=[MARKER, "B60f"], Manufacturer=MARKER), mark_segments),
}


@pytest.fixture
def marked(phantom_study: PhantomStudy, tmp_path: Path) -> Callable[[Edit, Edit], Path]:
    """Copy the phantom with its objects edited."""

    def make(ct: Edit, seg: Edit) -> Path:
        study = tmp_path / "study"
        shutil.copytree(phantom_study.folder, study)
        for kind, edit in (("CT", ct), ("SEG", seg)):
            for path in (study / kind).iterdir():
                dataset = pydicom.dcmread(path)
                dataset.ClinicalTrialSiteName = dataset.StudyDescription = MARKER
                mark_all_text(dataset)
                edit(dataset)
                dataset.save_as(path)
        return study

    return make


def strangers(dataset: Dataset, top: bool = True) -> Iterator[str]:
    """Yield the attributes outside of the patient and study modules that hold the marker."""
    for element in dataset:
        if top and element.keyword in PATIENT_AND_STUDY:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from strangers(item, top=False)
        elif MARKER.lower() in str(element.value).lower():
            yield element.keyword


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_no_output_holds_a_text_of_the_input(
    case: str,
    marked: Callable[[Edit, Edit], Path],
    score: Score,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    study = marked(*CASES[case])
    caplog.clear()  # of what pydicom said of the marked files when they were written
    capfd.readouterr()
    with caplog.at_level(logging.INFO):
        done = score(study, report_refusals=True)
    inspected = CliRunner().invoke(app, ["inspect", str(study)])
    said = capfd.readouterr()
    for text in (done.outcome.result.text() if done.outcome.result else "", caplog.text, inspected.output, *said):
        assert MARKER.lower() not in text.lower()
    assert done.outcome.refusal is None or MARKER.lower() not in done.outcome.refusal.message.lower()
    assert list(strangers(done.report)) == []
    assert case != "all text" or done.code == "scored"


def test_what_is_known_is_repeated() -> None:
    for text in (
        "GTV-1",
        "Tumor Right Upper Lobe",
        "Lymph node, 4R",
        "心" and "左肺上叶结节",
        "Neoplasm, Primary",
        "lung_nodules",
    ):
        assert shown_words(text) == text
    assert shown_code("86049000", "SCT", "Neoplasm, Primary") == "Neoplasm, Primary (86049000, SCT)"
    assert [shown_kernel(kernel) for kernel in ("B60f", "Br40d", "FC08", "STANDARD", "YA", "Hr69f")] == [
        "B60f",
        "Br40d",
        "FC08",
        "STANDARD",
        "YA",
        "Hr69f",
    ]


@pytest.mark.parametrize(
    "text", ["Zebrafink", "GTV Zebrafink", "tumour of Mr Q", "tumour 19500101", "王小明", "GTV\x00", "x" * 100]
)
def test_what_could_be_a_name_is_told_by_length_and_hash(text: str) -> None:
    assert shown_words(text) == hidden(text)
    assert f"text of {len(text)} characters (sha256 " in hidden(text)


@pytest.mark.parametrize("execute", [run_in_python, run_operators])
@pytest.mark.parametrize("shown", [True, False])
def test_a_setting_shows_it_in_plain_python_and_through_the_operators(
    shown: bool,
    execute: Execute,
    marked: Callable[[Edit, Edit], Path],
    settings: Any,
    repository: Path,
    tmp_path: Path,
) -> None:
    report = settings.report.model_copy(update={"show_free_text": shown})
    run_study(
        marked(nothing_more, mark_segments),
        tmp_path / "out",
        settings=settings.model_copy(update={"report": report}),
        model_folder=repository / "models",
        execute=execute,
    )
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    label = f"GTV {MARKER}"
    assert result["assessment"]["selection"]["segment"]["label"] == (label if shown else hidden(label))
