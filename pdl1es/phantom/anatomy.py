"""A chest in continuous space: skin to heart, evaluated on any axial plane, the same whatever scanner looks at it.

Coordinates are the patient's LPS axes in mm: x to the left, y to the back, z to the head; the z axis runs through the
middle of the thoracic cavity. Organs are written for a reference chest and stretched by the parameters' scales; the
lung's vessels and the tumour live in true mm. Arms are raised, as for a chest CT. None of it is a patient's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pdl1es.phantom.shapes import (
    Capsules,
    Floats,
    PlaneGrid,
    Points,
    RandomField,
    coverage,
    join,
    plane_grid,
    polyline,
    random_field,
    table_angles,
)
from pdl1es.phantom.tumour import Tumour, TumourParameters, build_tumour

AIR_HU = -1000.0
Z_LOW_MM, Z_HIGH_MM = -165.0, 135.0
"""Extent of a full scan: below the costophrenic angles to above the apices."""
RIB_SPACING_MM = 27.0


@dataclass(frozen=True, slots=True)
class ChestParameters:
    """What a chest is like.

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
    """Draw a chest from the variation among adults."""
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


def _ellipsoid(item: Ellipsoid, x: Points | Floats, y: Points | Floats, z: Points | float) -> Points | Floats:
    """Return the approximate signed distance (mm) to an ellipsoid."""
    centre, semi, _ = item
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    first, second, third = ((dx * ax + dy * ay + dz * az) ** 2 for ax, ay, az in _ellipsoid_axes(item))
    return (np.sqrt(first + second + third) - 1) * min(semi)


@cache
def _ellipsoid_axes(item: Ellipsoid) -> tuple[tuple[float, ...], ...]:
    """Return the unit axes of an ellipsoid, each over its semi-axis."""
    _, semi, direction = item
    first = np.asarray(direction, float) / np.linalg.norm(direction)
    third = np.cross(first, (0.0, 1.0, 0.0) if abs(first[1]) < 0.9 else (0.0, 0.0, 1.0))
    third /= np.linalg.norm(third)
    second = np.cross(third, first)
    return tuple(tuple(float(v) / a for v in axis) for axis, a in zip((first, second, third), semi, strict=True))


def _union(items: tuple[Ellipsoid, ...], x: Floats, y: Floats, z: float | Points) -> Points | Floats:
    result = _ellipsoid(items[0], x, y, z)
    for item in items[1:]:
        result = np.minimum(result, _ellipsoid(item, x, y, z))
    return result


def _ellipsoids_in_plane(items: tuple[Ellipsoid, ...], grid: PlaneGrid, z: float, reach: float = 10.0) -> Floats:
    """Return the signed distance (mm) to the nearest ellipsoid, at most ``reach``; only their boxes are visited."""
    result = np.full((len(grid.y), len(grid.x)), reach, np.float32)
    for item in items:
        centre, semi, _ = item
        # Half extents of the ellipsoid, grown as its level set at ``reach`` is.
        axes = np.asarray(_ellipsoid_axes(item)) * np.asarray(semi)[:, None] ** 2
        extent = np.sqrt((axes**2).sum(axis=0)) * (1 + reach / min(semi))
        if abs(z - centre[2]) >= extent[2]:
            continue
        part = _part(
            grid, (centre[0] - extent[0], centre[0] + extent[0]), (centre[1] - extent[1], centre[1] + extent[1])
        )
        if part is None:
            continue
        rows, columns = part
        distance = _ellipsoid(item, grid.x[None, columns], grid.y[rows, None], z)
        np.minimum(result[rows, columns], distance, out=result[rows, columns])
    return result


def _step(value: Points | float, low: float, high: float) -> Points:
    """Return a smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((np.asarray(value, float) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bump(angle: Points, centre: float, width: float) -> Points:
    """Return a Gaussian bump on the circle; angles in degrees."""
    away = (angle - centre + 180) % 360 - 180
    return np.exp(-((away / width) ** 2))


def cavity_radius(angle: Points, z: Points | float) -> Points:
    """Return the thoracic cavity's radius (mm, reference chest) in direction ``angle`` (radians, 0 left, pi/2 back)."""
    z = np.asarray(z, float)
    narrowing = np.sqrt(np.clip(1 - (np.clip(z - 5, 0, None) / 135) ** 2, 0.12, 1))
    half_width = 131 * narrowing * (1 - 0.03 * _step(-z, 100, 170))
    half_depth = np.where(np.sin(angle) > 0, 82, 76) * (0.45 + 0.55 * narrowing)
    power = 2.3
    c, s = np.abs(np.cos(angle)) / half_width, np.abs(np.sin(angle)) / half_depth
    return (c**power + s**power) ** (-1 / power)


def _lung_distance(
    x: Points | Floats,
    y: Points | Floats,
    z: Points | float,
    cavity: Points | Floats,
    tubes: Points | Floats,
    heart: Points | Floats,
) -> Points | Floats:
    """Return the signed distance (mm, approximate) to the lungs of the reference chest.

    ``cavity`` is the distance to the cavity's wall, ``tubes`` that to the mediastinum's tubes, ``heart`` that to the heart.
    """
    side = np.abs(x)
    envelope = (np.sqrt(((side - 64) / 76) ** 2 + ((y - 2) / 100) ** 2 + ((z + 22) / 150) ** 2) - 1) * 76
    # Between the lungs: a thin junction in front, a wide one at the spine, wider above the aortic arch.
    z_wide = 1 + 0.9 * _step(z, 70, 125)
    column = (9 + 13 * np.exp(-(((y - 22) / 42) ** 2))) * z_wide - side
    spine = 21 - np.sqrt(x**2 + ((y - 68) * 0.95) ** 2)
    mediastinum = np.maximum(np.maximum(column, spine), np.maximum(4.5 - tubes, 6.5 - heart))
    return np.maximum(np.maximum(cavity, envelope), np.maximum(mediastinum, _below_dome(x, y, z)))


def _below_dome(x: Points | Floats, y: Points | Floats, z: Points | float) -> Points | Floats:
    """Return the distance (mm, approximate) by which a point lies below the diaphragm."""
    right = -78 - 60 * (((x + 58) / 74) ** 2 + ((y + 6) / 84) ** 2)
    left = -90 - 60 * (((x - 62) / 70) ** 2 + ((y + 6) / 84) ** 2)
    return (np.where(x < 0, right, left) - z) * 0.65


@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """A chest that can be evaluated anywhere; made by ``build_chest``."""

    parameters: ChestParameters
    tumour: Tumour | None
    vessels: Capsules
    coarse: RandomField
    fine: RandomField


def lung_clearance(p: ChestParameters, points: Points) -> Points:
    """Return how deep (mm) points (m, 3) lie within a lung; negative outside."""
    reference = points / np.asarray(p.scale)
    x, y, z = reference.T
    cavity = np.hypot(x, y) - cavity_radius(np.arctan2(y, x), z)
    tubes, heart = MEDIASTINAL_TUBES.distance_to_points(reference), _union(HEART, x, y, z)
    return -_lung_distance(x, y, z, cavity, tubes, heart) * min(p.scale)


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
    """Draw everything random in a chest from its seed, and the tumour's from its own."""
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


def _part(grid: PlaneGrid, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice] | None:
    """Return the rows and columns of a plane within a rectangle, or None where there are none."""
    ix, iy = np.searchsorted(grid.x, x), np.searchsorted(grid.y, y)
    if ix[1] - ix[0] < 2 or iy[1] - iy[0] < 2:
        return None
    return slice(int(iy[0]), int(iy[1])), slice(int(ix[0]), int(ix[1]))


def _fill(image: Floats, share: Floats, hu: Floats | np.floating[Any] | float) -> None:
    """Blend ``hu`` over ``image`` by ``share``, in place."""
    image += share * (np.asarray(hu, np.float32) - image)


def render_plane(chest: Chest, plane: PlaneGrid, z: float) -> Floats:
    """Return the HU of an axial plane of no thickness, float32, shape (ny, nx).

    Edges are softened over one pixel; thickness, sharpness and noise are the scanner's business.

    Parameters
    ----------
    chest
        What to look at.
    plane
        Pixel centres in true mm, the same for every z.
    z
        Height, mm.
    """
    return render_planes(chest, plane, [z])[0]


def render_planes(chest: Chest, plane: PlaneGrid, heights: list[float]) -> list[Floats]:
    """Return ``render_plane`` at several heights; the reference coordinates are worked out once."""
    sx, sy, _ = chest.parameters.scale
    reference = plane_grid(plane.x.astype(np.float64) / sx, plane.y.astype(np.float64) / sy)
    return [_render(chest, plane, reference, z) for z in heights]


def _render(chest: Chest, plane: PlaneGrid, grid: PlaneGrid, z_mm: float) -> Floats:
    """Paint from the skin inwards: later organs cover earlier ones."""
    p = chest.parameters
    z = z_mm / p.scale[2]
    angle = table_angles()
    degrees = np.degrees(angle)
    cavity_table = cavity_radius(angle, z)
    muscle_table, skin_table = _wall_tables(p, cavity_table, degrees, z)
    whole = np.full((len(plane.y), len(plane.x)), AIR_HU, np.float32)
    box_x, box_y = skin_table * np.cos(angle), skin_table * np.sin(angle)
    body = _part(grid, (box_x.min() - 3, box_x.max() + 3), (box_y.min() - 3, box_y.max() + 3))
    if body is None:
        return whole
    image, plane, grid = whole[body], _crop(plane, body), _crop(grid, body)

    x, y = grid.x[None, :], grid.y[:, None]
    width = grid.pixel
    from_cavity = grid.radius - cavity_table.astype(np.float32)[grid.angle_index]
    # Tissue that varies slowly in strength, so that no organ is one flat grey.
    mottle = chest.coarse.in_plane(plane.x, plane.y, z_mm)
    if from_cavity.max() > -1:
        _paint_wall(image, p, grid, from_cavity, muscle_table, skin_table, mottle)
        _paint_skeleton(image, grid, from_cavity, degrees, z, mottle)

    # Within the cavity: fat, then what lies below the diaphragm, then lungs, then the mediastinum's organs.
    inside = coverage(from_cavity, width)
    if inside.any():
        _fill(image, inside, np.float32(-92) + 6 * mottle + 120 * np.float32(_step(z, 108, 128)))
        tubes = MEDIASTINAL_TUBES.distance_to_plane(grid, z, 12.0)
        below = np.asarray(_below_dome(x, y, z), np.float32)
        if z < -76:
            _paint_abdomen(image, p, grid, z, np.minimum(inside, coverage(-below, width)), below, mottle)
        heart = _ellipsoids_in_plane(HEART, grid, z)
        lung = coverage(np.asarray(_lung_distance(x, y, z, from_cavity, tubes, heart), np.float32), width)
        _paint_mediastinum(image, p, grid, z, inside, below, heart, mottle)
        _paint_vertebra(image, grid, z, mottle)
        if lung.any():
            _paint_lung(image, chest, plane, z_mm, lung, mottle)
        _paint_airways(image, grid, z)
    else:
        lung = np.zeros_like(image)
        _paint_vertebra(image, grid, z, mottle)
    if chest.tumour is not None:
        chest.tumour.paint(image, plane, z_mm, lung)
    return whole


def _crop(grid: PlaneGrid, part: tuple[slice, slice]) -> PlaneGrid:
    """Return the rows and columns ``part`` of a plane."""
    rows, columns = part
    return PlaneGrid(grid.x[columns], grid.y[rows], grid.radius[part], grid.angle_index[part])


def _wall_tables(p: ChestParameters, cavity_table: Points, degrees: Points, z: float) -> tuple[Points, Points]:
    """Return the radius (mm, reference chest) of the muscle's surface and of the skin, by direction."""
    back, front = _bump(degrees, 90, 42), _bump(degrees, -90, 60)
    upper, shoulder = float(_step(z, -10, 60)), float(_step(z, 55, 135))
    side = _bump(degrees, 20, 45) + _bump(degrees, 160, 45)
    muscle = 13 + p.muscle_scale * (
        5
        + 27 * back
        + (9 * upper + 5 * shoulder) * (_bump(degrees, -52, 28) + _bump(degrees, -128, 28))
        + (9 * upper + 62 * shoulder) * side
        + 7 * (_bump(degrees, 50, 22) + _bump(degrees, 130, 22))
    )
    fat = p.fat_mm * (0.75 + 0.35 * side + 0.25 * back - 0.25 * front + 0.15 * float(_step(-z, 40, 150)))
    fat -= 0.5 * p.fat_mm * _bump(degrees, 90, 7)
    if p.breast_mm:
        level = np.exp(-(((z + 12) / 48) ** 2))
        fat = fat + p.breast_mm * level * (_bump(degrees, -47, 27) + _bump(degrees, -133, 27))
    return cavity_table + muscle, cavity_table + muscle + fat


def _paint_wall(
    image: Floats,
    p: ChestParameters,
    grid: PlaneGrid,
    from_cavity: Floats,
    muscle_table: Points,
    skin_table: Points,
    mottle: Floats,
) -> None:
    """Paint skin, subcutaneous fat, breasts and muscle around the cavity."""
    width = grid.pixel
    skin = skin_table.astype(np.float32)[grid.angle_index]
    muscle_at = muscle_table.astype(np.float32)[grid.angle_index]
    out = grid.radius - skin
    _fill(image, coverage(out, width), 10.0)
    _fill(image, coverage(out + 2.0, width), np.float32(-105) + 5 * mottle)
    if p.breast_mm:
        gland = coverage(out + 9 + 6 * mottle, 4.0) * coverage(muscle_at + 5 - grid.radius, 4.0)
        _fill(image, gland * coverage(grid.y[:, None] + 55, 6.0), np.float32(-15) + 28 * mottle)
    # Fat planes between the layers of muscle: where the slow field passes zero.
    seams = np.clip(1.2 - np.abs(mottle) * 10, 0, 1) * np.float32(0.5)
    _fill(image, coverage(grid.radius - muscle_at, width), np.float32(56) + 5 * mottle)
    between = coverage(np.abs(from_cavity - 15.0) - 1.3, 1.5)
    deep = coverage(15.0 - from_cavity, 2.0) * coverage(grid.radius - muscle_at + 3, 2.0)
    _fill(image, np.maximum(seams * deep, between * np.float32(0.7)), -80.0)
    # Inside the cavity's wall: extrapleural fat, then intercostal muscle.
    _fill(image, coverage(from_cavity - 1.6, width), -60.0)


def _paint_skeleton(
    image: Floats, grid: PlaneGrid, from_cavity: Floats, degrees: Points, z: float, mottle: Floats
) -> None:
    """Paint ribs with their cartilage, scapulae, sternum and clavicles."""
    width = grid.pixel
    # Degrees from the back, 0 to 180: ribs leave the spine, rise a little, then run down to the front.
    around = np.abs((degrees - 90 + 180) % 360 - 180)
    drop = 88 * (1 - np.cos(np.radians(np.clip(around, 0, 165)))) / 2 - 10 * np.exp(-((around / 25) ** 2))
    level = (z + drop) / RIB_SPACING_MM
    rib = np.rint(level)
    away = (level - rib) * RIB_SPACING_MM
    # Ribs 11 and 12 float; the first is short. Rib numbers count upwards from the lowest.
    exists = (rib <= 4) & (around > 14) & (around < np.where(rib <= -5, 70, np.where(rib <= -4, 110, 166)))
    steep = np.abs(np.gradient(drop, 2 * np.pi / len(drop))) / 130
    offset = np.where(exists, away / np.sqrt(1 + steep**2), 99.0).astype(np.float32)[grid.angle_index]
    inner = np.sqrt(((from_cavity - 7.5) / 4.2) ** 2 + (offset / 7.2) ** 2)
    bone = coverage((inner - 1) * 4.2, width)
    cartilage = (1 / (1 + np.exp(-(around - 141) / 2.0))).astype(np.float32)[grid.angle_index]
    marrow = coverage((inner - 0.66) * 4.2, width)
    cortex = 640 - 500 * cartilage
    spongy = 190 - 90 * cartilage + 25 * mottle
    _fill(image, bone, cortex + marrow * (spongy - cortex))

    if 10 < z < 125:
        # Scapula: a thin, bent plate over the back of the ribs, thicker at its outer border.
        reach = np.exp(-(((np.abs(around - 52) - 6) / (9 + 12 * float(_step(z, 5, 70)))) ** 4))
        thickness = (1.4 + 3.2 * _bump(around, 66, 9) + 1.6 * _bump(around, 36, 6)) * reach * float(_step(z, 10, 22))
        plate = np.where(thickness > 0.4, thickness, -3.0).astype(np.float32)[grid.angle_index]
        over = (22 + 9 * float(_step(z, 40, 120)) + 5 * _bump(around, 70, 14)).astype(np.float32)[grid.angle_index]
        gap = np.abs(from_cavity - over) - plate
        _fill(image, coverage(gap, width), 520.0)
        _fill(image, coverage(gap + 1.7, width), 230.0)
    part = _part(grid, (-40.0, 40.0), (-110.0, -30.0))
    if -75 < z < 98 and part is not None:
        rows, columns = part
        front_image, front_mottle = image[rows, columns], mottle[rows, columns]
        x, y = grid.x[None, columns], grid.y[rows, None]
        half = 17 + 11 * float(_step(z, 52, 88)) - 7 * float(_step(-z, 45, 75))
        front = -(76 * (0.45 + 0.55 * np.sqrt(np.clip(1 - (max(z - 5, 0) / 135) ** 2, 0.12, 1)))) - 7.5
        box = np.maximum(np.abs(x) - half + 4, 0) ** 2 + np.maximum(np.abs(y - front) - 1.8, 0) ** 2
        gap = np.sqrt(box) - 4.0
        _fill(front_image, coverage(gap, width), 430.0)
        _fill(front_image, coverage(gap + 1.5, width), np.float32(130) + 20 * front_mottle)
    gap = CLAVICLES.distance_to_plane(grid, z, 4.0)
    _fill(image, coverage(gap, width), 620.0)
    _fill(image, coverage(gap + 2.4, width), 260.0)


def _paint_vertebra(image: Floats, grid: PlaneGrid, z: float, mottle: Floats) -> None:
    """Paint a vertebra, or a disc between two, with canal, arch and processes."""
    part = _part(grid, (-40.0, 40.0), (45.0, 125.0))
    if part is None:
        return
    rows, columns = part
    image, mottle = image[rows, columns], mottle[rows, columns]
    grid = _crop(grid, part)
    width = grid.pixel
    x, y = grid.x[None, :], grid.y[:, None]
    phase = (z / 25.0) % 1.0
    disc = float(1 - _step(abs(phase - 0.5), 0.06, 0.1))
    body = (np.sqrt((x / 17.5) ** 2 + ((y - 66) / 14.5) ** 2) - 1) * 14.5
    # A waisted front: the body is widest at its end plates.
    body = body + np.float32(1.6 * np.cos(2 * np.pi * (phase - 0.5)) * -1 + 0.4)
    arch_gap = np.sqrt((x / 15.0) ** 2 + ((y - 88) / 12.0) ** 2)
    _fill(image, coverage((arch_gap - 1) * 12, width) * np.float32(0.85), np.float32(45) + 4 * mottle)
    level = abs((phase - 0.0 + 0.5) % 1.0 - 0.5)
    arch = Capsules(
        np.array([[-11.0, 76, 0], [11, 76, 0], [-11, 86, 0], [11, 86, 0], [-12, 88, 0], [12, 88, 0], [0, 97, 0]]),
        np.array([[-12.0, 87, 0], [12, 87, 0], [-1, 97, 0], [1, 97, 0], [-31, 95, 0], [31, 95, 0], [0, 119, 0]]),
        np.array([4.6, 4.6, 3.8, 3.8, 4.6, 4.6, 3.6]) * (1 - 0.45 * float(_step(level, 0.15, 0.42))),
        np.array([4.2, 4.2, 3.6, 3.6, 3.6, 3.6, 3.0]) * (1 - 0.55 * float(_step(level, 0.12, 0.40))),
    )
    gap = arch.distance_to_plane(grid, 0.0, 4.0)
    _fill(image, coverage(gap, width), 480.0)
    _fill(image, coverage(gap + 1.8, width), np.float32(240) + 30 * mottle)
    _fill(image, coverage(body, width), 460.0 * (1 - disc) + 95.0 * disc)
    _fill(image, coverage(body + 1.6, width), (np.float32(175) + 32 * mottle) * (1 - disc) + 88.0 * disc)
    canal = (np.sqrt((x / 9.5) ** 2 + ((y - 86) / 8.0) ** 2) - 1) * 8
    _fill(image, coverage(canal, width), 8.0)
    cord = (np.sqrt((x / 5.0) ** 2 + ((y - 86.5) / 4.0) ** 2) - 1) * 4
    _fill(image, coverage(cord, width), 38.0)


def _paint_abdomen(
    image: Floats,
    p: ChestParameters,
    grid: PlaneGrid,
    z: float,
    below_share: Floats,
    below: Floats,
    mottle: Floats,
) -> None:
    """Paint diaphragm, liver, spleen and stomach below the domes."""
    width = grid.pixel
    contrast = (p.blood_hu - 45) / 95
    _fill(image, below_share, 50.0)
    deep = np.minimum(below_share, coverage(3.0 - below, width))
    _fill(image, deep, np.float32(-95) + 8 * mottle)
    liver = _ellipsoids_in_plane(LIVER, grid, z)
    _fill(image, deep * coverage(liver, width), np.float32(60 + 45 * contrast) + 3 * mottle)
    spleen = _ellipsoids_in_plane((SPLEEN,), grid, z)
    _fill(image, deep * coverage(spleen, width), np.float32(50 + 60 * contrast) + 3 * mottle)
    stomach = _ellipsoids_in_plane((STOMACH,), grid, z)
    _fill(image, deep * coverage(stomach, width) * coverage(-liver, width), 55.0)
    content = deep * coverage(stomach + 4, width) * coverage(-liver, width)
    _fill(image, content, 25.0 - 1000.0 * coverage(grid.y[:, None] + 42, width))


def _paint_mediastinum(
    image: Floats,
    p: ChestParameters,
    grid: PlaneGrid,
    z: float,
    inside: Floats,
    below: Floats,
    heart: Floats,
    mottle: Floats,
) -> None:
    """Paint heart, great vessels and oesophagus."""
    width = grid.pixel
    blood = np.float32(p.blood_hu)
    if heart.min() < width:
        above = np.minimum(inside, coverage(below - 2, width))
        _fill(image, above * coverage(heart, width), np.float32(50 + 0.45 * (p.blood_hu - 45)) + 3 * mottle)
        chambers = _ellipsoids_in_plane(CHAMBERS, grid, z)
        _fill(image, above * coverage(chambers, 2.5), blood + 3 * mottle)
    gap = BLOOD_VESSELS.distance_to_plane(grid, z, 4.0)
    _fill(image, coverage(gap, width), 50.0)
    _fill(image, coverage(gap + 1.2, width), blood)
    gap = OESOPHAGUS.distance_to_plane(grid, z, 8.0)
    _fill(image, coverage(gap, width), 40.0)
    _fill(image, coverage(gap + 5.2, width), -150.0)


def _paint_lung(image: Floats, chest: Chest, plane: PlaneGrid, z: float, lung: Floats, mottle: Floats) -> None:
    """Paint parenchyma with its structure, and the vessels in it."""
    p = chest.parameters
    base = np.float32(p.lung_hu) + np.float32(p.lung_gradient) * plane.y[:, None] + 10 * mottle
    base = base + np.float32(p.lung_texture) * chest.fine.in_plane(plane.x, plane.y, z)
    _fill(image, lung, base)
    gap = chest.vessels.distance_to_plane(plane, z, 1.0)
    vessel = np.clip(0.5 - gap / np.float32(max(plane.pixel, 0.5)), 0, 1)
    vessel *= lung
    _fill(image, vessel, np.float32(min(p.blood_hu, 120.0) - 10))


def _paint_airways(image: Floats, grid: PlaneGrid, z: float) -> None:
    """Paint trachea and bronchi: a wall, then air."""
    gap = AIRWAYS.distance_to_plane(grid, z, 4.0)
    _fill(image, coverage(gap - 1.6, grid.pixel), 20.0)
    _fill(image, coverage(gap, grid.pixel), -985.0)
