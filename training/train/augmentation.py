"""Modest augmentation of patches: drawn for each sample, applied to a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
from monai.networks.layers import AffineTransform
from torch import Tensor

from pdl1es.method import PATCH_SIZE

ROTATION_RAD: Final = float(np.deg2rad(15))
SHIFT_PIXELS: Final = 5.0
SCALE: Final = 0.08
NOISE_HU: Final = 15.0
OFFSET_HU: Final = 10.0
"""About the difference between scanners' calibrations, HU."""


class Augmentation:
    """Flips, small rotations, shifts and scalings in one interpolation (MONAI's), then an offset and noise in HU.

    What is drawn for a sample depends on the seed, the epoch and the sample alone, so that neither the make-up of a
    batch nor the number of workers nor a restart changes it. One interpolation for a batch costs a tenth of MONAI's
    transforms applied patch by patch.

    Parameters
    ----------
    seed
        Of the run.
    noise_hu
        Largest standard deviation of the noise.
    transposed
        Half of the patches are mirrored at their diagonal too: for a task in which no direction counts.
    """

    def __init__(self, seed: int, *, noise_hu: float = NOISE_HU, transposed: bool = False) -> None:
        self.seed = seed
        self.noise_hu = noise_hu
        self.transposed = transposed
        self._resample = AffineTransform(
            normalized=True, mode="bilinear", padding_mode="border", align_corners=False, reverse_indexing=False
        )

    def __call__(self, patches: Tensor, epochs: Iterable[int], samples: Iterable[int]) -> Tensor:
        """Change patches.

        Parameters
        ----------
        patches
            float32 HU, shape (N, 1, 112, 112).
        epochs, samples
            For each: which epoch of the whole training, which sample.

        Returns
        -------
        Tensor
            float32 HU, same shape.
        """
        maps, offsets, noise = [], [], []
        for epoch, sample in zip(epochs, samples, strict=True):
            rng = np.random.default_rng([self.seed, 4, epoch, sample])
            affine = _affine(rng)
            offsets.append(rng.uniform(-OFFSET_HU, OFFSET_HU))
            if self.noise_hu:
                strength = rng.uniform(0, self.noise_hu)
                noise.append(strength * rng.standard_normal((PATCH_SIZE, PATCH_SIZE), dtype=np.float32))
            if self.transposed and rng.random() < 0.5:
                affine = affine[::-1].copy()
            maps.append(affine)
        moved: Tensor = self._resample(patches, torch.from_numpy(np.stack(maps)))
        moved += torch.tensor(offsets, dtype=torch.float32)[:, None, None, None]
        if noise:
            moved += torch.from_numpy(np.stack(noise).astype(np.float32)).unsqueeze(1)
        return moved


def _affine(rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Draw where each pixel comes from, in coordinates from -1 to 1; float32, shape (2, 3)."""
    flips = rng.choice((-1.0, 1.0), 2)
    angle = rng.uniform(-ROTATION_RAD, ROTATION_RAD)
    scale = rng.uniform(1 - SCALE, 1 + SCALE)
    shift = rng.uniform(-SHIFT_PIXELS, SHIFT_PIXELS, 2) / (PATCH_SIZE / 2)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([scale * rotation * flips, shift]).astype(np.float32)
