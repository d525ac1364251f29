"""The chest's density on axial planes, painted from the skin inwards: a later organ covers an earlier one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pdl1es.phantom.anatomy import (
    AIRWAYS,
    BLOOD_VESSELS,
    CHAMBERS,
    CLAVICLES,
    HEART,
    LIVER,
    MEDIASTINAL_TUBES,
    OESOPHAGUS,
    SPLEEN,
    STOMACH,
    Chest,
    ChestParameters,
    Ellipsoid,
    cavity_radius,
    depth_below_dome,
    ellipsoid_axes,
    ellipsoid_distance,
    lung_distance,
    smooth_step,
)
from pdl1es.phantom.shapes import Capsules, Floats, PlaneGrid, Points, coverage, plane_grid, table_angles

AIR_HU: Final = -1000.0
RIB_SPACING_MM: Final = 27.0
REACH_MM: Final = 10.0
"""Distance around an ellipsoid up to which its distance is computed, mm."""


def render_planes(chest: Chest, plane: PlaneGrid, heights: list[float]) -> list[Floats]:
    """Return the HU of axial planes of no thickness.

    Edges are softened over one pixel; the scanner adds thickness, sharpness and noise.

    Parameters
    ----------
    chest
        The chest.
    plane
        Pixel centres in true mm, the same for every height.
    heights
        z of each plane, mm.

    Returns
    -------
    list of NDArray
        float32, shape (ny, nx), one per height.
    """
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
        _fill(image, inside, np.float32(-92) + 6 * mottle + 120 * np.float32(smooth_step(z, 108, 128)))
        tubes = MEDIASTINAL_TUBES.distance_to_plane(grid, z, 12.0)
        below = np.asarray(depth_below_dome(x, y, z), np.float32)
        if z < -76:
            _paint_abdomen(image, p, grid, z, np.minimum(inside, coverage(-below, width)), below, mottle)
        heart = _ellipsoids_in_plane(HEART, grid, z)
        lung = coverage(np.asarray(lung_distance(x, y, z, from_cavity, tubes, heart), np.float32), width)
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
    upper, shoulder = float(smooth_step(z, -10, 60)), float(smooth_step(z, 55, 135))
    side = _bump(degrees, 20, 45) + _bump(degrees, 160, 45)
    muscle = 13 + p.muscle_scale * (
        5
        + 27 * back
        + (9 * upper + 5 * shoulder) * (_bump(degrees, -52, 28) + _bump(degrees, -128, 28))
        + (9 * upper + 62 * shoulder) * side
        + 7 * (_bump(degrees, 50, 22) + _bump(degrees, 130, 22))
    )
    fat = p.fat_mm * (0.75 + 0.35 * side + 0.25 * back - 0.25 * front + 0.15 * float(smooth_step(-z, 40, 150)))
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
        reach = np.exp(-(((np.abs(around - 52) - 6) / (9 + 12 * float(smooth_step(z, 5, 70)))) ** 4))
        thickness = (
            (1.4 + 3.2 * _bump(around, 66, 9) + 1.6 * _bump(around, 36, 6)) * reach * float(smooth_step(z, 10, 22))
        )
        plate = np.where(thickness > 0.4, thickness, -3.0).astype(np.float32)[grid.angle_index]
        over = (22 + 9 * float(smooth_step(z, 40, 120)) + 5 * _bump(around, 70, 14)).astype(np.float32)[
            grid.angle_index
        ]
        gap = np.abs(from_cavity - over) - plate
        _fill(image, coverage(gap, width), 520.0)
        _fill(image, coverage(gap + 1.7, width), 230.0)
    part = _part(grid, (-40.0, 40.0), (-110.0, -30.0))
    if -75 < z < 98 and part is not None:
        rows, columns = part
        front_image, front_mottle = image[rows, columns], mottle[rows, columns]
        x, y = grid.x[None, columns], grid.y[rows, None]
        half = 17 + 11 * float(smooth_step(z, 52, 88)) - 7 * float(smooth_step(-z, 45, 75))
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
    disc = float(1 - smooth_step(abs(phase - 0.5), 0.06, 0.1))
    body = (np.sqrt((x / 17.5) ** 2 + ((y - 66) / 14.5) ** 2) - 1) * 14.5
    # A waisted front: the body is widest at its end plates.
    body = body + np.float32(1.6 * np.cos(2 * np.pi * (phase - 0.5)) * -1 + 0.4)
    arch_gap = np.sqrt((x / 15.0) ** 2 + ((y - 88) / 12.0) ** 2)
    _fill(image, coverage((arch_gap - 1) * 12, width) * np.float32(0.85), np.float32(45) + 4 * mottle)
    level = abs((phase - 0.0 + 0.5) % 1.0 - 0.5)
    arch = Capsules(
        np.array([[-11.0, 76, 0], [11, 76, 0], [-11, 86, 0], [11, 86, 0], [-12, 88, 0], [12, 88, 0], [0, 97, 0]]),
        np.array([[-12.0, 87, 0], [12, 87, 0], [-1, 97, 0], [1, 97, 0], [-31, 95, 0], [31, 95, 0], [0, 119, 0]]),
        np.array([4.6, 4.6, 3.8, 3.8, 4.6, 4.6, 3.6]) * (1 - 0.45 * float(smooth_step(level, 0.15, 0.42))),
        np.array([4.2, 4.2, 3.6, 3.6, 3.6, 3.6, 3.0]) * (1 - 0.55 * float(smooth_step(level, 0.12, 0.40))),
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


def _ellipsoids_in_plane(items: tuple[Ellipsoid, ...], grid: PlaneGrid, z: float) -> Floats:
    """Return the signed distance (mm) to the nearest ellipsoid, at most `REACH_MM`; only their boxes are visited."""
    result = np.full((len(grid.y), len(grid.x)), REACH_MM, np.float32)
    for item in items:
        centre, semi, _ = item
        # Half extents of the ellipsoid, grown as its level set at `REACH_MM` is.
        axes = np.asarray(ellipsoid_axes(item)) * np.asarray(semi)[:, None] ** 2
        extent = np.sqrt((axes**2).sum(axis=0)) * (1 + REACH_MM / min(semi))
        if abs(z - centre[2]) >= extent[2]:
            continue
        part = _part(
            grid, (centre[0] - extent[0], centre[0] + extent[0]), (centre[1] - extent[1], centre[1] + extent[1])
        )
        if part is None:
            continue
        rows, columns = part
        distance = ellipsoid_distance(item, grid.x[None, columns], grid.y[rows, None], z)
        np.minimum(result[rows, columns], distance, out=result[rows, columns])
    return result


def _part(grid: PlaneGrid, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice] | None:
    """Return the rows and columns of a plane within a rectangle, or None where there are none."""
    ix, iy = np.searchsorted(grid.x, x), np.searchsorted(grid.y, y)
    if ix[1] - ix[0] < 2 or iy[1] - iy[0] < 2:
        return None
    return slice(int(iy[0]), int(iy[1])), slice(int(ix[0]), int(ix[1]))


def _fill(image: Floats, share: Floats, hu: Floats | np.floating[Any] | float) -> None:
    """Blend ``hu`` over ``image`` by ``share``, in place."""
    image += share * (np.asarray(hu, np.float32) - image)


def _bump(angle: Points, centre: float, width: float) -> Points:
    """Return a Gaussian bump on the circle; angles in degrees."""
    away = (angle - centre + 180) % 360 - 180
    return np.exp(-((away / width) ** 2))
