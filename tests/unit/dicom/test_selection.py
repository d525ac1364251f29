"""The choice of series and segment: every rule, every refusal, and the order in which they are tested."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
import pytest
from pydantic import ValidationError
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pdl1es.dicom.coded_concept import Code
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.pixels import segment_reader
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.segmentation import Segment, Segmentation
from pdl1es.dicom.selection.rules import SegmentRules, SelectionRules
from pdl1es.dicom.selection.segment import judge_segment
from pdl1es.dicom.selection.survey import Selection, Survey, select, survey
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal, RefusalCode
from tests.unit.dicom.synthetic_ct import (
    ALTERED,
    LUNG,
    NEOPLASM,
    STUDY,
    TISSUE,
    ct_instance,
    ct_stack,
    references_to,
    seg_instance,
    segment_item,
    study_of,
)

Triple = tuple[str, str, str]


def rules_with(**segment: Any) -> SelectionRules:
    return SelectionRules(segment=SegmentRules.model_validate(segment))


def chosen(study: Study, rules: SelectionRules | None = None, protocol: ProtocolRules | None = None) -> Selection:
    return select(study, rules or SelectionRules(), protocol or ProtocolRules())


def refusal_of(study: Study, rules: SelectionRules | None = None, protocol: ProtocolRules | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        select(study, rules or SelectionRules(), protocol or ProtocolRules())
    return caught.value


def looked_at(study: Study, rules: SelectionRules | None = None) -> Survey:
    return survey(study, rules or SelectionRules(), ProtocolRules())


def real_objects(*paths: Path) -> list[Instance]:
    """Return the DICOM objects of real files and folders."""
    files = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    return [Instance(f, pydicom.dcmread(f, stop_before_pixels=True)) for f in files]


def segment_of(
    label: str = "Segment", kind: Triple | None = None, site: Triple | None = None, category: Triple | None = ALTERED
) -> Segment:
    def code(triple: Triple | None) -> Code | None:
        return Code(*triple) if triple else None

    return Segment(1, label, code(category), code(kind), code(site), None, None, None)


# --- which segment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "kind", "site"),
    [
        ("Segment 1", NEOPLASM, LUNG),
        ("Segment 1", NEOPLASM, None),
        ("Segment 1", ("M-80003", "SRT", "Neoplasm, Primary"), ("T-28000", "SRT", "Lung")),
        ("Segment 1", ("M-80003", "99SDM", "Neoplasm, Primary"), ("T-28000", "SNM3", "Lung")),
        ("Segment 1", ("108369006", "SCT", "Neoplasm"), ("3341006", "SCT", "Right lung")),
        ("Segment 1", ("4147007", "SCT", "Mass"), ("45653009", "SCT", "Upper lobe of lung")),
        ("Segment 1", ("M-03010", "SRT", "Nodule"), LUNG),
        ("Segment 1", ("254637007", "SCT", "Non-small cell lung cancer"), ("51185008", "SCT", "Thorax")),
        ("Segment 1", ("228791009", "SCT", "Gross tumor volume"), None),
        ("GTV-1", TISSUE, None),
        ("gtv", None, None),
        ("GTVp", TISSUE, None),
        ("GTV_T1", None, None),
        ("Tumor", TISSUE, None),
        ("Primary lung tumour", TISSUE, None),
        ("Lung_mass-2", ("52988006", "SCT", "Lesion"), None),
        ("Neoplasm, Primary", None, LUNG),
        ("GTV-1", ("1", "99VENDOR", "ROI"), None),
    ],
)
def test_a_coded_or_labelled_tumour_of_the_lung_is_accepted(
    label: str, kind: Triple | None, site: Triple | None
) -> None:
    assert judge_segment(segment_of(label, kind, site), SegmentRules())[0]


@pytest.mark.parametrize(
    ("label", "kind", "site", "words"),
    [
        ("Liver", ("10200004", "SCT", "Liver"), None, "neither coded nor labelled"),
        ("Heart", ("80891009", "SCT", "Heart"), None, "neither coded nor labelled"),
        ("Lung", ("39607008", "SCT", "Lung"), None, "neither coded nor labelled"),
        ("Segmentation", TISSUE, None, "neither coded nor labelled"),
        ("GTV-1", ("10200004", "SCT", "Liver"), None, "coded as Liver"),
        ("Tumour", ("T-62000", "SRT", "Liver"), None, "coded as Liver"),
        ("GTV-1", NEOPLASM, ("10200004", "SCT", "Liver"), "not in the lung"),
        ("Segment 1", ("M-03010", "SRT", "Nodule"), ("6", "3DSlicer", "organ"), "not in the lung"),
        ("Nodule", ("27925004", "SCT", "Nodule"), ("69748006", "SCT", "Thyroid"), "not in the lung"),
        ("Segment 1", ("14799000", "SCT", "Neoplasm, Secondary"), LUNG, "metastasis"),
        ("Segment 1", ("M-80006", "SRT", "Neoplasm, Secondary"), LUNG, "metastasis"),
        ("Lung metastasis", NEOPLASM, LUNG, "excludes it"),
        ("Lymph node", NEOPLASM, LUNG, "excludes it"),
        ("GTVn", NEOPLASM, None, "excludes it"),
        ("Tumour bed", None, None, "neither coded nor labelled"),
        ("CTV", None, None, "which excludes it"),
        ("GTV m1", None, None, r"the label matches '\bgtv ?m\d*\b', which"),  # as app.yaml writes it
        ("Segment 1", ("74364000", "SCT", "Small cell carcinoma"), LUNG, "neither coded nor labelled"),
    ],
)
def test_anything_else_is_not_a_primary_lung_tumour_and_says_why(
    label: str, kind: Triple | None, site: Triple | None, words: str
) -> None:
    accepted, reason = judge_segment(segment_of(label, kind, site), SegmentRules())
    assert not accepted
    assert words in reason


def test_an_organ_by_category_is_no_tumour_by_its_label() -> None:
    organ = segment_of("Mass", None, None, ("123037004", "SCT", "Anatomical Structure"))
    assert judge_segment(organ, SegmentRules()) == (
        False,
        "labelled as a tumour but of the category Anatomical Structure (123037004, SCT)",
    )
    insert = segment_of("Nodule", ("27925004", "SCT", "Nodule"), None, ("260787004", "SCT", "Physical object"))
    assert not judge_segment(insert, SegmentRules())[0]


def test_the_settings_can_accept_metastases_any_site_and_other_labels() -> None:
    secondary = segment_of("Segment 1", ("14799000", "SCT", "Neoplasm, Secondary"), LUNG)
    assert judge_segment(secondary, SegmentRules(accept_metastases=True))[0]
    assert judge_segment(segment_of("x", NEOPLASM, ("10200004", "SCT", "Liver")), SegmentRules(any_site=True))[0]
    assert judge_segment(segment_of("Herd 3"), SegmentRules(labels=(r"^herd \d$",)))[0]
    assert not judge_segment(segment_of("GTV-1"), SegmentRules(labels=(r"^herd \d$",)))[0]


def test_heart_and_lungs_beside_the_tumour_do_not_disturb() -> None:
    stack = ct_stack()
    segments = [
        segment_item(1, "Heart", ("80891009", "SCT", "Heart"), None),
        segment_item(2, "Lungs", ("39607008", "SCT", "Lung"), None),
        segment_item(3, "GTV-1"),
    ]
    assert chosen(study_of(stack, seg_instance(segments, references=references_to(stack)))).segment.number == 3


def test_a_segment_that_the_settings_name_and_that_is_not_there_is_the_settings_fault() -> None:
    stack = ct_stack()
    study = study_of(stack, seg_instance([segment_item(1, "GTV-1")], references=references_to(stack)))
    refusal = refusal_of(study, rules_with(label="GTV-2"))
    assert refusal.code is RefusalCode.NO_TUMOUR_SEGMENT
    assert "no segment is the one that the settings name; there is segment 1 'GTV-1'" in refusal.found
    assert (refusal.tag, refusal.value) == (None, None)
    assert "selection.segment in app.yaml" in refusal.remedy
    assert "code the segment" not in refusal.remedy


def test_a_liver_alone_is_refused_naming_what_there_was() -> None:
    stack = ct_stack()
    liver = segment_item(1, "Liver", ("10200004", "SCT", "Liver"), None)
    refusal = refusal_of(study_of(stack, seg_instance([liver], references=references_to(stack))))
    assert refusal.code is RefusalCode.NO_TUMOUR_SEGMENT
    assert "segment 1 'Liver' coded Liver (10200004, SCT)" in refusal.found


def two_tumours() -> Study:
    stack = ct_stack()
    segments = [segment_item(1, "GTV-1", tracking_id="left"), segment_item(2, "GTV-2", tracking_id="right")]
    return study_of(stack, seg_instance(segments, references=references_to(stack)))


def test_several_tumours_are_refused_with_their_labels() -> None:
    refusal = refusal_of(two_tumours())
    assert refusal.code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS
    assert "'GTV-1'" in refusal.found
    assert "'GTV-2'" in refusal.found


def test_several_tumours_in_several_objects_are_refused_each_by_its_own_object_number_and_label() -> None:
    stack = ct_stack()
    parts = [
        seg_instance([segment_item(n, f"GTV-{n}")], uid=f"1.2.3.8.{n}", references=references_to(stack)) for n in (1, 2)
    ]
    refusal = refusal_of(study_of(stack, parts))
    assert refusal.code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS
    for number in (1, 2):
        assert re.search(rf"segment {number} 'GTV-{number}' [^;]* of 1\.2\.3\.8\.{number}(;|$)", refusal.found)


def made_at(uid: str, *moment: str | None) -> Instance:
    """Return a SEG by its ContentDate, ContentTime, InstanceCreationDate and InstanceCreationTime."""
    seg = seg_instance(uid=uid, references=references_to(ct_stack()))
    keywords = ("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime")
    for keyword, value in zip(keywords, moment, strict=False):
        if value is not None:
            setattr(seg.header, keyword, value)
    return seg


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("20250101", "080000"), ("20250102", "070000")),
        (("20250101", "080000"), ("20250101", "080000.5")),
        (("20250101", "08"), ("20250101", "0801")),
        (("20250101", "0800", "20250101", "0900"), ("20250101", "0800", "20250103", "0800")),
        ((None, None, "20250101", "0900"), (None, None, "20250101", "0901")),
        (("20250109", None, "20250101", "0900"), ("20250101", "0900", "20250101", "0901")),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_a_setting_takes_the_newest_segmentation(
    older: tuple[str | None, ...], newer: tuple[str | None, ...], swapped: bool
) -> None:
    uids = ["1.2.3.8.1", "1.2.3.8.2"][:: -1 if swapped else 1]
    study = study_of(ct_stack(), made_at(uids[0], *older), made_at(uids[1], *newer))
    result = chosen(study, rules_with(choose="newest"))
    assert result.segmentation.instance.sop_instance_uid == uids[1]
    assert [warning.code for warning in result.warnings] == ["NEWEST_OF_SEVERAL"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("20250101", "080000"), ("20250101", "08")),
        (("20250101", "080000"), (None, None)),
        ((), ()),
    ],
)
def test_of_two_that_are_equally_new_none_is_taken(
    first: tuple[str | None, ...], second: tuple[str | None, ...]
) -> None:
    study = study_of(ct_stack(), made_at("1.2.3.8.1", *first), made_at("1.2.3.8.2", *second))
    refusal = refusal_of(study, rules_with(choose="newest"))
    assert refusal.code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS
    assert "none of them is the newest" in refusal.found


def test_two_tumours_in_the_newest_segmentation_are_still_two() -> None:
    assert refusal_of(two_tumours(), rules_with(choose="newest")).code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS


def test_a_tumour_segment_without_a_frame_is_ignored_and_told() -> None:
    stack = ct_stack()
    seg = seg_instance([segment_item(1, "Tumour")], references=references_to(stack))
    for number in (2, 3):
        seg.header.SegmentSequence.append(segment_item(number, f"Tumour {number}"))
    result = chosen(study_of(stack, seg))
    assert result.segment.number == 1
    assert [warning.code for warning in result.warnings] == ["EMPTY_SEGMENT_IGNORED"]
    assert result.warnings[0].message.startswith("2 further")


def test_one_object_that_was_sent_twice_is_one_tumour() -> None:
    stack = ct_stack()
    seg = seg_instance(references=references_to(stack))
    assert chosen(study_of(stack, seg, replace(seg, path=Path("copy.dcm")))).segment.number == 1


@pytest.mark.parametrize(
    "setting",
    [{"label": "gtv-2"}, {"tracking_id": "right"}, {"tracking_uid": "1.2.3.77.2"}, {"number": 2}],
)
def test_the_settings_can_name_the_segment(setting: dict[str, Any]) -> None:
    assert chosen(two_tumours(), rules_with(**setting)).segment.label == "GTV-2"


def test_a_named_segment_is_taken_however_it_is_coded() -> None:
    stack = ct_stack()
    liver = segment_item(1, "Liver", ("10200004", "SCT", "Liver"), None)
    study = study_of(stack, seg_instance([liver], references=references_to(stack)))
    assert chosen(study, rules_with(label="Liver")).segment.label == "Liver"


def test_a_name_that_no_segment_has_is_refused() -> None:
    refusal = refusal_of(two_tumours(), rules_with(label="GTV-3"))
    assert refusal.code is RefusalCode.NO_TUMOUR_SEGMENT
    assert "'GTV-1'" in refusal.found


def test_the_largest_is_by_volume_and_the_result_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def mask(segmentation: Segmentation, number: int) -> SegmentMask:
        planes = tuple(f.plane for f in segmentation.frames if f.segment_number == number and f.plane is not None)
        voxels = np.zeros((len(planes), 256, 256), dtype=bool)
        voxels[:, : 4 * number, :4] = True
        return SegmentMask(planes, voxels)

    monkeypatch.setattr(segment_reader, "read_segment_mask", mask)
    result = chosen(two_tumours(), rules_with(choose="largest"))
    assert result.segment.label == "GTV-2"
    assert [f.code for f in result.warnings] == ["LARGEST_OF_SEVERAL"]


# --- which series ----------------------------------------------------------------------------------------------------


def soft_and_sharp() -> tuple[tuple[Instance, ...], tuple[Instance, ...]]:
    return (
        ct_stack(series="1.2.3.5", ConvolutionKernel="B30f", SeriesNumber=4),
        ct_stack(series="1.2.3.6", ConvolutionKernel="B60f", SeriesNumber=5),
    )


def test_the_series_that_the_segmentation_references_wins_over_a_better_one() -> None:
    soft, sharp = soft_and_sharp()
    result = chosen(study_of(soft, sharp, seg_instance(references=references_to(soft))))
    assert result.ct.series_instance_uid == "1.2.3.5"
    codes = {f.code: f for f in result.warnings}
    assert set(codes) == {"SMOOTH_KERNEL", "SHARPER_SERIES_EXISTS"}
    assert "series 5" in codes["SHARPER_SERIES_EXISTS"].message


def test_the_sharp_series_has_no_such_warning() -> None:
    soft, sharp = soft_and_sharp()
    result = chosen(study_of(soft, sharp, seg_instance(references=references_to(sharp))))
    assert (result.ct.series_instance_uid, result.warnings) == ("1.2.3.6", ())


def test_every_series_is_listed_with_the_reason_and_the_chosen_one_first() -> None:
    soft, sharp = soft_and_sharp()
    scout = ct_stack([0], series="1.2.3.7", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    seg = seg_instance(references=references_to(sharp))
    candidates = chosen(study_of(soft, sharp, scout, seg)).candidates
    reasons = {c.series_instance_uid: " ".join(c.reasons) for c in candidates}
    assert candidates[0].chosen
    assert sum(c.chosen for c in candidates) == 1
    assert [c.series_instance_uid for c in candidates] == ["1.2.3.6", "1.2.3.5", "1.2.3.7", "1.2.3.8"]
    assert "references" in reasons["1.2.3.6"]
    assert "smooth kernel against sharp" in reasons["1.2.3.5"]
    assert "LOCALIZER" in reasons["1.2.3.7"]
    assert reasons["1.2.3.8"] == "not a CT image"


def test_no_description_of_a_series_is_repeated() -> None:
    """Real series descriptions hold patients' names."""
    stack = ct_stack(SeriesDescription="DOE JANE", StudyDescription="DOE JANE", PatientName="DOE^JANE")
    seen = looked_at(study_of(stack, seg_instance(references=references_to(stack))))
    assert "DOE" not in repr(seen.candidates)
    assert "DOE" not in repr(seen.segments)


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B60f"}, 2),
        ({"ConvolutionKernel": None}, {"ConvolutionKernel": "B60f"}, 2),
        ({"ConvolutionKernel": None}, {"ConvolutionKernel": "B30f"}, 1),
        ({"zs": range(0, 60, 5)}, {"zs": range(0, 60, 2)}, 2),
        # a sharp kernel counts more than thin slices
        ({"zs": range(0, 60, 2), "ConvolutionKernel": "B30f"}, {"zs": range(0, 60, 5)}, 2),
        ({"ImageType": ["ORIGINAL", "SECONDARY", "AXIAL"]}, {}, 2),
        ({"RescaleType": "Z_EFF"}, {"ConvolutionKernel": "B30f"}, 2),
        ({}, {}, 1),
    ],
)
def test_without_references_the_series_are_ranked_by_the_protocol(
    first: dict[str, Any], second: dict[str, Any], best: int
) -> None:
    stacks = [ct_stack(series=f"1.2.3.{n}0", **values) for n, values in ((1, first), (2, second))]
    result = chosen(study_of(*stacks, seg_instance()))
    assert result.ct.series_instance_uid == f"1.2.3.{best}0"
    assert "SEG_WITHOUT_REFERENCES" in {f.code for f in result.warnings}


def test_without_references_a_series_that_shows_the_tumour_wins_over_a_sharper_one_that_does_not() -> None:
    near = ct_stack(range(0, 60, 3), series="1.2.3.10", ConvolutionKernel="B30f")
    far = ct_stack(range(300, 360, 3), series="1.2.3.20")
    assert chosen(study_of(near, far, seg_instance())).ct.series_instance_uid == "1.2.3.10"
    alone = chosen(study_of(far, seg_instance()))
    assert alone.candidates[0].tumour_coverage == 0.0
    assert "0% of the tumour's planes" in alone.candidates[0].reasons[0]


def test_without_references_the_reasons_of_all_unfit_series_are_told() -> None:
    scout = ct_stack([0], series="1.2.3.7", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    short = ct_stack([9, 12], series="1.2.3.10")
    alone = refusal_of(study_of(short, seg_instance()))
    both = refusal_of(study_of(scout, short, seg_instance()))
    assert alone.code is RefusalCode.TOO_FEW_SLICES
    assert both.code is RefusalCode.NO_ELIGIBLE_CT
    assert "LOCALIZER" in both.found
    assert "2 slices" in both.found


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
def test_a_malformed_series_number_costs_only_itself() -> None:
    stack = ct_stack()
    seg = seg_instance(references=references_to(stack))
    for instance in stack:
        instance.header["SeriesNumber"] = RawDataElement(Tag("SeriesNumber"), "IS", 2, b"x ", 0, False, True)
    assert chosen(study_of(stack, seg)).candidates[0].series_number is None


def test_image_type_secondary_and_a_missing_kernel_reject_nothing() -> None:
    stack = ct_stack(ImageType=["ORIGINAL", "SECONDARY", "AXIAL"], ConvolutionKernel=None)
    result = chosen(study_of(stack, seg_instance(references=references_to(stack))))
    assert [f.code for f in result.warnings] == ["KERNEL_MISSING"]


def test_the_order_of_the_files_changes_nothing() -> None:
    soft, sharp = soft_and_sharp()
    study = study_of(soft, sharp, seg_instance())
    shuffled = list(study.instances)
    random.Random(3).shuffle(shuffled)
    assert chosen(replace(study, instances=tuple(shuffled))) == chosen(study)


# --- references ------------------------------------------------------------------------------------------------------


def test_a_reference_to_a_series_that_is_not_there_is_refused() -> None:
    refusal = refusal_of(study_of(ct_stack(), seg_instance(references={"1.2.3.55": ["1.2.3.55.1"]})))
    assert (refusal.code, refusal.value) == (RefusalCode.SEG_REFERENCES_OTHER_SERIES, "1.2.3.55")


def test_a_reference_to_a_series_of_another_modality_is_refused() -> None:
    pet = ct_stack(series="1.2.3.55", SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Modality="PT")
    refusal = refusal_of(study_of(ct_stack(), pet, seg_instance(references=references_to(pet))))
    assert refusal.code is RefusalCode.SEG_NOT_ON_CT
    assert "modality PT" in refusal.found


def test_references_to_images_that_are_not_there_are_refused_with_their_number() -> None:
    stack = ct_stack()
    refusal = refusal_of(study_of(stack[:-2], seg_instance(references=references_to(stack))))
    assert refusal.code is RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES
    assert "2 of the 20" in refusal.found
    assert refusal.value == stack[-2].sop_instance_uid


def images_referenced(images: Sequence[str]) -> Instance:
    """Return a SEG that names its source images frame by frame, and no series."""
    seg = seg_instance()
    derivation = Dataset()
    derivation.SourceImageSequence = []
    for uid in images:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
        derivation.SourceImageSequence.append(image)
    for frame in seg.header.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence = [derivation]
    return seg


def test_references_to_images_alone_name_their_series() -> None:
    soft, sharp = soft_and_sharp()
    seg = images_referenced([i.sop_instance_uid for i in soft[3:5]])
    assert chosen(study_of(soft, sharp, seg)).ct.series_instance_uid == "1.2.3.5"


def test_references_to_images_alone_of_which_none_or_no_ct_is_there_are_refused() -> None:
    pet = ct_stack(series="1.2.3.55", SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Modality="PT")
    absent = refusal_of(study_of(ct_stack(), images_referenced(["1.2.3.66"])))
    assert (absent.code, absent.value) == (RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES, "1.2.3.66")
    other = refusal_of(study_of(ct_stack(), pet, images_referenced([pet[0].sop_instance_uid])))
    assert other.code is RefusalCode.SEG_NOT_ON_CT


RTSTRUCT: Final = "1.2.840.10008.5.1.4.1.1.481.3"
CT: Final = "1.2.840.10008.5.1.4.1.1.2"


def named(uid: str, sop_class: str | None = CT) -> Dataset:
    item = Dataset()
    item.ReferencedSOPInstanceUID = uid
    if sop_class is not None:
        item.ReferencedSOPClassUID = sop_class
    return item


def series_item(uid: str, *images: Dataset) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID, item.ReferencedInstanceSequence = uid, list(images)
    return item


def drawn_on(stack: Sequence[Instance], zs: Sequence[float] = (9.0, 12.0), **options: Any) -> Instance:
    """Return a SEG whose frames name their own images."""
    seg = seg_instance(zs=zs, **options)
    at = {float(i.header.ImagePositionPatient[2]): i.sop_instance_uid for i in stack}
    for frame in seg.header.PerFrameFunctionalGroupsSequence:
        derivation = Dataset()
        derivation.SourceImageSequence = [named(at[float(frame.PlanePositionSequence[0].ImagePositionPatient[2])])]
        frame.DerivationImageSequence = [derivation]
    return seg


def other_study(uid: str, *series: Dataset) -> list[Dataset]:
    item = Dataset()
    item.StudyInstanceUID, item.ReferencedSeriesSequence = uid, list(series)
    return [item]


def structure_set_in_a_series_of_its_own(seg: Dataset) -> None:
    seg.ReferencedSeriesSequence.append(series_item("1.2.3.70", named("1.2.3.70.1", RTSTRUCT)))


def structure_set_within_the_series_of_the_ct(seg: Dataset) -> None:
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence.append(named("1.2.3.70.1", RTSTRUCT))


def structure_set_as_source_of_every_frame(seg: Dataset) -> None:
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence[0].SourceImageSequence.append(named("1.2.3.70.1", RTSTRUCT))


def prior_series_of_the_study(seg: Dataset) -> None:
    seg.ReferencedSeriesSequence.append(series_item("1.2.3.70", named("1.2.3.70.1"), named("1.2.3.70.2")))


def prior_study(seg: Dataset) -> None:
    prior = other_study("1.9", series_item("1.9.1", named("1.9.1.1")))
    seg.StudiesContainingOtherReferencedInstancesSequence = prior


def prior_study_as_source_too(seg: Dataset) -> None:
    prior_study(seg)
    seg.SourceImageSequence = [named("1.9.1.1")]


def pet(seg: Dataset) -> None:
    seg.ReferencedSeriesSequence.append(series_item("1.2.3.70", named("1.2.3.70.1", "1.2.840.10008.5.1.4.1.1.128")))


FURTHER: Final = (
    structure_set_in_a_series_of_its_own,
    structure_set_within_the_series_of_the_ct,
    structure_set_as_source_of_every_frame,
    prior_series_of_the_study,
    prior_study,
    prior_study_as_source_too,
    pet,
)


@pytest.mark.parametrize("further", FURTHER)
@pytest.mark.parametrize("listed", [True, False])
def test_what_a_segmentation_names_besides_its_images_is_no_missing_slice(
    further: Callable[[Dataset], None], listed: bool
) -> None:
    stack = ct_stack()
    seg = drawn_on(stack, references=references_to(stack) if listed else {stack[0].series_instance_uid: ()})
    further(seg.header)
    result = chosen(study_of(stack, seg))
    assert result.ct.series_instance_uid == stack[0].series_instance_uid
    assert [warning.code for warning in result.warnings] == ["SEG_REFERENCES_FURTHER"]


@pytest.mark.parametrize("further", FURTHER)
def test_a_missing_slice_is_refused_whatever_else_is_named(further: Callable[[Dataset], None]) -> None:
    stack = ct_stack()
    seg = drawn_on(stack, references=references_to(stack))
    further(seg.header)
    for lost in (stack[3], stack[-1]):  # one that the tumour was drawn on, one that it was not
        study = study_of([image for image in stack if image is not lost], seg)
        assert refusal_of(study).code is RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES


def test_without_images_of_its_frames_an_absent_series_is_refused_because_it_may_be_the_one() -> None:
    stack = ct_stack()
    seg = seg_instance(references={**references_to(stack), "1.2.3.70": ["1.2.3.70.1"]})
    assert refusal_of(study_of(stack, seg)).code is RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES


def test_a_segmentation_drawn_on_a_prior_study_is_refused() -> None:
    seg = seg_instance()
    seg.header.StudiesContainingOtherReferencedInstancesSequence = other_study(
        "1.9", series_item("1.9.1", named("1.9.1.1"))
    )
    assert refusal_of(study_of(ct_stack(), seg)).code is RefusalCode.SEG_REFERENCES_OTHER_SERIES


def test_slices_that_are_each_a_series_of_their_own_are_told_with_a_remedy_that_is_true() -> None:
    stack = [ct_instance(3.0 * n, series=f"1.2.3.60.{n}") for n in range(20)]
    refusal = refusal_of(study_of(stack, drawn_on(stack)))
    assert refusal.code is RefusalCode.TOO_FEW_SLICES
    assert "20 CT series of the study have as few" in refusal.found
    assert "as one series" in refusal.remedy


@pytest.mark.parametrize("by_frame", [True, False])
def test_a_stale_series_uid_costs_nothing_where_the_images_are_right_and_is_told(by_frame: bool) -> None:
    soft, sharp = soft_and_sharp()
    references = {"1.2.3.99": [i.sop_instance_uid for i in sharp]}
    seg = drawn_on(sharp, references=references) if by_frame else seg_instance(references=references)
    result = chosen(study_of(soft, sharp, seg))
    assert result.ct.series_instance_uid == "1.2.3.6"
    assert [warning.code for warning in result.warnings] == ["SEG_SERIES_CONTRADICTED"]
    lost = study_of(soft, sharp[:-1], seg)
    assert refusal_of(lost).code is RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES


def test_the_images_of_the_frames_decide_between_series_that_are_named() -> None:
    soft, sharp = soft_and_sharp()
    result = chosen(study_of(soft, sharp, drawn_on(soft, references=references_to(soft, sharp))))
    assert result.ct.series_instance_uid == "1.2.3.5"


def test_the_series_may_be_named_among_other_studies_under_the_studys_own_uid() -> None:
    stack = ct_stack()
    seg = seg_instance()
    seg.header.StudiesContainingOtherReferencedInstancesSequence = other_study(
        STUDY, series_item(stack[0].series_instance_uid, *(named(i.sop_instance_uid) for i in stack))
    )
    assert chosen(study_of(stack, seg)).warnings == ()


@pytest.mark.parametrize("where", ["frames", "series", "nowhere"])
def test_each_way_of_naming_the_series_finds_it(where: str) -> None:
    stack = ct_stack()
    seg = {
        "frames": drawn_on(stack),
        "series": seg_instance(references={stack[0].series_instance_uid: ()}),
        "nowhere": seg_instance(),
    }[where]
    result = chosen(study_of(stack, seg))
    assert result.ct.series_instance_uid == stack[0].series_instance_uid
    assert [warning.code for warning in result.warnings] == (["SEG_WITHOUT_REFERENCES"] if where == "nowhere" else [])


def test_of_several_referenced_series_the_best_ranked_is_taken() -> None:
    soft, sharp = soft_and_sharp()
    result = chosen(study_of(soft, sharp, seg_instance(references=references_to(soft, sharp))))
    assert result.ct.series_instance_uid == "1.2.3.6"
    assert "best ranked of 2" in " ".join(result.candidates[0].reasons)


@pytest.mark.parametrize("referenced", [True, False])
def test_another_frame_of_reference_is_refused(referenced: bool) -> None:
    stack = ct_stack()
    references = references_to(stack) if referenced else None
    refusal = refusal_of(study_of(stack, seg_instance(references=references, FrameOfReferenceUID="1.9.9")))
    assert (refusal.code, refusal.value) == (RefusalCode.SEG_FRAME_OF_REFERENCE, "1.9.9")


def test_a_ct_without_frame_of_reference_is_taken_where_the_segmentation_references_it() -> None:
    stack = ct_stack(FrameOfReferenceUID=None)
    assert chosen(study_of(stack, seg_instance(references=references_to(stack)))).ct.frame_of_reference_uid == ""
    assert refusal_of(study_of(stack, seg_instance())).code is RefusalCode.SEG_FRAME_OF_REFERENCE


# --- the study -------------------------------------------------------------------------------------------------------


def test_several_patients_are_refused_without_naming_them() -> None:
    stack = ct_stack()
    other = ct_instance(99.0, series="1.2.3.44", PatientID="SECRET-2")
    refusal = refusal_of(study_of(stack, other, seg_instance(references=references_to(stack))))
    assert refusal.code is RefusalCode.SEVERAL_PATIENTS
    assert "2 patients" in refusal.found
    assert "SECRET" not in refusal.message


def test_one_id_of_two_issuers_is_two_patients_and_of_one_issuer_and_none_is_one() -> None:
    stack = ct_stack(IssuerOfPatientID="HOSPITAL A")
    one = study_of(stack, seg_instance(references=references_to(stack)))
    assert chosen(one).segment.number == 1
    two = study_of(stack, seg_instance(references=references_to(stack), IssuerOfPatientID="HOSPITAL B"))
    assert refusal_of(two).code is RefusalCode.SEVERAL_PATIENTS


def test_several_studies_are_refused() -> None:
    stack = ct_stack()
    seg = seg_instance(references=references_to(stack), StudyInstanceUID="1.2.33")
    assert refusal_of(study_of(stack, seg)).code is RefusalCode.SEVERAL_STUDIES


def test_no_ct_and_no_seg_are_refused() -> None:
    assert refusal_of(study_of()).code is RefusalCode.NO_CT
    assert refusal_of(study_of(seg_instance())).code is RefusalCode.NO_CT
    refusal = refusal_of(study_of(ct_stack()))
    assert (refusal.code, refusal.tag) == (RefusalCode.NO_SEG, None)
    assert refusal.found.endswith("modalities found: CT")


def test_a_malformed_seg_alone_is_refused_and_beside_a_good_one_is_ignored_with_a_warning() -> None:
    stack = ct_stack()
    broken = seg_instance(uid="1.2.3.8.0", references=references_to(stack), SegmentSequence=None)
    good = seg_instance(references=references_to(stack))
    assert refusal_of(study_of(stack, broken)).code is RefusalCode.SEG_UNREADABLE
    assert "SEG_IGNORED" in {f.code for f in chosen(study_of(stack, broken, good)).warnings}


@pytest.mark.parametrize(
    ("stack", "code"),
    [
        (ct_stack(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), RefusalCode.NO_ELIGIBLE_CT),
        (ct_stack(ImagePositionPatient=None), RefusalCode.GEOMETRY_MISSING),
        ((*ct_stack(), ct_instance(60.0, Rows=128)), RefusalCode.GEOMETRY_INCONSISTENT),
        (ct_stack([9, 12]), RefusalCode.TOO_FEW_SLICES),
        ((*ct_stack(), ct_instance(9.0, uid="1.5")), RefusalCode.DUPLICATE_SLICES),
        (ct_stack(RescaleType="US"), RefusalCode.NOT_HU),
        (ct_stack(RescaleType="HU_MOD"), RefusalCode.NOT_HU),
    ],
)
def test_what_is_wrong_with_the_referenced_series_is_said(stack: tuple[Instance, ...], code: RefusalCode) -> None:
    """Not that there is no series: which one it is and why it cannot be used."""
    good = ct_stack(series="1.2.3.60")
    assert refusal_of(study_of(stack, good, seg_instance(references=references_to(stack)))).code is code


def test_a_series_in_other_units_is_told_and_never_chosen() -> None:
    """What the survey promises, the reading of the pixels keeps: it refuses the same values with the same words."""
    modified = ct_stack(series="1.2.3.10", RescaleType="HU_MOD")
    plain = ct_stack(series="1.2.3.20", RescaleType=None, ConvolutionKernel="B30f")
    reasons = {c.series_instance_uid: c.reasons for c in chosen(study_of(modified, plain, seg_instance())).candidates}
    assert reasons["1.2.3.10"] == ("NOT_HU: the image is not rescaled to Hounsfield units",)
    refusal = refusal_of(study_of(modified, seg_instance()))
    assert (refusal.code, refusal.tag, refusal.value) == (RefusalCode.NOT_HU, "RescaleType (0028,1054)", "HU_MOD")
    assert refusal.uid in {i.sop_instance_uid for i in modified}


def test_a_stack_of_coronal_reformats_is_not_axial() -> None:
    coronal = tuple(
        ct_instance(
            0.0, uid=f"1.2.3.4.{n}", ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, 3 * n, 0]
        )
        for n in range(1, 20)
    )
    refusal = refusal_of(study_of(coronal, seg_instance(references=references_to(coronal))))
    assert refusal.code is RefusalCode.NO_ELIGIBLE_CT
    assert "90 degrees" in refusal.found


def test_protocol_rules_refuse_the_chosen_series() -> None:
    soft, _ = soft_and_sharp()
    study = study_of(soft, seg_instance(references=references_to(soft)))
    assert refusal_of(study, protocol=ProtocolRules(smooth_kernel="refuse")).code is RefusalCode.PROTOCOL


def test_faults_are_told_in_the_order_of_the_table() -> None:
    """A study with every fault: each refusal is the first in the table of those that remain."""
    stack = ct_stack([9, 12])
    second = ct_instance(0.0, series="1.2.3.44", PatientID="P2", StudyInstanceUID="1.2.33")
    liver = segment_item(1, "Liver", ("10200004", "SCT", "Liver"), None)
    other = {"1.2.3.55": ["1.2.3.55.1"]}
    faults = [
        study_of(stack, second, seg_instance([liver], references=other)),
        study_of(stack, ct_instance(0.0, series="1.2.3.44", StudyInstanceUID="1.2.33"), seg_instance([liver])),
        study_of(seg_instance([liver])),
        study_of(stack),
        study_of(stack, seg_instance([liver], references=other)),
        study_of(stack, seg_instance([segment_item(1), segment_item(2)], references=other)),
        study_of(stack, seg_instance(references=other, FrameOfReferenceUID="1.9")),
        study_of(stack, seg_instance(references={stack[0].series_instance_uid: ["1.7"]}, FrameOfReferenceUID="1.9")),
        study_of(stack, seg_instance(references=references_to(stack), FrameOfReferenceUID="1.9")),
        study_of(stack, seg_instance(references=references_to(stack))),
    ]
    table = list(RefusalCode)
    places = [table.index(refusal_of(study).code) for study in faults]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


# --- settings and survey ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"segment": {"chose": "largest"}},
        {"segment": {"choose": "smallest"}},
        {"segment": {"labels": ["("]}},
        {"segment": {"codes": ["86049000"]}},
        {"segment": {"number": -1}},
        {"maximum_obliquity_degrees": 95},
        {"minimum_slices": 1},
        {"axial": True},
    ],
)
def test_a_setting_that_cannot_be_meant_is_an_error(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SelectionRules.model_validate(settings)


def test_a_survey_shows_series_and_segments_also_where_the_study_is_refused() -> None:
    stack = ct_stack()
    liver = segment_item(1, "Liver", ("10200004", "SCT", "Liver"), None)
    seen = looked_at(study_of(stack, seg_instance([liver], references=references_to(stack))))
    assert seen.selection is None
    assert seen.refusal is not None
    assert seen.refusal.code is RefusalCode.NO_TUMOUR_SEGMENT
    assert [c.series_instance_uid for c in seen.candidates] == ["1.2.3.4", "1.2.3.8"]
    assert [(s.label, s.accepted, s.chosen) for s in seen.segments] == [("Liver", False, False)]
    empty = looked_at(study_of())
    assert (empty.candidates, empty.segments) == ((), ())


def test_a_survey_marks_what_is_chosen() -> None:
    stack = ct_stack()
    segments = [segment_item(1, "Heart", ("80891009", "SCT", "Heart"), None), segment_item(2)]
    seen = looked_at(study_of(stack, seg_instance(segments, references=references_to(stack))))
    assert seen.refusal is None
    assert [(s.number, s.accepted, s.chosen) for s in seen.segments] == [(1, False, False), (2, True, True)]
    assert seen.candidates[0].chosen
    assert seen.candidates[0].tumour_coverage == 1.0
    assert type(seen.candidates[0].tumour_coverage) is float


def test_a_study_and_what_is_made_of_it_show_themselves_in_one_line_without_a_name() -> None:
    stack = ct_stack(PatientName="DOE^JANE", SeriesDescription="DOE JANE")
    named = [replace(instance, path=Path("DOE_JANE", instance.path)) for instance in stack]
    study = replace(study_of(named, seg_instance(references=references_to(stack))), root=Path("DOE_JANE"))
    seen = looked_at(study)
    assert seen.selection is not None
    for shown in (study, study.instances[0], seen, seen.selection, seen.selection.ct, seen.selection.segmentation):
        assert len(repr(shown)) < 200
        assert "DOE" not in repr(shown)
    assert repr(seen.selection.ct) == "<CTSeries 1.2.3.4: 20 slices, 0 set aside>"


def test_control_characters_of_a_label_do_not_reach_a_message() -> None:
    stack = ct_stack()
    odd = segment_item(1, "Liver\x1b[31m\nERROR", ("10200004", "SCT", "Liver"), None)
    refusal = refusal_of(study_of(stack, seg_instance([odd], references=references_to(stack))))
    assert "\x1b" not in refusal.message
    assert "\n" not in refusal.message


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ct", "seg", "slices"),
    [
        ("ct_4dlung113/CT", "ct_4dlung113/seg_dcmqi.dcm", 99),
        ("ibsi1/ct_phantom/dicom/image", "ibsi1/ct_phantom/seg_dcmqi_derived.dcm", 60),
    ],
)
def test_both_real_cases_are_selected(shared_data: Path, ct: str, seg: str, slices: int) -> None:
    """One says ORIGINAL\\SECONDARY\\AXIAL, neither names a kernel."""
    result = chosen(study_of(real_objects(shared_data / ct, shared_data / seg)))
    assert (len(result.ct.slices), result.segment.label) == (slices, "GTV-1")
    assert [f.code for f in result.warnings] == ["KERNEL_MISSING"]
    assert result.candidates[0].tumour_coverage == 1.0


@pytest.mark.parametrize(
    ("ct", "seg"),
    [
        ("seg_zoo/dcmqi/ct-3slice", "seg_zoo/dcmqi/liver.dcm"),
        ("seg_zoo/dcmqi/ct-3slice", "seg_zoo/dcmqi/partial_overlaps.dcm"),
        ("seg_zoo/slicer_syngo_liver/DICOM.CT", "seg_zoo/slicer_syngo_liver/DICOM.SEG/syngo.seg.dcm"),
        ("seg_zoo/slicer_syngo_liver/DICOM.CT", "seg_zoo/slicer_syngo_liver/SlicerReportingAIM"),
        ("seg_zoo/dcmqi/24x38x3/image", "seg_zoo/dcmqi/24x38x3/seg/label.seg"),
        ("seg_zoo/dcmqi/24x38x3/image", "seg_zoo/dcmqi/sparse-labelmap-ppv5.dcm"),
    ],
)
def test_real_segmentations_of_livers_and_vessels_are_never_scored(shared_data: Path, ct: str, seg: str) -> None:
    objects = real_objects(shared_data / ct, shared_data / seg)
    for instance in objects:  # the SEG of one came from another study than its CT
        instance.header.StudyInstanceUID, instance.header.PatientID = "1.2.3", "P1"
    seen = looked_at(study_of(objects))
    assert seen.refusal is not None
    assert seen.refusal.code is RefusalCode.NO_TUMOUR_SEGMENT
    assert not any(segment.accepted for segment in seen.segments)


def test_a_real_liver_is_selected_where_the_settings_name_it(shared_data: Path) -> None:
    objects = real_objects(shared_data / "seg_zoo/dcmqi/ct-3slice", shared_data / "seg_zoo/dcmqi/liver.dcm")
    result = chosen(study_of(objects), rules_with(label="Liver"))
    assert (result.segment.label, len(result.ct.slices)) == ("Liver", 3)


def test_the_largest_of_real_segments_is_the_one_that_their_label_maps_show(shared_data: Path, tmp_path: Path) -> None:
    """dcmqi's own NRRD label maps: GREEN 9602, ORANGE 11888, PURPLE 10743, LIGHT_BLUE 6693, DARK_BLUE 4713 voxels."""
    for source in ("ct-3slice/01.dcm", "ct-3slice/02.dcm", "ct-3slice/03.dcm", "partial_overlaps.dcm"):
        shutil.copy(shared_data / "seg_zoo" / "dcmqi" / source, tmp_path)
    vessels = ("SCT:51114001", "SCT:20982000", "SCT:29092000")
    study = scan_study(tmp_path, ScanLimits())
    assert chosen(study, rules_with(codes=vessels, choose="largest")).segment.label == "ORANGE"
    assert refusal_of(study, rules_with(codes=vessels)).code is RefusalCode.SEVERAL_TUMOUR_SEGMENTS
