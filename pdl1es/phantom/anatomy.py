"""A chest in continuous space, from skin to heart: where organs, vessels and tumour lie, independent of any scanner.

Coordinates are the patient's LPS axes in mm: x to the left, y to the back, z to the head; the z axis runs through the
middle of the thoracic cavity. Organs are written for a reference chest and stretched by the parameters' scales; the
lung's vessels and the tumour live in true mm. Arms are raised, as for a chest CT. No part of it was taken from a patient.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from pdl1es.phantom.shapes import (
    Capsules,
    Floats,
    Points,
    RandomField,
    join,
    polyline,
    random_field,
)
from pdl1es.phantom.tumour import Tumour, TumourParameters, build_tumour

Z_LOW_MM = -165.0
Z_HIGH_MM = 135.0
"""Extent of a full scan: below the costophrenic angles to above the apices."""


@dataclass(frozen=True, slots=True)
class ChestParameters:
    """Parameters of a chest.

    Attributes
    ----------
    seed
        Of vessels and textures.
    scale
        Stretch of the reference chest along x, y, z.
    fat_mm, muscle_scale, breast_mm
        Subcutaneous fat, thickness of the chest wall's muscle over the reference, height of the breasts.
    lung_hu, lung_gradient, lung_texture
        Mean parenchyma at the middle (HU), its rise towards the back (HU per mm), standard deviation of its structure (HU).
    blood_hu
        Blood in heart and great vessels: 45 unenhanced, up to about 200 with contrast medium.
    vessel_leaves
        End branches of each of the four vessel trees.
    """

    seed: int
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fat_mm: float = 12.0
    muscle_scale: float = 1.0
    breast_mm: float = 0.0
    lung_hu: float = -862.0
    lung_gradient: float = 0.35
    lung_texture: float = 22.0
    blood_hu: float = 140.0
    vessel_leaves: int = 420


def draw_chest(rng: np.random.Generator, *, female: bool = False) -> ChestParameters:
    """Draw a chest from the variation among adults.

    Parameters
    ----------
    rng
        Source of randomness.
    female
        Whether to draw from women's measures.

    Returns
    -------
    ChestParameters
    """
    size = 0.94 if female else 1.0
    return ChestParameters(
        seed=int(rng.integers(2**31)),
        scale=(
            size * float(np.clip(rng.normal(1.0, 0.045), 0.88, 1.1)),
            size * float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.15)),
            size * float(np.clip(rng.normal(1.0, 0.04), 0.9, 1.1)),
        ),
        fat_mm=float(np.clip(rng.gamma(6.0, 2.2), 4.0, 32.0)),
        muscle_scale=float(rng.uniform(0.8, 1.2)) * size,
        breast_mm=float(rng.uniform(18.0, 42.0)) if female else 0.0,
        lung_hu=float(np.clip(rng.normal(-862.0, 18.0), -905.0, -815.0)),
        lung_gradient=float(rng.uniform(0.2, 0.5)),
        lung_texture=float(rng.uniform(16.0, 28.0)),
        blood_hu=float(rng.choice([45.0, rng.uniform(90.0, 190.0)])),
        vessel_leaves=int(rng.integers(340, 480)),
    )


# --- The reference chest, by landmarks: carina at z = 25, top of the arch at 62, apices at 120, right dome at -78. ---

AORTA = polyline(
    [(6, -20, -28), (-12, -28, 8), (-11, -25, 34), (2, -9, 49), (17, 13, 49), (25, 33, 36), (25, 42, 8), (19, 44, -60),
     (8, 42, -170)],
    [15, 16, 15.5, 14, 13.5, 13, 12.5, 12, 11],
)  # fmt: skip
CAVA = join(
    polyline([(-31, -17, 62), (-29, -16, 20), (-26, -10, -12)], [8, 9.5, 10]),
    polyline([(30, -30, 80), (4, -36, 68), (-30, -18, 60)], [6.5, 7, 7.5]),
    polyline([(-42, -24, 98), (-31, -17, 62)], [7, 8]),
    polyline([(-20, 2, -55), (-20, 14, -100), (-18, 16, -170)], [12, 12.5, 12]),
)
NECK_ARTERIES = join(
    polyline([(-3, -14, 52), (-15, -10, 82), (-24, -6, 140)], [6.5, 6, 4.5]),
    polyline([(7, -3, 53), (13, -4, 85), (22, -2, 140)], [4.5, 4, 4]),
    polyline([(16, 10, 53), (25, 12, 85), (34, 4, 112), (70, -8, 122)], [5.5, 5, 5, 4.5]),
)
PULMONARY = join(
    polyline([(16, -40, -22), (20, -32, 2), (20, -22, 14)], [14, 14, 13]),
    polyline([(20, -22, 14), (34, -4, 18), (46, 12, 10)], [12, 11, 8.5]),
    polyline([(18, -18, 11), (-6, -3, 9), (-30, 1, 4), (-46, 8, -6)], [11, 10.5, 10, 8]),
    polyline([(-8, 12, -18), (-30, 4, -22), (-44, 0, -26)], [8, 6.5, 5.5]),
    polyline([(20, 14, -16), (36, 8, -20), (47, 6, -24)], [8, 6.5, 5.5]),
)
AIRWAYS = join(
    polyline([(0, 6, 170), (0, 14, 80), (2, 20, 27)], [8.5, 8.5, 8.5]),
    polyline([(2, 20, 27), (-22, 17, 8), (-46, 14, -6)], [7, 6.5, 5]),
    polyline([(2, 20, 27), (32, 22, 2), (48, 18, -6)], [6.5, 6, 4.5]),
    polyline([(-30, 16, 3), (-50, 2, 22)], [4, 3]),
    polyline([(44, 19, -3), (56, 4, 14)], [3.5, 2.5]),
    polyline([(-46, 14, -6), (-55, 24, -34)], [4.2, 2.5]),
    polyline([(48, 18, -6), (56, 28, -34)], [4.0, 2.5]),
)
OESOPHAGUS = polyline([(4, 26, 170), (6, 34, 60), (6, 36, 10), (10, 34, -60), (22, 22, -112)], [6, 6.5, 6.5, 7, 7])
CLAVICLES = join(
    polyline([(-22, -72, 88), (-75, -66, 112), (-135, -20, 150)], [8, 6, 7]),
    polyline([(22, -72, 88), (75, -66, 112), (135, -20, 150)], [8, 6, 7]),
)
BLOOD_VESSELS = join(AORTA, CAVA, NECK_ARTERIES, PULMONARY)
MEDIASTINAL_TUBES = join(BLOOD_VESSELS, AIRWAYS.subset(np.arange(len(AIRWAYS)) < 6), OESOPHAGUS)

Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
"""Centre, semi-axes, and direction of the first axis."""

LONG_AXIS = (0.74, -0.45, -0.5)
HEART: tuple[Ellipsoid, ...] = (
    ((20, -24, -46), (64, 44, 42), LONG_AXIS),
    ((-20, -18, -38), (36, 30, 30), (0.0, 0.1, 1.0)),
    ((6, 12, -20), (36, 20, 19), (1.0, 0.0, 0.0)),
)
CHAMBERS: tuple[Ellipsoid, ...] = (
    ((38, -22, -52), (38, 20, 20), LONG_AXIS),
    ((6, -46, -44), (36, 12, 26), (0.85, -0.3, -0.4)),
    ((-21, -17, -38), (31, 25, 25), (0.0, 0.1, 1.0)),
    ((6, 12, -20), (32, 16, 15), (1.0, 0.0, 0.0)),
)
LIVER: tuple[Ellipsoid, ...] = (
    ((-62, -2, -150), (92, 76, 76), (1.0, 0.0, 0.0)),
    ((5, -36, -140), (58, 40, 36), (1.0, 0.0, 0.0)),
)
SPLEEN: Ellipsoid = ((92, 44, -140), (46, 22, 34), (0.4, 0.4, -0.8))
STOMACH: Ellipsoid = ((62, -18, -140), (40, 52, 40), (1.0, 0.0, 0.0))
HILA = {"right": (-48.0, 8.0, -4.0), "left": (48.0, 10.0, 2.0)}


def ellipsoid_distance(item: Ellipsoid, x: Points | Floats, y: Points | Floats, z: Points | float) -> Points | Floats:
    """Return the approximate signed distance (mm) to an ellipsoid.

    Parameters
    ----------
    item
        The ellipsoid.
    x, y, z
        Coordinates, mm of the reference chest, of shapes that broadcast.

    Returns
    -------
    Points or Floats
        mm, negative inside; shape as the coordinates broadcast.
    """
    centre, semi, _ = item
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    first, second, third = ((dx * ax + dy * ay + dz * az) ** 2 for ax, ay, az in ellipsoid_axes(item))
    return (np.sqrt(first + second + third) - 1) * min(semi)


@cache
def ellipsoid_axes(item: Ellipsoid) -> tuple[tuple[float, ...], ...]:
    """Return the unit axes of an ellipsoid, each over its semi-axis."""
    _, semi, direction = item
    first = np.asarray(direction, float) / np.linalg.norm(direction)
    third = np.cross(first, (0.0, 1.0, 0.0) if abs(first[1]) < 0.9 else (0.0, 0.0, 1.0))
    third /= np.linalg.norm(third)
    second = np.cross(third, first)
    return tuple(tuple(float(v) / a for v in axis) for axis, a in zip((first, second, third), semi, strict=True))


def _union(items: tuple[Ellipsoid, ...], x: Floats, y: Floats, z: float | Points) -> Points | Floats:
    result = ellipsoid_distance(items[0], x, y, z)
    for item in items[1:]:
        result = np.minimum(result, ellipsoid_distance(item, x, y, z))
    return result


def smooth_step(value: Points | float, low: float, high: float) -> Points:
    """Return a smooth step from 0 at ``low`` to 1 at ``high``.

    Parameters
    ----------
    value
        Where to evaluate.
    low, high
        Ends of the step.

    Returns
    -------
    Points
        0 to 1, shape as ``values``.
    """
    t = np.clip((np.asarray(value, float) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def cavity_radius(angle: Points, z: Points | float) -> Points:
    """Return the thoracic cavity's radius (mm, reference chest) in direction ``angle`` (radians, 0 left, pi/2 back).

    Parameters
    ----------
    angle
        Direction, radians: 0 to the left, pi / 2 to the back.
    z
        Height, mm of the reference chest.

    Returns
    -------
    Points
        mm, shape as ``angle``.
    """
    z = np.asarray(z, float)
    narrowing = np.sqrt(np.clip(1 - (np.clip(z - 5, 0, None) / 135) ** 2, 0.12, 1))
    half_width = 131 * narrowing * (1 - 0.03 * smooth_step(-z, 100, 170))
    half_depth = np.where(np.sin(angle) > 0, 82, 76) * (0.45 + 0.55 * narrowing)
    power = 2.3
    c, s = np.abs(np.cos(angle)) / half_width, np.abs(np.sin(angle)) / half_depth
    return (c**power + s**power) ** (-1 / power)


def lung_distance(
    x: Points | Floats,
    y: Points | Floats,
    z: Points | float,
    cavity: Points | Floats,
    tubes: Points | Floats,
    heart: Points | Floats,
) -> Points | Floats:
    """Return the signed distance (mm, approximate) to the lungs of the reference chest.

    Parameters
    ----------
    x, y, z
        Coordinates, mm of the reference chest, of shapes that broadcast.
    cavity, tubes, heart
        Signed distances there to the cavity's wall, to the mediastinum's tubes and to the heart, mm.

    Returns
    -------
    Points or Floats
        mm, negative inside.
    """
    side = np.abs(x)
    envelope = (np.sqrt(((side - 64) / 76) ** 2 + ((y - 2) / 100) ** 2 + ((z + 22) / 150) ** 2) - 1) * 76
    # Between the lungs: a thin junction in front, a wide one at the spine, wider above the aortic arch.
    z_wide = 1 + 0.9 * smooth_step(z, 70, 125)
    column = (9 + 13 * np.exp(-(((y - 22) / 42) ** 2))) * z_wide - side
    spine = 21 - np.sqrt(x**2 + ((y - 68) * 0.95) ** 2)
    mediastinum = np.maximum(np.maximum(column, spine), np.maximum(4.5 - tubes, 6.5 - heart))
    return np.maximum(np.maximum(cavity, envelope), np.maximum(mediastinum, depth_below_dome(x, y, z)))


def depth_below_dome(x: Points | Floats, y: Points | Floats, z: Points | float) -> Points | Floats:
    """Return the distance (mm, approximate) by which a point lies below the diaphragm.

    Parameters
    ----------
    x, y, z
        Coordinates, mm of the reference chest, of shapes that broadcast.

    Returns
    -------
    Points or Floats
        mm, negative above the diaphragm.
    """
    right = -78 - 60 * (((x + 58) / 74) ** 2 + ((y + 6) / 84) ** 2)
    left = -90 - 60 * (((x - 62) / 70) ** 2 + ((y + 6) / 84) ** 2)
    return (np.where(x < 0, right, left) - z) * 0.65


@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """A chest that can be evaluated anywhere; made by ``build_chest``."""

    parameters: ChestParameters
    tumour: Tumour | None
    vessels: Capsules = field(repr=False)
    coarse: RandomField = field(repr=False)
    fine: RandomField = field(repr=False)


def lung_clearance(p: ChestParameters, points: Points) -> Points:
    """Return how deep (mm) points (m, 3) lie within a lung; negative outside.

    Parameters
    ----------
    p
        The chest.
    points
        Shape (m, 3), x, y, z in true mm.

    Returns
    -------
    Points
        mm, shape (m,).
    """
    reference = points / np.asarray(p.scale)
    x, y, z = reference.T
    cavity = np.hypot(x, y) - cavity_radius(np.arctan2(y, x), z)
    tubes, heart = MEDIASTINAL_TUBES.distance_to_points(reference), _union(HEART, x, y, z)
    return -lung_distance(x, y, z, cavity, tubes, heart) * min(p.scale)


def place_tumour(rng: np.random.Generator, p: ChestParameters, diameter_mm: float) -> tuple[float, float, float]:
    """Return a place in a lung for a tumour: wholly inside where it fits, else as deep as there is room.

    Parameters
    ----------
    rng
        Source of randomness.
    p
        The chest.
    diameter_mm
        Longest axis of the tumour.

    Returns
    -------
    tuple[float, float, float]
        x, y, z, mm.
    """
    points = rng.uniform((-125, -75, -110), (125, 80, 110), (1500, 3)) * np.asarray(p.scale)
    clearance = lung_clearance(p, points)
    fits = np.flatnonzero(clearance > diameter_mm / 2 + 4)
    best = int(fits[0]) if len(fits) else int(np.argmax(clearance))
    x, y, z = (round(float(v), 3) for v in points[best])
    return x, y, z


def _grow_tree(
    rng: np.random.Generator, p: ChestParameters, root: Points, side: int, leaves: int, leaf_radius: float
) -> Capsules:
    """Grow a vessel tree that fills one lung: each point joins the tree where the way to the hilum is short.

    Radii follow Murray's law: the cube of a branch's radius is the sum over its children.
    """
    low, high = (12 * side, -75, -170) if side > 0 else (-140, -75, -170), (140 if side > 0 else -12, 80, 125)
    candidates = rng.uniform(low, high, (leaves * 6, 3)) * np.asarray(p.scale)
    targets = candidates[lung_clearance(p, candidates) > 3.5][:leaves]
    targets = targets[np.argsort(np.linalg.norm(targets - root, axis=1))]
    nodes = np.concatenate([root[None], targets])
    parent = np.zeros(len(nodes), np.intp)
    path = np.zeros(len(nodes))
    for i in range(1, len(nodes)):
        distance = np.linalg.norm(nodes[:i] - nodes[i], axis=1)
        parent[i] = int(np.argmin(distance + 0.45 * path[:i]))
        path[i] = path[parent[i]] + distance[parent[i]]
    flow = np.full(len(nodes), leaf_radius**3)
    for i in range(len(nodes) - 1, 0, -1):
        flow[parent[i]] += flow[i]
    radius = np.minimum(np.cbrt(flow), 6.0)
    start, end = nodes[parent[1:]], nodes[1:]
    # A vessel bends: one point of each piece is pushed aside.
    middle = (start + end) / 2 + rng.normal(0, 0.07, start.shape) * np.linalg.norm(end - start, axis=1)[:, None]
    tip = np.where(np.bincount(parent[1:], minlength=len(nodes))[1:] == 0, 0.6, 1.0) * radius[1:]
    return Capsules(
        np.concatenate([start, middle]),
        np.concatenate([middle, end]),
        np.concatenate([np.minimum(radius[parent[1:]], radius[1:] * 1.15), radius[1:]]),
        np.concatenate([radius[1:], tip]),
    )


def build_chest(p: ChestParameters, tumour: TumourParameters | None = None) -> Chest:
    """Draw everything random in a chest from its seed, and the tumour's from its own.

    Parameters
    ----------
    p
        The chest.
    tumour
        Its tumour; None for a chest without.

    Returns
    -------
    Chest
    """
    rng = np.random.default_rng([p.seed, 0])
    trees = []
    for name, side in (("right", -1), ("left", 1)):
        hilum = np.asarray(HILA[name]) * np.asarray(p.scale)
        trees.append(_grow_tree(rng, p, hilum, side, p.vessel_leaves, 0.62))
        trees.append(_grow_tree(rng, p, hilum + np.array([0.0, -6.0, -20.0]), side, p.vessel_leaves, 0.58))
    fields = np.random.default_rng([p.seed, 1])
    return Chest(
        parameters=p,
        tumour=None if tumour is None else build_tumour(tumour),
        vessels=join(*trees),
        coarse=random_field(fields, 32, 9.0),
        fine=random_field(fields, 64, 1.9),
    )
