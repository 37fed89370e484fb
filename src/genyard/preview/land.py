"""The bands of a landscape: lines of hills and summits, their relief and snow, lava, rows of houses."""

from __future__ import annotations

import cv2
import numpy as np

from genyard.preview.paint import over
from genyard.preview.palette import FloatArray, Ink, ink, oklch_to_srgb, rgb_of
from genyard.preview.textures import noise
from genyard.preview.themes import Band


def skyline(
    shape: str, height: int, width: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray | None]:
    """A periodic line of about -1..1 for each column (positive is up), and where it has summits, the signed
    distance in pixels to the nearest one's ridge."""
    if shape in ("peaks", "cave"):
        return _peaks(height, width, rng, sharp=shape == "cave")
    x = np.arange(width, dtype=np.float64) * 2 * np.pi / width
    waves = {
        "hills": (1, 8, 1.2),
        "dunes": (1, 5, 1.4),
        "isles": (2, 20, 1.0),
        "mesas": (1, 12, 0.9),
        "waves": (5, 24, 0.8),
    }
    low, high, fall = waves.get(shape, (1, 6, 1.2))
    line = np.zeros(width)
    for k in range(low, high):
        line += np.sin(k * x + rng.uniform(0, 2 * np.pi)) * rng.uniform(0.5, 1) / (k - low + 1) ** fall
    line /= np.abs(line).max() + 1e-6
    if shape == "mesas":
        line = np.tanh(line * 6) * 0.8 + line * 0.2
    if shape == "dunes":
        line = 1 - 2 * np.abs(line)
    if shape == "isles":
        line = np.clip(line * 1.5, -0.2, 1) - 0.4
    return line.astype(np.float32), None


def _peaks(
    height: int, width: int, rng: np.random.Generator, *, sharp: bool
) -> tuple[FloatArray, FloatArray]:
    """Mountains as the highest of many tents, slightly rough."""
    count = max(4, round((6.5 if sharp else 5.5) * width / height))
    x = np.arange(width, dtype=np.float64)
    centres = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * width / count
    away = (x[None, :] - centres[:, None] + width / 2) % width - width / 2
    tops = rng.uniform(0.1, 1.0, count)
    slopes = rng.uniform(1.5, 2.4, count) * (1.7 if sharp else 1.0) * count / width
    tents = tops[:, None] - np.abs(away) * slopes[:, None]
    best = np.argmax(tents, axis=0)
    line = np.maximum(np.take_along_axis(tents, best[None], axis=0)[0], -0.9)
    angle = x * 2 * np.pi / width
    for k in (9, 17, 31, 53):
        line += np.sin(angle * k + rng.uniform(0, 6.28)) * 0.35 / k
    return line.astype(np.float32), np.take_along_axis(away, best[None], axis=0)[0].astype(np.float32)


def hazed(colour: Ink, air: Ink, far: float, hour: str) -> Ink:
    """A colour seen through air, in the light of the hour."""
    dim = {"night": 0.6, "sunset": 0.82, "dawn": 0.95}.get(hour, 1.0)
    own = ink(colour.lightness * dim, colour.chroma * (0.72 if hour == "night" else 1), colour.hue)
    a, b = (
        np.array([i.lightness, i.chroma * np.cos(np.deg2rad(i.hue)), i.chroma * np.sin(np.deg2rad(i.hue))])
        for i in (own, air)
    )
    mixed = a + (b - a) * far * 0.85
    return ink(
        float(mixed[0]),
        float(np.hypot(mixed[1], mixed[2])),
        float(np.degrees(np.arctan2(mixed[2], mixed[1])) % 360),
        colour.material,
    )


def cone(height: int, width: int) -> FloatArray:
    x = np.abs(np.arange(width, dtype=np.float32) / width - 0.5) / min(1.0, 1.1 * height / width)
    rim = np.maximum(x, 0.07)
    return np.asarray((0.24 + 0.95 * (rim - 0.07) ** 0.72) * height, dtype=np.float32)


def lay_land(
    canvas: FloatArray,
    ground: FloatArray,
    ridge: FloatArray | None,
    colour: Ink,
    band: Band,
    air: Ink,
    rng: np.random.Generator,
    *,
    hanging: bool = False,
) -> None:
    """Fills below (or above, `hanging`) a line: darker with depth, lit from the upper left, textured."""
    height = canvas.shape[0]
    first, last = (
        (0, min(height, int(ground.max()) + 2)) if hanging else (max(0, int(ground.min()) - 2), height)
    )
    if last - first < 4:
        return
    y = np.arange(first, last, dtype=np.float32)[:, None]
    depth = (ground[None, :] - y if hanging else y - ground[None, :]).astype(np.float32)
    cover = np.clip(depth + 0.5, 0, 1)
    tone = _relief(band, depth, ground, ridge, height, rng)
    light = np.clip((tone + np.float32(colour.lightness)) * 255, 0, 255).astype(np.uint8)
    table = np.ones((256, 4), np.float32)
    table[:, :3] = oklch_to_srgb(
        np.linspace(0.04, 0.98, 256), colour.chroma, colour.hue + np.linspace(-10, 8, 256)
    )
    rgb = np.take(table, light, axis=0)
    if (
        band.shape == "peaks"
        and ridge is not None
        and 200 < band.colour.hue < 280
        and band.y < 0.6
        and not hanging
    ):
        _snow_caps(rgb, tone, y, band, air, height, rng)
    over(canvas[first:last], rgb, cover)


def _relief(
    band: Band,
    depth: FloatArray,
    ground: FloatArray,
    ridge: FloatArray | None,
    height: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Lightness to add at each pixel of a band, by the kind of its surface."""
    rows, width = depth.shape
    tone = np.clip(depth * np.float32(1 / (0.34 * height)), 0, 1) * np.float32(-band.deep)
    near = np.float32(1 - band.far * 0.65)
    rim = np.clip(1 - depth * np.float32(1 / (0.02 * height)), 0, 1)
    if band.shape in ("peaks", "cave", "mesas", "volcano"):
        rough = noise(7, 6, int(rng.integers(1000)), octaves=4, height=rows, width=width)
        step = max(2, width // 160)
        tone += (
            np.clip(rough - np.roll(rough, (step, step), axis=(0, 1)), -0.6, 0.6) * np.float32(0.09) * near
        )
        if ridge is not None:
            crooked = ridge[None, :] + rough * np.float32(0.035 * height)
            tone -= np.clip(crooked * np.float32(0.12), -0.5, 1) * np.float32(0.085) * near
    elif band.shape in ("sea", "lava", "waves"):
        tone += _ripples(rows, width, rng) * np.float32(
            0.05 if band.shape != "lava" else 0.09
        ) + rim * rim * np.float32(0.1)
    else:
        slope = np.clip(np.gradient(ground), -1, 1).astype(np.float32)
        fade = np.clip(1 - depth * np.float32(1 / (0.16 * height)), 0, 1)
        tone += rim * np.float32(0.05) - slope[None, :] * fade * np.float32(
            0.06 if band.shape == "hills" else 0.13
        )
    return np.asarray(tone, dtype=np.float32)


def _snow_caps(
    rgb: FloatArray,
    tone: FloatArray,
    y: FloatArray,
    band: Band,
    air: Ink,
    height: int,
    rng: np.random.Generator,
) -> None:
    """Whitens what lies above a ragged line, in place, keeping the relief."""
    edge = noise(10, 14, int(rng.integers(1000)), octaves=3, height=rgb.shape[0], width=rgb.shape[1])
    limit = (band.y - band.swing * 0.3) * height + edge * np.float32(band.swing * height * 0.16)
    white = hazed(ink(0.97, 0.015, 240), air, band.far * 0.6, "day")
    table = np.ones((256, 4), np.float32)
    table[:, :3] = oklch_to_srgb(np.linspace(0.04, 0.98, 256), 0.025, 245)
    light = np.clip((tone * np.float32(1.5) + np.float32(white.lightness)) * 255, 0, 255).astype(np.uint8)
    over(rgb, np.take(table, light, axis=0), np.clip((limit - y) / 2 + 0.5, 0, 1).astype(np.float32))


def _ripples(rows: int, width: int, rng: np.random.Generator) -> FloatArray:
    base = noise(40, 5, int(rng.integers(1000)), octaves=2, height=rows, width=width)
    return np.asarray(np.tanh(base * 2), dtype=np.float32)


def lava_streams(canvas: FloatArray, ground: FloatArray, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for start in (-0.05, 0.0, 0.05):
        x, y = width * 0.5 + start * min(height, width), float(ground[width // 2])
        points = [(x, y)]
        for _ in range(7):
            x, y = x + (rng.uniform(-0.02, 0.02) + start * 0.35) * min(height, width), y + 0.06 * height
            points.append((x, y))
        cv2.polylines(
            mask,
            [np.round(np.array(points) * 16).astype(np.int32)],
            False,
            (255,),
            max(2, height // 90),
            cv2.LINE_AA,
            4,
        )
    cover = (
        cv2.bitwise_and(mask, (canvas[..., 3] > 0.5).astype(np.uint8) * 255).astype(np.float32)[..., None]
        / 255
    )
    halo = cv2.GaussianBlur(cover[..., 0], (0, 0), height / 70)[..., None] * canvas[..., 3:] * np.float32(0.7)
    canvas[..., :3] += (rgb_of(ink(0.62, 0.2, 38)) - canvas[..., :3]) * halo
    canvas[..., :3] += (rgb_of(ink(0.85, 0.17, 78)) - canvas[..., :3]) * cover


def lay_city(canvas: FloatArray, band: Band, colour: Ink, hour: str, rng: np.random.Generator) -> None:
    """Buildings with windows; none crosses the seam."""
    height, width = canvas.shape[:2]
    short = min(height, width)
    picture = np.zeros((height, width, 3), np.float32)
    mask = np.zeros((height, width), np.uint8)
    lit_hour = hour in ("night", "sunset")
    x = 0
    while x < width:
        wide = min(int(short * rng.uniform(0.07, 0.14)), width - x)
        top = int((band.y + rng.uniform(-1, 1) * band.swing) * height)
        tint = colour.lighter(rng.uniform(-0.03, 0.03)).turned(rng.uniform(-12, 12))
        rgb = rgb_of(tint)
        shade = np.linspace(1.06, 0.8, max(1, height - top), dtype=np.float32)[:, None, None]
        picture[top:, x : x + wide] = rgb * shade
        picture[top:, x + int(wide * 0.78) : x + wide] *= np.float32(0.84)
        picture[top : top + max(2, short // 250), x : x + wide] = rgb_of(tint.lighter(0.08))
        mask[top:, x : x + wide] = 255
        if rng.random() < 0.4:
            mid = x + wide // 2
            mast = int(short * rng.uniform(0.02, 0.06))
            cv2.line(mask, (mid, top), (mid, max(0, top - mast)), (255,), max(1, short // 300))
            cv2.line(
                picture,
                (mid, top),
                (mid, max(0, top - mast)),
                tuple(float(c) for c in rgb_of(tint)),
                max(1, short // 300),
            )
        _windows(picture, x, top, wide, tint, lit_hour, rng, short)
        x += wide
    canvas[..., :3] = picture * (mask > 0)[..., None]
    canvas[..., 3] = mask.astype(np.float32) / 255


def _windows(
    picture: FloatArray,
    x: int,
    top: int,
    wide: int,
    tint: Ink,
    lit: bool,
    rng: np.random.Generator,
    short: int,
) -> None:
    pane = max(2, short // 110)
    step_x, step_y = int(pane * 2.1), int(pane * 2.4)
    neon = (ink(0.9, 0.11, 88), ink(0.86, 0.13, 75), ink(0.85, 0.1, 210))
    for row in range(top + step_y, picture.shape[0], step_y):
        for column in range(x + pane, x + wide - 2 * pane + 1, step_x):
            on = lit and rng.random() < 0.42
            glow = (
                neon[int(rng.integers(3))]
                if on
                else tint.darker(0.07)
                if lit
                else ink(min(0.9, tint.lightness + 0.16), 0.05, 230)
            )
            picture[row : row + int(pane * 1.3), column : column + pane] = rgb_of(glow)
