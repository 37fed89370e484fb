"""Backgrounds in parallax layers: a table of themes, each a sky and bands of land, water or buildings.

Every layer is as large as the picture and continues seamlessly from its right edge to its left.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from genyard.preview import extras, skies
from genyard.preview.figures import dice, figure
from genyard.preview.land import cone, hazed, lava_streams, lay_city, lay_land, skyline
from genyard.preview.paint import Style, pixels_of
from genyard.preview.palette import ByteArray, FloatArray, Ink, ink, oklch_to_srgb, rgb_of
from genyard.preview.textures import noise
from genyard.preview.themes import THEMES, Band, Theme
from genyard.preview.understanding import Wish, read


def layers(wish: Wish, key: tuple[object, ...], height: int, width: int) -> tuple[ByteArray, ...]:
    """RGBA layers back to front; the first is opaque."""
    return tuple(_bytes(layer) for layer in _drawn(wish, key, height, width))


def _bytes(layer: FloatArray) -> ByteArray:
    """Straight RGBA; only the rows in use are converted."""
    out: ByteArray = np.zeros(layer.shape, np.uint8)
    rows = np.nonzero(layer[..., 3].max(axis=1) > 0.002)[0]
    if len(rows):
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        out[band] = pixels_of(layer[band])
    return out


def flattened(parts: tuple[ByteArray, ...]) -> ByteArray:
    """All layers as one opaque picture."""
    result = parts[0].copy()
    for part in parts[1:]:
        rows = np.nonzero(part[..., 3].max(axis=1))[0]
        if len(rows):
            band = slice(int(rows[0]), int(rows[-1]) + 1)
            cover = part[band, :, 3].astype(np.float32) * np.float32(1 / 255)
            cv2.blendLinear(part[band], result[band], cover, 1 - cover, result[band])
    result[..., 3] = 255
    return result


def _name(wish: Wish) -> str:
    return wish.subject if wish.kind == "scene" else wish.scene or "meadow"


def _hour(wish: Wish, theme: str) -> str:
    default = {
        "graveyard": "night",
        "city": "night" if "dark" in wish.styles or wish.substance("city") == "sci-fi" else "day",
    }
    return wish.time or ("night" if "dark" in wish.styles else default.get(theme, "day"))


def _drawn(wish: Wish, key: tuple[object, ...], height: int, width: int) -> list[FloatArray]:
    name = _name(wish)
    theme = THEMES[name]
    hour = _hour(wish, name)
    rng = dice(*key, "scene")
    inks = skies.SKIES[theme.sky or hour]
    if wish.weather == "rain":
        inks = tuple(ink(i.lightness * 0.78, i.chroma * 0.35, i.hue) for i in inks)
    if wish.kind == "scene" and wish.subject in wish.colours:
        inks = tuple(ink(i.lightness, max(i.chroma, 0.08), wish.colours[wish.subject][0].hue) for i in inks)
    sky = skies.dome(inks, height, width, theme.horizon)
    _lights(sky, theme, name, hour, rng, wish)
    out = [sky]
    if theme.clouds and wish.weather != "fog":
        colour = {
            "night": ink(0.42, 0.06, 268),
            "sunset": ink(0.74, 0.13, 30),
            "dawn": ink(0.9, 0.05, 20),
        }.get(hour, ink(0.96, 0.012, 230))
        colour = colour.darker(0.3) if wish.weather == "rain" else colour
        out.append(
            skies.cloud_layer(
                height,
                width,
                rng,
                colour,
                count=theme.clouds,
                top=0.1,
                bottom=0.42 if name != "sky" else 0.9,
                size=0.17,
            )
        )
    for depth, band in enumerate(theme.bands):
        out.append(_band(band, theme, name, hour, inks[-1], rng, (*key, depth), height, width, wish))
    if wish.weather:
        if wish.weather != "autumn":
            out.append(skies.weather(wish.weather, height, width, rng))
    elif theme.haze >= 0.7:
        out.append(
            skies.mist(height, width, inks[-1].lighter(0.05), top=0.55, bottom=1.1, strength=0.4, seed=9)
        )
    return out


def _lights(
    sky: FloatArray, theme: Theme, name: str, hour: str, rng: np.random.Generator, wish: Wish
) -> None:
    height, width = sky.shape[:2]
    short = min(height, width)
    x = rng.uniform(0.22, 0.8) * width
    if name == "space":
        _nebula(sky, rng)
        skies.stars(sky, rng, amount=2.2, down_to=1.0)
    elif name == "underwater":
        _rays(sky, rng)
    elif name == "cave":
        skies.shine(sky, x, height * 0.5, short * 0.6, ink(0.5, 0.1, float(rng.choice([200, 300, 250]))), 0.7)
    elif name == "volcano":
        skies.shine(sky, width * 0.5, height * 0.42, short * 0.6, ink(0.72, 0.19, 50), 0.6)
    elif theme.lights and wish.weather not in ("rain", "fog"):
        if hour == "night":
            skies.stars(sky, rng)
            skies.moon(sky, x, height * rng.uniform(0.16, 0.26), short * 0.062, rng)
        else:
            level = {"sunset": 0.86, "dawn": 0.8}.get(hour, 0.28) * theme.horizon
            tint = {"sunset": ink(0.85, 0.16, 70), "dawn": ink(0.93, 0.1, 85)}.get(hour, ink(0.95, 0.08, 98))
            skies.sun(sky, x, height * level, short * (0.075 if hour != "day" else 0.055), tint)


def _nebula(sky: FloatArray, rng: np.random.Generator) -> None:
    height, width = sky.shape[:2]
    rows, columns = max(16, height // 4), max(16, width // 4)
    for hue in (rng.uniform(280, 350), rng.uniform(190, 260)):
        cover = (
            np.clip(noise(2, 2, int(rng.integers(1000)), octaves=5, height=rows, width=columns) - 0.1, 0, 1.3)
            * 0.42
        )
        wide = cv2.resize(
            np.pad(cover, ((0, 0), (2, 2)), mode="wrap"),
            (width + 2 * round(2 * width / columns), height),
            interpolation=cv2.INTER_LINEAR,
        )
        cover = wide[:, round(2 * width / columns) :][:, :width, None]
        sky[..., :3] += (oklch_to_srgb(0.56, 0.18, hue) - sky[..., :3]) * cover


def _rays(sky: FloatArray, rng: np.random.Generator) -> None:
    height, width = sky.shape[:2]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 2 * np.pi, width, endpoint=False, dtype=np.float32)[None, :]
    beams = sum(
        np.sin(x * k + float(p) + y * 0.9) for k, p in zip((3, 5, 8), rng.uniform(0, 6, 3), strict=True)
    )
    cover = np.clip(np.asarray(beams, np.float32) * 0.25, 0, 1) * (1 - y) ** 1.4
    sky[..., :3] += (rgb_of(ink(0.92, 0.06, 200)) - sky[..., :3]) * cover[..., None] * np.float32(0.6)


def _band(
    band: Band,
    theme: Theme,
    name: str,
    hour: str,
    air: Ink,
    rng: np.random.Generator,
    key: tuple[object, ...],
    height: int,
    width: int,
    wish: Wish,
) -> FloatArray:
    """One layer, premultiplied."""
    canvas = np.zeros((height, width, 4), np.float32)
    colour = hazed(band.colour, air, band.far, hour if theme.sky is None else "day")
    line, ridge = skyline(band.shape, height, width, rng)
    ground = (band.y - band.swing * line) * height
    if band.shape == "city":
        lay_city(canvas, band, colour, hour, rng)
    elif band.shape == "planets":
        _planets(canvas, key)
    elif band.shape not in ("islands",):
        if band.shape == "volcano":
            ground = cone(height, width)
        lay_land(canvas, ground, ridge, colour, band, air, rng)
        if band.shape == "cave":
            roof, _ = skyline("cave", height, width, rng)
            hung = (1 - band.y) * height * 0.8 + band.swing * height * 1.5 * (roof + 0.3)
            lay_land(canvas, hung, None, colour, band, air, rng, hanging=True)
        if band.shape == "volcano":
            lava_streams(canvas, ground, rng)
    for subject, count, size in band.stamps:
        _stamps(
            canvas,
            subject,
            count,
            size,
            ground,
            band,
            air,
            hour if theme.sky is None else "day",
            rng,
            key,
            name,
            wish,
        )
    return canvas


def _planets(canvas: FloatArray, key: tuple[object, ...]) -> None:
    height, width = canvas.shape[:2]
    rng = dice(*key, "planets")
    short = min(height, width)
    for x, y, size in (
        (rng.uniform(0.25, 0.4), rng.uniform(0.25, 0.4), 0.34),
        (rng.uniform(0.66, 0.84), rng.uniform(0.14, 0.5), 0.17),
    ):
        side = int(short * size)
        _paste(canvas, _stamp("planet", int(rng.integers(100)), side), x * width, y * height + side / 2)


def _stamp(subject: str, variant: int, side: int) -> FloatArray:
    """One of several drawings of a thing, premultiplied, side×side."""
    stamp = _kept(subject, variant, min(side, 240))
    if stamp.shape[0] == side:
        return stamp
    return np.clip(cv2.resize(stamp, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)


@lru_cache(maxsize=64)
def _kept(subject: str, variant: int, side: int) -> FloatArray:
    """Drawings are kept, because scenes share them: at most 64 of under 1 MB."""
    key = (subject, variant)
    if subject in extras.DRAWN:
        wish, drawer = Wish(kind="item", subject=subject, word=subject), extras.DRAWN[subject]
        stamp = figure(wish, key, height=side, width=side, style=_STAMP, fill=1.0, drawer=drawer)
    else:
        stamp = figure(read(subject), key, height=side, width=side, style=_STAMP, fill=1.0)
    stamp.setflags(write=False)
    return stamp


_STAMP: Final = Style(line=0.8, occlusion=0.9)


def _stamps(
    canvas: FloatArray,
    subject: str,
    count: int,
    size: float,
    ground: FloatArray,
    band: Band,
    air: Ink,
    hour: str,
    rng: np.random.Generator,
    key: tuple[object, ...],
    name: str,
    wish: Wish,
) -> None:
    """Plants, stones, houses on the line, in two variants, through the air between."""
    height, width = canvas.shape[:2]
    side = max(12, int(size * min(height, width * 1.4) * 1.12))
    prefix = (
        "snow "
        if name == "snowfield" and subject in ("pine", "tree", "bush")
        else "autumn "
        if wish.weather == "autumn" and subject in ("tree", "bush")
        else ""
    )
    variants = [_stamp(prefix + subject, int(rng.integers(5)), side) for _ in range(2 if count > 2 else 1)]
    variants = [_tinted(v, air, band.far, hour) for v in variants]
    amount = 1 if count == 1 else max(1, round(count * min(2.0, max(0.4, width / height)) ** 0.7))
    floating = subject in ("fish", "floating island")
    places = (np.arange(amount) + rng.uniform(0.1, 0.9, amount)) / amount * width
    for x in rng.permutation(places):
        stamp = variants[int(rng.integers(len(variants)))]
        scale = rng.uniform(0.72, 1.08) if count > 1 else 1.0
        half = max(4, int(side * scale))
        small = np.asarray(cv2.resize(stamp, (half, half), interpolation=cv2.INTER_AREA), dtype=np.float32)
        if rng.random() < 0.5:
            small = np.ascontiguousarray(small[:, ::-1])
        base = (
            rng.uniform(0.2, 0.75) * height
            if floating
            else float(ground[int(x) % width]) + 0.035 * small.shape[0] + 2
        )
        if band.shape in ("sea", "waves"):
            base += rng.uniform(0.02, 0.08) * height
        _paste(canvas, small, float(x), base)


def _tinted(stamp: FloatArray, air: Ink, far: float, hour: str) -> FloatArray:
    """In the light of the hour, and seen through air."""
    dim = {"night": (0.42, 0.48, 0.68), "sunset": (0.92, 0.74, 0.72), "dawn": (1.0, 0.92, 0.94)}.get(
        hour, (1.0, 1.0, 1.0)
    )
    mix = np.zeros((4, 4), np.float32)
    mix[3, 3] = 1
    for row, (tint, haze) in enumerate(zip(dim, rgb_of(air), strict=True)):
        mix[row, row], mix[row, 3] = tint * (1 - far * 0.85), haze * far * 0.85
    return np.asarray(cv2.transform(stamp, mix), dtype=np.float32)


def _paste(canvas: FloatArray, stamp: FloatArray, x: float, base: float) -> None:
    """Sets a stamp with its foot's middle at (x, base), around the seam."""
    rows = np.nonzero(stamp[..., 3].max(axis=1) > 0.02)[0]
    if len(rows) == 0:
        return
    stamp = stamp[rows[0] : rows[-1] + 1]
    height, width = canvas.shape[:2]
    top = int(base) - stamp.shape[0]
    cut = max(0, -top)
    stamp = stamp[cut : cut + max(0, height - max(0, top))]
    if stamp.shape[0] == 0:
        return
    top = max(0, top)
    left = (int(x) - stamp.shape[1] // 2) % width
    done = 0
    while done < stamp.shape[1]:
        span = min(stamp.shape[1] - done, width - left)
        piece = stamp[:, done : done + span]
        roi = canvas[top : top + piece.shape[0], left : left + span]
        clear = 1 - piece[..., 3]
        roi[:] = cv2.add(cv2.multiply(roi, cv2.merge([clear] * 4)), piece)
        done, left = done + span, 0


def behind(wish: Wish, key: tuple[object, ...], figure_canvas: FloatArray) -> FloatArray:
    """The figure before its scene, which is softened and lightened so that the figure stands out."""
    height, width = figure_canvas.shape[:2]
    flat = flattened(layers(wish, key, max(32, height // 2), max(32, width // 2)))
    scene = cv2.resize(
        cv2.GaussianBlur(flat, (0, 0), max(0.6, min(height, width) / 640)),
        (width, height),
        interpolation=cv2.INTER_LINEAR,
    )
    ground = scene.astype(np.float32) / 255
    ground[..., :3] = ground[..., :3] * np.float32(0.86) + np.float32(0.1)
    halo = cv2.GaussianBlur(
        cv2.resize(figure_canvas[..., 3], (width // 4, height // 4)),
        (0, 0),
        max(1.0, min(height, width) / 120),
    )
    shadow = np.roll(cv2.resize(halo, (width, height)), height // 60, axis=0)[..., None]
    ground[..., :3] *= 1 - shadow * np.float32(0.35)
    ground[..., 3] = 1
    return np.asarray(figure_canvas + ground * (1 - figure_canvas[..., 3:]), dtype=np.float32)
