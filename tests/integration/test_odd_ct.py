"""Real, odd CT: what the whole chain makes of each specimen, with a segmentation written on it by this project."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.selection.rules import SegmentRules, SelectionRules
from pdl1es.phantom.ct_series import uid_of
from tests.integration.chain_runs import DOUBTS, LENIENT, Score, Scored
from tests.odd_segmentations import SegmentDescription, write_segmentation_for

if TYPE_CHECKING:
    from pdl1es.phantom.dicom import PhantomStudy

LABEL: Final = "Finding 7"
NAMED: Final = SelectionRules(segment=SegmentRules(label=LABEL))
SEGMENT: Final = SegmentDescription(
    label=LABEL, property_type=Code("52988006", "SCT", "Lesion"), region=None, tracking_id=None
)
"""Neither coded nor labelled as a tumour: only the setting names it."""
COPIES: Final = 8
"""Slices of a stack that is made of one."""


pytestmark = pytest.mark.xdist_group("odd CT")  # stacks that are scored once for several tests


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is expected of a specimen.

    Attributes
    ----------
    code
        ``scored``, or the refusal's code.
    warnings
        Codes of the warnings about the CT, where it is scored; those about the patient and the features are left out.
    tag, value
        What the refusal names.
    withheld
        Whether the groups are withheld.
    """

    code: str
    warnings: tuple[str, ...] = ()
    tag: str | None = None
    value: str | None = None
    withheld: bool = False


def scored(*warnings: str) -> Outcome:
    return Outcome("scored", warnings, withheld="SMOOTH_KERNEL" in warnings)


ONE_SLICE: Final = Outcome("TOO_FEW_SLICES")
STANDARD: Final = ("SMOOTH_KERNEL",)
LOSSY: Final = ("SMOOTH_KERNEL", "LOSSY_COMPRESSION")
FORMAT: Final = "TransferSyntaxUID (0002,0010)"
FUNCTIONAL_MAP: Final = Outcome("NO_ELIGIBLE_CT")
_CT: Final = "transfer_syntaxes/CTImage.dcm"

ALONE: Final = {
    # One slice is no volume, however well it can be read.
    "693_J2KR.dcm": ONE_SLICE,
    "693_UNCI.dcm": ONE_SLICE,
    "693_UNCR.dcm": ONE_SLICE,
    "CT_small.dcm": ONE_SLICE,
    "J2K_pixelrep_mismatch.dcm": ONE_SLICE,
    _CT: ONE_SLICE,
    # Cerebral blood flow in the shape of a CT.
    "eCT_Supplemental.dcm": FUNCTIONAL_MAP,
    "transfer_syntaxes/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": FUNCTIONAL_MAP,
}
"""Each as it is."""

STACKED: Final = {
    "693_J2KR.dcm": scored("SMOOTH_KERNEL", "MANUFACTURER_MISSING"),
    "693_UNCI.dcm": scored("SMOOTH_KERNEL", "MANUFACTURER_MISSING", "LOSSY_COMPRESSION"),
    "693_UNCR.dcm": scored("SMOOTH_KERNEL", "MANUFACTURER_MISSING"),
    "CT_small.dcm": scored(*STANDARD),
    "J2K_pixelrep_mismatch.dcm": scored(
        "CLINICAL_VALUES_DECIDE", "CLINICAL_VALUES_DECIDE", "GANTRY_TILT", "UNKNOWN_KERNEL", "MANUFACTURER_MISSING"
    ),
    "transfer_syntaxes/CT1_J2KR": scored(*STANDARD),
    "transfer_syntaxes/CT2_J2KR": scored("SMOOTH_KERNEL", "THICK_SLICES"),
    _CT: scored(*STANDARD),
    f"{_CT}_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm": scored(*STANDARD),
    f"{_CT}_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm": scored(*STANDARD),
    f"{_CT}_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm": scored(*STANDARD),
    f"{_CT}_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm": scored(*STANDARD),
    f"{_CT}_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm": scored(*STANDARD),
    f"{_CT}_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm": scored(*STANDARD),
    f"{_CT}_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm": scored(*STANDARD),
    f"{_CT}_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm": scored(*STANDARD),
    f"{_CT}_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": scored(*LOSSY),
    f"{_CT}_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": scored(*STANDARD),
    f"{_CT}_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": scored(*LOSSY),
    f"{_CT}_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": scored(*LOSSY),
    f"{_CT}_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": scored(*LOSSY),
    f"{_CT}_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": Outcome(
        "UNSUPPORTED_TRANSFER_SYNTAX", tag=FORMAT, value="1.2.840.10008.1.2.4.53"
    ),
    f"{_CT}_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": Outcome(
        "UNSUPPORTED_TRANSFER_SYNTAX", tag=FORMAT, value="1.2.840.10008.1.2.4.55"
    ),
}
"""Copies of the slice above each other, their pixel data as they came."""

LOSSLESS: Final = tuple(
    name for name, outcome in STACKED.items() if name.startswith(f"{_CT}_") and outcome == scored(*STANDARD)
)

NO_CT_AT_ALL: Final = {
    # file: the refusal beside a study of another patient, and what the file costs where it claims to be of that study
    "JPEG2000.dcm": "SEVERAL_PATIENTS",
    "badVR.dcm": "SEVERAL_PATIENTS",
    "rtplan_truncated.dcm": "SEVERAL_PATIENTS",
    "rtstruct.dcm": "SEVERAL_PATIENTS",
    # What cannot be read costs itself.
    "meta_missing_tsyntax.dcm": "scored",
    "nested_priv_SQ.dcm": "scored",
    # Shifted by one byte: no software takes it for DICOM.
    "no_meta.dcm": "scored",
}
"""What is no CT, put beside a study that can be scored: the outcome."""
LEFT_OUT: Final = {"meta_missing_tsyntax.dcm": 1, "nested_priv_SQ.dcm": 1}
"""Files that are listed as unreadable; no_meta.dcm is ignored."""
IN_FOLDERS: Final = ("GE_tilt_nonuniform", "scout_plus_axial")
"""Specimens that are whole series, tested below."""


def disc(shape: tuple[int, int], radius: float, centre: tuple[float, float] | None = None) -> NDArray[np.bool_]:
    """Return a disc of pixels."""
    row, column = centre or ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def lesion(datasets: Sequence[Dataset], first: int, last: int, radius_mm: float) -> NDArray[np.bool_]:
    """Return a mask, shape (images, rows, columns): a cylinder in the middle of the images from first to last."""
    shape = (int(datasets[0].Rows), int(datasets[0].Columns))
    mask = np.zeros((len(datasets), *shape), bool)
    mask[first : last + 1] = disc(shape, radius_mm / float(datasets[0].PixelSpacing[0]))
    return mask


def segmented(folder: Path, datasets: Sequence[Dataset], mask: NDArray[np.bool_]) -> Path:
    """Write the SEG beside the CT and return the study's folder."""
    write_segmentation_for(folder / "seg.dcm", datasets, [mask], segments=(SEGMENT,), key=f"odd/{folder.name}")
    return folder


def stacked(source: Path, folder: Path) -> Path:
    """Write copies of a slice at several table positions, each with the pixel data as they came, and a SEG on them."""
    datasets = []
    for index in range(COPIES):
        ds = pydicom.dcmread(source, force=True)
        x, y, z = (float(value) for value in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x, y, z + index * float(ds.SliceThickness)]
        ds.SOPInstanceUID = uid_of("odd", source.name, index)
        if "MediaStorageSOPInstanceUID" in getattr(ds, "file_meta", {}):
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber = index + 1
        ds.save_as(folder / f"{index}.dcm")
        datasets.append(ds)
    return segmented(folder, datasets, lesion(datasets, 2, 5, 12.0))


Judge = Callable[[Path | Scored, Outcome], Scored]


@pytest.fixture(scope="module")
def stack(shared_data: Path, score: Score, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Scored]:
    """Return a function that scores a stack of a specimen, each specimen once."""

    @functools.cache
    def scored_stack(name: str) -> Scored:
        return score(
            stacked(shared_data / "odd_ct" / name, tmp_path_factory.mktemp("stack")),
            selection=NAMED,
            plausibility=LENIENT,
        )

    return scored_stack


@pytest.fixture
def check_outcome(score: Score) -> Judge:
    """Run the chain on a study, hold what comes out against what is expected, and return it."""

    def run(study: Path | Scored, expected: Outcome) -> Scored:
        done = study if isinstance(study, Scored) else score(study, selection=NAMED, plausibility=LENIENT)
        result = done.result
        assert done.code == expected.code, done.outcome.refusal or result["defect"]
        if expected.code == "scored":
            about_ct = [
                warning["code"]
                for warning in result["warnings"]
                if warning["code"] not in {"CLINICAL_VALUES_IMPUTED", "UNLIKE_TRAINING", "SLICES_DISAGREE", *DOUBTS}
            ]
            assert tuple(about_ct) == expected.warnings
            assert (result["assessment"]["groups"]["risk"]["group"] is None) == expected.withheld
            assert done.report.CompletionFlag == "COMPLETE"
        else:
            refusal = result["refusal"]
            assert expected.tag in (None, refusal["tag"])
            assert expected.value in (None, refusal["value"])
            assert refusal["uid"]
            assert not list(done.folder.glob("*.dcm"))
        return done

    return run


def test_every_specimen_has_an_expected_outcome(shared_data: Path) -> None:
    folder = shared_data / "odd_ct"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    known = {*ALONE, *STACKED, *NO_CT_AT_ALL}
    assert {name for name in found if name.split("/")[0] not in IN_FOLDERS} == known


@pytest.mark.parametrize("name", ALONE)
def test_a_specimen_by_itself(shared_data: Path, check_outcome: Judge, tmp_path: Path, name: str) -> None:
    shutil.copy(shared_data / "odd_ct" / name, tmp_path / "ct")
    ds = pydicom.dcmread(tmp_path / "ct", stop_before_pixels=True)
    mask = np.zeros((int(ds.get("NumberOfFrames", 1)), ds.Rows, ds.Columns), bool)
    mask[:, 40:60, 40:60] = True
    check_outcome(segmented(tmp_path, [ds], mask), ALONE[name])


@pytest.mark.parametrize("name", STACKED)
def test_a_stack_of_a_specimen(stack: Callable[[str], Scored], check_outcome: Judge, name: str) -> None:
    check_outcome(stack(name), STACKED[name])


def test_lossless_compression_changes_no_digit_of_a_real_ct(stack: Callable[[str], Scored]) -> None:
    said: dict[str, Any] = {}
    for name in (_CT, *LOSSLESS):
        assessment = stack(name).result["assessment"]
        said[name] = {part: assessment[part] for part in ("score", "slices", "contributions", "features", "tumour")}
    assert len(said) == 10
    assert all(one == said[_CT] for one in said.values())


def test_a_stored_sign_that_contradicts_the_codestream_changes_nothing(stack: Callable[[str], Scored]) -> None:
    """JPEG 2000 compressed and not, of one slice."""
    compressed, native = (stack(name).result["assessment"] for name in ("693_J2KR.dcm", "693_UNCR.dcm"))
    assert compressed["contributions"] == native["contributions"]


@pytest.mark.parametrize("name", NO_CT_AT_ALL)
def test_what_is_no_ct_is_refused_alone(shared_data: Path, score: Score, tmp_path: Path, name: str) -> None:
    shutil.copy(shared_data / "odd_ct" / name, tmp_path)
    assert score(tmp_path).code == "NO_CT"


@pytest.mark.parametrize("name", NO_CT_AT_ALL)
def test_what_is_no_ct_costs_at_most_itself(
    shared_data: Path, phantom_study: PhantomStudy, score: Score, tmp_path: Path, name: str
) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    shutil.copy(shared_data / "odd_ct" / name, tmp_path / "study")
    done = score(tmp_path / "study")
    assert done.code == NO_CT_AT_ALL[name]
    assert sum(entry["files"] for entry in done.result["input"]["unreadable"]) == LEFT_OUT.get(name, 0)


@pytest.fixture(scope="module")
def plain(phantom_study: PhantomStudy, score: Score) -> Scored:
    """The phantom study as it is, scored."""
    return score(phantom_study.folder)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "badVR.dcm", "rtplan_truncated.dcm", "rtstruct.dcm"])
def test_an_odd_object_of_the_same_study_changes_no_digit(
    shared_data: Path, phantom_study: PhantomStudy, plain: Scored, score: Score, tmp_path: Path, name: str
) -> None:
    shutil.copytree(phantom_study.folder, tmp_path / "study")
    other = pydicom.dcmread(shared_data / "odd_ct" / name, force=True)
    own = phantom_study.ct.datasets[0]
    other.PatientID, other.StudyInstanceUID = own.PatientID, own.StudyInstanceUID
    other.save_as(tmp_path / "study" / name)
    assert score(tmp_path / "study").report_bytes == plain.report_bytes


# --- A tilted gantry, and unequal distances --------------------------------------------------------------------------


def tilted(shared_data: Path, folder: Path, lesion_slices: tuple[int, int], omitted: tuple[str, ...] = ()) -> Path:
    """Copy the tilted head CT, and draw on it."""
    datasets = []
    for path in sorted((shared_data / "odd_ct" / "GE_tilt_nonuniform").iterdir()):
        if path.name not in omitted:
            shutil.copy(path, folder)
            datasets.append(pydicom.dcmread(path, stop_before_pixels=True))
    return segmented(folder, datasets, lesion(datasets, *lesion_slices, 12.0))


TILTED: Final = scored("GANTRY_TILT", "SMOOTH_KERNEL", "THICK_SLICES", "AVERAGED_IMAGES")


@pytest.mark.parametrize(
    ("slices", "distances"),
    [
        pytest.param((3, 6), (4.22,) * 4, id="where slices lie 4 mm apart"),
        pytest.param((18, 21), (7.38,) * 4, id="where slices lie 7 mm apart"),
        # The slice at the change stands for half of what lies on either side of it.
        pytest.param((11, 14), (4.22, 4.22, (4.22 + 1.14) / 2, (1.14 + 7.38) / 2), id="where the distance changes"),
        pytest.param((24, 27), (7.38,) * 4, id="at the end of the scan"),
    ],
)
def test_a_tilted_ct_of_unequal_distances_is_scored_by_its_true_geometry(
    shared_data: Path, check_outcome: Judge, tmp_path: Path, slices: tuple[int, int], distances: tuple[float, ...]
) -> None:
    """Neither Slice Thickness nor the way of the table is the distance between planes that lean by 18.5 degrees."""
    done = check_outcome(tilted(shared_data, tmp_path, slices), TILTED)
    pixels = np.count_nonzero(disc((512, 512), 12.0 / 0.4882812))
    volume = pixels * 0.4882812**2 * sum(distances) * np.cos(np.arcsin(0.3173047)) / 1000
    assert done.result["assessment"]["tumour"]["volume_ml"] == pytest.approx(volume, rel=1e-4)


def test_a_slice_missing_in_a_tilted_tumour_is_refused(shared_data: Path, check_outcome: Judge, tmp_path: Path) -> None:
    check_outcome(
        tilted(shared_data, tmp_path, (3, 6), omitted=("05.dcm",)),
        Outcome("MISSING_SLICES", tag="ImagePositionPatient (0020,0032)", value="8.00 mm apart"),
    )


def test_a_slice_missing_far_from_the_tumour_is_no_matter(
    shared_data: Path, check_outcome: Judge, tmp_path: Path
) -> None:
    check_outcome(tilted(shared_data, tmp_path, (3, 6), omitted=("24.dcm",)), TILTED)


def test_the_settings_can_refuse_a_tilted_gantry(shared_data: Path, score: Score, tmp_path: Path) -> None:
    done = score(
        tilted(shared_data, tmp_path, (3, 6)),
        selection=NAMED,
        plausibility=LENIENT,
        protocol=ProtocolRules(gantry_tilt="refuse"),
    )
    assert done.code == "GANTRY_TILT"
    assert done.result["refusal"]["value"] == "tilt 18.5 degrees"


# --- Localizers beside the axial series ------------------------------------------------------------------------------


def scout_and_axial(shared_data: Path, folder: Path, drawn_on: str) -> Path:
    """Copy both series, 16 x 16 pixels each, and draw on one of them."""
    source = shared_data / "odd_ct" / "scout_plus_axial" / "98892001"
    shutil.copytree(source, folder / "ct")
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((source / drawn_on).iterdir())]
    mask = np.zeros((len(datasets), 16, 16), bool)
    mask[:4, 2:14, 2:14] = True
    return segmented(folder, datasets, mask)


def test_a_localizer_beside_an_axial_series_is_passed_over(
    shared_data: Path, check_outcome: Judge, tmp_path: Path
) -> None:
    done = check_outcome(scout_and_axial(shared_data, tmp_path, "CT5N"), scored(*STANDARD))
    by_images = {series["images"]: series for series in done.result["assessment"]["selection"]["series"]}
    assert by_images[5]["chosen"]
    assert "LOCALIZER" in by_images[2]["reasons"][0]


def test_a_segment_that_was_drawn_on_a_localizer_is_refused(
    shared_data: Path, check_outcome: Judge, tmp_path: Path
) -> None:
    check_outcome(scout_and_axial(shared_data, tmp_path, "CT2N"), Outcome("NO_ELIGIBLE_CT"))
