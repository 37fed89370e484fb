"""Geometry in figure units: x to the right, y down, a figure lies about in -1..1.

Every function returns outlines: a list of closed polygons, float64 arrays (n, 2), whose union is the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Outlines = list[Points]
Pairs = Sequence[tuple[float, float]]


def polygon(points: Pairs) -> Outlines:
    return [np.asarray(points, dtype=np.float64)]


@lru_cache(maxsize=64)
def _circle(n: int) -> Points:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points.setflags(write=False)
    return points


def ellipse(
    x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0, n: int = 56
) -> Outlines:
    """`turn` in degrees, clockwise on the screen."""
    points = _circle(n) * (rx, rx if ry is None else ry)
    return [(turned(points, turn) if turn else points) + (x, y)]


def turned(points: Points, degrees: float) -> Points:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def spline(points: Pairs, *, closed: bool = True, steps: int = 9) -> Outlines:
    """A smooth curve through the points (Catmull-Rom)."""
    return [curve(np.asarray(points, dtype=np.float64), closed=closed, steps=steps)]


def curve(knots: Points, *, closed: bool, steps: int = 9) -> Points:
    """Catmull-Rom through knots of any width (n, k)."""
    if closed:
        p = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        p = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    out = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = out.reshape(-1, knots.shape[1])
    return flat if closed else np.concatenate([flat, knots[-1:]])


def limb(joints: Sequence[tuple[float, float, float]], *, steps: int = 6) -> Outlines:
    """A tube through (x, y, radius) joints with round ends: arms, legs, tails, horns."""
    path = curve(np.asarray(joints, dtype=np.float64), closed=False, steps=steps)
    xy, radius = path[:, :2], np.maximum(path[:, 2], 0.001)
    along = np.gradient(xy, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * radius[:, None]
    left, right = xy + across, xy - across
    quads = np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)
    discs = _circle(20)[None] * radius[:, None, None] + xy[:, None, :]
    return [*quads, *discs]


def box(x0: float, y0: float, x1: float, y1: float, r: float = 0.0) -> Outlines:
    """A rectangle with corners rounded by radius r."""
    if r <= 0:
        return polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    r = min(r, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    quarter = np.linspace(0, np.pi / 2, 8)
    centres = ((x1 - r, y1 - r), (x0 + r, y1 - r), (x0 + r, y0 + r), (x1 - r, y0 + r))
    parts = [
        np.stack([cx + r * np.cos(quarter + k * np.pi / 2), cy + r * np.sin(quarter + k * np.pi / 2)], axis=1)
        for k, (cx, cy) in enumerate(centres)
    ]
    return [np.concatenate(parts)]


def star(x: float, y: float, outer: float, inner: float, points: int = 5, turn: float = -90.0) -> Outlines:
    angle = np.deg2rad(turn) + np.arange(points * 2) * np.pi / points
    radius = np.where(np.arange(points * 2) % 2 == 0, outer, inner)
    return [np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)]


def wobbly(
    x: float, y: float, rx: float, ry: float, rng: np.random.Generator, *, rough: float = 0.1, n: int = 11
) -> Outlines:
    """A natural, closed lump: stones, bushes, clouds of smoke."""
    angle = np.arange(n) * 2 * np.pi / n + rng.uniform(-0.15, 0.15, n)
    radius = 1 + rng.uniform(-rough, rough, n)
    return spline(
        [(x + rx * r * np.cos(a), y + ry * r * np.sin(a)) for a, r in zip(angle, radius, strict=True)]
    )


def arc(
    x: float, y: float, radius: float, start: float, end: float, width: float, *, taper: float = 1.0
) -> Outlines:
    """A bent tube on a circle, from `start` to `end` degrees; `taper` is the width factor at the end."""
    angle = np.deg2rad(np.linspace(start, end, 9))
    widths = np.linspace(width, width * taper, 9)
    return limb(
        [(x + radius * np.cos(a), y + radius * np.sin(a), w) for a, w in zip(angle, widths, strict=True)],
        steps=3,
    )


def mirrored(outlines: Outlines) -> Outlines:
    """The same on the other side of x = 0."""
    return [points * (-1, 1) for points in outlines]


def moved(outlines: Outlines, dx: float, dy: float, *, turn: float = 0.0, size: float = 1.0) -> Outlines:
    return [turned(points * size, turn) + np.array([dx, dy]) for points in outlines]


@lru_cache(maxsize=4096)
def _numbers(text: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, point.split())) for point in text.split(","))


def xy(text: str, *, side: float = 1.0, at: tuple[float, float] = (0.0, 0.0)) -> list[tuple[float, float]]:
    """Points written "x y, x y, …"; x is multiplied by `side` (-1 mirrors), then all are moved by `at`."""
    return [(at[0] + side * x, at[1] + y) for x, y in _numbers(text)]


def xyr(
    text: str, *, side: float = 1.0, at: tuple[float, float] = (0.0, 0.0)
) -> list[tuple[float, float, float]]:
    """Joints written "x y radius, …", placed like those of `xy`."""
    return [(at[0] + side * x, at[1] + y, r) for x, y, r in _numbers(text)]
