"""CT slices in Hounsfield units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.free_text import shown_term
from pdl1es.dicom.functional_groups import FunctionalGroups
from pdl1es.dicom.header_elements import attribute_value, tag_text
from pdl1es.dicom.pixels.frames import read_stored_frames
from pdl1es.dicom.pixels.layout import read_layout
from pdl1es.dicom.rescale import refuse_other_units
from pdl1es.dicom.series import CTSlice
from pdl1es.errors import Refusal, RefusalCode


def read_ct_slice(ct_slice: CTSlice) -> NDArray[Any]:
    """Read one slice in Hounsfield units: slope x stored value + intercept (PS3.3 C.11.1.1.2).

    Only this slice's file is opened, and only its frame is read and decoded. Pixels at Pixel Padding Value come out as the
    formula gives them, often -3024 HU, and nothing is clipped: `grid.resample.tumour_volume` takes them for air.

    Parameters
    ----------
    ct_slice
        The slice.

    Returns
    -------
    NDArray
        Shape (rows, columns). int16 where slope and intercept are whole and every value that the stored bits can hold
        fits, else int32; float64 where they are not whole.

    Raises
    ------
    Refusal
        NOT_HU: no rescale, one that is not to HU, or an image that is no grey scale. UNSUPPORTED_TRANSFER_SYNTAX,
        PIXEL_DATA_CORRUPT, LIMIT_EXCEEDED: as `read_stored_frames`.
    """
    instance = ct_slice.instance
    slope, intercept = _rescale(ct_slice)
    low, high = read_layout(instance).stored_range
    stored = read_stored_frames(instance, [ct_slice.frame])[0]
    ends = (slope * low + intercept, slope * high + intercept)
    if slope.is_integer() and intercept.is_integer():
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
                return _rescaled(stored, int(slope), int(intercept), int(max(map(abs, ends)))).astype(dtype)
    return stored * slope + intercept


def _rescaled(stored: NDArray[Any], slope: int, intercept: int, largest: int) -> NDArray[Any]:
    """Return slope x stored + intercept in integers that hold every step of it, where no result exceeds ``largest``."""
    kind = np.dtype(np.int32 if largest + abs(intercept) < 2**31 else np.int64)
    values: NDArray[np.signedinteger[Any]] = stored.astype(kind)
    if slope != 1:
        values *= slope
    values += intercept
    return values


def _rescale(ct_slice: CTSlice) -> tuple[float, float]:
    """Return slope and intercept to HU, or refuse."""
    header, uid = ct_slice.instance.header, ct_slice.instance.sop_instance_uid
    malformed = ct_slice.instance.malformed

    def refuse(found: str, keyword: str, value: Any = None) -> Refusal:
        text = None if value is None else shown_term(str(value))
        return Refusal(RefusalCode.NOT_HU, found, tag=tag_text(keyword), value=text, uid=uid)

    photometric = header.get("PhotometricInterpretation")
    if photometric != "MONOCHROME2":
        raise refuse(
            "the image is not stored so that larger values are denser", "PhotometricInterpretation", photometric
        )
    samples = header.get("SamplesPerPixel", 1)
    if samples != 1:
        raise refuse("the image is not a grey scale image", "SamplesPerPixel", samples)
    if header.get("ModalityLUTSequence"):
        raise refuse("the image has a look-up table instead of a rescale", "ModalityLUTSequence", "present")
    refuse_other_units(ct_slice.rescale_type, uid)
    for keyword, value in (
        ("RescaleSlope", ct_slice.rescale_slope),
        ("RescaleIntercept", ct_slice.rescale_intercept),
    ):
        if value is None:
            stored = FunctionalGroups.of(header, ct_slice.frame).value("PixelValueTransformationSequence", keyword)
            stored = attribute_value(header, keyword) if stored is None else stored
            if stored is not None:
                count = len(stored) if isinstance(stored, Sequence) and not isinstance(stored, str) else 1
                raise refuse(f"the rescale has {count} values where one is needed", keyword, stored)
            if keyword in malformed:
                raise refuse("the rescale to Hounsfield units is malformed", keyword, "malformed")
            raise refuse("the image has no rescale to Hounsfield units", keyword)
        if not math.isfinite(value) or (keyword == "RescaleSlope" and value == 0):
            raise refuse("the rescale to Hounsfield units is no use", keyword, value)
    assert ct_slice.rescale_slope is not None
    assert ct_slice.rescale_intercept is not None
    return float(ct_slice.rescale_slope), float(ct_slice.rescale_intercept)
