"""Draw one toy scene: brown banded objects on a textured ground, and the same scene with zebra stripes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SUPERSAMPLING = 2
WHITE = np.array([0.95, 0.94, 0.91])
BLACK = np.array([0.09, 0.08, 0.09])
# White stripes are wider than black ones (and light bands than dark ones): swapping the two is then a visible
# mistake for a discriminator, so that an unpaired method is not free to learn the inverse mapping.
BAND_BIAS = 0.25
BAND_SHARPNESS = 1.8


class Scene(NamedTuple):
    """Hold one scene as (size, size, 3) uint8 pictures and the (size, size) bool mask of what its objects touch."""

    source: np.ndarray
    target: np.ndarray
    mask: np.ndarray


def smooth_noise(rng: np.random.Generator, side: int, columns: int, rows: int) -> np.ndarray:
    """Return (side, side) smooth noise of mean 0 and standard deviation about 0.6, with `columns` x `rows` bumps."""

    def between(cells: int) -> tuple[np.ndarray, np.ndarray]:
        place = (np.arange(side) + 0.5) / side * cells
        cell = place.astype(int)
        part = place - cell
        return cell, part * part * (3 - 2 * part)

    grid = rng.standard_normal((rows + 2, columns + 2))
    row, down = between(rows)
    column, right = between(columns)
    lines = grid[row] * (1 - down)[:, None] + grid[row + 1] * down[:, None]
    return lines[:, column] * (1 - right) + lines[:, column + 1] * right


def _octaves(rng: np.random.Generator, side: int, coarsest: int, count: int) -> np.ndarray:
    return sum(
        (smooth_noise(rng, side, coarsest << k, coarsest << k) / 2**k for k in range(count)), np.zeros((side, side))
    )


def _tinted(rng: np.random.Generator, low: tuple[float, float, float], high: tuple[float, float, float]) -> np.ndarray:
    return np.array(low) + rng.random() * (np.array(high) - np.array(low)) + rng.normal(0, 0.015, 3)


def _grass(rng: np.random.Generator, side: int) -> np.ndarray:
    blades = 0.055 * smooth_noise(rng, side, 22, 9) + 0.035 * smooth_noise(rng, side, 30, 14)
    light = 1 + blades + 0.08 * _octaves(rng, side, 2, 2)
    return light[..., None] * _tinted(rng, (0.33, 0.52, 0.20), (0.50, 0.66, 0.34))


def _sand(rng: np.random.Generator, side: int) -> np.ndarray:
    light = 1 + 0.035 * smooth_noise(rng, side, 28, 28) + 0.05 * _octaves(rng, side, 2, 3)
    return light[..., None] * _tinted(rng, (0.78, 0.69, 0.50), (0.88, 0.80, 0.63))


def _sky(rng: np.random.Generator, side: int) -> np.ndarray:
    height = np.linspace(0, 1, side)[:, None, None]
    sky = (1 - height) * _tinted(rng, (0.36, 0.55, 0.82), (0.50, 0.68, 0.90)) + height * _tinted(
        rng, (0.74, 0.84, 0.92), (0.90, 0.88, 0.82)
    )
    cloud = np.clip(_octaves(rng, side, 3, 3) - 0.25, 0, 1)[..., None] * 0.55
    return sky * (1 - cloud) + 0.96 * cloud


def _stone(rng: np.random.Generator, side: int) -> np.ndarray:
    light = 1 + 0.10 * _octaves(rng, side, 4, 4)
    return light[..., None] * _tinted(rng, (0.46, 0.50, 0.56), (0.66, 0.64, 0.70))


GROUNDS: tuple[Callable[[np.random.Generator, int], np.ndarray], ...] = (_grass, _sand, _sky, _stone)


def _blob(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far inside a wavy closed outline each point lies; x, y in units of the object's radius."""
    angle = np.arctan2(y, x)
    waves = ((2, 0.16), (3, 0.09), (4, 0.04))
    outline = 1 + sum(a * rng.uniform(0.4, 1) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k, a in waves)
    return outline - np.hypot(x, y)


def _bar(
    x: np.ndarray, y: np.ndarray, start: tuple[float, float], end: tuple[float, float], thickness: float
) -> np.ndarray:
    along = np.array(end) - start
    place = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
    return thickness - np.hypot(x - start[0] - place * along[0], y - start[1] - place * along[1])


def _pony(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far inside a body with neck, head and four legs each point lies; units of the object's radius."""
    x = x * rng.choice([-1.0, 1.0])
    stride = rng.uniform(-0.12, 0.12)
    parts = [_bar(x, y, (-0.55, -0.05), (0.40, -0.08), 0.36), _bar(x, y, (0.48, -0.15), (0.78, -0.70), 0.20)]
    parts += [_bar(x, y, (0.80, -0.72), (1.08, -0.55), 0.17), _bar(x, y, (-0.88, -0.15), (-1.02, 0.35), 0.07)]
    parts += [
        _bar(x, y, (hip, 0.1), (hip + sign * stride, 0.95), 0.13)
        for hip, sign in ((-0.68, 1), (-0.42, -1), (0.25, 1), (0.50, -1))
    ]
    return np.max(parts, axis=0)


OBJECTS: dict[str, Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = {"blob": _blob, "pony": _pony}
RADII = {1: (0.28, 0.36), 2: (0.20, 0.26), 3: (0.17, 0.21)}  # of the side, by the number of objects


def _places(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Return one to three (x, y, radius), in units of the side, that overlap little."""
    count = int(rng.integers(1, 4))
    places: list[tuple[float, float, float]] = []
    for _ in range(200):
        radius = rng.uniform(*RADII[count])
        x, y = rng.uniform(radius * 0.9, 1 - radius * 0.9, 2)
        if all(np.hypot(x - a, y - b) > 1.05 * (radius + r) for a, b, r in places):
            places.append((x, y, radius))
        if len(places) == count:
            break
    return places


def _shrunk(picture: np.ndarray) -> np.ndarray:
    side = picture.shape[0] // SUPERSAMPLING
    return picture.reshape(side, SUPERSAMPLING, side, SUPERSAMPLING, *picture.shape[2:]).mean(axis=(1, 3))


def draw_scene(
    rng: np.random.Generator, size: int, period: float, contrast: float, kinds: tuple[str, ...] = ("blob",)
) -> Scene:
    """Draw one scene; `period` in pixels, `contrast`, the step of the faint bands, in parts of the range."""
    side = size * SUPERSAMPLING
    ground = np.clip(GROUNDS[rng.integers(len(GROUNDS))](rng, side), 0, 1)
    source, target = ground.copy(), ground.copy()
    y, x = (np.mgrid[0:side, 0:side] + 0.5) / side
    touched = np.zeros((side, side))
    top, bottom = np.tanh(BAND_SHARPNESS * np.array([BAND_BIAS + 1, BAND_BIAS - 1]))
    for centre_x, centre_y, radius in _places(rng):
        u, v = (x - centre_x) / radius, (y - centre_y) / radius
        inside = OBJECTS[kinds[rng.integers(len(kinds))]](rng, u, v) * radius * size  # pixels
        cover = np.clip(inside + 0.5, 0, 1)[..., None]

        direction = rng.uniform(0, np.pi)
        bend = 0.7 * smooth_noise(rng, side, 2, 2)
        phase = 2 * np.pi * size / period * (x * np.cos(direction) + y * np.sin(direction)) + bend
        wave = np.tanh(BAND_SHARPNESS * (np.sin(phase + rng.uniform(0, 2 * np.pi)) + BAND_BIAS))
        band = ((wave - bottom) / (top - bottom))[..., None]  # 0 dark, 1 light

        light = (1 - 0.07 * (u + 1.6 * v) + 0.03 * smooth_noise(rng, side, 6, 6))[..., None]
        brown = _tinted(rng, (0.40, 0.24, 0.13), (0.54, 0.34, 0.20))
        source = source * (1 - cover) + np.clip(brown * light + contrast * (band - 0.5), 0, 1) * cover
        target = target * (1 - cover) + np.clip((BLACK + (WHITE - BLACK) * band) * light, 0, 1) * cover
        touched = np.maximum(touched, cover[..., 0])
    as_bytes = [np.rint(_shrunk(picture) * 255).astype(np.uint8) for picture in (source, target)]
    return Scene(as_bytes[0], as_bytes[1], _shrunk(touched) > 0)
