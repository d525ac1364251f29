"""From one patient's images to patches and features, by the steps of `pdl1es.chain`."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pydicom.dataset import Dataset

from pdl1es import chain
from pdl1es.dicom.file_format import NotDicomError, UnreadableFileError
from pdl1es.dicom.header import read_instance
from pdl1es.dicom.header_elements import header_number
from pdl1es.dicom.limits import ScanLimits
from pdl1es.dicom.pixels.hounsfield import read_ct_slice
from pdl1es.dicom.protocol.check import check_protocol
from pdl1es.dicom.protocol.kernels import kernel_text
from pdl1es.dicom.protocol.rules import ProtocolRules
from pdl1es.dicom.segment_mask import SegmentMask
from pdl1es.dicom.selection.copies import refuse_different
from pdl1es.dicom.selection.rules import SelectionRules
from pdl1es.dicom.series import CT_SOP_CLASSES, CTSeries, kernels_of, series_of
from pdl1es.dicom.stack import ct_series
from pdl1es.dicom.study import Study, scan_study
from pdl1es.errors import Refusal, RefusalCode
from pdl1es.features.names import FEATURE_NAMES
from pdl1es.grid.resample import CROP_MARGIN_MM, SliceReader
from pdl1es.grid.source import TumourSource, read_source
from pdl1es.method import PATCH_SIZE, PATCH_SLICES
from pdl1es.method_digest import method_digest
from pdl1es.plausibility.rules import PlausibilityRules
from pdl1es.plausibility.specks import placed_clean
from pdl1es.score_warning import ScoreWarning
from training.cohort.rim import rim_features
from training.cohort.scan import scan_digests
from training.cohort.table import CohortRow
from training.cohort.volumes import ACQUISITION, data_files, is_volume, other_grid, read_ct_volume, read_mask_volume

CACHE_FORMAT: Final = 5
_BLOCK: Final = 1 << 20
_READERS: Final = 8
_SLOW_SECONDS: Final = 0.002
_PATCH_SHAPE: Final = (PATCH_SLICES, PATCH_SIZE, PATCH_SIZE)


class PreparationSettings(BaseModel):
    """The sections of ``app.yaml`` that decide what is scored, and how much of untrusted input is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    selection: SelectionRules = SelectionRules()
    protocol: ProtocolRules = ProtocolRules()
    plausibility: PlausibilityRules = PlausibilityRules()
    limits: ScanLimits = ScanLimits()

    def digest(self) -> str:
        """Return the SHA-256 of everything but the images that decides a case: these rules and the method."""
        document = {
            "format": CACHE_FORMAT,
            "method": method_digest(),
            "selection": self.selection.model_dump(mode="json"),
            "protocol": self.protocol.model_dump(mode="json"),
            "plausibility": self.plausibility.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()


@dataclass(frozen=True, slots=True)
class CaseSource:
    """Where a patient's images lie.

    Attributes
    ----------
    case_id
        The pseudonym.
    ct
        DICOM folder, or a volume's file.
    seg
        DICOM SEG or RT Structure Set (file or folder), a mask's file, or None where it lies in the CT's folder.
    acquisition
        What the table says of the scan that made a volume.
    """

    case_id: str
    ct: Path
    seg: Path | None
    acquisition: Mapping[str, str | float | None]

    @classmethod
    def of(cls, row: CohortRow) -> CaseSource:
        """Return the source of a table's row; its CT is given."""
        if row.ct is None:
            raise ValueError("the row has no CT")
        return cls(row.id, row.ct, row.seg, {column: getattr(row, column) for column in ACQUISITION})


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """What one patient's images give.

    Attributes
    ----------
    patches
        int16 whole HU, shape (3, 112, 112).
    mask
        bool, same shape.
    radiomics
        float64, shape (1316,).
    rim
        float64, shape (1316,): of the tissue around the tumour (`rim.rim_features`).
    facts
        manufacturer, scanner_model, convolution_kernel, slice_thickness_mm, tube_current_ma, volume_ml, longest_diameter_mm.
    scan_slices
        Digests of whole slices of the CT (`scan.scan_digests`).
    warnings
        Of the protocol and of the selection.
    """

    patches: NDArray[np.int16]
    mask: NDArray[np.bool_]
    radiomics: NDArray[np.float64]
    rim: NDArray[np.float64]
    facts: Mapping[str, str | float | None]
    scan_slices: tuple[str, ...]
    warnings: tuple[ScoreWarning, ...]

    def to_bytes(self, key: str) -> bytes:
        """Return the case as an NPZ file that names the key under which it is kept; the same case gives the same bytes."""
        document = {
            "key": key,
            "facts": dict(self.facts),
            "scan_slices": self.scan_slices,
            "warnings": [[warning.code, warning.message, warning.effect] for warning in self.warnings],
        }
        file = io.BytesIO()
        np.savez_compressed(
            file,
            patches=self.patches,
            mask=np.packbits(self.mask),
            radiomics=self.radiomics,
            rim=self.rim,
            document=np.frombuffer(json.dumps(document, sort_keys=True).encode("utf-8"), np.uint8),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, key: str) -> PreparedCase:
        """Read what `to_bytes` wrote.

        Parameters
        ----------
        content
            The file's bytes.
        key
            The key that they have to name.

        Returns
        -------
        PreparedCase

        Raises
        ------
        ValueError
            The bytes are damaged, or name another key: they are another case's.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                document = json.loads(arrays["document"].tobytes())
                bits = int(np.prod(_PATCH_SHAPE))
                mask = np.unpackbits(arrays["mask"], count=bits).reshape(_PATCH_SHAPE).astype(np.bool_)
                patches, radiomics, rim = arrays["patches"], arrays["radiomics"], arrays["rim"]
                warnings = tuple(ScoreWarning(*warning) for warning in document["warnings"])
                facts, scan_slices = document["facts"], tuple(document["scan_slices"])
        except (KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"a prepared case is damaged: {error}") from error
        if document.get("key") != key:
            raise ValueError("a prepared case was kept under another key: it is another case's")
        if patches.shape != _PATCH_SHAPE or not radiomics.shape == rim.shape == (len(FEATURE_NAMES),):
            raise ValueError("a prepared case is damaged: its arrays have other shapes")
        return cls(patches, mask, radiomics, rim, facts, scan_slices, warnings)


@dataclass(frozen=True, slots=True)
class ReadCase:
    """A patient's CT and tumour, of any file format.

    Attributes
    ----------
    ct, mask
        The series, and the tumour's voxels as they were drawn.
    read_slice
        Returns a slice's HU.
    warnings
        Of the protocol and of the selection.
    largest_body
        Whether the settings take the largest of several separate parts.
    """

    ct: CTSeries
    mask: SegmentMask
    read_slice: SliceReader
    warnings: tuple[ScoreWarning, ...]
    largest_body: bool

    def resampled(self, *, margin_mm: int = CROP_MARGIN_MM) -> chain.ResampledTumour:
        """Return the tumour on the 1 mm grid as it is scored, with this much of the scan around it, and its size."""
        return chain.resample_tumour(
            self.ct, self.mask, self.read_slice, largest_body=self.largest_body, margin_mm=margin_mm
        )

    def source(self) -> TumourSource:
        """Return the tumour on its own slices, read once, for `pdl1es.perturbation.volume.perturbed_volume`."""
        placed, _ = placed_clean(self.mask, self.ct, largest_body=self.largest_body)
        return read_source(placed, self.read_slice, largest_body=self.largest_body)


def read_case(source: CaseSource, settings: PreparationSettings) -> ReadCase:
    """Find a patient's CT series and tumour.

    A DICOM CT with a DICOM SEG or RT Structure Set takes the chain's own way (`load_study`, `select_tumour`, `read_mask`).
    A mask in another format needs a folder with exactly one CT series.

    Parameters
    ----------
    source
        Where its images lie.
    settings
        Rules and limits.

    Returns
    -------
    ReadCase

    Raises
    ------
    Refusal
        As the chain refuses the study.
    VolumeError
        A volume cannot be used.
    """
    largest_body = settings.plausibility.largest_body
    if is_volume(source.ct):
        if source.seg is None or not is_volume(source.seg):
            raise Refusal(RefusalCode.NO_SEG, "a CT volume needs a mask volume")
        volume = read_ct_volume(source.ct, source.acquisition)
        mask = read_mask_volume(source.seg)
        warnings = (*check_protocol(volume.ct, settings.protocol), *other_grid(mask, volume.ct))
        return ReadCase(volume.ct, mask, volume.read_slice, warnings, largest_body)
    study = chain.load_study(source.ct, settings.limits)
    if source.seg is not None and is_volume(source.seg):
        ct = _only_ct(study, settings)
        mask = read_mask_volume(source.seg)
        warnings = (*check_protocol(ct, settings.protocol), *other_grid(mask, ct))
        return ReadCase(ct, mask, read_ct_slice, warnings, largest_body)
    if source.seg is not None and not source.seg.resolve().is_relative_to(source.ct.resolve()):
        study = _with_segmentation(study, source.seg, settings.limits)
    selection = chain.select_tumour(study, settings.selection, settings.protocol)
    return ReadCase(selection.ct, chain.read_mask(selection), read_ct_slice, selection.warnings, largest_body)


def prepare_case(source: CaseSource, settings: PreparationSettings) -> PreparedCase:
    """Take one patient from files to patches and features, as the chain does.

    Parameters
    ----------
    source
        Where its images lie.
    settings
        Rules and limits.

    Returns
    -------
    PreparedCase

    Raises
    ------
    Refusal
        As the chain refuses the study.
    VolumeError
        A volume cannot be used.
    """
    case = read_case(source, settings)
    resampled = case.resampled()
    tumour = chain.check_tumour(resampled, settings.plausibility)
    described = chain.describe(tumour.volume, memory_bytes=settings.limits.memory_bytes)
    return PreparedCase(
        # Whole HU within int16, as the grid's are: nothing is lost.
        patches=described.patches.hu.astype(np.int16),
        mask=described.patches.mask,
        radiomics=described.features.values,
        rim=rim_features(tumour.volume),
        facts={
            **_acquisition(case.ct),
            "volume_ml": tumour.size.volume_ml,
            "longest_diameter_mm": tumour.size.longest_diameter_mm,
        },
        scan_slices=scan_digests(resampled.placed.stack, case.read_slice),
        warnings=(*case.warnings, *tumour.plausibility.warnings),
    )


def content_digest(source: CaseSource) -> str:
    """Return the SHA-256 of a case's files by their role, whatever their names and order, and of its acquisition where that counts.

    A CT and a tumour that change places give another digest. Several threads read where files are slow to open, as those of
    a file server are.
    """
    files = {
        role: None if place is None else _files_of(place) for role, place in (("ct", source.ct), ("seg", source.seg))
    }
    first = [path for paths in files.values() for path in (paths or [])][:_READERS]
    with ThreadPoolExecutor(_READERS if _open_slowly(first) else 1) as readers:
        roles = {
            role: None if paths is None else sorted(readers.map(_file_digest, paths)) for role, paths in files.items()
        }
    # What a file is taken for is an input as well.
    volumes = [place is not None and is_volume(place) for place in (source.ct, source.seg)]
    acquisition = dict(source.acquisition) if is_volume(source.ct) else {}
    document = {"files": roles, "volumes": volumes, "acquisition": acquisition}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()


def stat_digest(source: CaseSource) -> str:
    """Return a digest of the paths, sizes and times of a case's files, by role. A known digest means unchanged content."""
    facts = [
        [role, str(path), path.stat().st_size, path.stat().st_mtime_ns]
        for role, place in (("ct", source.ct), ("seg", source.seg))
        if place is not None
        for path in _files_of(place)
    ]
    document = {"files": facts, "acquisition": dict(source.acquisition)}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()


def _files_of(place: Path) -> list[Path]:
    """Return every file of a CT or a tumour, sorted: a detached header's data as well."""
    if not place.is_file():
        return sorted(path for path in place.rglob("*") if path.is_file())
    return sorted({place, *data_files(place)})


def _open_slowly(files: Sequence[Path]) -> bool:
    """Tell whether opening takes milliseconds: several threads would only disturb each other where it does not."""
    started = time.monotonic()
    for path in files:
        path.open("rb").close()
    return time.monotonic() - started > _SLOW_SECONDS * len(files)


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _with_segmentation(study: Study, seg: Path, limits: ScanLimits) -> Study:
    """Add the DICOM objects of another file or folder to a study."""
    if seg.is_dir():
        further = scan_study(seg, limits)
        return replace(
            study,
            instances=(*study.instances, *further.instances),
            copies=(*study.copies, *further.copies),
            unreadable=(*study.unreadable, *further.unreadable),
        )
    try:
        return replace(study, instances=(*study.instances, read_instance(seg, limits)))
    except (NotDicomError, UnreadableFileError) as error:
        raise Refusal(
            RefusalCode.SEG_UNREADABLE, "the file given as segmentation is no readable DICOM object"
        ) from error


def _only_ct(study: Study, settings: PreparationSettings) -> CTSeries:
    """Return the one CT series of a study without SEG."""
    groups = series_of(instance for instance in study.instances if instance.sop_class_uid in CT_SOP_CLASSES)
    if not groups:
        raise Refusal(RefusalCode.NO_CT, "the folder holds no CT image")
    if len(groups) > 1:
        raise Refusal(
            RefusalCode.NO_SEG,
            f"the mask is neither DICOM SEG nor RT Structure Set, so that nothing says which of {len(groups)} CT series it is of",
        )
    for files in study.copies:
        refuse_different(files)
    return ct_series(next(iter(groups.values())), minimum_slices=settings.selection.minimum_slices)


def _acquisition(ct: CTSeries) -> dict[str, str | float | None]:
    """Return what the strata need of the headers: the most frequent kernel, the median thickness and tube current."""
    kernels = [text for text in map(kernel_text, kernels_of(ct)) if text]
    thicknesses = [s.slice_thickness for s in ct.slices if s.slice_thickness]
    currents = [value for s in ct.slices if (value := _tube_current(s.instance.header)) is not None]
    return {
        "manufacturer": _header_text(ct, "Manufacturer"),
        "scanner_model": _header_text(ct, "ManufacturerModelName"),
        "convolution_kernel": kernels[0] if kernels else None,
        "slice_thickness_mm": float(np.median(thicknesses)) if thicknesses else None,
        "tube_current_ma": float(np.median(currents)) if currents else None,
    }


def _header_text(ct: CTSeries, keyword: str) -> str | None:
    return str(ct.slices[0].instance.header.get(keyword, "") or "").strip() or None


def _tube_current(header: Dataset) -> float | None:
    """Return X-Ray Tube Current (0018,1151), mA; current modulation makes it differ from slice to slice."""
    value: Any = header_number(header, "XRayTubeCurrent")
    return None if value is None or not value > 0 else float(value)
