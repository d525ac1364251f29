"""Pixel Padding Value: which values of a CT slice are no measurement (PS3.3 C.7.5.1.1.2)."""

from __future__ import annotations

from pdl1es.dicom.header_elements import header_number
from pdl1es.dicom.series import CTSlice


def padding_range_hu(ct_slice: CTSlice) -> tuple[float, float] | None:
    """Return the lowest and the highest value that is padding, as `read_ct_slice` gives it, HU.

    Pixel Padding Value (0028,0120), up to Pixel Padding Range Limit (0028,0121) where there is one. Some writers state an
    unsigned number for signed pixels, or the other way round: the bits count.

    Parameters
    ----------
    ct_slice
        The slice.

    Returns
    -------
    tuple or None
        None where the slice states no padding or has no rescale.
    """
    header = ct_slice.instance.header
    stated = [header_number(header, keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if stated[0] is None or ct_slice.rescale_slope is None or ct_slice.rescale_intercept is None:
        return None
    signed = header_number(header, "PixelRepresentation") == 1
    stored = [_in_sixteen_bits(int(value), signed) for value in stated if value is not None]
    ends = [value * ct_slice.rescale_slope + ct_slice.rescale_intercept for value in stored]
    return min(ends), max(ends)


def _in_sixteen_bits(value: int, signed: bool) -> int:
    value &= 0xFFFF
    return value - 0x10000 if signed and value >= 0x8000 else value
