"""SEGs as segmenters and viewers write them: of each, one verdict.

What they write is read from their sources: TotalSegmentator and 3D Slicer code everything as Tissue where nobody chose;
MHub's SegDB codes tumours; BAMF Health's models draw on the PET of a PET/CT; MONAI Label writes the spleen's code with the label
as its meaning; syngo.via leaves out the category; OHIF numbers its segments.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Final

import pydicom
import pytest
from pydicom.dataset import Dataset

from pdl1es.dicom.contour_origin import algorithm_name, algorithm_type, warn_of_automatic
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segmentation import Segment
from pdl1es.dicom.selection.rules import SegmentRules, SelectionRules
from pdl1es.dicom.selection.survey import Survey, survey
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import RefusalCode
from pdl1es.phantom.dicom import PhantomStudy

Code = tuple[str, str, str]
TISSUE: Final = ("85756007", "SCT", "Tissue")
ALTERED: Final = ("49755003", "SCT", "Morphologically Altered Structure")
PRIMARY: Final = ("86049000", "SCT", "Neoplasm, Primary")
ORGAN_CATEGORY: Final = ("123037004", "SCT", "Anatomical Structure")
LUNG: Final = ("39607008", "SCT", "Lung")


@dataclass(frozen=True)
class Written:
    """One segment as a software writes it."""

    label: str
    category: Code | None
    kind: Code | None
    algorithm: str = "AUTOMATIC"
    algorithm_name: str | None = None
    site: Code | None = None


SEGMENTERS: Final[dict[str, tuple[tuple[Written, ...], RefusalCode | None]]] = {
    "TotalSegmentator": (
        (Written("lung_nodules", TISSUE, TISSUE, algorithm_name="TotalSegmentator"),),
        None,
    ),
    "TotalSegmentator, all organs": (
        (
            Written("lung_upper_lobe_left", TISSUE, TISSUE, algorithm_name="TotalSegmentator"),
            Written("lung_vessels", TISSUE, TISSUE, algorithm_name="TotalSegmentator"),
        ),
        RefusalCode.NO_TUMOUR_SEGMENT,
    ),
    "MHub, SegDB": ((Written("Neoplasm, Primary", ALTERED, PRIMARY, algorithm_name="MHub model"),), None),
    "MHub, SegDB, several": (
        tuple(Written(f"Lesion {number}", ALTERED, PRIMARY, algorithm_name="MHub model") for number in (1, 2)),
        RefusalCode.SEVERAL_TUMOUR_SEGMENTS,
    ),
    "BAMF Health on the CT": (
        (
            Written(
                "FDG-Avid Tumor",
                ("C35869", "NCIt", "Radiologic Finding"),
                ("C168968", "NCIt", "FDG-Avid Tumor"),
                algorithm_name="BAMF-Lung-FDG-PET-CT",
                site=LUNG,
            ),
        ),
        None,
    ),
    "3D Slicer, nothing chosen": (
        (Written("Segment_1", TISSUE, TISSUE, "SEMIAUTOMATIC", "SlicerEditor"),),
        RefusalCode.NO_TUMOUR_SEGMENT,
    ),
    "3D Slicer, named": ((Written("Tumor", TISSUE, TISSUE, "SEMIAUTOMATIC", "SlicerEditor"),), None),
    "OHIF, nothing chosen": ((Written("Segment 1", TISSUE, TISSUE, "MANUAL"),), RefusalCode.NO_TUMOUR_SEGMENT),
    "OHIF, named": ((Written("GTV primary", TISSUE, TISSUE, "MANUAL"),), None),
    "MONAI Label": (
        (Written("lung tumor", ORGAN_CATEGORY, ("78961009", "SCT", "lung tumor"), algorithm_name="MONAILABEL"),),
        None,
    ),
    "MONAI Label, lungs": (
        (Written("lung", ORGAN_CATEGORY, ("78961009", "SCT", "lung"), algorithm_name="MONAILABEL"),),
        RefusalCode.NO_TUMOUR_SEGMENT,
    ),
    "a spleen by name and code": (
        (Written("Tumor", ORGAN_CATEGORY, ("78961009", "SCT", "Spleen"), "MANUAL"),),
        RefusalCode.NO_TUMOUR_SEGMENT,
    ),
    "syngo.via, no category": ((Written("Mass", None, ("4147007", "SCT", "Mass"), "SEMIAUTOMATIC"),), None),
    "syngo.via, a numbered lesion": (
        (Written("Lesion 1", None, None, "SEMIAUTOMATIC"),),
        RefusalCode.NO_TUMOUR_SEGMENT,
    ),
}


def code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item


def segment_item(number: int, written: Written) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    item.SegmentLabel = written.label
    item.SegmentAlgorithmType = written.algorithm
    if written.algorithm_name is not None:
        item.SegmentAlgorithmName = written.algorithm_name
    for keyword, code in (
        ("SegmentedPropertyCategoryCodeSequence", written.category),
        ("SegmentedPropertyTypeCodeSequence", written.kind),
        ("AnatomicRegionSequence", written.site),
    ):
        if code is not None:
            setattr(item, keyword, [code_item(code)])
    return item


def survey_of(phantom: PhantomStudy, segments: tuple[Written, ...], **changes: Any) -> Survey:
    """Survey the phantom with its SEG's segments described in another way; further segments share the frames of the first."""
    study = scan_study(phantom.folder)
    instances = []
    for instance in study.instances:
        header = instance.header
        if header.Modality == "SEG":
            header = copy.deepcopy(pydicom.dcmread(instance.path, stop_before_pixels=True))
            header.SegmentSequence = [segment_item(number, written) for number, written in enumerate(segments, 1)]
            frames = list(header.PerFrameFunctionalGroupsSequence)
            for index, frame in enumerate(frames):
                shown = Dataset()
                shown.ReferencedSegmentNumber = 1 + index % len(segments)
                frame.SegmentIdentificationSequence = [shown]
            for keyword, value in changes.items():
                setattr(header, keyword, value)
        instances.append(Instance(instance.path, header, instance.pixel_data_offset))
    return survey(Study(study.root, tuple(instances)), SelectionRules(), ProtocolRules())


@pytest.mark.parametrize("software", SEGMENTERS)
def test_each_segmenters_seg_has_its_verdict(phantom_study: PhantomStudy, software: str) -> None:
    segments, code = SEGMENTERS[software]
    found = survey_of(phantom_study, segments)
    assert (found.refusal.code if found.refusal else None) is code


def test_a_tumour_drawn_on_the_pet_is_refused_with_a_remedy_for_that(phantom_study: PhantomStudy) -> None:
    segments, _ = SEGMENTERS["BAMF Health on the CT"]
    pet = Dataset()
    ct = next(i for i in scan_study(phantom_study.folder).instances if i.header.Modality == "CT")
    pet.update(ct.header)
    pet.SOPClassUID, pet.Modality = "1.2.840.10008.5.1.4.1.1.128", "PT"
    pet.SOPInstanceUID, pet.SeriesInstanceUID = "1.2.826.0.1.55.1", "1.2.826.0.1.55"
    study = scan_study(phantom_study.folder)
    drawn = survey_of(phantom_study, segments).selection
    assert drawn is not None
    reference = Dataset()
    reference.SeriesInstanceUID = pet.SeriesInstanceUID
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = pet.SOPClassUID, pet.SOPInstanceUID
    reference.ReferencedInstanceSequence = [item]
    seg = copy.deepcopy(drawn.segmentation.instance.header)
    seg.ReferencedSeriesSequence = [reference]
    del seg.SourceImageSequence
    for frame in (*seg.PerFrameFunctionalGroupsSequence, *seg.SharedFunctionalGroupsSequence):
        if "DerivationImageSequence" in frame:
            del frame.DerivationImageSequence
    instances = [i for i in study.instances if i.header.Modality != "SEG"]
    instances += [Instance(ct.path, pet), Instance(drawn.segmentation.instance.path, seg)]
    refusal = survey(Study(study.root, tuple(instances)), SelectionRules(), ProtocolRules()).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.SEG_NOT_ON_CT
    assert "PT" in refusal.found
    assert "transfer the contour" in refusal.remedy


def test_no_person_drew_it_is_told_of_automatic_contours_alone(phantom_study: PhantomStudy) -> None:
    for algorithm, told in (("AUTOMATIC", True), ("SEMIAUTOMATIC", False), ("MANUAL", False)):
        selection = survey_of(phantom_study, (Written("GTV", TISSUE, TISSUE, algorithm),)).selection
        assert selection is not None
        warned = [warning for warning in selection.warnings if warning.code == "CONTOUR_AUTOMATIC"]
        assert bool(warned) is told
        assert all(warning.effect == "warn" for warning in warned)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("TotalSegmentator v2.4", "TotalSegmentator"),
        ("MONAILABEL", "MONAI Label"),
        ("BAMF-Lung-FDG-PET-CT", "BAMF Health"),
        ("Dr. Jane Doe for Mr. X", None),
        (None, None),
    ],
)
def test_an_algorithms_name_is_repeated_only_where_it_is_known(written: str | None, told: str | None) -> None:
    segment = Segment(1, "GTV", None, None, None, None, None, "AUTOMATIC", algorithm_name=written)
    assert algorithm_name(segment) == told
    (warning,) = warn_of_automatic(segment)
    assert (told or "drawn by software; ") in warning.message
    assert "Doe" not in warning.message


def test_another_word_for_how_it_was_made_is_not_repeated() -> None:
    assert algorithm_type(Segment(1, "GTV", None, None, None, None, None, "Jane Doe")) is None


def test_the_rules_default_to_english_labels() -> None:
    assert SegmentRules().label_languages == ("en",)
