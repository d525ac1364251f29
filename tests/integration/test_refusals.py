"""Bad input: each code of the table by a study that is refused with it, and which of two faults is told."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

import pdl1es.model.fusion
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.errors import RefusalCode
from pdl1es.model.digests import write_digests
from pdl1es.model.fusion import FusionModel
from pdl1es.phantom.ct_series import uid_of
from pdl1es.phantom.scanner import Scan, ScannerParameters
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.run import run_study
from pdl1es.settings import ModelSettings, Settings
from tests.integration.chain_runs import WHEN, Scored
from tests.odd_segmentations import GTV, HEART_SEGMENT, TUMOUR, SegmentDescription, write_segmentation_for
from tests.odd_series import Storage, StoredSeries, write_odd_series

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

PATIENT: Final = {
    "PatientName": "Zebrafink^Quendolin",
    "PatientID": "QX-77-SECRET",
    "StudyDate": "20190317",
    "SeriesDate": "20190317",
    "AcquisitionDate": "20190317",
    "ContentDate": "20190317",
    "AccessionNumber": "ACC-9911",
    "StudyDescription": "Zebrafink, chest",
}
SECRETS: Final = ("Zebrafink", "Quendolin", "QX-77", "20190317", "2019-03-17", "ACC-9911")
GPU_OBSTACLE: Final = "there is no NVIDIA driver (libcuda.so.1)"

COMPLETE: Final = {"age": 61, "sex": "female", "smoking": "never", "family_history": "no"}

Masks = list[NDArray[np.bool_]]
Fault = Callable[["Plan"], None]
Edit = Callable[[list[Path]], None]
About = Literal["series", "image", "segmentation"]


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What a good study is made from: a small chest with a tumour, 1 x 1 x 3 mm."""

    scan: Scan

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.scan.mask

    @property
    def tumour_slices(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.mask.any(axis=(1, 2)))

    @property
    def middle(self) -> int:
        """A slice in the tumour's middle."""
        return int(np.median(self.tumour_slices))


@dataclass(slots=True, eq=False)
class Plan:
    """A study before it is written; a fault changes it.

    Attributes
    ----------
    base
        The good study.
    storage
        How the CT is stored.
    masks, segments
        What the SEG holds; None for masks: no SEG.
    seg
        Further arguments of ``write_segmentation_for``.
    ct_edits, seg_edits
        Done to the written files, in this order.
    after
        Done to the folder at last.
    clinical
        Content of clinical.json.
    selection, protocol, plausibility, limits, require_gpu
        Settings.
    model
        Makes the model's folder from the one that ships; None for that one.
    unwritable
        Whether the output folder cannot be made.
    """

    base: Base
    storage: dict[str, Any] = field(default_factory=dict)
    masks: Masks | None = None
    segments: tuple[SegmentDescription, ...] = (TUMOUR,)
    seg: dict[str, Any] = field(default_factory=dict)
    ct_edits: list[Edit] = field(default_factory=list)
    seg_edits: list[Callable[[Path], None]] = field(default_factory=list)
    after: list[Callable[[Path], None]] = field(default_factory=list)
    clinical: Mapping[str, Any] = field(default_factory=lambda: COMPLETE)
    selection: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    plausibility: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    require_gpu: bool = False
    model: Callable[[Path, Path], Path] | None = None
    unwritable: bool = False

    def write(self, folder: Path) -> StoredSeries:
        """Write the study."""
        storage = Storage(replaced=PATIENT, **self.storage)
        ct = write_odd_series(folder / "CT", self.base.scan, storage, key="refused")
        masks = [self.base.mask] if self.masks is None else self.masks
        seg = folder / "SEG" / "tumour.dcm"
        frames = [ct.frames_of(mask) for mask in masks]
        write_segmentation_for(seg, ct.datasets, frames, segments=self.segments, key="refused/seg", **self.seg)
        (folder / "clinical.json").write_text(json.dumps(self.clinical), encoding="utf-8")
        for edit in self.ct_edits:
            edit([path for path in ct.paths if path.exists()])
        for seg_edit in self.seg_edits:
            seg_edit(seg)
        for last in self.after:
            last(folder)
        return ct


# --- The faults, in the order of the table ---------------------------------------------------------------------------


def edited(path: Path, change: Callable[[Dataset], None]) -> None:
    """Change a file's data set."""
    ds = pydicom.dcmread(path)
    change(ds)
    ds.save_as(path)


def each_image(change: Callable[[Dataset], None]) -> Edit:
    def edit(paths: list[Path]) -> None:
        for path in paths:
            edited(path, change)

    return edit


def one_image(change: Callable[[Dataset], None]) -> Edit:
    def edit(paths: list[Path]) -> None:
        if paths:
            edited(paths[-1], change)

    return edit


def set_to(**attributes: Any) -> Callable[[Dataset], None]:
    """Return a change that sets attributes, or removes those that are None."""

    def change(ds: Dataset) -> None:
        for keyword, value in attributes.items():
            if value is None:
                ds.pop(keyword, None)
            else:
                setattr(ds, keyword, value)

    return change


def output_not_writable(plan: Plan) -> None:
    plan.unwritable = True


def model_changed(plan: Plan) -> None:
    """Copied in part: the model of one export, the metadata of another."""

    def mixed(shipped: Path, folder: Path) -> Path:
        shutil.copy(shipped / "metadata.json", folder)
        (folder / "model.onnx").write_bytes(b"another model")
        return folder

    plan.model = mixed


def model_unfit(plan: Plan) -> None:
    plan.model = lambda shipped, folder: folder


def provider_unavailable(plan: Plan) -> None:
    plan.require_gpu = True


def input_unreadable(plan: Plan) -> None:
    """The folder is moved away before it is read."""
    plan.after.append(shutil.rmtree)


def limit_exceeded(plan: Plan) -> None:
    plan.limits["max_files"] = 3


def stray_object(uid: str, **attributes: Any) -> Callable[[Path], None]:
    """Return what puts a secondary capture beside the study's own objects."""

    def put(folder: Path) -> None:
        other = Path(shutil.copy(min((folder / "CT").iterdir()), folder / f"{uid}.dcm"))
        edited(other, set_to(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SOPInstanceUID=uid, **attributes))

    return put


def several_patients(plan: Plan) -> None:
    plan.after.insert(0, stray_object("1.2.3.4", PatientID="QX-78-SECRET"))


def several_studies(plan: Plan) -> None:
    plan.after.insert(0, stray_object("1.2.3.9", StudyInstanceUID="1.2.3.5"))


def invalid_uids(plan: Plan) -> None:
    """As an anonymiser writes them that keeps a part of a hash."""
    plan.seg_edits.append(lambda path: edited(path, set_to(SOPInstanceUID="1.2.3.a7f")))


def no_ct(plan: Plan) -> None:
    plan.after.append(lambda folder: shutil.rmtree(folder / "CT"))


def no_seg(plan: Plan) -> None:
    plan.after.append(lambda folder: shutil.rmtree(folder / "SEG"))


def seg_unreadable(plan: Plan) -> None:
    plan.seg_edits.append(lambda path: edited(path, set_to(NumberOfFrames=999)))


def seg_incomplete(plan: Plan) -> None:
    part = set_to(ConcatenationUID="1.2.3.8", InConcatenationNumber=1, InConcatenationTotalNumber=2)
    plan.seg_edits.append(lambda path: edited(path, part))


def no_tumour_segment(plan: Plan) -> None:
    plan.masks, plan.segments = None, (HEART_SEGMENT,)


def several_tumour_segments(plan: Plan) -> None:
    plan.masks, plan.segments = [plan.base.mask, np.roll(plan.base.mask, 9, axis=1)], (TUMOUR, GTV)


def seg_not_on_ct(plan: Plan) -> None:
    plan.seg |= {"reference_source": True, "referenced_series_uid": "1.2.3.8"}

    def of_a_pet(ds: Dataset) -> None:
        for number, element in enumerate(e for e in ds.iterall() if e.keyword == "ReferencedSOPInstanceUID"):
            element.value = f"1.2.3.8.{number + 1}"
        for element in (e for e in ds.iterall() if e.keyword == "ReferencedSOPClassUID"):
            element.value = "1.2.840.10008.5.1.4.1.1.128"

    plan.seg_edits.append(lambda path: edited(path, of_a_pet))


def seg_references_other_series(plan: Plan) -> None:
    plan.seg |= {"reference_source": True, "referenced_series_uid": "1.2.3.6"}

    def of_other_images(ds: Dataset) -> None:
        for number, element in enumerate(e for e in ds.iterall() if e.keyword == "ReferencedSOPInstanceUID"):
            element.value = f"1.2.3.6.{number + 1}"

    plan.seg_edits.append(lambda path: edited(path, of_other_images))


def seg_references_absent_instances(plan: Plan) -> None:
    plan.seg["reference_source"] = True
    plan.storage.pop("omit", None)
    index = plan.base.middle

    def lose(folder: Path) -> None:
        (folder / "CT" / f"CT{index + 1:04d}.dcm").unlink(missing_ok=True)

    plan.after.append(lose)


def seg_frame_of_reference(plan: Plan) -> None:
    plan.seg["frame_of_reference_uid"] = "1.2.3.7"


def copies_differ(plan: Plan) -> None:
    def other_pixels(paths: list[Path]) -> None:
        for path in paths[:1]:
            copied = Path(shutil.copy(path, path.with_name("again.dcm")))
            edited(copied, lambda ds: setattr(ds, "PixelData", bytes(len(ds.PixelData))))

    plan.ct_edits.append(other_pixels)


def no_eligible_ct(plan: Plan) -> None:
    plan.ct_edits.append(each_image(set_to(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])))


def geometry_missing(plan: Plan) -> None:
    plan.ct_edits.append(one_image(set_to(ImagePositionPatient=None)))


def geometry_inconsistent(plan: Plan) -> None:
    plan.ct_edits.append(one_image(set_to(PixelSpacing=[1.5, 1.5])))


def too_few_slices(plan: Plan) -> None:
    plan.seg["reference_source"] = False

    plan.selection["minimum_slices"] = 5

    def keep_two(paths: list[Path]) -> None:
        for path in paths[1:-1]:
            path.unlink()

    plan.ct_edits.append(keep_two)


def duplicate_slices(plan: Plan) -> None:
    def duplicate(paths: list[Path]) -> None:
        for path in paths[:1]:
            copied = Path(shutil.copy(path, path.with_name("again.dcm")))
            edited(copied, set_to(SOPInstanceUID="1.2.3.8"))

    plan.ct_edits.append(duplicate)


def gantry_tilt(plan: Plan) -> None:
    plan.protocol["gantry_tilt"] = "refuse"

    def lean(ds: Dataset) -> None:
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y + 0.2 * z, z]

    plan.ct_edits.append(each_image(lean))


def protocol(plan: Plan) -> None:
    plan.protocol["smooth_kernel"] = "refuse"
    plan.ct_edits.append(each_image(set_to(ConvolutionKernel="B30f")))


def segment_empty(plan: Plan) -> None:
    def erase(ds: Dataset) -> None:
        ds.PixelData = bytes(len(ds.PixelData))

    plan.seg_edits.append(lambda path: edited(path, erase))


def seg_geometry(plan: Plan) -> None:
    def lose_places(ds: Dataset) -> None:
        for frame in ds.PerFrameFunctionalGroupsSequence:
            frame.pop("PlanePositionSequence", None)

    plan.seg_edits.append(lambda path: edited(path, lose_places))


def segment_outside_volume(plan: Plan) -> None:
    plan.seg["reference_source"] = False
    last = plan.base.middle

    def cut(paths: list[Path]) -> None:
        for path in paths[last:]:
            path.unlink()

    plan.ct_edits.append(cut)


def tumour_too_small(plan: Plan) -> None:
    small = np.zeros_like(plan.base.mask)
    row, column = (int(np.median(axis)) for axis in np.nonzero(plan.base.mask[plan.base.middle]))
    small[plan.base.middle : plan.base.middle + 2, row : row + 3, column : column + 3] = True
    plan.masks = [small]


def missing_slices(plan: Plan) -> None:
    plan.seg["reference_source"] = False
    index = plan.base.middle
    plan.ct_edits.append(lambda paths: paths[index].unlink() if len(paths) > index else None)


def not_hu(plan: Plan) -> None:
    plan.ct_edits.append(each_image(set_to(RescaleSlope=None)))


def unsupported_transfer_syntax(plan: Plan) -> None:
    def claim(ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.55")
        ds.PixelData = encapsulate([b"\xff\xd8 not for us \xff\xd9"])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"

    plan.ct_edits.append(each_image(claim))


def pixel_data_corrupt(plan: Plan) -> None:
    index = plan.base.middle + 1

    def truncate(folder: Path) -> None:
        path = folder / "CT" / f"CT{index + 1:04d}.dcm"
        if path.exists():
            path.write_bytes(path.read_bytes()[:-20])

    plan.after.append(truncate)


def drawn(plan: Plan) -> NDArray[np.bool_]:
    """Return a copy of the contour as it is planned so far."""
    return np.array(plan.base.mask if plan.masks is None else plan.masks[0])


def overlapping_passes(plan: Plan) -> None:
    def number(paths: list[Path]) -> None:
        for index, path in enumerate(paths):
            edited(path, set_to(AcquisitionNumber=1 + index % 2))

    plan.ct_edits.append(number)


def contour_gaps(plan: Plan) -> None:
    mask = drawn(plan)
    mask[plan.base.middle] = False
    plan.masks = [mask]


def several_lesions(plan: Plan) -> None:
    mask = drawn(plan)
    mask[:, 5:17, 5:17] |= mask.any(axis=(1, 2), keepdims=True)
    plan.masks = [mask]


def tumour_implausible(plan: Plan) -> None:
    plan.plausibility["largest_volume_ml"] = 0.5


def scan_ends_at_tumour(plan: Plan) -> None:
    mask = drawn(plan)
    mask[plan.base.middle + 1 :] |= plan.base.mask[plan.base.middle]
    plan.masks = [mask]


def memory_exceeded(plan: Plan) -> None:
    plan.limits["memory_bytes"] = 2**20


def clinical_invalid(plan: Plan) -> None:
    plan.clinical = {"age": 900}


def radiomics_incomplete(plan: Plan) -> None:
    """A line of voxels along the patient's axis: it has no texture and no second axis."""
    line = np.zeros_like(plan.base.mask)
    row, column = (int(np.median(axis)) for axis in np.nonzero(plan.base.mask[plan.base.middle]))
    line[1:-1, row, column] = True
    plan.masks = [line]


def score_not_finite(plan: Plan) -> None:
    """A model file in which one number, its bias, is damaged; everything that can be checked on loading is right."""

    def damaged(shipped: Path, folder: Path) -> Path:
        content = (shipped / "model.onnx").read_bytes()
        zeros = [np.zeros(shape) for shape in (1316, 4)]
        terms = FusionModel.load(shipped)._run(np.zeros((1, 112, 112), np.float32), *zeros)["contributions"]
        bias = struct.pack("<d", float(terms[0]))
        assert bias in content
        (folder / "model.onnx").write_bytes(content.replace(bias, struct.pack("<d", float("nan"))))
        write_digests(folder)
        return folder

    plan.model = damaged


def unlike_training(plan: Plan) -> None:
    """A model whose training patients lay near each other, and settings that refuse what lies beyond."""

    def narrow(shipped: Path, folder: Path) -> Path:
        content = (shipped / "model.onnx").read_bytes()
        limit = re.search(rb'"distance":(\d\d\.)', content)
        assert limit is not None
        (folder / "model.onnx").write_bytes(content[: limit.start(1)] + b"0.0" + content[limit.end(1) :])
        write_digests(folder)
        return folder

    plan.model = narrow
    plan.plausibility["unlike_training"] = "refuse"


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, and what its refusal names: the attribute, its value, and what kind of object's UID."""

    fault: Fault
    tag: str | None = None
    value: str | None = None
    about: About | None = None


POSITION: Final = "ImagePositionPatient (0020,0032)"
CASES: Final = {
    RefusalCode.OUTPUT_NOT_WRITABLE: Case(output_not_writable),
    RefusalCode.MODEL_CHANGED: Case(model_changed),
    RefusalCode.MODEL_UNFIT: Case(model_unfit),
    RefusalCode.PROVIDER_UNAVAILABLE: Case(provider_unavailable),
    RefusalCode.INPUT_UNREADABLE: Case(input_unreadable),
    RefusalCode.LIMIT_EXCEEDED: Case(limit_exceeded),
    RefusalCode.SEVERAL_PATIENTS: Case(several_patients, "PatientID (0010,0020)", "2 different values"),
    RefusalCode.SEVERAL_STUDIES: Case(
        several_studies, "StudyInstanceUID (0020,000D)", f"1.2.3.5, {uid_of('refused', 'study')}"
    ),
    RefusalCode.INVALID_UIDS: Case(invalid_uids),
    RefusalCode.NO_CT: Case(no_ct),
    RefusalCode.NO_SEG: Case(no_seg),
    RefusalCode.SEG_UNREADABLE: Case(seg_unreadable, "NumberOfFrames (0028,0008)", "999", "segmentation"),
    RefusalCode.SEG_INCOMPLETE: Case(seg_incomplete, "InConcatenationNumber (0020,9162)", "1", "segmentation"),
    RefusalCode.NO_TUMOUR_SEGMENT: Case(
        no_tumour_segment, "SegmentedPropertyTypeCodeSequence (0062,000F)", "Heart (80891009, SCT)", "segmentation"
    ),
    RefusalCode.SEVERAL_TUMOUR_SEGMENTS: Case(
        several_tumour_segments, "SegmentSequence (0062,0002)", "2 tumours", "segmentation"
    ),
    RefusalCode.SEG_NOT_ON_CT: Case(
        seg_not_on_ct,
        "SeriesInstanceUID (0020,000E) in ReferencedSeriesSequence (0008,1115)",
        "1.2.3.8",
        "segmentation",
    ),
    RefusalCode.SEG_REFERENCES_OTHER_SERIES: Case(
        seg_references_other_series,
        "SeriesInstanceUID (0020,000E) in ReferencedSeriesSequence (0008,1115)",
        "1.2.3.6",
        "segmentation",
    ),
    RefusalCode.SEG_REFERENCES_ABSENT_INSTANCES: Case(
        seg_references_absent_instances, "ReferencedSOPInstanceUID (0008,1155)", None, "segmentation"
    ),
    RefusalCode.SEG_FRAME_OF_REFERENCE: Case(
        seg_frame_of_reference, "FrameOfReferenceUID (0020,0052)", "1.2.3.7", "segmentation"
    ),
    RefusalCode.COPIES_DIFFER: Case(copies_differ, "SOPInstanceUID (0008,0018)", None, "image"),
    RefusalCode.NO_ELIGIBLE_CT: Case(no_eligible_ct, None, None, "series"),
    RefusalCode.GEOMETRY_MISSING: Case(geometry_missing, POSITION, None, "image"),
    RefusalCode.GEOMETRY_INCONSISTENT: Case(geometry_inconsistent, "PixelSpacing (0028,0030)", "1.5\\1.5", "image"),
    RefusalCode.TOO_FEW_SLICES: Case(too_few_slices, None, None, "series"),
    RefusalCode.DUPLICATE_SLICES: Case(duplicate_slices, POSITION, None, "image"),
    RefusalCode.GANTRY_TILT: Case(gantry_tilt, POSITION, "tilt 11.3 degrees", "series"),
    RefusalCode.PROTOCOL: Case(protocol, "ConvolutionKernel (0018,1210)", "B30f", "series"),
    RefusalCode.SEGMENT_EMPTY: Case(segment_empty, None, None, "segmentation"),
    RefusalCode.SEG_GEOMETRY: Case(seg_geometry, POSITION, None, "segmentation"),
    RefusalCode.SEGMENT_OUTSIDE_VOLUME: Case(segment_outside_volume, POSITION, None, "series"),
    RefusalCode.TUMOUR_TOO_SMALL: Case(tumour_too_small, None, None, "segmentation"),
    RefusalCode.MISSING_SLICES: Case(missing_slices, POSITION, "6.00 mm apart", "series"),
    RefusalCode.NOT_HU: Case(not_hu, "RescaleSlope (0028,1053)", None, "image"),
    RefusalCode.UNSUPPORTED_TRANSFER_SYNTAX: Case(
        unsupported_transfer_syntax, "TransferSyntaxUID (0002,0010)", "1.2.840.10008.1.2.4.55", "image"
    ),
    RefusalCode.PIXEL_DATA_CORRUPT: Case(pixel_data_corrupt, "PixelData (7FE0,0010)", "present", "image"),
    RefusalCode.OVERLAPPING_PASSES: Case(overlapping_passes, None, None, "segmentation"),
    RefusalCode.CONTOUR_GAPS: Case(contour_gaps, None, None, "segmentation"),
    RefusalCode.SEVERAL_LESIONS: Case(several_lesions, None, None, "segmentation"),
    RefusalCode.TUMOUR_IMPLAUSIBLE: Case(tumour_implausible, None, None, "segmentation"),
    RefusalCode.SCAN_ENDS_AT_TUMOUR: Case(scan_ends_at_tumour, None, None, "segmentation"),
    RefusalCode.MEMORY_EXCEEDED: Case(memory_exceeded),
    RefusalCode.CLINICAL_INVALID: Case(clinical_invalid),
    RefusalCode.RADIOMICS_INCOMPLETE: Case(radiomics_incomplete),
    RefusalCode.SCORE_NOT_FINITE: Case(score_not_finite),
    RefusalCode.UNLIKE_TRAINING: Case(unlike_training),
}
"""A study, settings, a model or an output folder for every code."""


@pytest.fixture(scope="module")
def base(phantom_study: PhantomStudy) -> Base:
    """A part of the phantom around its tumour, with voxels of 1 x 1 x 3 mm at whole millimetres."""
    scan = phantom_study.scan
    centre = [int(np.median(axis)) for axis in np.nonzero(scan.mask)]
    z, y, x = (slice(max(0, middle - half), middle + half) for middle, half in zip(centre, (12, 48, 48), strict=True))
    scanner = ScannerParameters(matrix=96, pixel_spacing_mm=1.0)
    return Base(Scan(scan.hu[z, y, x], scan.mask[z, y, x], (-48.0, -48.0, 30.0), (1.0, 1.0, 3.0), scanner))


Attempt = Callable[..., tuple[Scored, StoredSeries]]


@pytest.fixture(scope="module")
def shipped_model(repository: Path) -> FusionModel:
    """The model that ships, loaded once: it takes longer than to refuse a study."""
    return FusionModel.load(repository / "models" / "pdl1es")


@pytest.fixture
def attempt(
    base: Base,
    settings: Settings,
    repository: Path,
    shipped_model: FusionModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Attempt:
    """Write a study with the given faults, run the whole chain on it, and return what that left behind."""
    monkeypatch.setattr(pdl1es.model.fusion, "cuda_obstacle", lambda: GPU_OBSTACLE)

    def run(*faults: Fault) -> tuple[Scored, StoredSeries]:
        plan = Plan(base)
        for fault in faults:
            fault(plan)
        study, output, model = (tmp_path / name for name in ("study", "out", "model"))
        for folder in (study, model):
            folder.mkdir()
        ct = plan.write(study)
        if plan.unwritable:
            (tmp_path / "file").write_bytes(b"")
            output = tmp_path / "file" / "out"
        shipped = repository / "models" / "pdl1es"
        model_folder = plan.model(shipped, model) if plan.model else shipped
        if model_folder is shipped and not plan.require_gpu:
            monkeypatch.setattr(FusionModel, "load", lambda *_, **__: shipped_model)
        outcome = run_study(
            study,
            output,
            settings=settings.model_copy(
                update={
                    "selection": SelectionRules(**plan.selection),
                    "protocol": ProtocolRules(**plan.protocol),
                    "plausibility": PlausibilityRules(**plan.plausibility),
                    "limits": ScanLimits(**plan.limits),
                    "model": ModelSettings(require_gpu=plan.require_gpu),
                }
            ),
            model_folder=model_folder,
            when=WHEN,
        )
        return Scored(outcome, output), ct

    return run


def test_the_study_without_a_fault_is_scored(attempt: Attempt) -> None:
    """Otherwise the refusals below would prove nothing."""
    done, _ = attempt()
    assert done.code == "scored"
    assert done.result["warnings"] == []


def test_every_code_of_the_table_has_a_case() -> None:
    assert tuple(CASES) == tuple(RefusalCode)


@pytest.mark.parametrize("code", CASES, ids=lambda code: code.name)
def test_bad_input_is_refused_with_its_code_and_leaves_nothing_but_the_result(
    attempt: Attempt, caplog: pytest.LogCaptureFixture, tmp_path: Path, code: RefusalCode
) -> None:
    case = CASES[code]
    with caplog.at_level(logging.DEBUG):
        done, ct = attempt(case.fault)
    refusal = done.outcome.refusal
    assert refusal is not None, done.result["defect"]
    assert refusal.code is code, refusal.message
    assert done.outcome.exit_code == 3

    assert refusal.tag == case.tag
    assert case.value in (None, refusal.value)
    uids: dict[str | None, set[Any]] = {
        "series": {ct.series_instance_uid},
        "image": {str(ds.SOPInstanceUID) for ds in ct.datasets} | {"1.2.3.8"},
        "segmentation": {uid_of("refused/seg", "object")},
        None: {None},
    }
    assert refusal.uid in uids[case.about]
    for part in (code.name, refusal.found, refusal.tag, refusal.uid, refusal.remedy):
        assert part is None or part in refusal.message
    assert refusal.message in caplog.text

    assert [secret for secret in SECRETS if secret in caplog.text] == []
    if code is RefusalCode.OUTPUT_NOT_WRITABLE:
        assert done.outcome.result is None
        assert (tmp_path / "file").read_bytes() == b""
        return
    assert [path.name for path in done.folder.rglob("*")] == ["result.json"]
    text = (done.folder / "result.json").read_text(encoding="utf-8")
    assert [secret for secret in SECRETS if secret in text] == []
    result = json.loads(text)
    assert (result["status"], result["assessment"], result["reports"]) == ("refused", None, [])
    told: dict[str, str | None] = {
        "code": code.name,
        "stage": code.row.stage,
        "meaning": code.row.meaning,
        "remedy": refusal.remedy,
    }
    told |= {"found": refusal.found, "tag": refusal.tag, "value": refusal.value, "uid": refusal.uid}
    assert result["refusal"] == told


# --- An output folder that fails on the way --------------------------------------------------------------------------


def run_command(study: Path, output: Path, repository: Path, largest_file: int | None) -> int:
    """Run the command line, where no file can grow beyond a size, and return its exit code."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    done = subprocess.run(
        [sys.executable, "-m", "pdl1es.command_line.cli", "run", str(study), str(output)],
        # A module's bytecode, cut off by the limit, would stay and end every later run.
        env={**os.environ, "PYTHONPATH": str(repository), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=repository,
        capture_output=True,
        preexec_fn=limit,
        timeout=300,
        check=False,
    )
    return done.returncode


def test_a_disk_that_fills_while_the_report_is_written_leaves_no_part_of_it(
    base: Base, repository: Path, tmp_path: Path
) -> None:
    """The short result of a refusal fits still."""
    Plan(base).write(tmp_path / "study")
    assert run_command(tmp_path / "study", tmp_path / "out", repository, largest_file=8192) == 3
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["result.json"]
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["refusal"]["code"] == "OUTPUT_NOT_WRITABLE"
    assert result["refusal"]["found"].endswith("File too large")


def test_a_report_whose_result_cannot_be_written_is_taken_back(base: Base, repository: Path, tmp_path: Path) -> None:
    """What lies in the output folder is delivered: a report must not lie there after a run that failed."""
    Plan(base).write(tmp_path / "study")
    (tmp_path / "out" / "result.json").mkdir(parents=True)
    assert run_command(tmp_path / "study", tmp_path / "out", repository, largest_file=None) == 3
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["result.json"]


# --- Which of two faults is told -------------------------------------------------------------------------------------

FAR_APART: Final = [
    (RefusalCode.SEVERAL_PATIENTS, RefusalCode.NO_SEG),
    (RefusalCode.SEVERAL_PATIENTS, RefusalCode.CLINICAL_INVALID),
    (RefusalCode.NO_TUMOUR_SEGMENT, RefusalCode.MISSING_SLICES),
    (RefusalCode.SEG_FRAME_OF_REFERENCE, RefusalCode.DUPLICATE_SLICES),
    (RefusalCode.DUPLICATE_SLICES, RefusalCode.PROTOCOL),
    (RefusalCode.PROTOCOL, RefusalCode.SEGMENT_EMPTY),
    (RefusalCode.SEGMENT_EMPTY, RefusalCode.NOT_HU),
    (RefusalCode.MISSING_SLICES, RefusalCode.PIXEL_DATA_CORRUPT),
    (RefusalCode.NOT_HU, RefusalCode.CLINICAL_INVALID),
    (RefusalCode.PIXEL_DATA_CORRUPT, RefusalCode.RADIOMICS_INCOMPLETE),
]


@pytest.mark.parametrize(("earlier", "later"), [*pairwise(RefusalCode), *FAR_APART], ids=lambda code: code.name)
def test_of_two_faults_the_one_that_is_earlier_in_the_table_is_told(
    attempt: Attempt, earlier: RefusalCode, later: RefusalCode
) -> None:
    done, _ = attempt(CASES[later].fault, CASES[earlier].fault)
    assert done.code == earlier.name


# --- What the settings make of the protocol --------------------------------------------------------------------------


def image_type(word: str) -> Fault:
    """Every image of the CT is of another type."""
    changed = each_image(set_to(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", word]))
    return lambda plan: plan.ct_edits.append(changed)


def another_manufacturer(plan: Plan) -> None:
    plan.ct_edits.append(one_image(set_to(Manufacturer="CANON_MEC")))
    plan.protocol["sharp_kernels"] = ("B60f",)  # which Canon has not


BREACHES: Final[dict[str, tuple[str, Fault]]] = {
    "smooth_kernel": ("SMOOTH_KERNEL", lambda plan: plan.ct_edits.append(each_image(set_to(ConvolutionKernel="B30f")))),
    "unknown_kernel": ("UNKNOWN_KERNEL", lambda plan: plan.ct_edits.append(each_image(set_to(ConvolutionKernel="Z9")))),
    "missing_kernel": ("KERNEL_MISSING", lambda plan: plan.ct_edits.append(each_image(set_to(ConvolutionKernel=None)))),
    "thick_slices": ("THICK_SLICES", lambda plan: plan.ct_edits.append(each_image(set_to(SliceThickness="8")))),
    "missing_slice_thickness": (
        "SLICE_THICKNESS_MISSING",
        lambda plan: plan.ct_edits.append(each_image(set_to(SliceThickness=None))),
    ),
    "missing_manufacturer": (
        "MANUFACTURER_MISSING",
        lambda plan: plan.ct_edits.append(each_image(set_to(Manufacturer=None))),
    ),
    "lossy_compression": (
        "LOSSY_COMPRESSION",
        lambda plan: plan.ct_edits.append(each_image(set_to(LossyImageCompression="01"))),
    ),
    "several_manufacturers": ("SEVERAL_MANUFACTURERS", another_manufacturer),
    "averaged_images": ("AVERAGED_IMAGES", image_type("AVERAGE")),
    "spectral_images": ("SPECTRAL_IMAGES", image_type("VNC")),
    "multi_energy": ("MULTI_ENERGY", image_type("GSI")),
    "attenuation_correction": ("ATTENUATION_CORRECTION", image_type("CTAC")),
    "reformatted_images": ("REFORMATTED_IMAGES", image_type("CT_SOM5 MPR")),
}
"""Rules of app.yaml: the warning's code, and a CT that breaks the rule. Gantry tilt has a code of its own, above."""


@pytest.mark.parametrize("rule", BREACHES)
@pytest.mark.parametrize("action", ["warn", "withhold_group", "refuse"])
def test_each_rule_of_the_protocol_warns_withholds_the_group_or_refuses_as_the_settings_say(
    attempt: Attempt, rule: str, action: str
) -> None:
    warning, breach = BREACHES[rule]

    def act(plan: Plan) -> None:
        breach(plan)
        plan.protocol[rule] = action

    done, _ = attempt(act)
    if action == "refuse":
        assert done.code == "PROTOCOL"
        return
    result = done.result
    assert [(warning["code"], warning["effect"]) for warning in result["warnings"]] == [(warning, action)]
    assert 0 < result["assessment"]["score"] < 1
    groups = result["assessment"]["groups"]
    withheld = action == "withhold_group"
    assert [groups[name]["group"] is None for name in ("expression", "risk")] == [withheld, withheld]
    message = result["warnings"][0]["message"].rstrip(".")
    assert (message in (groups["withheld"] or "")) == withheld
    assert any(message in str(element.value) for element in done.report.iterall() if element.keyword == "TextValue")


def test_every_rule_of_the_protocol_is_tried() -> None:
    rules = {name for name, info in ProtocolRules.model_fields.items() if info.default in ("warn", "withhold_group")}
    assert rules == {*BREACHES, "gantry_tilt"}
