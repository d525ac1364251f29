"""A synthetic cohort's DICOM study as a pair of volume files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from training.cohort.case import CaseSource, PreparationSettings, read_case

SETTINGS = PreparationSettings()


def rewritten(synthetic: Path, folder: Path, suffix: str, orientation: str) -> CaseSource:
    """Write the DICOM study as a pair of volumes, stored in the given orientation."""
    case = read_case(CaseSource("E0001", synthetic / "images" / "E0001", None, {}), SETTINGS)
    hu = np.stack([read_ct_slice(s) for s in case.ct.slices]).astype(np.int16)
    first, second = case.ct.slices[0].plane, case.ct.slices[1].plane
    mask = np.zeros(hu.shape, np.uint8)
    heights = np.array([s.plane.position[2] for s in case.ct.slices])
    for plane, frame in zip(case.mask.planes, case.mask.masks, strict=True):
        mask[int(np.argmin(np.abs(heights - plane.position[2])))] = frame
    paths = []
    for name, values in (("ct", hu), ("mask", mask)):
        image = SimpleITK.GetImageFromArray(values)
        image.SetOrigin(first.position)
        image.SetSpacing((first.column_spacing, first.row_spacing, second.position[2] - first.position[2]))
        paths.append(folder / f"{name}{suffix}")
        SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, orientation), str(paths[-1]))
    return CaseSource("X", paths[0], paths[1], {})
