"""Reads NIfTI, NRRD and MetaImage volumes as the chain's own types, so that the same steps take them as DICOM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pdl1es.dicom.geometry import (
    SlicePlane,
    canonical_axes,
    canonical_plane_coordinates,
    lies_across,
    position_along,
)
from pdl1es.dicom.instance import Instance
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.series import CTSeries, CTSlice
from pdl1es.dicom.stack import SMALLEST_STACK
from pdl1es.grid.lattice import COINCIDENCE_MM
from pdl1es.score_warning import ScoreWarning
from training.cohort.table import VOLUME_SUFFIXES

ACQUISITION: Final[dict[str, str]] = {
    "manufacturer": "Manufacturer",
    "scanner_model": "ManufacturerModelName",
    "convolution_kernel": "ConvolutionKernel",
    "slice_thickness_mm": "SliceThickness",
    "tube_current_ma": "XRayTubeCurrent",
}
"""Columns of the table that replace the header that a volume lacks, with their DICOM keywords."""
OTHER_GRID: Final = "MASK_GRID_DIFFERS"
"""Code of the warning that a mask does not lie on its CT's grid."""
MAX_HEADER_BYTES: Final = 1 << 20
MAX_VOXELS: Final = 1024 * 1024 * 4096


class VolumeError(ValueError):
    """A volume cannot be used; the message says why and names no patient."""


@dataclass(frozen=True, slots=True, eq=False)
class CTVolume:
    """A volume as a CT series, with the HU of its slices.

    Attributes
    ----------
    ct
        Slices ascend towards the head; their ``frame`` is the index into ``hu``.
    hu
        Shape (slices, rows, columns), as the file has them.
    """

    ct: CTSeries
    hu: NDArray[Any]

    def read_slice(self, ct_slice: CTSlice) -> NDArray[Any]:
        """Return a slice's HU, shape (rows, columns), as `tumour_volume` asks for it."""
        return self.hu[ct_slice.frame]


def is_volume(path: Path) -> bool:
    """Tell whether a file is a volume by its name."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def read_ct_volume(path: Path, acquisition: Mapping[str, str | float | None]) -> CTVolume:
    """Read a CT in Hounsfield units.

    Parameters
    ----------
    path
        NIfTI (RAS, by its sform or qform), NRRD or MetaImage.
    acquisition
        What the table says of the scan, by the columns of `ACQUISITION`.

    Returns
    -------
    CTVolume
        In LPS; axes that a file stores in another order or direction are turned, no value is interpolated. NRRD and
        MetaImage keep a DICOM series' geometry exactly; NIfTI keeps positions in single precision, about 1e-5 mm, so
        that a few interpolated values may differ by 1 HU.

    Raises
    ------
    VolumeError
        The file cannot be read, is not three-dimensional, holds values that are not finite or no HU, or has fewer
        slices than a series needs.
    """
    image = _read(path)
    hu = SimpleITK.GetArrayFromImage(image)
    if not np.isfinite(hu).all():
        raise VolumeError("the CT volume holds values that are not finite")
    if hu.min() >= 0:
        raise VolumeError("the CT volume has no negative value: Hounsfield units are needed, air is -1000")
    if len(hu) < SMALLEST_STACK:
        raise VolumeError(f"the CT volume has {len(hu)} slices, at least {SMALLEST_STACK} are needed")
    header = Dataset()
    for column, keyword in ACQUISITION.items():
        value = acquisition.get(column)
        if value is not None:
            setattr(header, keyword, value)
    thickness, kernel = acquisition.get("slice_thickness_mm"), acquisition.get("convolution_kernel")
    instance = Instance(path, header)
    slices = tuple(
        CTSlice(
            instance=instance,
            frame=index,
            plane=plane,
            rescale_slope=1.0,
            rescale_intercept=0.0,
            convolution_kernel=() if kernel is None else tuple(str(kernel).split("\\")),
            slice_thickness=None if thickness is None else float(thickness),
        )
        for index, plane in enumerate(_planes(image))
    )
    return CTVolume(CTSeries("", "", "", slices, 0.0), hu)


def read_mask_volume(path: Path) -> SegmentMask:
    """Read a tumour's mask on its own grid.

    Parameters
    ----------
    path
        NIfTI, NRRD or MetaImage; every value above zero is tumour.

    Returns
    -------
    SegmentMask
        The slices that hold tumour.

    Raises
    ------
    VolumeError
        The file cannot be read or is not three-dimensional, or it holds several values above zero.
    """
    image = _read(path)
    values = SimpleITK.GetArrayFromImage(image)
    mask = values > 0
    present = np.unique(values[mask])
    if present.size > 1:
        raise VolumeError(f"the mask holds {present.size} different values: one tumour is one value")
    occupied = np.flatnonzero(mask.any(axis=(1, 2)))
    planes = _planes(image)
    return SegmentMask(tuple(planes[index] for index in occupied), mask[occupied])


def data_files(path: Path) -> list[Path]:
    """Return the files that hold the voxels of a detached NRRD header (``.nhdr``); none for any other file.

    A pattern of names gives every file that could be one of them.
    """
    if not path.name.lower().endswith(".nhdr"):
        return []
    lines = path.read_bytes()[:MAX_HEADER_BYTES].decode("latin-1").splitlines()
    for number, line in enumerate(lines):
        field, colon, value = line.partition(":")
        if colon and field.strip().lower() in ("data file", "datafile"):
            given = value.strip()
            if given.upper().startswith("LIST"):
                names = [name.strip() for name in lines[number + 1 :] if name.strip()]
            elif "%" in given:
                # printf's pattern, then first, last and step
                pattern = re.sub(r"%\d*d", "*", given.split()[0])
                return sorted(found for found in path.parent.glob(pattern) if found.is_file())
            else:
                names = [given]
            return sorted(found for name in names if (found := path.parent / name).is_file())
    return []


def other_grid(mask: SegmentMask, ct: CTSeries) -> tuple[ScoreWarning, ...]:
    """Warn where a mask does not lie on its CT's grid, as another patient's mask would not.

    Parameters
    ----------
    mask
        As `read_mask_volume` reads it.
    ct
        The series on which it is scored.

    Returns
    -------
    tuple[ScoreWarning, ...]
        Empty where every plane of the mask has the pixel centres of a slice of the CT, to `COINCIDENCE_MM`. Otherwise
        one warning: the mask is resampled by its own geometry, as a SEG with a grid of its own is.
    """
    axes = canonical_axes(ct.slices[0].plane)
    heights = np.array([position_along(each.plane, axes[2]) for each in ct.slices])
    for plane in mask.planes:
        z = position_along(plane, axes[2])
        nearest = ct.slices[int(np.argmin(np.abs(heights - z)))].plane
        if not lies_across(plane, axes):
            break
        own, its = (canonical_plane_coordinates(each, axes) for each in (plane, nearest))
        same = all(
            a.shape == b.shape and float(np.abs(a - b).max()) <= COINCIDENCE_MM
            for a, b in zip(own[:2], its[:2], strict=True)
        )
        if not same or abs(position_along(nearest, axes[2]) - z) > COINCIDENCE_MM:
            break
    else:
        return ()
    first = mask.planes[0]
    its_first = ct.slices[0].plane
    return (
        ScoreWarning(
            OTHER_GRID,
            "the mask does not lie on its CT's grid and was resampled by its own geometry: mask "
            f"{first.rows} x {first.columns} pixels of {first.row_spacing:.3g} x {first.column_spacing:.3g} mm, CT "
            f"{its_first.rows} x {its_first.columns} of {its_first.row_spacing:.3g} x {its_first.column_spacing:.3g} mm; "
            "look whether it is this patient's",
        ),
    )


def _read(path: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
            raise VolumeError(f"{''.join(path.suffixes)} file is not a volume of three dimensions and one channel")
        if np.prod(reader.GetSize(), dtype=np.float64) > MAX_VOXELS:
            raise VolumeError(f"the volume has more than {MAX_VOXELS} voxels")
        image = reader.Execute()
        if path.name.lower().endswith((".nii", ".nii.gz")):
            image.SetOrigin([_decimal(value) for value in image.GetOrigin()])
            image.SetSpacing([_decimal(value) for value in image.GetSpacing()])
        # Axes towards the patient's left, back and head, by flips and permutations only.
        return SimpleITK.DICOMOrient(image, "LPS")
    except RuntimeError as error:  # SimpleITK raises no other error; its text is left out because it holds the path
        raise VolumeError(f"{''.join(path.suffixes)} file cannot be read as a volume") from error


def _decimal(value: float) -> float:
    """Return the decimal that a NIfTI header's single-precision number most likely was: 0.8046, not 0.80460000038."""
    return float(str(np.float32(value)))


def _planes(image: SimpleITK.Image) -> tuple[SlicePlane, ...]:
    """Return the places of the slices of an image in LPS, ascending."""
    columns, rows, count = image.GetSize()
    direction = np.array(image.GetDirection()).reshape(3, 3)
    origin, spacing = np.array(image.GetOrigin()), image.GetSpacing()
    across, down, along = (tuple(float(v) for v in direction[:, axis]) for axis in range(3))

    def plane(index: int) -> SlicePlane:
        x, y, z = origin + np.array(along) * spacing[2] * index
        return SlicePlane(
            position=(float(x), float(y), float(z)),
            row_direction=(across[0], across[1], across[2]),
            column_direction=(down[0], down[1], down[2]),
            row_spacing=float(spacing[1]),
            column_spacing=float(spacing[0]),
            rows=rows,
            columns=columns,
        )

    return tuple(plane(index) for index in range(count))
