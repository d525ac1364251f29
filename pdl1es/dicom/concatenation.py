"""A segmentation that is stored in several objects, joined (PS3.3 C.7.6.16.2.2.4, Concatenations)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pdl1es.dicom.free_text import shown_term
from pdl1es.dicom.header_elements import attribute_value, tag_text
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.seg_references import SegReferences, uid_text
from pdl1es.dicom.segmentation import Segment, Segmentation, parse_segmentation, seg_unreadable
from pdl1es.errors import Refusal, RefusalCode


def group_parts(objects: Iterable[Instance]) -> list[tuple[Instance, ...]]:
    """Put the objects together that are parts of one segmentation.

    Parameters
    ----------
    objects
        SEG objects, each once.

    Returns
    -------
    list of tuple of Instance
        Ascending by the first UID. An object that is no part of a concatenation stands alone.
    """
    found = sorted(objects, key=lambda i: i.sop_instance_uid)
    sources: defaultdict[str, set[str]] = defaultdict(set)
    for instance in found:
        uid, source = _concatenation(instance)
        sources[uid] |= {source} - {""}
    groups: defaultdict[tuple[str, ...], list[Instance]] = defaultdict(list)
    for instance in found:
        uid, source = _concatenation(instance)
        if not uid and not source:
            key: tuple[str, ...] = ("", "", instance.sop_instance_uid)
        # two segmentations under one UID, as from a writer that never changes it, differ in their source
        elif not uid or len(sources[uid]) > 1:
            key = (uid, source)
        else:
            key = (uid,)
        groups[key].append(instance)
    return sorted((tuple(group) for group in groups.values()), key=lambda group: group[0].sop_instance_uid)


def _concatenation(instance: Instance) -> tuple[str, str]:
    """Return what the parts of one concatenation share: Concatenation UID and the UID of the object that was split; empty where there are none."""
    uid = uid_text(instance.header, "ConcatenationUID")
    return uid, uid_text(instance.header, "SOPInstanceUIDOfConcatenationSource")


def parse_parts(parts: Sequence[Instance]) -> Segmentation:
    """Read a segmentation from all of its objects.

    Parameters
    ----------
    parts
        From `group_parts`.

    Returns
    -------
    Segmentation
        With the frames of all parts, in order.

    Raises
    ------
    Refusal
        SEG_UNREADABLE: as `parse_segmentation`; or the parts contradict each other. SEG_INCOMPLETE: a part is missing.
    """
    if len(parts) == 1 and not any(_concatenation(parts[0])) and not _is_numbered(parts[0]):
        return parse_segmentation(parts[0])
    ordered = _in_order(parts)
    read = [parse_segmentation(instance) for instance in ordered]
    end_unknown = _refuse_incomplete(read)
    first = read[0]
    segments: dict[int, Segment] = {}
    references = SegReferences()
    for part in read:
        _refuse_contradiction(first, part, segments)
        segments.update({segment.number: segment for segment in part.segments})
        references = references.joined(part.references)
    return Segmentation(
        instance=first.instance,
        segmentation_type=first.segmentation_type,
        segments=tuple(segments[number] for number in sorted(segments)),
        frames=tuple(replace(frame, part=place) for place, part in enumerate(read) for frame in part.frames),
        references=references,
        further_instances=tuple(part.instance for part in read[1:]),
        end_unknown=end_unknown,
    )


def _is_numbered(instance: Instance) -> bool:
    """Tell whether an object without the UIDs of a concatenation nevertheless states that it is a part of several."""
    return (_whole(instance, "InConcatenationTotalNumber") or 1) > 1 or (
        _whole(instance, "InConcatenationNumber") or 1
    ) > 1


def _whole(instance: Instance, keyword: str) -> int | None:
    value = attribute_value(instance.header, keyword)
    return int(value) if isinstance(value, int) else None


def _in_order(parts: Sequence[Instance]) -> list[Instance]:
    """Return the parts by their number, or by the number of their first frame."""
    for keyword in ("InConcatenationNumber", "ConcatenationFrameOffsetNumber"):
        places = {part.sop_instance_uid: _whole(part, keyword) for part in parts}
        numbers = [number for number in places.values() if number is not None]
        if len(numbers) < len(parts):
            continue
        if len(set(numbers)) < len(parts):
            twice = next(part for part in parts if numbers.count(places[part.sop_instance_uid] or 0) > 1)
            raise seg_unreadable(
                twice,
                "two objects are the same part of one segmentation",
                keyword,
                places[twice.sop_instance_uid],
            )
        return sorted(parts, key=lambda part: places[part.sop_instance_uid] or 0)
    raise seg_unreadable(
        parts[0], f"{len(parts)} objects are parts of one segmentation, and do not say in which order", keyword
    )


def _refuse_incomplete(parts: Sequence[Segmentation]) -> bool:
    """Refuse where a part is missing; return whether the last part may be missing without a sign of it."""
    instances = [part.instance for part in parts]
    totals = {total for total in (_whole(i, "InConcatenationTotalNumber") for i in instances) if total is not None}
    if len(totals) > 1:
        raise seg_unreadable(
            instances[-1],
            "the parts of one segmentation disagree on how many they are",
            "InConcatenationTotalNumber",
            max(totals),
        )
    numbers = [_whole(i, "InConcatenationNumber") for i in instances]
    known = [number for number in numbers if number is not None]
    total = totals.pop() if totals else None
    if len(known) == len(numbers):
        wanted = range(1, max([*known, total or 0]) + 1) if max([*known, total or 0]) < 2**16 else range(0)
        absent = [number for number in wanted if number not in known]
        if absent or known[0] < 1 or known[-1] >= 2**16:
            listed = ", ".join(map(str, absent[:8])) or "some"
            raise _incomplete(instances[0], f"part {listed} of {len(wanted)} is missing", "InConcatenationNumber")
    elif total is not None and total != len(parts):
        raise _incomplete(instances[0], f"{len(parts)} of {total} parts are there", "InConcatenationTotalNumber", total)
    frames = 0
    for part in parts:
        offset = _whole(part.instance, "ConcatenationFrameOffsetNumber")
        if offset is not None and offset > frames:
            found = f"{offset - frames} frames are missing before frame {offset + 1}"
            raise _incomplete(part.instance, found, "ConcatenationFrameOffsetNumber", offset)
        if offset is not None and offset < frames:
            raise seg_unreadable(
                part.instance,
                f"the parts of one segmentation overlap at frame {offset + 1}",
                "ConcatenationFrameOffsetNumber",
                offset,
            )
        frames += len(part.frames)
    if total is None and len(parts) == 1:
        raise _incomplete(
            instances[0], "one object is there, and it says that it is a part of several", "ConcatenationUID"
        )
    return total is None


def _incomplete(instance: Instance, found: str, keyword: str, value: object = None) -> Refusal:
    own = attribute_value(instance.header, keyword) if value is None else value
    return Refusal(
        RefusalCode.SEG_INCOMPLETE,
        f"the segmentation is stored in several objects, and {found}",
        tag=tag_text(keyword),
        value=None if own is None else shown_term(str(own)),
        uid=instance.sop_instance_uid,
    )


_SHARED = (
    "SOPClassUID",
    "SegmentationType",
    "Rows",
    "Columns",
    "BitsAllocated",
    "MaximumFractionalValue",
    "FrameOfReferenceUID",
    "StudyInstanceUID",
)


def _refuse_contradiction(first: Segmentation, part: Segmentation, segments: dict[int, Segment]) -> None:
    """Refuse a part of another segmentation."""
    for keyword in _SHARED:
        value = attribute_value(part.instance.header, keyword)
        if value != attribute_value(first.instance.header, keyword):
            raise seg_unreadable(part.instance, "the parts of one segmentation contradict each other", keyword, value)
    for segment in part.segments:
        if segments.get(segment.number, segment) != segment:
            raise seg_unreadable(
                part.instance,
                "the parts of one segmentation describe a segment differently",
                "SegmentNumber",
                segment.number,
            )
