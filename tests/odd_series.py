"""CT series as other scanners and archives store them: the slices of a scan in many orders, orientations and forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pdl1es.phantom.ct_series import PatientRecord, ct_image, file_meta, stored_values, uid_of
from pdl1es.phantom.scanner import Scan

PATIENT: Final = PatientRecord(patient_id="PHANTOM-0", accession_number="PHANTOM", sex="M", age="062Y", smoking="YES")


@dataclass(frozen=True, slots=True)
class Storage:
    """How the same content is stored; the defaults are what most scanners do.

    Attributes
    ----------
    order
        Which slice gets Instance Number 1.
    flip_rows, flip_columns, transpose
        In-plane storage, with Image Orientation and Position to match.
    omit, duplicate
        Zero-based slices (of the scan) that are left out, or written twice under another UID.
    file_names
        Pattern with ``{number}`` (Instance Number), ``{index}`` (slice) and ``{uid}``; a ``/`` makes folders.
    transfer_syntax_uid
        Any that pydicom can encode.
    absent
        Keywords of attributes that are removed from every image.
    replaced
        Attributes that are set on every image, by keyword.
    """

    order: Literal["head_last", "head_first", "shuffled"] = "head_last"
    flip_rows: bool = False
    flip_columns: bool = False
    transpose: bool = False
    omit: tuple[int, ...] = ()
    duplicate: tuple[int, ...] = ()
    file_names: str = "CT{number:04d}.dcm"
    transfer_syntax_uid: str = ExplicitVRLittleEndian
    absent: tuple[str, ...] = ()
    replaced: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class StoredSeries:
    """A series that was written.

    Attributes
    ----------
    paths, datasets
        One per object, in the order of Instance Numbers; the datasets hold no pixel data.
    slices
        Which slice of the scan each image or frame shows.
    storage
        How it was stored.
    """

    paths: tuple[Path, ...]
    datasets: tuple[Dataset, ...]
    slices: tuple[int, ...]
    storage: Storage

    @property
    def series_instance_uid(self) -> str:
        return str(self.datasets[0].SeriesInstanceUID)

    def frames_of(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Return ``volume`` (slices, rows, columns; a mask for instance) as this series stores it, image by image."""
        return np.stack([_turned(volume[index], self.storage) for index in self.slices])


def write_odd_series(
    folder: Path, scan: Scan, storage: Storage | None = None, *, key: str, patient: PatientRecord = PATIENT
) -> StoredSeries:
    """Write a scan as CT images, in one of the many legal (or illegal) ways.

    Parameters
    ----------
    folder
        Where the files go; it is made.
    scan
        What they show.
    storage
        How it is stored; as the phantom's own series where None.
    key, patient
        As in ``pdl1es.phantom.ct_series.write_ct_series``.
    """
    storage = storage or Storage()
    order = _slice_order(len(scan.hu), storage, uid_of(key, "series", "ct"))
    paths, datasets = [], []
    for number, (index, copy) in enumerate(order, 1):
        ds = ct_image(scan, index, key=key, patient=patient)
        ds.InstanceNumber = number
        ds.SOPInstanceUID = uid_of(key, "ct", index, copy)
        _turn(ds, scan, index, storage)
        path = folder / storage.file_names.format(number=number, index=index, uid=ds.SOPInstanceUID)
        _save(ds, path, storage)
        del ds.PixelData
        paths.append(path)
        datasets.append(ds)
    return StoredSeries(tuple(paths), tuple(datasets), tuple(index for index, _ in order), storage)


def _slice_order(count: int, storage: Storage, seed: str) -> list[tuple[int, int]]:
    """Return (slice, copy) in the order of Instance Numbers."""
    kept = [i for i in range(count) if i not in storage.omit]
    if storage.order == "head_first":
        kept.reverse()
    elif storage.order == "shuffled":
        np.random.default_rng(list(seed.encode())).shuffle(kept)
    return [(i, copy) for i in kept for copy in range(2 if i in storage.duplicate else 1)]


def _turn(ds: Dataset, scan: Scan, index: int, storage: Storage) -> None:
    """Store an image's rows and columns in another order, in place."""
    corner = np.array([float(value) for value in ds.ImagePositionPatient])
    row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    spacing = [float(value) for value in ds.PixelSpacing]
    if storage.flip_rows:
        corner, column = corner + (ds.Rows - 1) * spacing[0] * column, -column
    if storage.flip_columns:
        corner, row = corner + (ds.Columns - 1) * spacing[1] * row, -row
    if storage.transpose:
        row, column, spacing = column, row, spacing[::-1]
    ds.ImagePositionPatient = [float(f"{value:.9g}") for value in corner]
    ds.ImageOrientationPatient = [float(value) + 0.0 for value in (*row, *column)]
    ds.PixelSpacing = spacing
    image = _turned(scan.hu[index], storage)
    ds.Rows, ds.Columns = image.shape
    ds.PixelData = stored_values(image)
    ds["PixelData"].VR = "OW"


def _turned(image: NDArray[Any], storage: Storage) -> NDArray[Any]:
    """Return a slice with its rows and columns in the order of storage."""
    if storage.flip_rows:
        image = image[::-1]
    if storage.flip_columns:
        image = image[:, ::-1]
    if storage.transpose:
        image = image.T
    return np.ascontiguousarray(image)


def _save(ds: Dataset, path: Path, storage: Storage) -> None:
    """Encode and write an image; attributes named by ``storage`` are removed or replaced."""
    for keyword in storage.absent:
        if keyword in ds:
            delattr(ds, keyword)
    for keyword, value in storage.replaced.items():
        setattr(ds, keyword, value)
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID)
    if storage.transfer_syntax_uid in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        ds.file_meta.TransferSyntaxUID = UID(storage.transfer_syntax_uid)
    else:
        ds.compress(storage.transfer_syntax_uid, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
