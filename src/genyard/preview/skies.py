"""What is behind everything: sky gradients by the time of day, sun, moon, stars, clouds, and the weather in front.

All pictures are premultiplied float32 (H, W, 4) and continue seamlessly from the right edge to the left.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from genyard.preview.paint import over
from genyard.preview.palette import FloatArray, Ink, ink, oklch_to_srgb, rgb_of
from genyard.preview.textures import noise

#: time -> inks from the zenith to the horizon
SKIES: Final[dict[str, tuple[Ink, ...]]] = {
    "day": (ink(0.66, 0.13, 245), ink(0.79, 0.095, 232), ink(0.93, 0.045, 205)),
    "dawn": (ink(0.58, 0.1, 275), ink(0.79, 0.1, 350), ink(0.92, 0.09, 75)),
    "sunset": (ink(0.38, 0.13, 295), ink(0.62, 0.18, 20), ink(0.86, 0.15, 75)),
    "night": (ink(0.17, 0.06, 275), ink(0.28, 0.1, 272), ink(0.46, 0.1, 265)),
    "cave": (ink(0.13, 0.03, 290), ink(0.2, 0.05, 285), ink(0.3, 0.07, 270)),
    "underwater": (ink(0.74, 0.11, 215), ink(0.5, 0.12, 240), ink(0.28, 0.1, 262)),
    "space": (ink(0.12, 0.04, 285), ink(0.17, 0.07, 295), ink(0.15, 0.06, 265)),
    "ember": (ink(0.2, 0.05, 340), ink(0.36, 0.12, 25), ink(0.66, 0.19, 45)),
    "gloom": (ink(0.3, 0.03, 260), ink(0.46, 0.04, 200), ink(0.66, 0.06, 150)),
}


def gradient(inks: tuple[Ink, ...], height: int) -> FloatArray:
    """(height, 3) sRGB from the first ink at the top to the last at the bottom, mixed in Oklab."""
    at = np.linspace(0, 1, len(inks))
    lab = np.array(
        [
            (i.lightness, i.chroma * np.cos(np.deg2rad(i.hue)), i.chroma * np.sin(np.deg2rad(i.hue)))
            for i in inks
        ]
    )
    t = np.linspace(0, 1, height)
    light, a, b = (np.interp(t, at, lab[:, k]) for k in range(3))
    return oklch_to_srgb(light, np.hypot(a, b), np.degrees(np.arctan2(b, a)))


def dome(inks: tuple[Ink, ...], height: int, width: int, horizon: float) -> FloatArray:
    """An opaque gradient that reaches its last ink at `horizon` (share of the height)."""
    rows = gradient(inks, max(2, int(height * horizon)))
    rows = np.concatenate([rows, np.repeat(rows[-1:], max(0, height - len(rows)), axis=0)])[:height]
    sky = np.ones((height, width, 4), np.float32)
    sky[..., :3] = rows[:, None, :]
    return sky


def around(height: int, width: int, x: float, y: float) -> FloatArray:
    """Distance in pixels from (x, y), measured around the seam."""
    dx = np.abs(np.arange(width, dtype=np.float32) - x)
    dx = np.minimum(dx, width - dx)
    dy = np.arange(height, dtype=np.float32) - y
    return np.asarray(np.sqrt(dx[None, :] ** 2 + dy[:, None] ** 2), dtype=np.float32)


def shine(sky: FloatArray, x: float, y: float, reach: float, colour: Ink, strength: float) -> None:
    """A soft light in the sky, in place; only its own rows are touched."""
    height, width = sky.shape[:2]
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    if top >= bottom:
        return
    rows, columns = max(2, (bottom - top) // 4), max(2, width // 4)
    scale = columns / width
    fade = np.clip(
        1 - around(rows, columns, x * scale, (y - top) * rows / (bottom - top)) / np.float32(reach * scale),
        0,
        1,
    )
    wide = np.pad(fade**2 * np.float32(strength), ((0, 0), (2, 2)), mode="wrap")
    edge = round(2 / scale)
    cover = cv2.resize(wide, (width + 2 * edge, bottom - top), interpolation=cv2.INTER_LINEAR)[
        :, edge : edge + width
    ]
    over(sky[top:bottom], rgb_of(colour), np.ascontiguousarray(cover))


def sun(sky: FloatArray, x: float, y: float, radius: float, colour: Ink) -> None:
    shine(sky, x, y, radius * 7, colour.lighter(0.04), 0.55)
    shine(sky, x, y, radius * 3, colour.lighter(0.06), 0.6)
    _disc(sky, x, y, radius, colour.lighter(0.12))


def moon(sky: FloatArray, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
    pale = ink(0.94, 0.03, 95)
    shine(sky, x, y, radius * 6, ink(0.75, 0.07, 260), 0.5)
    _disc(sky, x, y, radius, pale)
    for _ in range(5):
        angle, far = rng.uniform(0, 6.28), rng.uniform(0, 0.62)
        _disc(
            sky,
            x + radius * far * np.cos(angle),
            y + radius * far * np.sin(angle),
            radius * rng.uniform(0.09, 0.22),
            pale.darker(0.07),
        )


def _disc(sky: FloatArray, x: float, y: float, radius: float, colour: Ink) -> None:
    height, width = sky.shape[:2]
    top, bottom = max(0, int(y - radius - 2)), min(height, int(y + radius) + 3)
    if top >= bottom:
        return
    cover = np.clip(radius - around(bottom - top, width, x, y - top) + 0.5, 0, 1).astype(np.float32)
    over(sky[top:bottom], rgb_of(colour), cover)


def stars(sky: FloatArray, rng: np.random.Generator, *, amount: float = 1.0, down_to: float = 0.75) -> None:
    height, width = sky.shape[:2]
    count = int(170 * amount * (width / height) ** 0.5)
    scale = min(height, width) / 1024
    for _ in range(count):
        x, y = int(rng.integers(width)), int(rng.random() ** 1.3 * height * down_to)
        size, power = rng.random() ** 3, rng.uniform(0.35, 1.0)
        radius = max(0.6, (0.8 + 2.2 * size) * scale)
        tint = np.append(rgb_of(ink(0.95, 0.04, float(rng.choice([60, 95, 250, 280])))), np.float32(1))
        reach = int(radius * 2) + 1
        rows = np.arange(max(0, y - reach), min(height, y + reach + 1))
        columns = np.arange(x - reach, x + reach + 1)
        far = np.hypot((rows - y)[:, None], (columns - x)[None, :])
        cover = (np.clip(radius - far + 0.5, 0, 1) * power).astype(np.float32)[..., None]
        at = np.ix_(rows, columns % width)
        sky[at] = sky[at] * (1 - cover) + tint * cover


def cloud_layer(
    height: int,
    width: int,
    rng: np.random.Generator,
    colour: Ink,
    *,
    count: int,
    top: float,
    bottom: float,
    size: float,
) -> FloatArray:
    """Heaped clouds with lit tops, between the shares `top` and `bottom` of the height."""
    rows, columns = height // 2, width // 2
    mask = np.zeros((rows, columns), np.uint8)
    for _ in range(count):
        cx, cy = rng.uniform(0, columns), rng.uniform(top, bottom) * rows
        s = size * min(rows, columns) * rng.uniform(0.6, 1.2)
        for k in range(7):
            x = cx + (k - 3) * s * 0.33
            r = s * (0.36 - 0.05 * abs(k - 3)) * rng.uniform(0.75, 1.2)
            for shift in (-columns, 0, columns):
                cv2.circle(
                    mask, (int(x + shift), int(cy - r * 0.55)), max(1, int(r)), (255,), -1, cv2.LINE_AA
                )
        for shift in (-columns, 0, columns):
            cv2.rectangle(
                mask,
                (int(cx - s * 1.1 + shift), int(cy - s * 0.2)),
                (int(cx + s * 1.1 + shift), int(cy)),
                (255,),
                -1,
            )
    soft = (
        cv2.GaussianBlur(np.pad(mask, ((0, 0), (16, 16)), mode="wrap"), (0, 0), max(0.8, columns / 500))[
            :, 16:-16
        ].astype(np.float32)
        / 255
    )
    pad = max(8, int(size * min(rows, columns) * 0.6))
    wide = np.pad(soft, ((0, 0), (pad, pad)), mode="wrap")
    thick = cv2.GaussianBlur(wide, (0, 0), pad * 0.22)[:, pad:-pad]
    lit = np.clip((soft - np.roll(thick, int(pad * 0.28), axis=0)) * 1.4 + 0.5, 0, 1)
    dark, light = rgb_of(colour.darker(0.12)), rgb_of(colour.lighter(0.07))
    rgb = dark + (light - dark) * lit[..., None]
    small = np.dstack([rgb * soft[..., None], soft]).astype(np.float32) * np.float32(0.92)
    return _enlarged(small, height, width)


def _enlarged(small: FloatArray, height: int, width: int) -> FloatArray:
    """Twice as large, seamlessly."""
    wide = np.pad(small, ((0, 0), (2, 2), (0, 0)), mode="wrap")
    k = width / small.shape[1]
    pad = round(2 * k)
    big = cv2.resize(wide, (width + 2 * pad, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(big[:, pad : pad + width])


def mist(
    height: int, width: int, colour: Ink, *, top: float, bottom: float, strength: float, seed: int
) -> FloatArray:
    """Drifting haze between two shares of the height."""
    rows, columns = max(16, height // 4), max(16, width // 4)
    drift = noise(4, 3, seed, octaves=3, height=rows, width=columns)
    y = np.linspace(0, 1, rows, dtype=np.float32)
    hump = np.clip(1 - np.abs((y - (top + bottom) / 2) / ((bottom - top) / 2)), 0, 1)[:, None]
    cover = np.clip(hump * (0.75 + 0.45 * drift), 0, 1) * np.float32(strength)
    small = np.dstack([rgb_of(colour)[None, None, :] * cover[..., None], cover]).astype(np.float32)
    return _enlarged(small, height, width)


def weather(kind: str, height: int, width: int, rng: np.random.Generator) -> FloatArray:
    """Rain, falling snow or fog as the foremost layer."""
    if kind == "fog":
        return mist(height, width, ink(0.9, 0.015, 230), top=0.35, bottom=1.25, strength=0.75, seed=5)
    mask = np.zeros((height, width), np.uint8)
    scale = min(height, width) / 1024
    for _ in range(int(240 * width / height)):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        near = float(rng.uniform(0.4, 1.0))
        for shift in (-width, 0, width):
            if kind == "rain":
                start, end = (
                    (round(x + shift), round(y)),
                    (round(x + shift - 9 * near * scale), round(y + 46 * near * scale)),
                )
                cv2.line(mask, start, end, (int(120 * near),), max(1, round(2 * near * scale)), cv2.LINE_AA)
            else:
                cv2.circle(
                    mask,
                    (round((x + shift) * 16), round(y * 16)),
                    max(10, round(16 * 4.5 * near**2 * scale)),
                    (int(235 * near),),
                    -1,
                    cv2.LINE_AA,
                    4,
                )
    cover = mask.astype(np.float32) / 255
    colour = rgb_of(ink(0.88, 0.03, 240) if kind == "rain" else ink(0.99, 0.003, 240))
    return np.dstack([colour[None, None, :] * cover[..., None], cover]).astype(np.float32)
