"""CT objects to slices: where each image lies, and which images are set aside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from pdl1es.dicom.derived_image import Derivation, ImageKind, derivations_of
from pdl1es.dicom.functional_groups import FunctionalGroups, sequence_items
from pdl1es.dicom.geometry import create_slice_plane
from pdl1es.dicom.header_elements import attribute_value
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.series import CT_IMAGE, MULTI_FRAME_CT_SOP_CLASSES, CTSlice, SetAside
from pdl1es.errors import Refusal, RefusalCode

HOUNSFIELD_UNIT: Final = "[hnsf'U]"
"""UCUM's code of the Hounsfield unit."""
NOWHERE: Final = "without a place in space"


def slices_of(objects: Sequence[Instance]) -> tuple[list[CTSlice], list[SetAside]]:
    """Return the images of CT objects as slices, and those that are none.

    Parameters
    ----------
    objects
        CT objects, each once.

    Returns
    -------
    slices, set_aside
        In the order of the objects and their frames. Localizers, projections, renderings and colour images are set
        aside, each with the reason. So are images without a place in space that are no slices: their Image Type is none
        of the slices', or they say nothing of where they lie, as pages of a protocol or a dose do.

    Raises
    ------
    Refusal
        GEOMETRY_MISSING, GEOMETRY_INCONSISTENT: a slice does not say where it lies, or an enhanced object contradicts
        itself.
    """
    slices: list[CTSlice] = []
    aside: list[SetAside] = []
    nowhere: list[tuple[_Image, Refusal]] = []
    for instance in objects:
        for frame in range(_frame_count(instance)):
            image = _Image(instance, frame)
            derivations = _derivations(image)
            reason = _reason_to_set_aside(image, derivations)
            if reason is not None:
                aside.append(SetAside(instance.sop_instance_uid, frame, reason))
                continue
            try:
                slices.append(_slice(image, derivations))
            except Refusal as refusal:
                nowhere.append((image, refusal))
    types = {s.image_type[:3] for s in slices}
    for image, fault in nowhere:
        if not types or not _is_a_page(image, types):
            raise fault
        aside.append(SetAside(image.instance.sop_instance_uid, image.frame, NOWHERE))
    return slices, aside


def _is_a_page(image: _Image, types: Collection[tuple[str, ...]]) -> bool:
    """Tell whether an image without a place in space is no slice that lost it, among slices of these Image Types."""
    own = image.image_type[:3]
    if own and own not in types:
        return True
    return (
        image.value("PlanePositionSequence", "ImagePositionPatient") is None
        and image.value("PlaneOrientationSequence", "ImageOrientationPatient") is None
        and not {"ImagePositionPatient", "ImageOrientationPatient"} & set(image.instance.malformed)
    )


class _Image:
    """One image: a single-frame object, or one frame of an enhanced one."""

    __slots__ = ("frame", "groups", "image_type", "instance")

    def __init__(self, instance: Instance, frame: int) -> None:
        self.instance = instance
        self.frame = frame
        enhanced = instance.sop_class_uid in MULTI_FRAME_CT_SOP_CLASSES
        self.groups = FunctionalGroups.of(instance.header, frame) if enhanced else FunctionalGroups(())
        frame_type = _texts(self.value("CTImageFrameTypeSequence", "FrameType"))
        self.image_type = tuple(
            text.upper() for text in frame_type or _texts(attribute_value(instance.header, "ImageType"))
        )

    def value(self, macro: str, keyword: str) -> Any:
        """Return an attribute's value.

        Parameters
        ----------
        macro
            Keyword of the functional group macro's sequence in which a multi-frame object keeps the attribute.
        keyword
            Of the attribute.

        Returns
        -------
        Any
            From the functional groups, else from the top level of the header; None where neither has a value.
        """
        value = self.groups.value(macro, keyword) if self.groups.items else None
        return attribute_value(self.instance.header, keyword) if value is None else value

    def items(self, keyword: str) -> tuple[Dataset, ...]:
        """Return the items of a sequence, from the functional groups and from the top level of the header."""
        datasets = (*self.groups.items, self.instance.header)
        return tuple(item for dataset in datasets for item in sequence_items(dataset, keyword))


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


def _frame_count(instance: Instance) -> int:
    """Return how many frames the object has; refuse where Number of Frames and its functional groups differ."""
    if instance.sop_class_uid not in MULTI_FRAME_CT_SOP_CLASSES:
        return 1
    described = len(sequence_items(instance.header, "PerFrameFunctionalGroupsSequence"))
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


def _derivations(image: _Image) -> tuple[Derivation, ...]:
    """Return what the header says that the image was computed from."""
    steps = [
        code
        for item in image.items("DerivationImageSequence")
        for code in sequence_items(item, "DerivationCodeSequence")
    ]
    acquisition = _texts(attribute_value(image.instance.header, "MultienergyCTAcquisition"))
    return derivations_of(
        image.image_type,
        technique=_texts(image.value("CTImageFrameTypeSequence", "VolumeBasedCalculationTechnique")),
        derivation_codes=(*image.items("DerivationCodeSequence"), *steps),
        multi_energy=acquisition == ("YES",) or bool(image.items("MultienergyCTProcessingSequence")),
        energy_kev=any(
            attribute_value(item, "MonoenergeticEnergyEquivalent")
            for item in image.items("MultienergyCTCharacteristicsSequence")
        ),
        other_units=not _mapped_units(image) <= {HOUNSFIELD_UNIT},
    )


def _mapped_units(image: _Image) -> frozenset[str]:
    """Return the UCUM codes of the units to which the image's values are mapped; empty where Hounsfield is among them."""
    units = frozenset(
        str(attribute_value(code, "CodeValue") or "")
        for mapping in image.items("RealWorldValueMappingSequence")
        for code in sequence_items(mapping, "MeasurementUnitsCodeSequence")
    )
    return frozenset() if HOUNSFIELD_UNIT in units else units


def _reason_to_set_aside(image: _Image, derivations: Sequence[Derivation]) -> str | None:
    """Return why an image is no CT slice, or None."""
    for derivation in derivations:
        if derivation.kind is ImageKind.NO_CT_SLICE:
            return derivation.told_by
    presentation = _texts(image.value("CTImageFrameTypeSequence", "PixelPresentation"))
    if presentation and presentation[0].upper() in {"COLOR", "COLOR_REF"}:
        return "Pixel Presentation COLOR"
    return None


def _slice(image: _Image, derivations: tuple[Derivation, ...]) -> CTSlice:
    header, uid = image.instance.header, image.instance.sop_instance_uid
    plane = create_slice_plane(
        position=image.value("PlanePositionSequence", "ImagePositionPatient"),
        orientation=image.value("PlaneOrientationSequence", "ImageOrientationPatient"),
        pixel_spacing=image.value("PixelMeasuresSequence", "PixelSpacing"),
        rows=attribute_value(header, "Rows"),
        columns=attribute_value(header, "Columns"),
        uid=uid,
    )
    transformation = "PixelValueTransformationSequence"
    number = image.value("FrameContentSequence", "InStackPositionNumber")
    if number is None and image.instance.sop_class_uid == CT_IMAGE:
        number = attribute_value(header, "InstanceNumber")
    whole = _number(number)
    units = _texts(image.value(transformation, "RescaleType")) or tuple(sorted(_mapped_units(image)))
    return CTSlice(
        instance=image.instance,
        frame=image.frame,
        plane=plane,
        rescale_slope=_number(image.value(transformation, "RescaleSlope")),
        rescale_intercept=_number(image.value(transformation, "RescaleIntercept")),
        rescale_type=units[0] if units else None,
        image_type=image.image_type,
        derivations=derivations,
        convolution_kernel=_texts(image.value("CTReconstructionSequence", "ConvolutionKernel")),
        slice_thickness=_number(image.value("PixelMeasuresSequence", "SliceThickness")),
        instance_number=None if whole is None else int(whole),
    )
