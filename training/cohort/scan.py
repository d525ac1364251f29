"""Tells by whole slices that two cases have one CT, wherever the tumour was drawn on it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pdl1es.dicom.geometry import lies_across, to_canonical
from pdl1es.errors import Refusal
from pdl1es.grid.placement import Stack
from pdl1es.grid.resample import SliceReader
from training.cohort.identity import WINDOW_HU, alike_pairs, enumerated

EVERY_MM: Final = 16.0
"""One slice in so many millimetres is kept as a digest: the first from each multiple of it on, in the frame of reference.

The choice depends on the CT alone, so that another contour, and more slices above or below, leave it as it is."""
AT_LEAST: Final = 2
"""Equal slices that make two CT the same; one, where either has no more."""
_CONTRAST_HU: Final = 5.0
"""Slices that vary less, as padding does, say nothing."""
_TOLERANCE_MM: Final = 1e-3
"""Positions are decimals, in single precision in some formats."""
_DIGEST_BYTES: Final = 8


def scan_digests(stack: Stack, read_slice: SliceReader) -> tuple[str, ...]:
    """Return digests of whole slices of a CT, by which the same CT is known again.

    Parameters
    ----------
    stack
        The series along the grid's axes.
    read_slice
        Returns a slice's HU, shape (rows, columns) as stored.

    Returns
    -------
    tuple[str, ...]
        From below upwards. A slice that cannot be read is passed over: the chain may never look at it.

    Notes
    -----
    Whole HU within `WINDOW_HU` along the grid's axes: neither file format nor orientation nor padding counts.
    """
    parts = np.floor((stack.z + _TOLERANCE_MM) / EVERY_MM)
    found = []
    for index in np.flatnonzero(np.diff(parts) > 0) + 1:
        ct_slice = stack.ct.slices[index]
        if not lies_across(ct_slice.plane, stack.axes):
            continue
        try:
            stored = read_slice(ct_slice)
        except Refusal:
            continue
        hu = np.rint(np.clip(to_canonical(stored, ct_slice.plane, stack.axes), *WINDOW_HU)).astype("<i2")
        if hu.std() >= _CONTRAST_HU:
            content = repr(hu.shape).encode("ascii") + hu.tobytes()
            found.append(hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest())
    return tuple(found)


def same_scan_pairs(scans: Sequence[Sequence[str] | None]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of cases that have the same CT.

    Parameters
    ----------
    scans
        Digests of each case, as `scan_digests` gives them; None or empty where they are not known.

    Returns
    -------
    tuple[tuple[int, int], ...]
        Rows, ascending. Cases share at least `AT_LEAST` slices, or the one that either has.
    """
    slices = [frozenset(scan) if scan is not None else frozenset() for scan in scans]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for row, digests in enumerate(slices):
        for digest in digests:
            holders[digest].append(row)
    shared = Counter(pair for rows in holders.values() for pair in combinations(rows, 2))
    return tuple(
        sorted(
            (first, second)
            for (first, second), count in shared.items()
            if count >= min(AT_LEAST, len(slices[first]), len(slices[second]))
        )
    )


def not_compared(scans: Sequence[Sequence[str] | None]) -> str | None:
    """Say how many cases have no digests of their CT, as those prepared before there were any; None where all have some."""
    unknown = sum(scan is None or len(scan) == 0 for scan in scans)
    if not unknown:
        return None
    return (
        f"whether the CT is another patient's too, with another contour, was not checked for {unknown} of {len(scans)} "
        "patients: no slice of theirs is known (`scan_slices`); cohorts of an earlier version need `cohort prepare` again"
    )


def scans_in_words(pairs: Sequence[tuple[int, int]], case_ids: Sequence[str]) -> str:
    """Name pairs by their pseudonyms: the first few, and the number of the others.

    Parameters
    ----------
    pairs
        As `same_scan_pairs` gives them.
    case_ids
        The pseudonyms, by row.

    Returns
    -------
    str
    """
    return enumerated([f"{case_ids[first]} and {case_ids[second]}" for first, second in pairs])


def pairs_of_images(
    case_ids: Sequence[str], patches: NDArray[np.int16], scans: Sequence[Sequence[str] | None]
) -> dict[str, Any]:
    """Return what a manifest says of cases that may be one patient.

    Parameters
    ----------
    case_ids
        The pseudonyms.
    patches
        int16 whole HU, shape (n, slices, rows, columns), in the same order.
    scans
        As `scan_digests` gives them, in the same order.

    Returns
    -------
    dict[str, Any]
        ``alike``: both pseudonyms, distance in HU, and whether the patches are the same; ``same_scan``: both pseudonyms
        where the CT is the same and the patches are not.
    """
    alike = alike_pairs(patches)
    same = {(pair.first, pair.second) for pair in alike if pair.same}
    return {
        "alike": [
            [case_ids[pair.first], case_ids[pair.second], round(pair.distance_hu, 3), pair.same] for pair in alike
        ],
        "same_scan": [
            [case_ids[first], case_ids[second]]
            for first, second in same_scan_pairs(scans)
            if (first, second) not in same
        ],
    }
