"""A CT scanner for the phantom: slice thickness, point spread and noise by kernel and tube current.

The scan is a chain of linear steps on the scanner's own grid: planes of no thickness are averaged over the slice's
thickness, blurred (or edge-enhanced) in the plane by the kernel's modulation transfer, and noise of the kernel's colour
is added. Every slice's noise is drawn for the full matrix, so that a small field of view shows the full scan's voxels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pdl1es.phantom.anatomy import Z_HIGH_MM, Z_LOW_MM, Chest
from pdl1es.phantom.rendering import render_planes
from pdl1es.phantom.shapes import Floats, plane_grid

FIELD_CENTRE_Y_MM: Final = 12.0
"""The body's middle lies behind the cavity's: the field of view is centred there."""
SUB_SLICE_MM: Final = 1.0
"""Planes this far apart are averaged over a slice's thickness."""
MARGIN_MM: Final = 9.0
"""Reach of point spread and noise kernel; a crop is rendered with this margin."""
REFERENCE_NOISE_HU: Final = 12.0
"""Noise of a kernel of gain 1 at 200 mA and 3 mm."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A reconstruction kernel.

    Attributes
    ----------
    name
        As Convolution Kernel (0018,1210) spells it.
    half_frequency
        Spatial frequency at which the modulation transfer is one half, cycles per mm.
    boost
        Edge enhancement: above about 1.7 the transfer exceeds 1 at middle frequencies, and edges overshoot slightly.
    noise_gain
        Noise over that of a standard kernel.
    """

    name: str
    half_frequency: float
    boost: float
    noise_gain: float

    @property
    def sharp(self) -> bool:
        """Whether it is a lung or bone kernel (the paper's 60f), not a soft-tissue one (30f)."""
        return self.half_frequency > 0.5


KERNELS: Final[dict[str, dict[str, Kernel]]] = {
    "SIEMENS": {
        k.name: k
        for k in (
            Kernel("B20f", 0.30, 0.0, 0.7),
            Kernel("B30f", 0.35, 0.3, 0.85),
            Kernel("B31f", 0.36, 0.3, 0.9),
            Kernel("B40f", 0.42, 0.8, 1.1),
            Kernel("B50f", 0.52, 2.2, 1.7),
            Kernel("B60f", 0.60, 3.2, 2.4),
            Kernel("B70f", 0.68, 4.0, 3.0),
            Kernel("I70f", 0.66, 3.5, 2.0),
        )
    },
    "GE MEDICAL SYSTEMS": {
        k.name: k
        for k in (
            Kernel("STANDARD", 0.37, 0.4, 0.9),
            Kernel("LUNG", 0.62, 4.5, 2.6),
            Kernel("BONE", 0.60, 3.0, 2.3),
        )
    },
    "Philips": {
        k.name: k for k in (Kernel("B", 0.36, 0.3, 0.85), Kernel("YA", 0.58, 2.8, 2.1), Kernel("L", 0.60, 3.2, 2.3))
    },
    "TOSHIBA": {k.name: k for k in (Kernel("FC08", 0.38, 0.5, 0.95), Kernel("FC52", 0.61, 3.4, 2.4))},
}
"""By Manufacturer (0008,0070). The numbers are typical of the kernels' class, not measured on any scanner."""

MODELS: Final = {
    "SIEMENS": "SOMATOM Definition AS+",
    "GE MEDICAL SYSTEMS": "LightSpeed VCT",
    "Philips": "Brilliance 64",
    "TOSHIBA": "Aquilion",
}


@dataclass(frozen=True, slots=True)
class ScannerParameters:
    """Settings of a scanner.

    Attributes
    ----------
    manufacturer, kernel
        Keys of ``KERNELS``.
    sharpness
        Factor on the kernel's half frequency, which differs between scanners.
    tube_current_ma, kvp
        Noise falls with the square root of the current.
    slice_thickness_mm, slice_spacing_mm
        Thickness averaged over, and distance between slices.
    pixel_spacing_mm, matrix
        Of the square field of view.
    hu_offset
        Calibration error, HU.
    """

    manufacturer: str = "SIEMENS"
    kernel: str = "B60f"
    sharpness: float = 1.0
    tube_current_ma: float = 200.0
    kvp: float = 120.0
    slice_thickness_mm: float = 3.0
    slice_spacing_mm: float = 3.0
    pixel_spacing_mm: float = 0.75
    matrix: int = 512
    hu_offset: float = 0.0

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS.get(self.manufacturer, {}):
            known = {maker: sorted(kernels) for maker, kernels in KERNELS.items()}
            raise ValueError(f"no kernel {self.kernel!r} of {self.manufacturer!r}; known: {known}")
        if min(self.slice_thickness_mm, self.slice_spacing_mm, self.pixel_spacing_mm, self.tube_current_ma) <= 0:
            raise ValueError("slice thickness and spacing, pixel spacing and tube current must be above zero")

    @property
    def kernel_properties(self) -> Kernel:
        """The kernel's row of ``KERNELS``."""
        return KERNELS[self.manufacturer][self.kernel]

    @property
    def noise_hu(self) -> float:
        """Standard deviation of the noise, HU."""
        k = self.kernel_properties
        return (
            REFERENCE_NOISE_HU
            * k.noise_gain
            * self.sharpness**1.5
            * (200.0 / self.tube_current_ma) ** 0.5
            * (3.0 / self.slice_thickness_mm) ** 0.5
        )

    @property
    def slices(self) -> int:
        """Slices of a full scan."""
        return round((Z_HIGH_MM - Z_LOW_MM) / self.slice_spacing_mm)


def manufacturer_of(kernel: str) -> str:
    """Return the manufacturer whose table names ``kernel``; ``ValueError`` lists the known ones."""
    for manufacturer, kernels in KERNELS.items():
        if kernel in kernels:
            return manufacturer
    known = sorted(name for kernels in KERNELS.values() for name in kernels)
    raise ValueError(f"unknown convolution kernel {kernel!r}; known: {', '.join(known)}")


def draw_scanner(rng: np.random.Generator, *, sharp: bool = True) -> ScannerParameters:
    """Draw a scanner's settings as a hospital's mix of them; ``sharp`` chooses lung kernels (the paper's inclusion).

    Parameters
    ----------
    rng
        Source of randomness.
    sharp
        Whether to draw a lung kernel, as the paper included, or a soft-tissue one.

    Returns
    -------
    ScannerParameters
    """
    manufacturer = str(rng.choice(list(KERNELS), p=[0.45, 0.25, 0.2, 0.1]))
    names = [name for name, kernel in KERNELS[manufacturer].items() if kernel.sharp is sharp]
    thickness = float(rng.choice([1.0, 1.25, 2.0, 3.0, 5.0], p=[0.1, 0.15, 0.2, 0.3, 0.25]))
    return ScannerParameters(
        manufacturer=manufacturer,
        kernel=str(rng.choice(names)),
        sharpness=float(np.clip(rng.normal(1.0, 0.04), 0.88, 1.12)),
        tube_current_ma=float(np.round(np.clip(290 * np.exp(0.35 * rng.standard_normal()), 80, 700))),
        kvp=float(rng.choice([100.0, 120.0], p=[0.25, 0.75])),
        slice_thickness_mm=thickness,
        slice_spacing_mm=thickness if thickness != 1.25 else float(rng.choice([1.25, 0.8])),
        pixel_spacing_mm=float(np.round(rng.uniform(0.66, 0.88), 4)),
        hu_offset=float(np.clip(rng.normal(0, 3), -8, 8)),
    )


@dataclass(frozen=True, slots=True)
class ScanCrop:
    """Slices, rows and columns of a full scan, each as (first, behind the last)."""

    slices: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A reconstructed volume.

    Attributes
    ----------
    hu
        int16, shape (z, y, x): ascending towards head, back and the patient's left.
    mask
        bool, same shape: voxel centres inside the tumour's true surface; all false without a tumour.
    origin
        x, y, z of the centre of ``hu[0, 0, 0]``, LPS mm.
    spacing
        Distances along x, y, z, mm.
    scanner
        How it was made.
    """

    hu: NDArray[np.int16] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    scanner: ScannerParameters


def full_crop(s: ScannerParameters) -> ScanCrop:
    """Return the whole scan."""
    return ScanCrop((0, s.slices), (0, s.matrix), (0, s.matrix))


def first_voxel(s: ScannerParameters) -> tuple[float, float, float]:
    """Return x, y, z (mm) of the first voxel's centre of a full scan."""
    half = (s.matrix - 1) / 2 * s.pixel_spacing_mm
    return -half, FIELD_CENTRE_Y_MM - half, Z_LOW_MM + s.slice_spacing_mm / 2


def crop_around(
    s: ScannerParameters, centre: tuple[float, float, float], size_mm: tuple[float, float, float]
) -> ScanCrop:
    """Return the part of a scan that covers a box of ``size_mm`` (x, y, z) about ``centre``, clipped to the scan.

    Parameters
    ----------
    s
        The scanner's settings.
    centre
        x, y, z of the box's middle, mm.
    size_mm
        Its size along x, y, z, mm.

    Returns
    -------
    ScanCrop

    Raises
    ------
    ValueError
        The box lies outside the scan.
    """
    first, spacing = first_voxel(s), (s.pixel_spacing_mm, s.pixel_spacing_mm, s.slice_spacing_mm)
    limits = (s.matrix, s.matrix, s.slices)
    ranges = []
    for axis in range(3):
        low = int(np.floor((centre[axis] - size_mm[axis] / 2 - first[axis]) / spacing[axis]))
        high = int(np.ceil((centre[axis] + size_mm[axis] / 2 - first[axis]) / spacing[axis])) + 1
        ranges.append((max(low, 0), min(high, limits[axis])))
        if ranges[-1][0] >= ranges[-1][1]:
            raise ValueError(f"the box about {centre} lies outside the scan")
    return ScanCrop(ranges[2], ranges[1], ranges[0])


def modulation_transfer(s: ScannerParameters, frequency: Floats) -> Floats:
    """Return the kernel's transfer at a radial frequency (cycles per mm): 1 at zero, a half at its half frequency.

    Parameters
    ----------
    s
        The scanner's settings.
    frequency
        Radial spatial frequency, cycles per mm.

    Returns
    -------
    Floats
        0 to 1 and above where the kernel enhances edges; shape as the frequencies.
    """
    k = s.kernel_properties
    u = (frequency / (k.half_frequency * s.sharpness)) ** 2
    return (1 + k.boost * u) * np.exp(-np.log(2 * (1 + k.boost)) * u)


def _noise_colour(s: ScannerParameters, frequency: Floats) -> Floats:
    """Return the noise's amplitude: it lacks low frequencies (ramp filter) and follows the kernel above."""
    return (1 - 0.85 * np.exp(-((frequency / 0.22) ** 2))) * modulation_transfer(s, frequency)


def _noise_spread(s: ScannerParameters) -> float:
    """Return the standard deviation of white noise of unit variance under ``_noise_colour``; the crop plays no part."""
    axis = fft.fftfreq(256, s.pixel_spacing_mm)
    return float(np.sqrt((_noise_colour(s, np.hypot(axis[:, None], axis[None, :])) ** 2).mean()))


def scan(chest: Chest, s: ScannerParameters, *, seed: int, crop: ScanCrop | None = None, workers: int = 1) -> Scan:
    """Scan a chest.

    Parameters
    ----------
    chest
        What to look at.
    s
        The scanner's settings.
    seed
        Of the noise.
    crop
        Part of the scan to make; the whole where None. Its voxels equal the whole scan's within one HU.
    workers
        Threads; they change nothing in the result.

    Returns
    -------
    Scan
    """
    crop = full_crop(s) if crop is None else crop
    pixel = s.pixel_spacing_mm
    margin = int(np.ceil(MARGIN_MM / pixel))
    rows = (max(crop.rows[0] - margin, 0), min(crop.rows[1] + margin, s.matrix))
    columns = (max(crop.columns[0] - margin, 0), min(crop.columns[1] + margin, s.matrix))
    x0, y0, z0 = first_voxel(s)
    plane = plane_grid(x0 + pixel * np.arange(*columns), y0 + pixel * np.arange(*rows))
    shape = (fft.next_fast_len(rows[1] - rows[0], real=True), fft.next_fast_len(columns[1] - columns[0], real=True))
    frequency = np.hypot(fft.fftfreq(shape[0], pixel)[:, None], fft.rfftfreq(shape[1], pixel)[None, :])
    transfer = modulation_transfer(s, frequency).astype(np.float32)
    colour = (_noise_colour(s, frequency) * (s.noise_hu / _noise_spread(s))).astype(np.float32)
    # Overlapping slices share some of their rays.
    overlap = min(0.5, max(0.0, 1 - s.slice_spacing_mm / s.slice_thickness_mm))
    mix = 0.5 * np.arcsin(2 * overlap)
    layers = max(1, round(s.slice_thickness_mm / SUB_SLICE_MM))
    shifts = ((np.arange(layers) + 0.5) / layers - 0.5) * s.slice_thickness_mm
    inner_rows = slice(crop.rows[0] - rows[0], crop.rows[1] - rows[0])
    inner_columns = slice(crop.columns[0] - columns[0], crop.columns[1] - columns[0])
    window = (slice(*rows), slice(*columns))

    def white(index: int) -> Floats:
        rng = np.random.default_rng([seed, 7, index])
        return rng.standard_normal((s.matrix, s.matrix), np.float32)[window]

    def one(index: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        z = z0 + index * s.slice_spacing_mm
        layered = render_planes(chest, plane, [float(z + shift) for shift in shifts])
        mean = np.stack(layered).mean(axis=0, dtype=np.float32)
        noise: Floats = white(index)
        if overlap > 0:
            noise = noise * np.float32(np.cos(mix)) + white(index + 1) * np.float32(np.sin(mix))
        spectrum = fft.rfft2(_to_size(mean, shape)) * transfer + fft.rfft2(_to_size(noise, shape)) * colour
        image = fft.irfft2(spectrum, s=shape)[inner_rows, inner_columns] + s.hu_offset
        hu = np.clip(np.rint(image), -1024, 3071).astype(np.int16)
        mask = np.zeros(hu.shape, bool)
        if chest.tumour is not None and abs(z - chest.tumour.parameters.centre[2]) < chest.tumour.reach_mm:
            x, y = plane.x[inner_columns], plane.y[inner_rows]
            mask = chest.tumour.core_mask(x, y, z)
        return hu, mask

    indices = range(*crop.slices)
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            results = list(pool.map(one, indices))
    else:
        results = [one(index) for index in indices]
    return Scan(
        hu=np.stack([hu for hu, _ in results]),
        mask=np.stack([mask for _, mask in results]),
        origin=(
            x0 + crop.columns[0] * pixel,
            y0 + crop.rows[0] * pixel,
            z0 + crop.slices[0] * s.slice_spacing_mm,
        ),
        spacing=(pixel, pixel, s.slice_spacing_mm),
        scanner=s,
    )


def _to_size(image: Floats, shape: tuple[int, int]) -> Floats:
    """Return the image padded at its ends by its edge values, for the transform; the padding affects the margin only."""
    pad = (shape[0] - image.shape[0], shape[1] - image.shape[1])
    return np.pad(image, ((0, pad[0]), (0, pad[1])), mode="edge") if any(pad) else image
