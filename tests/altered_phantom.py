"""The phantom study in memory, to be altered and written: its CT from feet to head, its SEG, and what lies beside them."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels import pack_bits
from pydicom.sequence import Sequence

from pdl1es.phantom.dicom import PhantomStudy

D = TypeVar("D", bound=Dataset)


class AlteredPhantom:
    """A writable copy of the phantom study.

    Attributes
    ----------
    ct
        Its images, from feet to head.
    seg
        Its segmentation.
    further
        Objects beside them.
    """

    def __init__(self, study: PhantomStudy) -> None:
        files = [pydicom.dcmread(path) for path in sorted(study.folder.rglob("*.dcm"))]
        self.ct = sorted((f for f in files if f.Modality == "CT"), key=lambda f: float(f.ImagePositionPatient[2]))
        (self.seg,) = (f for f in files if f.Modality == "SEG")
        self.further: list[FileDataset] = []
        self.clinical = study.clinical_path
        # frames without a voxel are dropped, so that every frame is of the tumour
        values = self.seg.pixel_array.reshape(-1, self.seg.Rows, self.seg.Columns)
        kept = [index for index, frame in enumerate(values) if frame.any()]
        self.frames: NDArray[np.uint8] = values[kept]
        self.groups = [self.seg.PerFrameFunctionalGroupsSequence[index] for index in kept]
        put_frames(self.seg, self.groups, self.frames)

    @property
    def tumour_slices(self) -> tuple[int, int]:
        """The first and the last CT image that shows the tumour."""
        heights = [round(float(ct.ImagePositionPatient[2]), 3) for ct in self.ct]
        places = [
            heights.index(round(float(group.PlanePositionSequence[0].ImagePositionPatient[2]), 3))
            for group in self.groups
        ]
        return min(places), max(places)

    def write(self, folder: Path) -> Path:
        """Write the study; file names say nothing."""
        folder.mkdir(parents=True)
        for number, dataset in enumerate([*self.further[::-1], self.seg, *self.ct]):
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(folder / f"{number:04d}.dcm")
        shutil.copy(self.clinical, folder)
        return folder


def put_frames(seg: FileDataset, groups: list[Any], frames: NDArray[np.uint8]) -> None:
    """Let a binary SEG hold these frames."""
    seg.PerFrameFunctionalGroupsSequence = Sequence(groups)
    seg.NumberOfFrames = len(groups)
    seg.PixelData = pack_bits(frames.ravel(), pad=True)


def copied(dataset: D, **attributes: Any) -> D:
    """Return a copy of an object with attributes replaced; None removes one."""
    other = copy.deepcopy(dataset)
    for keyword, value in attributes.items():
        if value is None:
            other.pop(keyword, None)
        else:
            setattr(other, keyword, value)
    return other
