"""Controls: what remains of a score without the tumour's texture, or away from its place.

Shuffled voxels are advised by Welch et al. (Radiother Oncol 2019; 130: 2-9). The mask displaced into healthy lung keeps
shape, size, scanner and patient, and holds no tumour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.signal import fftconvolve

from pdl1es.atomic import write_atomically
from pdl1es.errors import Refusal
from pdl1es.features.extraction import extract_radiomics
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.patches import extract_patches
from pdl1es.grid.resample import CROP_MARGIN_MM, TumourVolume
from training.cohort.case import CaseSource, PreparationSettings, PreparedCase, read_case
from training.cohort.cluster import run_on_cluster
from training.cohort.prepared import FAILURE_COLUMNS, PreparedCohort, write_prepared_cohort
from training.cohort.volumes import VolumeError
from training.progress import Count

Control = Literal["shuffled voxels", "mask in healthy lung"]
CONTROLS: Final[tuple[Control, ...]] = ("shuffled voxels", "mask in healthy lung")
REACH_MM: Final = 60
"""How far from the tumour healthy lung is searched, mm."""
GAP_MM: Final = 5
"""At least this far from the tumour: the patch's own margin, so that its middle shows no tumour."""
LUNG_HU: Final = (-960.0, -600.0)
"""Of aerated lung after smoothing; air outside and in the trachea lies below, vessels and wall above."""
LUNG_SHARE: Final = 0.9
"""Smallest share of the displaced mask's voxels that are lung; a vessel or two may pass through."""
_SMOOTHING_MM: Final = 1.5
_WAY: Final = 2
"""Rises where a control is made in another way, so that no control of an earlier way is taken from a cache."""


class NoRoomError(ValueError):
    """The healthy lung around the tumour has no room for its mask."""


@dataclass(frozen=True, slots=True)
class _ControlTask:
    source: CaseSource
    settings: PreparationSettings
    control: Control


def shuffled_voxels(volume: TumourVolume, seed: int) -> TumourVolume:
    """Return the volume with the tumour's voxels in random order, which keeps the histogram and destroys all texture.

    Parameters
    ----------
    volume
        The tumour on the grid.
    seed
        Of the order.

    Returns
    -------
    TumourVolume
    """
    hu = volume.hu.copy()
    hu[volume.mask] = np.random.default_rng(seed).permutation(hu[volume.mask])
    return replace(volume, hu=hu)


def mask_in_healthy_lung(volume: TumourVolume) -> TumourVolume:
    """Return the volume with the mask moved to the nearest healthy lung.

    Parameters
    ----------
    volume
        With a wide margin, as `tumour_volume` gives it for ``margin_mm=REACH_MM``.

    Raises
    ------
    NoRoomError
        At no place at least 5 mm from the tumour do nine tenths of the mask lie in lung.
    """
    box = tuple(
        slice(int(found[0]), int(found[-1]) + 1)
        for found in (np.flatnonzero(volume.mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    )
    tumour = volume.mask[box]
    smooth = gaussian_filter(volume.hu.astype(np.float32), _SMOOTHING_MM)
    lung = (smooth > LUNG_HU[0]) & (smooth < LUNG_HU[1])
    near = distance_transform_edt(~volume.mask) <= GAP_MM
    # correlation: at [k] the mask's box begins at voxel k
    reversed_tumour = tumour[::-1, ::-1, ::-1].astype(np.float32)
    on_lung = fftconvolve(lung.astype(np.float32), reversed_tumour, mode="valid")
    on_tumour = fftconvolve(near.astype(np.float32), reversed_tumour, mode="valid")
    fits = (on_lung >= LUNG_SHARE * tumour.sum()) & (on_tumour < 0.5) & _held(volume, tumour.shape)
    if not fits.any():
        raise NoRoomError("no healthy lung around the tumour is large enough for its mask")
    place = np.argwhere(fits)
    distance = ((place - [part.start for part in box]) ** 2).sum(axis=1)
    start = place[int(np.argmin(distance))]
    mask = np.zeros_like(volume.mask)
    mask[tuple(slice(int(k), int(k) + size) for k, size in zip(start, tumour.shape, strict=True))] = tumour
    return replace(volume, mask=mask)


def prepare_control(
    prepared: PreparedCohort,
    sources: Mapping[str, CaseSource],
    settings: PreparationSettings,
    control: Control,
    folder: Path,
    *,
    workers: int | None = None,
    progress: Count | None = None,
) -> PreparedCohort:
    """Prepare the same patients with disturbed inputs, as a further prepared cohort; an interrupted run continues.

    Parameters
    ----------
    prepared
        The patients, for instance ``cohort.subset("test")``.
    sources
        Where their images lie, by case_id.
    settings
        Those the cohort was prepared with.
    control
        What is disturbed.
    folder
        Of the new prepared cohort.
    workers
        As `run_on_cluster`.
    progress
        Called with patients done and in all.

    Returns
    -------
    PreparedCohort
        Patients whose control cannot be made (no lung large enough) are in its failure table.
    """
    cache = folder / "cache"
    wanted = list(prepared.case_ids)
    facts = prepared.cases.set_index("case_id")
    tasks: dict[str, _ControlTask] = {}
    found: dict[str, PreparedCase] = {}
    failures: list[tuple[str, str, str, str]] = []
    keys = {case: _key(facts.loc[case, "content_digest"], settings, control, case) for case in wanted}
    for case in wanted:
        kept = _kept(cache, keys[case])
        if kept is not None:
            found[case] = kept
        elif case in sources:
            tasks[case] = _ControlTask(sources[case], settings, control)
        else:
            failures.append((case, "control", "NO_SOURCE", "the table has no such patient"))
    done = len(wanted) - len(tasks)
    for case, result in run_on_cluster(_work, tasks, workers=workers):
        done += 1
        if isinstance(result, PreparedCase):
            found[case] = result
            write_atomically(cache / f"{keys[case]}.npz", result.to_bytes(keys[case]))
        elif isinstance(result, BaseException):
            known = isinstance(result, NoRoomError | VolumeError | Refusal)
            said = str(result) if known else "the step ended with a defect"
            failures.append((case, "control", type(result).__name__, said))
        if progress is not None:
            progress(done, len(wanted))
    rows = np.array([case in found for case in wanted])
    kept_cases = prepared.subset(rows)
    ready = [found[case] for case in kept_cases.case_ids]
    shape = (len(ready), *prepared.patches.shape[1:])
    return write_prepared_cohort(
        folder,
        kept_cases.cases,
        np.array([case.patches for case in ready], dtype=np.int16).reshape(shape),
        np.array([case.mask for case in ready], dtype=np.bool_).reshape(shape),
        np.array([case.radiomics for case in ready], dtype=np.float64).reshape(len(ready), prepared.radiomics.shape[1]),
        failures=pd.DataFrame(sorted(failures), columns=list(FAILURE_COLUMNS)),
        manifest={"control": control, "config_digest": settings.digest()},
    )


def seed_of(case_id: str) -> int:
    """Return a patient's seed, which does not depend on the other patients or their order."""
    return int.from_bytes(hashlib.sha256(case_id.encode("utf-8")).digest()[:8], "big")


def disturbed(source: CaseSource, settings: PreparationSettings, control: Control) -> TumourVolume:
    """Read a patient's tumour and disturb it.

    Parameters
    ----------
    source
        Where the patient's images lie.
    settings
        By which they are read.
    control
        What is disturbed.

    Returns
    -------
    TumourVolume

    Raises
    ------
    NoRoomError, Refusal, VolumeError
        The control cannot be made, or the images cannot be used.
    """
    case = read_case(source, settings)
    if control == "shuffled voxels":
        return shuffled_voxels(case.resampled().volume, seed_of(source.case_id))
    return mask_in_healthy_lung(case.resampled(margin_mm=REACH_MM).volume)


def _work(task: _ControlTask) -> PreparedCase:
    volume = disturbed(task.source, task.settings, task.control)
    patches = extract_patches(volume)
    return PreparedCase(
        patches=patches.hu.astype(np.int16),
        mask=patches.mask,
        radiomics=extract_radiomics(volume.hu, volume.mask, threads=1).values,
        # A control is scored and never pretrained on.
        rim=np.full(len(FEATURE_NAMES), np.nan),
        facts={},
        scan_slices=(),
        warnings=(),
    )


def _held(volume: TumourVolume, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where the mask's box may begin, so that its margin lies within the crop, or the scan ends there."""
    allowed = []
    for axis in range(3):
        coordinate = 2 - axis  # arrays are (z, y, x), grid coordinates (x, y, z)
        length = volume.hu.shape[axis]
        first, last = volume.origin[coordinate], volume.origin[coordinate] + length - 1
        low = 0 if first <= volume.scan_low[coordinate] else CROP_MARGIN_MM
        high = length if last >= volume.scan_high[coordinate] else length - CROP_MARGIN_MM
        start = np.arange(length - size[axis] + 1)
        allowed.append((start >= low) & (start + size[axis] <= high))
    return allowed[0][:, None, None] & allowed[1][None, :, None] & allowed[2][None, None, :]


def _key(content_digest: object, settings: PreparationSettings, control: Control, case_id: str) -> str:
    parts = (
        str(_WAY),
        str(content_digest),
        settings.digest(),
        control,
        case_id if control == "shuffled voxels" else "",
    )
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()


def _kept(cache: Path, key: str) -> PreparedCase | None:
    try:
        return PreparedCase.from_bytes((cache / f"{key}.npz").read_bytes(), key)
    except (FileNotFoundError, ValueError):
        return None
