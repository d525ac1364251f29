"""Studies whose input is not what it seems: each has one fault, and none gets a group in silence."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence
from scipy import ndimage

from pdl1es.phantom.dicom import PhantomStudy
from pdl1es.plausibility.rules import PlausibilityRules
from tests.integration.chain_runs import Score, Scored

AIR = -1024


class Faulty:
    """A copy of the phantom study that can be spoilt: its CT from feet to head, and its contour by CT slice."""

    def __init__(self, study: PhantomStudy) -> None:
        files = [pydicom.dcmread(path) for path in sorted(study.folder.rglob("*.dcm"))]
        self.ct = sorted((f for f in files if f.Modality == "CT"), key=lambda f: float(f.ImagePositionPatient[2]))
        (self.seg,) = (f for f in files if f.Modality == "SEG")
        heights = np.array([float(f.ImagePositionPatient[2]) for f in self.ct])
        frames = self.seg.pixel_array.reshape(-1, self.seg.Rows, self.seg.Columns).astype(np.bool_)
        places = [
            float(g.PlanePositionSequence[0].ImagePositionPatient[2]) for g in self.seg.PerFrameFunctionalGroupsSequence
        ]
        self.contour = {
            int(np.abs(heights - z).argmin()): frame for z, frame in zip(places, frames, strict=True) if frame.any()
        }

    @property
    def middle(self) -> int:
        """The slice of largest contour."""
        return max(self.contour, key=lambda index: int(self.contour[index].sum()))

    def hu(self, index: int) -> NDArray[np.int32]:
        """Hounsfield units of a slice."""
        ct = self.ct[index]
        return (ct.pixel_array.astype(np.int32) * int(ct.RescaleSlope)) + int(ct.RescaleIntercept)

    def set_hu(self, index: int, hu: NDArray[np.int32]) -> None:
        """Store Hounsfield units, signed."""
        ct = self.ct[index]
        ct.PixelRepresentation, ct.RescaleIntercept, ct.RescaleSlope = 1, 0, 1
        ct.BitsStored, ct.HighBit = 16, 15
        ct.PixelData = hu.astype(np.int16).tobytes()

    def write(self, folder: Path) -> Path:
        """Write the study."""
        self._write_contour()
        for number, ct in enumerate(self.ct):
            ct.file_meta.MediaStorageSOPInstanceUID = ct.SOPInstanceUID
            (folder / "CT").mkdir(parents=True, exist_ok=True)
            ct.save_as(folder / "CT" / f"{number}.dcm")
        self.seg.save_as(folder / "seg.dcm")
        return folder

    def _write_contour(self) -> None:
        groups = self.seg.PerFrameFunctionalGroupsSequence
        first, made, values = groups[0], [], []
        for index in sorted(self.contour):
            group = copy.deepcopy(first)
            group.PlanePositionSequence[0].ImagePositionPatient = list(self.ct[index].ImagePositionPatient)
            if "DerivationImageSequence" in group:
                source = group.DerivationImageSequence[0].SourceImageSequence[0]
                source.ReferencedSOPInstanceUID = self.ct[index].SOPInstanceUID
            made.append(group)
            values.append(self.contour[index])
        self.seg.PerFrameFunctionalGroupsSequence = Sequence(made)
        self.seg.NumberOfFrames = len(made)
        self.seg.PixelData = pack_bits(np.stack(values).astype(np.uint8).ravel(), pad=True)

    def keep_references_to(self, slices: list[FileDataset]) -> None:
        """Let the SEG name these images alone, as SEGs of many writers do."""
        kept = {ct.SOPInstanceUID for ct in slices}
        for item in self.seg.get("ReferencedSeriesSequence", []):
            item.ReferencedInstanceSequence = Sequence(
                [r for r in item.ReferencedInstanceSequence if r.ReferencedSOPInstanceUID in kept]
            )
        self.seg.pop("SourceImageSequence", None)


# --- the faults ------------------------------------------------------------------------------------------------------


def stray_pixel(study: Faulty) -> None:
    row, column = (int(np.median(axis)) for axis in np.nonzero(study.contour[study.middle]))
    study.contour[study.middle][row, column - 30] = True


def slice_cut_off(study: Faulty) -> None:
    hu = study.hu(study.middle + 1)
    hu[hu.shape[0] // 2 :] = AIR
    study.set_hu(study.middle + 1, hu)


def slice_of_another_place(study: Faulty) -> None:
    study.set_hu(study.middle + 1, study.hu(len(study.ct) - 1))


def passes_that_nothing_tells_apart(study: Faulty) -> None:
    other = copy.deepcopy(study.ct)
    for index, ct in enumerate(other):
        ct.SOPInstanceUID += ".1"
        x, y, z = map(float, ct.ImagePositionPatient)
        ct.ImagePositionPatient = [x, y, z + 1.5]
        ct.PixelData = np.roll(study.ct[index].pixel_array, 6, axis=0).tobytes()
    study.contour = {2 * index: mask for index, mask in study.contour.items()}
    study.ct = [ct for pair in zip(study.ct, other, strict=True) for ct in pair]
    for number, ct in enumerate(study.ct):
        ct.InstanceNumber = number + 1
        for keyword in ("AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime", "ContentTime"):
            ct.pop(keyword, None)


def second_lesion(study: Faulty) -> None:
    for index, mask in study.contour.items():
        study.contour[index] = mask | np.roll(mask, 45, axis=1)


def smaller_lesion(study: Faulty) -> None:
    for index, mask in study.contour.items():
        study.contour[index] = mask | np.roll(ndimage.binary_erosion(mask, iterations=3), 45, axis=1)


def forgotten_slice(study: Faulty) -> None:
    del study.contour[study.middle]


def every_second_slice(study: Faulty) -> None:
    study.contour = {index: mask for index, mask in study.contour.items() if (index - study.middle) % 2 == 0}


def every_third_slice(study: Faulty) -> None:
    study.contour = {index: mask for index, mask in study.contour.items() if (index - study.middle) % 3 == 0}


def widest_slice_alone(study: Faulty) -> None:
    study.contour = {study.middle: study.contour[study.middle]}


def one_image_at_two_places(study: Faulty) -> None:
    study.set_hu(study.middle + 1, study.hu(study.middle))


def outline(study: Faulty) -> None:
    for index, mask in study.contour.items():
        study.contour[index] = mask & ~ndimage.binary_erosion(mask, iterations=2)


def lost_intercept(study: Faulty) -> None:
    for ct in study.ct:
        ct.RescaleIntercept = 0


def lost_intercept_of_one_slice(study: Faulty) -> None:
    study.ct[study.middle].RescaleIntercept = 0


def steep_slope(study: Faulty) -> None:
    for ct in study.ct:
        ct.RescaleSlope = 7


def flipped_rows(study: Faulty) -> None:
    study.contour = {index: mask[::-1] for index, mask in study.contour.items()}


def inverted(study: Faulty) -> None:
    study.contour = {index: ~mask for index, mask in study.contour.items()}


def scan_that_ends_at_the_tumour(study: Faulty) -> None:
    last = max(study.contour)
    study.keep_references_to([study.ct[index] for index in study.contour])
    study.ct = study.ct[: last + 1]


def scan_that_ends_one_slice_later(study: Faulty) -> None:
    last = max(study.contour)
    study.keep_references_to([study.ct[index] for index in study.contour])
    study.ct = study.ct[: last + 2]


def padding_beside_the_tumour(study: Faulty) -> None:
    edge = max(int(np.nonzero(mask)[1].max()) for mask in study.contour.values()) + 3
    for index in range(len(study.ct)):
        hu = study.hu(index)
        hu[:, edge:] = -3024
        study.set_hu(index, hu)


def air_beside_the_tumour(study: Faulty) -> None:
    edge = max(int(np.nonzero(mask)[1].max()) for mask in study.contour.values()) + 3
    for index in range(len(study.ct)):
        hu = study.hu(index)
        hu[:, edge:] = AIR
        study.set_hu(index, hu)


def padding_off_the_patch(study: Faulty) -> None:
    edge = max(int(np.nonzero(mask)[1].max()) for mask in study.contour.values()) + 6
    for index in range(len(study.ct)):
        hu = study.hu(index)
        hu[:, edge:] = -3024
        study.set_hu(index, hu)


def interleaved_passes(study: Faulty) -> None:
    for index in range(min(study.contour) - 3, max(study.contour) + 4):
        ct = copy.deepcopy(study.ct[index])
        ct.SOPInstanceUID = f"{ct.SOPInstanceUID[:50]}.9"
        ct.AcquisitionNumber = 2
        x, y, z = map(float, ct.ImagePositionPatient)
        ct.ImagePositionPatient = [x, y, z + 1.5]
        ct.InstanceNumber = 500 + index
        study.ct.append(ct)
    # drawn on both, so that no pass is the one on which it was drawn
    study.contour[len(study.ct) - 5] = study.contour[study.middle]


def contour_within_soft_tissue(study: Faulty) -> None:
    """Where the mediastinum or the wall is homogeneous: no edge to follow."""
    index = study.middle
    hu, mask = study.hu(index), study.contour[index]
    rows, columns = np.nonzero(mask)
    best = min(
        ((dy, dx) for dy in range(-110, 111, 5) for dx in range(-110, 111, 5)),
        key=lambda move: float(
            np.abs(
                np.clip(hu[(rows + move[0]) % hu.shape[0], (columns + move[1]) % hu.shape[1]], -1000, 400) - 40
            ).mean()
        ),
    )
    study.contour = {i: np.roll(m, best, axis=(0, 1)) for i, m in study.contour.items()}


Spoil = Callable[[Faulty], None]


@pytest.fixture
def scored_with(phantom_study: PhantomStudy, score: Score, tmp_path: Path) -> Callable[..., Scored]:
    """Score the phantom with one fault."""

    def run(spoil: Spoil, **sections: Any) -> Scored:
        study = Faulty(phantom_study)
        spoil(study)
        folder = study.write(tmp_path / spoil.__name__)
        shutil.copy(phantom_study.folder / "clinical.json", folder)
        return score(folder, **sections)

    return run


REFUSED: dict[Spoil, str] = {
    second_lesion: "SEVERAL_LESIONS",
    forgotten_slice: "CONTOUR_GAPS",
    lost_intercept: "NOT_HU",
    lost_intercept_of_one_slice: "NOT_HU",
    steep_slope: "NOT_HU",
    flipped_rows: "TUMOUR_IMPLAUSIBLE",
    inverted: "TUMOUR_IMPLAUSIBLE",
    scan_that_ends_at_the_tumour: "SCAN_ENDS_AT_TUMOUR",
    interleaved_passes: "OVERLAPPING_PASSES",
}
WITHHELD: dict[Spoil, str] = {
    outline: "CONTOUR_HOLLOW",
    padding_beside_the_tumour: "PADDING_IN_PATCH",
    contour_within_soft_tissue: "CONTOUR_OFF_EDGE",
    slice_cut_off: "SLICES_FOREIGN",
    slice_of_another_place: "SLICES_FOREIGN",
    passes_that_nothing_tells_apart: "SLICES_FOREIGN",
    one_image_at_two_places: "SLICES_FOREIGN",
    every_third_slice: "CONTOUR_FEW_PLANES",
    widest_slice_alone: "CONTOUR_FEW_PLANES",
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__)
def test_what_cannot_be_what_it_claims_is_refused(spoil: Spoil, scored_with: Callable[..., Scored]) -> None:
    assert scored_with(spoil).code == REFUSED[spoil]


@pytest.mark.parametrize("spoil", WITHHELD, ids=lambda spoil: spoil.__name__)
def test_what_is_doubtful_has_a_score_a_warning_and_no_group(spoil: Spoil, scored_with: Callable[..., Scored]) -> None:
    result = scored_with(spoil).result
    effects = {warning["code"]: warning["effect"] for warning in result["warnings"]}
    assert effects[WITHHELD[spoil]] == "withhold_group"
    groups = result["assessment"]["groups"]
    assert groups["risk"]["group"] is None
    assert groups["expression"]["group"] is None
    assert groups["withheld"]


def test_a_stray_pixel_is_removed_and_told_and_changes_no_digit(
    scored_with: Callable[..., Scored], phantom_study: PhantomStudy, score: Score
) -> None:
    spoilt, clean = scored_with(stray_pixel).result, score(phantom_study.folder).result
    assert [w["code"] for w in spoilt["warnings"]] == ["SPECKS_REMOVED", *[w["code"] for w in clean["warnings"]]]
    for key in ("score", "tumour", "roi", "contributions", "slices", "groups"):
        assert spoilt["assessment"][key] == clean["assessment"][key]
    assert spoilt["assessment"]["plausibility"]["removed_voxels"] == 1


def test_a_setting_takes_the_largest_of_several_bodies_and_tells_it(
    scored_with: Callable[..., Scored], phantom_study: PhantomStudy, score: Score
) -> None:
    spoilt = scored_with(smaller_lesion, plausibility=PlausibilityRules(largest_body=True)).result
    clean = score(phantom_study.folder).result
    assert [w["code"] for w in spoilt["warnings"]] == ["LARGEST_BODY", *[w["code"] for w in clean["warnings"]]]
    for key in ("score", "tumour", "roi", "contributions", "slices", "groups"):
        assert spoilt["assessment"][key] == clean["assessment"][key]
    assert spoilt["assessment"]["plausibility"]["removed_bodies"] == 1


def test_a_contour_on_every_second_slice_is_scored_on_its_own_planes_and_told(
    scored_with: Callable[..., Scored],
) -> None:
    result = scored_with(every_second_slice).result
    assert {w["code"]: w["effect"] for w in result["warnings"]}["CONTOUR_SPARSE"] == "warn"
    assert result["assessment"]["plausibility"]["contour_spacing_to_slices"] == pytest.approx(2.0)


def test_padding_scores_as_air_does(scored_with: Callable[..., Scored]) -> None:
    padding, air = (scored_with(spoil).result for spoil in (padding_beside_the_tumour, air_beside_the_tumour))
    assert padding["assessment"]["score"] == air["assessment"]["score"]


def test_padding_of_a_high_value_is_padding_and_no_other_unit(scored_with: Callable[..., Scored]) -> None:
    def padded(study: Faulty) -> None:
        for index, ct in enumerate(study.ct):
            hu = study.hu(index)
            hu[:, : hu.shape[1] // 8] = 3000
            study.set_hu(index, hu)
            ct.add_new("PixelPaddingValue", "SS", 3000)

    assert scored_with(padded).code == "scored"


def test_padding_that_features_alone_look_at_is_told(scored_with: Callable[..., Scored]) -> None:
    scored = scored_with(padding_off_the_patch)
    assert scored.code == "scored"
    result = scored.result
    assert {w["code"]: w["effect"] for w in result["warnings"]}["PADDING_NEAR_TUMOUR"] == "warn"
    assert result["assessment"]["plausibility"]["padding_voxels"] > 0


def test_a_scan_that_ends_near_the_tumour_is_told(scored_with: Callable[..., Scored]) -> None:
    result = scored_with(scan_that_ends_one_slice_later).result
    assert "NEAR_SCAN_END" in [warning["code"] for warning in result["warnings"]]
    assert result["assessment"]["plausibility"]["scan_margin_mm"] < 10


@pytest.mark.parametrize("action", ["warn", "withhold_group"])
def test_a_setting_scores_what_would_be_refused_and_says_so(action: str, scored_with: Callable[..., Scored]) -> None:
    rules = PlausibilityRules.model_validate({"gaps": action, "several_bodies": "warn"})
    result = scored_with(forgotten_slice, plausibility=rules).result
    effects = {warning["code"]: warning["effect"] for warning in result["warnings"]}
    assert effects["CONTOUR_GAPS"] == action
    assert (result["assessment"]["groups"]["risk"]["group"] is None) == (action == "withhold_group")


def test_the_phantom_is_plausible(phantom_study: PhantomStudy, score: Score) -> None:
    scored = score(phantom_study.folder)
    assert scored.code == "scored"
    found = scored.result["assessment"]["plausibility"]
    assert len(found["bodies"]) == 1
    assert (found["removed_specks"], found["hollow_share"], found["padding_voxels"]) == (0, 0.0, 0)
    assert found["edge_hu"] > 60
