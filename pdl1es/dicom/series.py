"""CT series as stacks of slices, whether their slices are files of their own or frames of one enhanced object."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pdl1es.dicom.geometry import (
    ORIENTATION_TAG,
    PIXEL_MATRIX_TAGS,
    POSITION_TAG,
    SPACING_TAG,
    SlicePlane,
    create_slice_plane,
    lies_across,
    position_along,
    stack_axes,
)
from pdl1es.dicom.study import Instance
from pdl1es.errors import Refusal, RefusalCode

CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_ENHANCED_CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2.2"
CT_SOP_CLASSES: Final = frozenset({CT_IMAGE, ENHANCED_CT_IMAGE, LEGACY_CONVERTED_ENHANCED_CT_IMAGE})
MULTI_FRAME_CT_SOP_CLASSES: Final = CT_SOP_CLASSES - {CT_IMAGE}

NOT_A_CT_SLICE: Final = (
    "LOCALIZER",
    "SCOUT",
    "TOPOGRAM",
    "SCREEN SAVE",
    "SCREENSAVE",
    "DOSE_INFO",
    "MIP",
    "MINIP",
    "MAX_IP",
    "MIN_IP",
    "PROJECTION IMAGE",
    "VRT",
    "VOLUME_RENDER",
    "SURFACE_RENDER",
    "CURVED_MPR",
    "PERFUSION",
)
"""Values of Image Type or Frame Type (PS3.3 C.8.2.1.1.1, C.8.16.1) and of Volume Based Calculation Technique
(C.8.16.2.1.3) whose pixels are not the attenuation in one plane. Plain reformats are not among them: geometry says
whether they can be used."""

SAME_POSITION_MM: Final = 0.01
"""Slices closer than this are the same slice twice."""
GAP_RATIO: Final = 1.5
"""A distance above this multiple of the usual distance around it is a gap: one slice missing doubles a distance."""
GAP_WINDOW: Final = 7
"""Distances around a slice pair (itself included) of which the lower median is the usual distance."""
SPACING_TOLERANCE_MM: Final = 1e-4
"""Pixel spacings within one series may differ by this much: 0.05 mm over 512 pixels."""
LINE_TOLERANCE_MM: Final = 1.0
"""How far a slice's first pixel may lie from the straight line through all of them."""
MOST_LAYOUTS: Final = 32
"""Ways in which the images of one series may lie before it is given up: a rotating reformat has about as many."""
SMALLEST_STACK: Final = 3
"""Fewest slices that still give a volume between slices and neighbours to compare their distances with."""


@dataclass(frozen=True, slots=True)
class CTSlice:
    """One CT slice: where it lies, and where its pixels are.

    Attributes
    ----------
    instance
        The object that holds the pixels.
    frame
        Zero-based frame within it; 0 for a single-frame object.
    plane
        Its place in space.
    rescale_slope, rescale_intercept
        Stored value to Hounsfield units; None where the object has none.
    rescale_type
        Units after rescaling (Rescale Type), or None.
    image_type
        Values of Image Type, or of Frame Type for a frame.
    convolution_kernel
        Values of Convolution Kernel; empty where there is none.
    slice_thickness
        Slice Thickness, mm, or None. For the protocol check only; it is no geometry.
    instance_number
        As a viewer shows it, or None. For a frame, its In-Stack Position Number where it has one.
    """

    instance: Instance
    frame: int
    plane: SlicePlane
    rescale_slope: float | None
    rescale_intercept: float | None
    rescale_type: str | None = None
    image_type: tuple[str, ...] = ()
    convolution_kernel: tuple[str, ...] = ()
    slice_thickness: float | None = None
    instance_number: int | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """An image that shares the series but is not part of the stack.

    Attributes
    ----------
    sop_instance_uid
        The image.
    frame
        Zero-based frame within it.
    reason
        Why it is none of the stack's slices.
    """

    sop_instance_uid: str
    frame: int
    reason: str


@dataclass(frozen=True, slots=True)
class CTSeries:
    """One CT series whose slices form a stack.

    Attributes
    ----------
    series_instance_uid, frame_of_reference_uid, study_instance_uid
        Its identity; the frame of reference is empty where the images name none.
    slices
        Sorted along the stack's canonical normal (towards head for an axial stack), ascending.
    tilt_degrees
        Angle between the stack's normal and the line through the slices' positions; 0 where the gantry was upright.
    set_aside
        Images of the series that are not slices of the stack, with the reason.
    """

    series_instance_uid: str
    frame_of_reference_uid: str
    study_instance_uid: str
    slices: tuple[CTSlice, ...]
    tilt_degrees: float
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, slots=True)
class SliceGap:
    """Two neighbouring slices with at least one missing between them.

    Attributes
    ----------
    low, high
        Their coordinates along the canonical normal, mm.
    usual
        Usual distance around them, mm.
    """

    low: float
    high: float
    usual: float

    @property
    def distance(self) -> float:
        """Distance between the two slices, mm."""
        return self.high - self.low


def ct_series(instances: Iterable[Instance], *, minimum_slices: int = SMALLEST_STACK) -> CTSeries:
    """Form a stack of slices from the CT objects of one series.

    Parameters
    ----------
    instances
        Objects of one series, in any order. A copy of an object (the same SOP Instance UID) counts once.
    minimum_slices
        Fewest slices that are accepted.

    Returns
    -------
    CTSeries
        Independent of the order of ``instances``.

    Raises
    ------
    Refusal
        NO_ELIGIBLE_CT: no image is a CT slice (all are localizers, say). GEOMETRY_MISSING, GEOMETRY_INCONSISTENT: an
        image cannot be placed, or does not fit the others. TOO_FEW_SLICES. DUPLICATE_SLICES: two images at one
        position, or two stacks that interleave.

    Notes
    -----
    Geometry comes from Image Position and Orientation (Patient) of every slice. Unequal distances between slices are
    no fault in themselves, because the resampling interpolates between true positions; see `slice_gaps`.
    """
    objects = _without_copies(i for i in instances if i.sop_class_uid in CT_SOP_CLASSES)
    if not objects:
        raise Refusal(RefusalCode.NO_ELIGIBLE_CT, "the series has no CT image")
    series_uid = objects[0].series_instance_uid
    slices: list[CTSlice] = []
    aside: list[SetAside] = []
    for instance in objects:
        for frame in range(_frame_count(instance)):
            source = _FrameSource(instance, frame)
            reason = _reason_to_set_aside(source)
            if reason is None:
                slices.append(_slice(source))
            else:
                aside.append(SetAside(instance.sop_instance_uid, frame, reason))
    if not slices:
        reasons = ", ".join(sorted({entry.reason for entry in aside}))
        raise Refusal(RefusalCode.NO_ELIGIBLE_CT, f"no image of the series is a CT slice: {reasons}", uid=series_uid)

    slices, misfits = _one_geometry(slices)
    aside += misfits
    frames_of_reference = sorted({s.instance.frame_of_reference_uid for s in slices})
    if len(frames_of_reference) > 1:
        raise Refusal(
            RefusalCode.GEOMETRY_INCONSISTENT,
            f"the images of one series have {len(frames_of_reference)} frames of reference",
            tag="FrameOfReferenceUID (0020,0052)",
            value=frames_of_reference[-1] or "absent",
            uid=series_uid,
        )
    if len(slices) < minimum_slices:
        raise Refusal(
            RefusalCode.TOO_FEW_SLICES,
            f"the series has {len(slices)} slices and {minimum_slices} are needed",
            uid=series_uid,
        )
    normal = stack_axes(slices[0].plane)[2]
    slices.sort(key=lambda s: (position_along(s.plane, normal), s.instance.sop_instance_uid, s.frame))
    axes = stack_axes(slices[0].plane)
    _refuse_duplicates(slices, axes[2], series_uid)
    slope, beside = _drift(slices, axes)
    worst = int(np.argmax(beside))
    if beside[worst] > LINE_TOLERANCE_MM:
        raise Refusal(
            RefusalCode.GEOMETRY_INCONSISTENT,
            f"the image lies {beside[worst]:.1f} mm beside the line through the series' other images",
            tag=POSITION_TAG,
            value="\\".join(f"{coordinate:g}" for coordinate in slices[worst].plane.position),
            uid=slices[worst].instance.sop_instance_uid,
        )
    return CTSeries(
        series_instance_uid=series_uid,
        frame_of_reference_uid=frames_of_reference[0],
        study_instance_uid=objects[0].study_instance_uid,
        slices=tuple(slices),
        tilt_degrees=round(math.degrees(math.atan(float(np.linalg.norm(slope)))), 3),
        set_aside=tuple(aside),
    )


def series_axes(series: CTSeries) -> NDArray[np.float64]:
    """Return the axes of the stack, shape (3, 3), one a row, the normal last; of axial slices the canonical ones."""
    return stack_axes(series.slices[0].plane)


def slice_positions(series: CTSeries) -> NDArray[np.float64]:
    """Return the slices' coordinates along the canonical normal, mm, shape (slices,), ascending."""
    normal = series_axes(series)[2]
    return np.array([position_along(s.plane, normal) for s in series.slices])


def median_slice_spacing(series: CTSeries) -> float:
    """Return the median distance between neighbouring slices, mm (the lower one of two)."""
    return statistics.median_low(np.diff(slice_positions(series)).tolist())


def slice_gaps(series: CTSeries) -> tuple[SliceGap, ...]:
    """Return where slices are missing.

    A distance is a gap where it exceeds `GAP_RATIO` times the usual distance around it: the lower median of the
    `GAP_WINDOW` distances centred on it. A median of the whole series would not do: a scan of 4 mm steps followed by
    7 mm steps is whole, and more slices elsewhere must not change what is said of the tumour's. Where slices were lost
    so regularly that a gap looks usual, Instance Number can still tell: a distance above the same multiple of the
    series' own median, across which the numbers skip, is a gap as well.

    Returns
    -------
    tuple of SliceGap
        Ascending; empty for a whole stack.
    """
    positions = slice_positions(series)
    distances = np.diff(positions).tolist()
    overall = statistics.median_low(distances)
    skips = _number_skips(series)
    half = GAP_WINDOW // 2
    gaps = []
    for i, distance in enumerate(distances):
        usual = statistics.median_low(distances[max(0, i - half) : i + half + 1])
        if distance > GAP_RATIO * usual or (skips[i] and distance > GAP_RATIO * overall):
            gaps.append(SliceGap(float(positions[i]), float(positions[i + 1]), min(usual, overall)))
    return tuple(gaps)


def _number_skips(series: CTSeries) -> list[bool]:
    """Tell for each pair of neighbours whether Instance Number skips between them: a larger step than is usual."""
    numbers = [s.instance_number for s in series.slices]
    steps = [None if a is None or b is None else abs(b - a) for a, b in pairwise(numbers)]
    known = [step for step in steps if step is not None]
    usual = statistics.median_low(known) if known else 0
    return [step is not None and step > usual for step in steps]


def find_gaps(series: CTSeries, low: float, high: float) -> tuple[SliceGap, ...]:
    """Return the gaps that reach into a range of the canonical normal, mm (both ends included)."""
    return tuple(gap for gap in slice_gaps(series) if gap.high > low and gap.low < high)


def refuse_gaps(series: CTSeries, low: float, high: float) -> None:
    """Refuse a stack with slices missing in a range of the canonical normal, mm.

    Raises
    ------
    Refusal
        MISSING_SLICES, naming the positions.
    """
    gaps = find_gaps(series, low, high)
    if gaps:
        places = ", ".join(f"{gap.low:.2f} and {gap.high:.2f} mm" for gap in gaps[:5])
        more = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
        raise Refusal(
            RefusalCode.MISSING_SLICES,
            f"no slices between {places}{more} along the stack, where the usual distance is {gaps[0].usual:.2f} mm",
            tag=POSITION_TAG,
            value=f"{gaps[0].distance:.2f} mm apart",
            uid=series.series_instance_uid,
        )


@dataclass(frozen=True, slots=True)
class _FrameSource:
    """Where the attributes of one slice stand: at top level, or in functional groups (PS3.3 C.7.6.16)."""

    instance: Instance
    frame: int

    def value(self, keyword: str, group: str) -> Any:
        """Return an attribute's value, from the frame's functional group, the shared one, or the top level."""
        for item in self._groups():
            for sequence in (group, "UnassignedPerFrameConvertedAttributesSequence", _SHARED_UNASSIGNED):
                inner = _first_item(item, sequence)
                if inner is not None:
                    value = attribute_value(inner, keyword)
                    if value is not None:
                        return value
        return attribute_value(self.instance.header, keyword)

    def _groups(self) -> Iterable[Dataset]:
        if self.instance.sop_class_uid in MULTI_FRAME_CT_SOP_CLASSES:
            per_frame = _sequence(self.instance.header, "PerFrameFunctionalGroupsSequence")
            if self.frame < len(per_frame):
                yield per_frame[self.frame]
            yield from _sequence(self.instance.header, "SharedFunctionalGroupsSequence")[:1]


_SHARED_UNASSIGNED: Final = "UnassignedSharedConvertedAttributesSequence"


def attribute_value(dataset: Dataset, keyword: str) -> Any:
    """Return an attribute's value; None where it is absent, empty, or cannot be read as its VR says."""
    try:
        value = dataset.get(keyword)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, NotImplementedError):
        # pydicom converts on access, and what it raises depends on the VR (NotImplementedError: a VR that it does not
        # know, so the file is malformed and nothing here is unfinished); the attribute counts as absent
        return None
    return None if value is None or value == "" or value == [] else value


def _sequence(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    value = attribute_value(dataset, keyword)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    items = _sequence(dataset, keyword)
    return items[0] if len(items) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def _texts(value: Any) -> tuple[str, ...]:
    """Return the values of a text attribute, however many there are, without padding."""
    if value is None:
        return ()
    items = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    return tuple(text for text in (str(item).strip() for item in items) if text)


def _without_copies(instances: Iterable[Instance]) -> list[Instance]:
    """Return the objects in the order of their UIDs, each once; refuse one UID that names different images."""
    known: dict[str, Instance] = {}
    for instance in instances:
        first = known.setdefault(instance.sop_instance_uid, instance)
        if any(
            attribute_value(first.header, keyword) != attribute_value(instance.header, keyword) for keyword in _IDENTITY
        ):
            raise Refusal(
                RefusalCode.DUPLICATE_SLICES,
                "two different images have one SOP Instance UID",
                tag="SOPInstanceUID (0008,0018)",
                value=instance.sop_instance_uid,
                uid=instance.sop_instance_uid,
            )
    return [known[uid] for uid in sorted(known)]


_IDENTITY: Final = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


def _frame_count(instance: Instance) -> int:
    """Return how many frames the object has; refuse where its two accounts differ."""
    if instance.sop_class_uid not in MULTI_FRAME_CT_SOP_CLASSES:
        return 1
    described = len(_sequence(instance.header, "PerFrameFunctionalGroupsSequence"))
    if described == 0:
        raise Refusal(
            RefusalCode.GEOMETRY_MISSING,
            "the enhanced object does not describe its frames",
            tag="PerFrameFunctionalGroupsSequence (5200,9230)",
            uid=instance.sop_instance_uid,
        )
    declared = _number(attribute_value(instance.header, "NumberOfFrames"))
    if declared != described:
        raise Refusal(
            RefusalCode.GEOMETRY_INCONSISTENT,
            f"the object describes {described} frames",
            tag="NumberOfFrames (0028,0008)",
            value=None if declared is None else f"{declared:g}",
            uid=instance.sop_instance_uid,
        )
    return described


def _image_type(source: _FrameSource) -> tuple[str, ...]:
    frame_type = _texts(source.value("FrameType", "CTImageFrameTypeSequence"))
    return tuple(text.upper() for text in frame_type or _texts(attribute_value(source.instance.header, "ImageType")))


def _reason_to_set_aside(source: _FrameSource) -> str | None:
    """Return why an image is no CT slice, or None."""
    for value in _image_type(source):
        if value in NOT_A_CT_SLICE:
            return f"Image Type {value}"
    technique = _texts(source.value("VolumeBasedCalculationTechnique", "CTImageFrameTypeSequence"))
    if technique and technique[0].upper() in NOT_A_CT_SLICE:
        return f"Volume Based Calculation Technique {technique[0].upper()}"
    presentation = _texts(source.value("PixelPresentation", "CTImageFrameTypeSequence"))
    if presentation and presentation[0].upper() in {"COLOR", "COLOR_REF"}:
        return "Pixel Presentation COLOR"
    return None


def _slice(source: _FrameSource) -> CTSlice:
    header, uid = source.instance.header, source.instance.sop_instance_uid
    plane = create_slice_plane(
        position=source.value("ImagePositionPatient", "PlanePositionSequence"),
        orientation=source.value("ImageOrientationPatient", "PlaneOrientationSequence"),
        pixel_spacing=source.value("PixelSpacing", "PixelMeasuresSequence"),
        rows=attribute_value(header, "Rows"),
        columns=attribute_value(header, "Columns"),
        uid=uid,
    )
    transformation = "PixelValueTransformationSequence"
    number = source.value("InStackPositionNumber", "FrameContentSequence")
    if number is None and source.instance.sop_class_uid == CT_IMAGE:
        number = attribute_value(header, "InstanceNumber")
    whole = _number(number)
    units = _texts(source.value("RescaleType", transformation))
    return CTSlice(
        instance=source.instance,
        frame=source.frame,
        plane=plane,
        rescale_slope=_number(source.value("RescaleSlope", transformation)),
        rescale_intercept=_number(source.value("RescaleIntercept", transformation)),
        rescale_type=units[0] if units else None,
        image_type=_image_type(source),
        convolution_kernel=_texts(source.value("ConvolutionKernel", "CTReconstructionSequence")),
        slice_thickness=_number(source.value("SliceThickness", "PixelMeasuresSequence")),
        instance_number=None if whole is None else int(whole),
    )


def _one_geometry(slices: list[CTSlice]) -> tuple[list[CTSlice], list[SetAside]]:
    """Return the slices of one orientation, size and spacing, and those that share the series but not its stack.

    A reformat or another derived image that shares the series can be told from its Image Type; where images of one
    type lie differently, the series is refused.
    """
    groups: list[list[CTSlice]] = []
    layouts: list[_Layout] = []
    for candidate in slices:
        place = next((n for n, layout in enumerate(layouts) if layout.fits(candidate.plane)), None)
        if place is not None:
            groups[place].append(candidate)
        elif len(groups) == MOST_LAYOUTS:
            raise _misfit(groups[0][0], candidate)
        else:
            groups.append([candidate])
            layouts.append(_Layout.of(candidate.plane))
    groups.sort(key=lambda g: (-len(g), g[0].instance.sop_instance_uid, g[0].frame))
    stack, *others = groups
    types = {s.image_type[:3] for s in stack}
    aside = []
    for stray in (s for group in others for s in group):
        if stray.image_type[:3] in types or not stray.image_type:
            raise _misfit(stack[0], stray)
        aside.append(
            SetAside(
                stray.instance.sop_instance_uid,
                stray.frame,
                "Image Type " + "\\".join(stray.image_type[:3]) + ", and it lies differently",
            )
        )
    return stack, aside


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the images of one stack lie: its axes, and their size and spacing (in steps of the tolerance) along x and y."""

    axes: NDArray[np.float64]
    matrix: tuple[int, int, int, int]

    @classmethod
    def of(cls, plane: SlicePlane) -> _Layout:
        axes = stack_axes(plane)
        return cls(axes, _matrix_along(plane, axes))

    def fits(self, plane: SlicePlane) -> bool:
        """Tell whether a plane is parallel and has pixels of the same size in the same matrix, stored either way."""
        return lies_across(plane, self.axes) and self.matrix == _matrix_along(plane, self.axes)


def _matrix_along(plane: SlicePlane, axes: NDArray[np.float64]) -> tuple[int, int, int, int]:
    across = (plane.columns, round(plane.column_spacing / SPACING_TOLERANCE_MM))
    down = (plane.rows, round(plane.row_spacing / SPACING_TOLERANCE_MM))
    row_is_x = abs(float(np.dot(plane.row_direction, axes[0]))) > abs(float(np.dot(plane.row_direction, axes[1])))
    (columns, column_step), (rows, row_step) = (across, down) if row_is_x else (down, across)
    return columns, rows, column_step, row_step


def _misfit(first: CTSlice, stray: CTSlice) -> Refusal:
    """Return the refusal that says in what an image differs from the rest of its series."""
    a, b = first.plane, stray.plane
    if not lies_across(b, stack_axes(a)):
        found, tag = "the image is oriented otherwise than the rest of its series", ORIENTATION_TAG
        value = "\\".join(f"{cosine:g}" for cosine in (*b.row_direction, *b.column_direction))
    elif sorted((a.rows, a.columns)) != sorted((b.rows, b.columns)):
        found, tag = "the image is of another size than the rest of its series", PIXEL_MATRIX_TAGS
        value = f"{b.rows} x {b.columns}"
    else:
        found, tag = "the image has another pixel spacing than the rest of its series", SPACING_TAG
        value = f"{b.row_spacing:g}\\{b.column_spacing:g}"
    return Refusal(RefusalCode.GEOMETRY_INCONSISTENT, found, tag=tag, value=value, uid=stray.instance.sop_instance_uid)


def _refuse_duplicates(slices: list[CTSlice], normal: NDArray[np.float64], series_uid: str) -> None:
    """Refuse two slices at one position, and two stacks that interleave."""
    positions = [position_along(s.plane, normal) for s in slices]
    same = [i for i in range(len(slices) - 1) if positions[i + 1] - positions[i] < SAME_POSITION_MM]
    if same:
        i = same[0]
        places = len({round(positions[i], 2) for i in same})
        raise Refusal(
            RefusalCode.DUPLICATE_SLICES,
            f"several images at {places} of {len(slices) - len(same)} positions",
            tag=POSITION_TAG,
            value=f"{positions[i]:.2f} mm along the stack",
            uid=slices[i + 1].instance.sop_instance_uid,
        )
    distances = np.diff(positions)
    around = np.minimum(np.r_[np.inf, distances[:-1]], np.r_[distances[1:], np.inf])
    close = distances < 0.5 * around
    # Two blocks of one scan may overlap by a slice. Where every fourth distance is a dip, two stacks are interleaved.
    if np.count_nonzero(close) > max(1.0, len(distances) / 4):
        usual = float(np.median(distances[~close]))
        raise Refusal(
            RefusalCode.DUPLICATE_SLICES,
            f"{np.count_nonzero(close)} of {len(distances)} distances between slices are dips: two stacks are interleaved",
            tag=POSITION_TAG,
            value=f"{distances.min():.2f} mm apart, then {usual:.2f} mm",
            uid=series_uid,
        )


def _drift(slices: list[CTSlice], axes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how the slices shift within their own plane.

    Returns
    -------
    slope
        Shift along x and y for each mm along the normal, shape (2,): the median over neighbours, so that one stray
        slice does not bend it.
    beside
        Distance of each slice's centre from the straight line of that slope, mm, shape (slices,).
    """
    along = np.array([_centre(s.plane) for s in slices]) @ axes.T
    steps = np.diff(along, axis=0)
    slope = np.median(steps[:, :2] / steps[:, 2:], axis=0)
    offsets = along[:, :2] - along[:, 2:] * slope
    return slope, np.linalg.norm(offsets - np.median(offsets, axis=0), axis=1)


def _centre(plane: SlicePlane) -> NDArray[np.float64]:
    """Return the centre of the image, mm, shape (3,): the same however its pixels are stored."""
    across = np.array(plane.row_direction) * (plane.column_spacing * (plane.columns - 1) / 2)
    down = np.array(plane.column_direction) * (plane.row_spacing * (plane.rows - 1) / 2)
    return np.array(plane.position) + across + down


def series_of(instances: Iterable[Instance]) -> dict[str, tuple[Instance, ...]]:
    """Group objects by Series Instance UID, in the order of the UIDs."""
    groups: defaultdict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[instance.series_instance_uid].append(instance)
    return {uid: tuple(groups[uid]) for uid in sorted(groups)}


def kernels_of(series: CTSeries) -> tuple[tuple[str, ...], ...]:
    """Return the distinct values of Convolution Kernel in the series, the most frequent first."""
    counts = Counter(s.convolution_kernel for s in series.slices)
    return tuple(sorted(counts, key=lambda kernel: (-counts[kernel], kernel)))
