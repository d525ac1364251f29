"""Reads one segment's mask from a SEG's frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import SlicePlane
from pdl1es.dicom.header_elements import tag_text
from pdl1es.dicom.pixels.frames import MAX_DECODED_BYTES, iterate_stored_frames
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.segmentation import Segmentation, SegmentationFrame, seg_unreadable
from pdl1es.errors import Refusal, RefusalCode

FRACTIONAL_THRESHOLD: Final = 0.5
"""Least share of Maximum Fractional Value at which a voxel of a fractional SEG belongs to the segment."""


def read_segment_mask(segmentation: Segmentation, segment_number: int) -> SegmentMask:
    """Read one segment's voxels.

    Only frames that can show the segment are read and decoded. Frames without a voxel of it are dropped. A voxel of a
    fractional SEG belongs to the segment where its value is at least `FRACTIONAL_THRESHOLD` of Maximum Fractional Value;
    a voxel of a labelmap, where its value is the segment's number.

    Parameters
    ----------
    segmentation
        The SEG.
    segment_number
        Segment Number of one of its segments.

    Returns
    -------
    SegmentMask
        Without planes where the segment is empty.

    Raises
    ------
    Refusal
        SEG_GEOMETRY: a frame of the segment has no place in space. SEG_UNREADABLE: a fractional object does not say its
        maximum. PIXEL_DATA_CORRUPT, UNSUPPORTED_TRANSFER_SYNTAX, LIMIT_EXCEEDED: as `read_stored_frames`.
    ValueError
        There is no such segment.
    """
    if segment_number not in {segment.number for segment in segmentation.segments}:
        raise ValueError(f"the segmentation has no segment {segment_number}")
    shown = segmentation.frames_of(segment_number)
    limit = None
    if segmentation.segmentation_type == "FRACTIONAL":
        limit = FRACTIONAL_THRESHOLD * _fractional_maximum(segmentation)

    planes: list[SlicePlane] = []
    masks: list[NDArray[np.bool_]] = []
    size = 0
    for frame, stored in _stored_frames(segmentation, shown):
        if limit is not None:
            mask = stored >= limit
        elif segmentation.segmentation_type == "LABELMAP":
            mask = stored == segment_number
        else:
            mask = stored != 0
        if not mask.any():
            continue
        if frame.plane is None:
            raise Refusal(
                RefusalCode.SEG_GEOMETRY,
                f"frame {frame.index + 1} of the segmentation has no place in space",
                tag=tag_text("ImagePositionPatient"),
                uid=segmentation.instances[frame.part].sop_instance_uid,
            )
        size += mask.nbytes
        if size > MAX_DECODED_BYTES:
            raise Refusal(
                RefusalCode.LIMIT_EXCEEDED,
                "the segment has more voxels than may be decoded",
                tag=tag_text("NumberOfFrames"),
                value=str(len(segmentation.frames)),
                uid=segmentation.instance.sop_instance_uid,
            )
        planes.append(frame.plane)
        masks.append(mask)
    header = segmentation.instance.header
    shape = (0, int(header.get("Rows") or 0), int(header.get("Columns") or 0))
    return SegmentMask(
        planes=tuple(planes),
        masks=np.stack(masks) if masks else np.zeros(shape, dtype=bool),
        sop_instance_uid=segmentation.instance.sop_instance_uid,
    )


def _stored_frames(
    segmentation: Segmentation, frames: Sequence[SegmentationFrame]
) -> Iterator[tuple[SegmentationFrame, NDArray[Any]]]:
    """Yield frames with their stored values, part by part of a concatenation."""
    for part, instance in enumerate(segmentation.instances):
        own = [frame for frame in frames if frame.part == part]
        if own:
            yield from zip(own, iterate_stored_frames(instance, [frame.index for frame in own]), strict=True)


def _fractional_maximum(segmentation: Segmentation) -> int:
    """Return Maximum Fractional Value, which every fractional SEG must have."""
    maximum = segmentation.instance.header.get("MaximumFractionalValue")
    if not isinstance(maximum, int) or not 1 <= maximum <= 255:
        raise seg_unreadable(
            segmentation.instance,
            "a fractional segmentation does not say its maximum",
            "MaximumFractionalValue",
            maximum,
        )
    return int(maximum)
