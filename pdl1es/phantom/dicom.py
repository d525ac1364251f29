"""A whole phantom study on disk: CT series, DICOM SEG of the tumour and the clinical variables, deterministic by seed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pdl1es.phantom.anatomy import Chest, build_chest, draw_chest, place_tumour
from pdl1es.phantom.ct_series import PatientRecord, WrittenCTSeries, write_ct_series
from pdl1es.phantom.scanner import Scan, ScanCrop, ScannerParameters, manufacturer_of, scan
from pdl1es.phantom.segmentation import write_segmentation
from pdl1es.phantom.tumour import TumourParameters, draw_tumour

CLINICAL_FILE = "clinical.json"
MOST_THREADS = 4
"""Threads that make one study."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PhantomStudy:
    """A study that was written, and the truth about it.

    Attributes
    ----------
    folder
        The study's folder: ``CT/``, ``SEG/tumour.dcm`` and ``clinical.json``.
    ct
        The CT series.
    seg_path
        The DICOM SEG.
    clinical_path
        The clinical variables.
    tumour
        The tumour's true parameters; ``tumour.volume_mm3`` is its true volume.
    scan
        The scan, before it was written.
    """

    folder: Path
    ct: WrittenCTSeries
    seg_path: Path
    clinical_path: Path
    tumour: TumourParameters
    scan: Scan

    def __repr__(self) -> str:
        """Say where it lies and what it shows."""
        return (
            f"<PhantomStudy {self.folder}: {len(self.ct.paths)} slices, tumour of {self.true_volume_mm3 / 1000:.1f} mL>"
        )

    @property
    def true_volume_mm3(self) -> float:
        """The tumour's true volume, mm3."""
        return self.tumour.volume_mm3


def make_phantom_study(
    output: str | os.PathLike[str],
    seed: int = 0,
    *,
    slice_thickness: float = 3.0,
    kernel: str = "B60f",
    tumour_diameter: float = 30.0,
    matrix: int = 512,
    slices: tuple[int, int] | None = None,
) -> PhantomStudy:
    """Make a phantom study: a chest CT with a lung tumour, its SEG, and clinical variables.

    Parameters
    ----------
    output
        Folder for the study; it is made.
    seed
        Chest, tumour, noise and UIDs derive from it alone: the same arguments give the same bytes.
    slice_thickness
        Thickness and spacing of the slices, mm, 0.5 to 10.
    kernel
        A reconstruction kernel of ``scanner.KERNELS``; it tells the manufacturer.
    tumour_diameter
        Longest axis of the tumour, mm, 4 to 100.
    matrix
        Pixels on each side of the field of view of 384 mm.
    slices
        First slice and the one behind the last, for a part of the chest; all where None.

    Returns
    -------
    PhantomStudy
        Where its files lie, and its truth.

    Raises
    ------
    ValueError
        For a value out of its range or an unknown kernel.
    """
    if not 0.5 <= slice_thickness <= 10:
        raise ValueError(f"slice thickness must be 0.5 to 10 mm, got {slice_thickness:g}")
    if not 4 <= tumour_diameter <= 100:
        raise ValueError(f"tumour diameter must be 4 to 100 mm, got {tumour_diameter:g}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    scanner = ScannerParameters(
        manufacturer=manufacturer_of(kernel),
        kernel=kernel,
        slice_thickness_mm=slice_thickness,
        slice_spacing_mm=slice_thickness,
        pixel_spacing_mm=384.0 / matrix,
        matrix=matrix,
    )
    rng = np.random.default_rng([seed, 20210304])
    female = bool(rng.random() < 0.387)
    chest = draw_chest(rng, female=female)
    tumour = draw_tumour(rng, diameter_mm=tumour_diameter)
    tumour = replace(tumour, centre=place_tumour(rng, chest, tumour_diameter))
    age = int(np.clip(round(rng.normal(58.8, 10.7)), 30, 89))
    smoking = str(rng.choice(["never", "occasionally", "constantly"], p=[0.48, 0.415, 0.105]))
    family = str(rng.choice(["no", "yes"], p=[0.846, 0.154]))
    patient = PatientRecord(
        patient_id=f"PHANTOM-{seed}",
        sex="F" if female else "M",
        age=f"{age:03d}Y",
        smoking="NO" if smoking == "never" else "YES",
        accession_number=f"PHANTOM-{seed}",
    )
    return write_study(
        Path(output),
        build_chest(chest, tumour),
        scanner,
        key=f"{seed}/{kernel}/{slice_thickness:g}/{tumour_diameter:g}/{matrix}/{slices}",
        noise_seed=seed,
        patient=patient,
        clinical={"age": age, "sex": "female" if female else "male", "smoking": smoking, "family_history": family},
        slices=slices,
        workers=min(MOST_THREADS, os.cpu_count() or 1),
    )


def write_study(
    output: Path,
    chest: Chest,
    scanner: ScannerParameters,
    *,
    key: str,
    noise_seed: int,
    patient: PatientRecord,
    clinical: dict[str, Any],
    slices: tuple[int, int] | None = None,
    workers: int,
) -> PhantomStudy:
    """Scan a chest with a tumour and write CT, SEG and ``clinical.json``.

    Parameters
    ----------
    output
        Folder for the study; it is made.
    chest, scanner
        What is scanned, and how.
    key
        All UIDs derive from it.
    noise_seed
        Of the noise.
    patient, clinical
        Header attributes, and content of ``clinical.json``.
    slices
        First slice and the one behind the last; all where None.
    workers
        Threads; they change nothing in the files.

    Returns
    -------
    PhantomStudy
        Where its files lie, and its truth.

    Raises
    ------
    ValueError
        Where the chest has no tumour, or the slices do not show it.
    """
    if chest.tumour is None:
        raise ValueError("a study needs a chest with a tumour")
    first, last = slices or (0, scanner.slices)
    crop = ScanCrop((first, min(last, scanner.slices)), (0, scanner.matrix), (0, scanner.matrix))
    made = scan(chest, scanner, seed=noise_seed, crop=crop, workers=workers)
    if not made.mask.any():
        raise ValueError("the slices do not show the tumour")
    series = write_ct_series(output / "CT", made, key=key, patient=patient)
    seg_path = output / "SEG" / "tumour.dcm"
    write_segmentation(seg_path, series.datasets, made.mask, key=f"{key}/seg")
    clinical_path = output / CLINICAL_FILE
    clinical_path.write_text(json.dumps(clinical, indent=2) + "\n", encoding="utf-8")
    return PhantomStudy(output, series, seg_path, clinical_path, chest.tumour.parameters, made)
