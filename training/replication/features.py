"""A signature's features of one patient: by pyradiomics itself, with the signature's own settings, on the scan's own grid.

The method's 1316 features are never used here: they belong to other settings, and equal names would hide that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from pdl1es.dicom.geometry import to_canonical
from pdl1es.grid.placement import PlacedMask, place_mask
from pdl1es.grid.resample import without_padding
from training.cohort.case import ReadCase
from training.replication.image_types import image_type_of
from training.replication.signature import RadiomicSignature

SAME_MM: Final = 0.01
"""Largest difference of two slice distances that count as the same."""


class SignatureFeatureError(ValueError):
    """A patient's features cannot be computed as the signature asks; the message names no patient."""


@dataclass(frozen=True, slots=True, eq=False)
class TumourImage:
    """A tumour on the grid of its CT.

    Attributes
    ----------
    hu
        Shape (z, y, x), along canonical LPS axes; padding and what is below air are -1024. Whole HU are int16, since
        pyradiomics rounds what it resamples to the image's own type.
    mask
        bool, same shape.
    spacing
        (x, y, z) in mm.
    """

    hu: NDArray[np.int16] | NDArray[np.float64]
    mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]

    @property
    def volume_ml(self) -> float:
        """Of the mask's voxels."""
        return float(np.count_nonzero(self.mask) * np.prod(self.spacing) / 1000)


def tumour_image(case: ReadCase) -> TumourImage:
    """Put a patient's CT and the tumour's mask on the CT's own grid; nothing is interpolated.

    The whole series is taken: pyradiomics lays its grid from the image's first voxel, so that a crop would move it.

    Parameters
    ----------
    case
        CT and tumour. The contour counts as it was drawn: specks and separate parts stay. A mask on another grid is taken at
        the nearest of its voxels.

    Returns
    -------
    TumourImage

    Raises
    ------
    SignatureFeatureError
        The slices are not equally far apart, or their pixels lie elsewhere.
    Refusal
        As `place_mask`.
    """
    placed = place_mask(case.mask, case.ct)
    stack = placed.stack
    x, y = stack.coordinates(0)
    steps = np.diff(stack.z)
    if steps.size == 0 or np.ptp(steps) > SAME_MM:
        raise SignatureFeatureError("the slices of the CT are not equally far apart: pyradiomics needs a regular grid")
    hu = np.empty((stack.z.size, y.size, x.size))
    mask = np.zeros(hu.shape, dtype=np.bool_)
    for index, ct_slice in enumerate(stack.ct.slices):
        own_x, own_y = stack.coordinates(index)
        if (
            own_x.shape != x.shape
            or own_y.shape != y.shape
            or max(np.abs(own_x - x).max(), np.abs(own_y - y).max()) > SAME_MM
        ):
            raise SignatureFeatureError("the pixels of the CT's slices do not lie above one another")
        whole, _ = without_padding(case.read_slice(ct_slice), ct_slice)
        hu[index] = to_canonical(whole, ct_slice.plane, stack.axes)
        mask[index] = _mask_at(placed, float(stack.z[index]), x, y)
    if not mask.any():
        raise SignatureFeatureError("no pixel of the CT lies in the tumour's contour")
    limits = np.iinfo(np.int16)
    whole_numbers = limits.min <= hu.min() and hu.max() <= limits.max and bool((hu == np.rint(hu)).all())
    plane = stack.ct.slices[0].plane
    along_rows = abs(float(np.dot(plane.row_direction, stack.axes[0]))) > 0.5
    # as the header has it: coordinates are rounded
    across = (plane.column_spacing, plane.row_spacing) if along_rows else (plane.row_spacing, plane.column_spacing)
    between = float(np.ptp(stack.z) / (stack.z.size - 1))
    return TumourImage(hu.astype(np.int16) if whole_numbers else hu, mask, (*across, between))


def _mask_at(placed: PlacedMask, z: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the nearest plane of the mask at a slice's pixels."""
    nearest = int(np.argmin(np.abs(placed.z - z)))
    frame = placed.frames[nearest]
    if frame is None or abs(frame.z - z) > frame.thickness:
        return np.zeros((y.size, x.size), dtype=np.bool_)
    columns, in_x = _nearest(frame.x, x)
    rows, in_y = _nearest(frame.y, y)
    return frame.mask[np.ix_(rows, columns)] & in_y[:, None] & in_x[None, :]


def _nearest(nodes: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the nearest node of each coordinate, and which lie on the nodes or half a step beyond."""
    step = float(nodes[1] - nodes[0])
    places = np.clip(np.rint((wanted - nodes[0]) / step).astype(np.intp), 0, nodes.size - 1)
    return places, np.abs(wanted - nodes[places]) <= step / 2 + 1e-9


def signature_features(image: TumourImage, signature: RadiomicSignature) -> NDArray[np.float64]:
    """Compute a signature's features by pyradiomics.

    Parameters
    ----------
    image
        The tumour on its CT's grid.
    signature
        Its settings, and the names of its features.

    Returns
    -------
    NDArray[np.float64]
        Shape (features,), in the signature's order.

    Raises
    ------
    SignatureFeatureError
        pyradiomics refuses the tumour, or gives no finite value for a feature.
    """
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    ct = SimpleITK.GetImageFromArray(image.hu)
    ct.SetSpacing(image.spacing)
    mask = SimpleITK.GetImageFromArray(image.mask.astype(np.uint8))
    mask.SetSpacing(image.spacing)
    found: dict[str, float] = {}
    for kind in dict.fromkeys(image_type_of(name).kind for name in signature.feature_names):
        names = [name for name in signature.feature_names if image_type_of(name).kind == kind]
        extractor = RadiomicsFeatureExtractor(_parameters(signature, kind, names))
        try:
            values = extractor.execute(ct, mask)
        except (ValueError, RuntimeError, IndexError) as error:
            raise SignatureFeatureError(f"pyradiomics refuses the tumour on {kind}: {error}") from error
        found |= {name: float(np.asarray(values[name])) for name in names if name in values}
    lacking = [name for name in signature.feature_names if not np.isfinite(found.get(name, np.nan))]
    if lacking:
        raise SignatureFeatureError(f"pyradiomics gives no finite value for {', '.join(lacking)}")
    return np.array([found[name] for name in signature.feature_names])


def _parameters(signature: RadiomicSignature, kind: str, names: list[str]) -> dict[str, Any]:
    """Return pyradiomics' parameters for the features of one filter."""
    classes: dict[str, list[str]] = {}
    for name in names:
        _, feature_class, feature = name.split("_")
        if feature not in classes.setdefault(feature_class, []):
            classes[feature_class].append(feature)
    return {
        "imageType": {kind: dict(signature.settings["imageType"][kind])},
        "featureClass": classes,
        "setting": {**signature.settings["setting"], "additionalInfo": False},
    }
