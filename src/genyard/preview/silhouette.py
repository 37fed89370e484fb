"""img2img without a model: lights and colours the silhouette it is given, or restyles a full picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from genyard.errors import Code, GenyardError
from genyard.preview import faces, styles
from genyard.preview import mark as marks
from genyard.preview.drawing import Drawing
from genyard.preview.figures import dice
from genyard.preview.look import Look, hue_ink
from genyard.preview.paint import Patch, Pen, new_pen, pixels_of
from genyard.preview.palette import ByteArray, FloatArray, Ink, ink, ramp, srgb_to_oklab
from genyard.preview.understanding import Wish, read

#: What a silhouette is made of when the prompt names neither colour nor material: subject or kind -> inks.
_INKS: Final[dict[str, tuple[Ink, ...]]] = {
    **dict.fromkeys(
        ("sword", "dagger", "axe", "spear", "helmet", "gear", "hammer"), (ink(0.76, 0.02, 250, "metal"),)
    ),
    **dict.fromkeys(("coin", "crown", "key", "trophy", "ring"), (ink(0.8, 0.15, 84, "gold"),)),
    **dict.fromkeys(
        ("gem", "crystal", "orb", "potion"),
        (hue_ink(305, material="crystal"), hue_ink(262, material="crystal")),
    ),
    **dict.fromkeys(("tree", "bush", "pine", "plant monster"), (ink(0.6, 0.15, 138, "leaf"),)),
    **dict.fromkeys(
        ("rock", "golem", "castle", "tower", "pillar", "grave"), (ink(0.58, 0.03, 250, "stone"),)
    ),
    **dict.fromkeys(
        ("chest", "crate", "barrel", "bow", "staff", "sign", "fence"), (ink(0.52, 0.09, 58, "wood"),)
    ),
    **dict.fromkeys(("slime", "ghost"), (hue_ink(142, material="slime"),)),
    **dict.fromkeys(
        ("dragon", "snake", "fish", "dinosaur"), tuple(hue_ink(h, material="scales") for h in (27, 145, 262))
    ),
    "heart": (ink(0.6, 0.22, 22, "shell"),),
    "creature": tuple(hue_ink(h, material="fur") for h in (55, 305, 190, 145)),
    "character": tuple(hue_ink(h, light=0.52, chroma=0.15, material="cloth") for h in (262, 27, 145, 300)),
}
_LIVING: Final = ("character", "creature")
_MIN_COVER: Final = 0.004


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """cover: coverage 0..1 (H, W); plain: one colour inside; by_alpha: the input had transparency."""

    cover: FloatArray
    plain: bool
    by_alpha: bool


def shade(
    silhouette: ByteArray,
    prompt: str,
    *,
    seed: int,
    strength: float = 0.95,
    index: int = 0,
    negative_prompt: str = "",
    mark: bool = True,
) -> Drawing:
    """The input's size and alpha, newly lit. `silhouette` is uint8 (H, W, 3 or 4).

    A figure is found by alpha, or by its difference from the border's colour; what lies outside stays as it
    is. Without a figure the whole picture is restyled. `strength` 0 keeps the input, 1 replaces it.
    Raises `media.invalid` for another shape of array.
    """
    rgba = _as_rgba(silhouette)
    wish = read(prompt, negative_prompt)
    key = (prompt, seed, index)
    found = find_figure(rgba)
    if found is None:
        shaded = _restyled(rgba, wish, key)
    elif "pixel" in wish.styles:
        shaded = _as_pixel_art(_shaded(rgba, found, wish, key), found)
    else:
        shaded = _shaded(rgba, found, wish, key)
    power = np.float32(np.clip(strength * 1.06, 0, 1))
    cover = np.full(rgba.shape[:2], power) if found is None else found.cover * power
    rgb = rgba[..., :3] + (shaded - rgba[..., :3]) * cover[..., None]
    pixels = np.ascontiguousarray(np.dstack([np.clip(rgb + 0.5, 0, 255).astype(np.uint8), rgba[..., 3]]))
    if mark:
        marks.stamp(pixels)
    return Drawing(pixels=pixels, subject=wish.subject, understood=wish.understood, ignored=wish.ignored)


def _as_rgba(image: ByteArray) -> ByteArray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4):
        raise GenyardError(Code.media_invalid, f"not an RGB or RGBA picture: {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    if min(height, width) < 8:
        raise GenyardError(
            Code.media_invalid,
            f"the picture is {width} × {height} pixels; at least 8 × 8 are needed",
            field="inputs.image",
        )
    if image.shape[2] == 4:
        return image
    return np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])


def find_figure(rgba: ByteArray) -> _Figure | None:
    """The figure of a picture: by alpha, else by its difference from a calm border; None for a full picture."""
    alpha = rgba[..., 3]
    if float((alpha < 128).mean()) > 0.02:
        cover = alpha.astype(np.float32) * np.float32(1 / 255)
        return _checked(rgba, cover, by_alpha=True)
    lab = srgb_to_oklab(rgba[..., :3])
    band = max(1, min(alpha.shape) // 64)
    border = np.concatenate(
        [
            lab[:band].reshape(-1, 3),
            lab[-band:].reshape(-1, 3),
            lab[:, :band].reshape(-1, 3),
            lab[:, -band:].reshape(-1, 3),
        ]
    )
    ground = np.median(border, axis=0)
    if float((np.linalg.norm(border - ground, axis=1) > 0.1).mean()) > 0.25:
        return None
    away = np.linalg.norm(lab - ground, axis=2)
    far = float(np.percentile(away, 99.5))
    if far < 0.08:
        return None
    cover = np.clip((away / min(far, 0.45) - 0.18) / 0.5, 0, 1).astype(np.float32)
    return _checked(rgba, cover, by_alpha=False)


def _checked(rgba: ByteArray, cover: FloatArray, *, by_alpha: bool) -> _Figure | None:
    share = float(cover.mean())
    if share < _MIN_COVER or (share > 0.97 and not by_alpha):
        return None
    inside = rgba[..., :3][cover > 0.9]
    if len(inside) == 0:
        return None
    lab = srgb_to_oklab(inside[:: max(1, len(inside) // 4000)])
    return _Figure(cover=cover, plain=float(lab.std(axis=0).max()) < 0.07, by_alpha=by_alpha)


def _shaded(rgba: ByteArray, found: _Figure, wish: Wish, key: tuple[object, ...]) -> FloatArray:
    """RGB 0..255 float of the lit figure; meaningless outside it."""
    look = Look(wish=wish, rng=dice(*key))
    height, width = found.cover.shape
    rows, columns = np.nonzero(found.cover.max(axis=1) > 0.5)[0], np.nonzero(found.cover.max(axis=0) > 0.5)[0]
    unit = 0.5 * max(float(rows[-1] - rows[0]), float(columns[-1] - columns[0]), 8.0)
    pen = new_pen(
        height,
        width,
        unit=unit,
        x=float(columns.mean()),
        y=float(rows.mean()),
        style=styles.style_of(wish),
        seed=int(look.rng.integers(512)),
    )
    colour = look.main(*_default_inks(wish))
    mask = (found.cover * 255).astype(np.uint8)
    body = pen.lay(0, 0, mask, colour, shadow=0, line=0, puff=0.95)
    if found.plain:
        _parts(pen, look, colour, mask, body)
    else:
        _own_colours(pen, rgba, wish, colour, body)
    _inner_line(pen, mask)
    if wish.kind in _LIVING and found.plain:
        _eyes(pen, look, mask)
    return np.asarray(pixels_of(styles.tinted(pen.canvas, wish.styles))[..., :3], dtype=np.float32)


def _default_inks(wish: Wish) -> tuple[Ink, ...]:
    fallback = tuple(hue_ink(h, light=0.6) for h in (262, 27, 145, 305, 60))
    return _INKS.get(wish.subject) or _INKS.get(wish.kind) or fallback


def _parts(pen: Pen, look: Look, colour: Ink, mask: ByteArray, body: Patch) -> None:
    """Tells the thick trunk from thin limbs, gives them tints of their own, and lightens a belly."""
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
    deepest = float(depth.max())
    core = (depth > 0.46 * deepest).astype(np.uint8)
    trunk = (cv2.distanceTransform(1 - core, cv2.DIST_L2, 5) < 0.5 * deepest).astype(np.float32)
    limbs = (1 - cv2.GaussianBlur(trunk, (0, 0), max(1.0, deepest * 0.05))) * 255
    tip = look.wish.second(colour.turned(look.pick((-26, 26))).darker(0.05))
    pen.recolour(0, 0, limbs.astype(np.uint8), tip, on=body, alpha=0.8)
    if look.wish.kind == "character":
        _dress(pen, look, mask, body)
    if look.wish.kind != "creature":
        return
    _, _, _, centre = cv2.minMaxLoc(depth)
    belly = np.zeros_like(mask)
    cv2.ellipse(
        belly,
        (int(centre[0]), int(centre[1] + deepest * 0.35)),
        (int(deepest * 0.55), int(deepest * 0.75)),
        0,
        0,
        360,
        (255,),
        -1,
        cv2.LINE_AA,
    )
    soft = cv2.GaussianBlur(belly, (0, 0), max(1.0, deepest * 0.08))
    pen.recolour(
        0,
        0,
        np.asarray(soft, dtype=np.uint8),
        look.wish.colour("belly", colour.lighter(0.16).turned(14)),
        on=body,
        alpha=0.75,
    )


def _own_colours(pen: Pen, rgba: ByteArray, wish: Wish, colour: Ink, body: Patch) -> None:
    """A coloured figure keeps its colours under the new light; a named colour takes over most of the hue."""
    tone = np.clip(body.tone, 0, 1)
    neutral = ramp(ink(0.62, 0.0, 0))[:, :3]
    relief = 0.4 + 0.6 * neutral[(tone * 255).astype(np.uint8)] / neutral[148]
    own = rgba[..., :3].astype(np.float32) / 255
    lit = np.clip(own * relief, 0, 1)
    if wish.coloured(wish.subject):
        inner = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        step = np.clip(0.75 * inner + 0.45 * tone, 0, 1)
        lit = lit * 0.2 + ramp(colour)[(step * 255).astype(np.uint8)][..., :3] * 0.8
    pen.canvas[..., :3] = lit * pen.canvas[..., 3:]


def _inner_line(pen: Pen, mask: ByteArray) -> None:
    """A dark line just inside the silhouette, because nothing may be drawn outside it."""
    if pen.style.line <= 0:
        return
    width = max(1.2, 0.014 * pen.unit)
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
    line = np.clip(1.5 - depth / width, 0, 1) * 0.82
    pen.canvas[..., :3] *= (1 - line)[..., None].astype(np.float32)


def _head(mask: ByteArray) -> tuple[float, float, float]:
    """(x, y, radius) in pixels of where a head would be: a deep place as high up as possible."""
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
    rows = np.nonzero(mask.max(axis=1) > 127)[0]
    climb = (np.arange(mask.shape[0], dtype=np.float32) - rows[0]) / max(1, rows[-1] - rows[0])
    score = depth / float(depth.max()) - 1.1 * climb[:, None]
    score[depth < 0.22 * float(depth.max())] = -9
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    return float(x), float(y), float(depth[y, x])


def _dress(pen: Pen, look: Look, mask: ByteArray, body: Patch) -> None:
    """A person's silhouette: skin and hair on the head, boots."""
    x, y, radius = _head(mask)
    rows = np.nonzero(mask.max(axis=1) > 127)[0]
    tall = float(rows[-1] - rows[0])
    zone = np.zeros_like(mask)
    cv2.circle(zone, (round(x), round(y)), round(radius * 1.12), (255,), -1, cv2.LINE_AA)
    pen.recolour(0, 0, zone, look.wish.colour("skin", ink(0.82, 0.07, 60, "skin")), on=body)
    if not look.wish.has("hood", "hat") and look.wish.subject not in ("robot", "skeleton", "ninja"):
        hair = zone.copy()
        cv2.circle(hair, (round(x), round(y + radius * 0.62)), round(radius * 1.02), (0,), -1, cv2.LINE_AA)
        pen.recolour(0, 0, hair, look.wish.colour("hair", ink(0.36, 0.06, 45)), on=body)
    leather = ink(0.42, 0.08, 48, "leather")
    boots = np.zeros_like(mask)
    boots[round(rows[0] + tall * 0.9) :] = 255
    pen.recolour(0, 0, boots, leather, on=body)


def _eyes(pen: Pen, look: Look, mask: ByteArray) -> None:
    x, y, deep = _head(mask)
    radius = deep / pen.unit
    at_x, at_y = ((np.array([x, y]) - pen.matrix[:2, 2]) / pen.unit).tolist()
    size = min(0.26 * radius, 0.14)
    iris = look.wish.colour(
        "eyes",
        look.pick((ink(0.75, 0.17, 85, "eye"), ink(0.6, 0.16, 145, "eye"), ink(0.55, 0.16, 250, "eye"))),
    )
    reptile = look.wish.subject in ("dragon", "snake", "dinosaur")
    mood = "angry" if reptile and look.mood() == "calm" and "cute" not in look.wish.styles else look.mood()
    faces.eyes(pen, at_x, at_y, radius * 0.4, size, iris, mood=mood, slit=reptile)
    smile = faces.arc_line(at_x, at_y + radius * 0.34, radius * 0.26, 25, 155)
    pen.stroke(smile, faces.DARK, radius * 0.06)


def _as_pixel_art(rgb: FloatArray, found: _Figure) -> FloatArray:
    rows, columns, cell = styles.grid_of(*found.cover.shape)
    canvas = np.dstack([rgb / 255 * found.cover[..., None], found.cover]).astype(np.float32)
    small = styles.pixelated(canvas, rows, columns, outline=False)
    return np.asarray(styles.enlarged(small, cell, *found.cover.shape)[..., :3], dtype=np.float32)


_GRADES: Final[dict[str, tuple[tuple[float, float, float], float]]] = {
    "night": ((0.62, 0.72, 1.0), 0.62), "sunset": ((1.08, 0.86, 0.72), 0.95), "dawn": ((1.05, 0.93, 0.92),
        1.02), "day": ((1.02, 1.01, 0.97), 1.05),
}  # fmt: skip


def _restyled(rgba: ByteArray, wish: Wish, key: tuple[object, ...]) -> FloatArray:
    """A full picture, painted over: smoothed areas, firm edges, the prompt's colours and time of day."""
    height, width = rgba.shape[:2]
    scale = min(1.0, 640 / max(height, width))
    small = cv2.resize(
        rgba[..., :3],
        (max(8, round(width * scale)), max(8, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )
    for _ in range(2):
        small = cv2.bilateralFilter(small, 7, 42, 5)
    if "pixel" in wish.styles:
        rows, columns, cell = styles.grid_of(height, width)
        tiny = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
        tiny = styles.quantised(np.asarray(tiny, np.uint8), np.ones((rows, columns), np.float32), 32)
        return np.asarray(styles.enlarged(tiny, cell, height, width), dtype=np.float32)
    painted = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.clip(
        (cv2.GaussianBlur(grey, (0, 0), 2.2) - cv2.GaussianBlur(grey, (0, 0), 0.8)) / 18 - 0.12, 0, 0.6
    )
    painted *= 1 - cv2.resize(edges, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    if wish.coloured(wish.subject):
        colour = wish.main(ink(0.6, 0.1, 250))
        light = cv2.cvtColor(np.clip(painted, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        painted = painted * 0.45 + ramp(colour)[light][..., :3] * 255 * 0.55
    tint, power = _GRADES.get(wish.time or "", ((1.0, 1.0, 1.0), 1.0))
    painted = painted * np.array(tint, np.float32) * np.float32(power)
    canvas = np.dstack([np.clip(painted, 0, 255) / 255, np.ones((height, width), np.float32)]).astype(
        np.float32
    )
    return np.asarray(styles.tinted(canvas, wish.styles)[..., :3] * 255, dtype=np.float32)
