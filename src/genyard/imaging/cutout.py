"""Background removal without a model: the subject on transparency, with how sure that is.

Methods are tried from the safest to the boldest, and each proposal is judged by the picture itself (does
its outline follow edges, does it leave the border, is its size plausible):

    alpha     the picture already has transparency: kept
    flat      the border has one colour: what is connected to it and alike is background
    gradient  the same against a smooth surface fitted to the border
    flood     neighbour by neighbour from the border, in small steps
    grabcut   colour statistics; used only where nothing simpler holds
    none      nothing holds: the picture unchanged, confidence 0

No weights and no semantics: a subject that looks like its background is not found; the confidence says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.imaging.arrays import RGB, RGBA, Floats, Mask, as_uint8, flatten

ENOUGH: Final = 0.75  #: a proposal with this confidence ends the search
USABLE: Final = 0.52  #: below this the picture is returned unchanged
_WORK_SIDE: Final = 1536  # masks are found at this size at most; edges are always solved at full size
_TOLERANCE: Final = 14.0  # Lab, 0..255 scale
_STEP: Final = 2  # flood: largest step between neighbours, Lab
_BAND: Final = 3  # pixels on either side of the outline that may be half transparent


class Method(StrEnum):
    alpha = "alpha"
    flat = "flat"
    gradient = "gradient"
    flood = "flood"
    grabcut = "grabcut"
    none = "none"


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """`pixels` H×W×4; `confidence` 0..1 by the judgement above; 1 for alpha that was there before."""

    pixels: RGBA
    confidence: float
    method: Method


def cut_out(rgba: RGBA) -> Cutout:
    """The subject with soft edges whose colour is free of the background. Never raises."""
    if has_subject_alpha(rgba):
        return Cutout(pixels=rgba, confidence=1.0, method=Method.alpha)
    rgb = flatten(rgba)
    mask, confidence, method = _best_mask(rgb)
    if confidence < USABLE:
        return Cutout(pixels=rgba, confidence=0.0, method=Method.none)
    return Cutout(pixels=soften(rgb, mask), confidence=confidence, method=method)


def has_subject_alpha(rgba: RGBA) -> bool:
    """Whether transparency already separates something: at least 1 % clear and 0.1 % solid."""
    clear = float((rgba[..., 3] < 16).mean())
    solid = float((rgba[..., 3] > 239).mean())
    return clear >= 0.01 and solid >= 0.001


# --- proposals -----------------------------------------------------------------------------------


def _best_mask(rgb: RGB) -> tuple[Mask, float, Method]:
    small = _shrunk(rgb)
    lab: Floats = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    best: tuple[float, Method, Mask] = (0.0, Method.none, np.zeros(small.shape[:2], np.uint8))
    for method, propose in _proposals(small, lab):
        mask = _without_specks(propose())
        confidence = _judge(lab, mask) * _distinctness(small, mask)
        if confidence > best[0]:
            best = (confidence, method, mask)
        if confidence >= ENOUGH:
            break
    confidence, method, mask = best
    if mask.shape != rgb.shape[:2]:
        grown = cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        mask = np.where(grown > 127, 255, 0).astype(np.uint8)
    return mask, round(confidence, 3), method


def _proposals(rgb: RGB, lab: Floats) -> Iterator[tuple[Method, Callable[[], Mask]]]:
    yield Method.flat, lambda: _unlike(lab, _border_model(lab, 0))
    gradient = _border_model(lab, 2)
    yield Method.gradient, lambda: _unlike(lab, gradient)
    yield Method.flood, lambda: _flooded(lab, gradient)
    yield Method.grabcut, lambda: _grab(rgb, lab, gradient)


def _shrunk(rgb: RGB) -> RGB:
    height, width = rgb.shape[:2]
    ratio = _WORK_SIDE / max(height, width)
    if ratio >= 1:
        return rgb
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    ring = np.ones(shape[:2], np.bool_)
    ring[2:-2, 2:-2] = False
    return ring


def _border_model(lab: Floats, degree: int) -> Floats:
    """A polynomial surface through the border's colours -> H×W×3; a subject that reaches the border is
    left out by fitting again without the worst."""
    height, width = lab.shape[:2]
    rows, columns = np.nonzero(_border(lab.shape))
    points = _terms(columns / max(width - 1, 1), rows / max(height - 1, 1), degree)
    colours = lab[rows, columns]
    keep = np.linalg.norm(colours - np.median(colours, axis=0), axis=1) < (40 if degree else 25)
    weights = np.zeros((points.shape[1], 3), np.float32)
    weights[0] = np.median(colours, axis=0)
    for _ in range(4):
        if keep.sum() < 8 * len(weights):
            break
        weights = np.linalg.lstsq(points[keep], colours[keep], rcond=None)[0].astype(np.float32)
        error = np.linalg.norm(colours - points @ weights, axis=1)
        keep = error < max(6.0, 2.5 * float(np.median(error[keep])))
    ys, xs = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][
        :, :: max(1, height // 64), :: max(1, width // 64)
    ]
    coarse = (_terms(xs.ravel(), ys.ravel(), degree) @ weights).reshape(*xs.shape, 3)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _terms(x: NDArray[np.float64], y: NDArray[np.float64], degree: int) -> Floats:
    """N positions 0..1 -> N×1 (constant) or N×6 (quadratic)."""
    terms = [np.ones_like(x)]
    if degree:
        terms += [x, y, x * y, x * x, y * y]
    return np.stack(terms, axis=-1).astype(np.float32)


def _unlike(lab: Floats, model: Floats) -> Mask:
    """Foreground = what is not both alike to the model and connected to the border."""
    distance = _distance(lab, model)
    ring = _border(lab.shape)
    spread = float(np.percentile(distance[ring], 60))
    alike = (distance < np.clip(3 * spread + 4, 8, 2 * _TOLERANCE)).astype(np.uint8)
    count, labels = cv2.connectedComponents(alike, connectivity=4)
    outside = np.zeros(count, np.bool_)
    outside[np.unique(labels[ring])] = True
    outside |= _windows(labels, count, distance, float(np.median(model[..., 0])))
    outside[0] = False
    return np.where(outside[labels], 0, 255).astype(np.uint8)


def _windows(labels: NDArray[np.int32], count: int, distance: Floats, lightness: float) -> NDArray[np.bool_]:
    """Enclosed places that show the background, as inside a ring.

    On white or black ground a white belly or a black mouth looks the same, so there a window must match
    exactly and be free of islands (an eye has a pupil).
    """
    area = np.bincount(labels.ravel(), minlength=count)
    mean = np.bincount(labels.ravel(), distance.ravel(), minlength=count) / np.maximum(area, 1)
    if 25 < lightness < 235:
        return np.asarray((area > 0.001 * labels.size) & (mean < _TOLERANCE / 2), np.bool_)
    found = (area > 0.002 * labels.size) & (mean < 1.5)
    for index in np.flatnonzero(found):
        region = (labels == index).astype(np.uint8)
        contours, _ = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        found[index] = len(contours) == 1
    return np.asarray(found, np.bool_)


def _distance(lab: Floats, model: Floats) -> Floats:
    difference = cv2.absdiff(lab, model)
    return np.asarray(
        cv2.sqrt(cv2.transform(cv2.multiply(difference, difference), np.ones((1, 3)))), np.float32
    )


def _flooded(lab: Floats, model: Floats) -> Mask:
    """Foreground = what small steps from the border's background pixels do not reach."""
    height, width = lab.shape[:2]
    smooth = cv2.medianBlur(as_uint8(lab), 3)
    filled = np.zeros((height + 2, width + 2), np.uint8)
    near = _distance(lab, model) < 2 * _TOLERANCE
    pace = max(1, (height + width) // 256)
    seeds = [(x, y) for x in range(0, width, pace) for y in (0, height - 1)]
    seeds += [(x, y) for y in range(0, height, pace) for x in (0, width - 1)]
    step = (_STEP,) * 3
    for x, y in seeds:
        if near[y, x] and not filled[y + 1, x + 1]:
            cv2.floodFill(smooth, filled, (x, y), 0, step, step, 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8))
    kernel = np.ones((3, 3), np.uint8)
    background = cv2.morphologyEx(filled[1:-1, 1:-1], cv2.MORPH_CLOSE, kernel)
    return np.where(background > 0, 0, 255).astype(np.uint8)


def _grab(rgb: RGB, lab: Floats, model: Floats) -> Mask:
    """GrabCut on a small copy: the border's background pixels are sure, the middle is likely subject."""
    height, width = rgb.shape[:2]
    ratio = min(1.0, 224 / max(height, width))
    size = (max(8, round(width * ratio)), max(8, round(height * ratio)))
    small = cv2.GaussianBlur(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), (0, 0), 0.8)
    # On areas of exactly one colour its minimal cut takes minutes; a grain of two levels prevents that.
    grain = np.random.default_rng(7).normal(0, 2, small.shape)
    small = as_uint8(small + grain)
    guess = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    inset_y, inset_x = size[1] // 8, size[0] // 8
    guess[inset_y : size[1] - inset_y // 4, inset_x : size[0] - inset_x] = cv2.GC_PR_FGD
    near = cv2.resize(_distance(lab, model), size, interpolation=cv2.INTER_AREA)
    border = _border(small.shape)
    if (near[border] < 2 * _TOLERANCE).mean() > 0.7:  # the border is known: what is unlike it belongs inside
        guess[near > 3 * _TOLERANCE] = cv2.GC_PR_FGD
    guess[border & (near < 2 * _TOLERANCE)] = cv2.GC_BGD
    if not (guess == cv2.GC_BGD).any():
        guess[0] = cv2.GC_BGD
    cv2.setRNGSeed(7)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, guess, (0, 0, 1, 1), *models, 3, cv2.GC_INIT_WITH_MASK)
    subject = np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    grown = cv2.resize(cv2.GaussianBlur(subject, (0, 0), 1), (width, height), interpolation=cv2.INTER_CUBIC)
    mask = np.where(grown > 0.5, 255, 0).astype(np.uint8)
    return 255 - _without_specks(255 - mask, share=1 / 200)  # small holes are eyes, not windows


def _without_specks(mask: Mask, share: float = 1 / 8000) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= max(12, mask.size * share)
    if count:
        large[0] = False
    return np.where(large[labels], 255, 0).astype(np.uint8)


# --- judgement -----------------------------------------------------------------------------------


def _judge(lab: Floats, mask: Mask) -> float:
    """0..1: share of the outline that lies on a visible edge, times how plausible area and border are."""
    pace = max(1, max(mask.shape) // 512)
    lab, mask = np.ascontiguousarray(lab[::pace, ::pace]), np.ascontiguousarray(mask[::pace, ::pace])
    share = float((mask > 0).mean())
    touching = float((mask[_border(mask.shape)] > 0).mean())
    if not 0.01 <= share <= 0.97 or touching > 0.6:
        return 0.0
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    grown, shrunk = cv2.dilate(mask, kernel), cv2.erode(mask, kernel)
    outline = (grown > 0) & (shrunk == 0)
    outline &= ~cv2.dilate(_border(mask.shape).astype(np.uint8), kernel).astype(np.bool_)
    if not outline.any():
        return 0.0
    inner = _field(lab, (mask > 0).astype(np.float32), 3)
    outer = _field(lab, (mask == 0).astype(np.float32), 3)
    contrast = np.linalg.norm(inner - outer, axis=2)[outline]
    crisp = float(np.clip((contrast - 5) / 10, 0, 1).mean())
    ragged = _raggedness(mask)
    return crisp * float(np.clip(1.5 - ragged, 0.2, 1)) * float(np.clip(1.2 - 2 * touching, 0, 1))


def _raggedness(mask: Mask) -> float:
    """Outline length lost by smoothing, 0 (smooth) … 1 (all of it): a leak frays."""
    smooth = np.where(cv2.GaussianBlur(mask, (0, 0), 3) > 127, 255, 0).astype(np.uint8)
    length, smoothed = (float((cv2.Laplacian(m, cv2.CV_16S) != 0).sum()) for m in (mask, smooth))
    return max(0.0, 1 - smoothed / max(length, 1.0))


def _distinctness(rgb: RGB, mask: Mask) -> float:
    """1 when subject and background share no colour, towards 0 when they are made of the same ones."""
    histograms = []
    for side in (mask, 255 - mask):
        counted = cv2.calcHist([rgb], [0, 1, 2], side, [8, 8, 8], [0, 256] * 3)
        histograms.append(cv2.GaussianBlur(counted.reshape(64, 8), (3, 3), 0).ravel() / max(counted.sum(), 1))
    shared = float(np.minimum(*histograms).sum())
    return float(np.clip(1.3 - 1.5 * shared, 0, 1))


# --- soft edges ----------------------------------------------------------------------------------


def soften(rgb: RGB, mask: Mask) -> RGBA:
    """A hard mask -> RGBA whose edge band has solved alpha and pure foreground colour.

    In the band a pixel is C = αF + (1-α)B with F and B blurred from what is surely inside and outside.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _BAND - 1, 2 * _BAND - 1))
    inside, outside = cv2.erode(mask, kernel) > 0, cv2.dilate(mask, kernel) == 0
    band = ~inside & ~outside
    pixels = np.dstack([rgb, mask])
    pixels[mask == 0] = 0
    box = _box_of(band, margin=4 * _BAND)
    if box is not None:
        near = band[box]
        sides = rgb[box], inside[box], outside[box]
        hard = np.asarray(cv2.GaussianBlur(mask[box], (0, 0), 0.8), np.uint8)
        pixels[box][near] = _solved(*sides, hard, near)
    return pixels


def _solved(
    rgb: RGB, inside: NDArray[np.bool_], outside: NDArray[np.bool_], hard: Mask, near: NDArray[np.bool_]
) -> RGBA:
    """The N pixels of the band -> N×4."""
    here: Floats = rgb[near].astype(np.float32)
    front, back = (_mean_colour(rgb, side, near) for side in (inside, outside))
    between = front - back
    length = (between**2).sum(axis=1)
    share = ((here - back) * between).sum(axis=1) / np.maximum(length, 1e-3)
    trusted = (length > 15**2) & (front.sum(axis=1) > 0) & (back.sum(axis=1) > 0)
    # A little is cut off at both ends: noise must not leave a veil outside or pinholes inside.
    alpha = np.where(trusted, np.clip((share - 0.04) / 0.92, 0, 1), hard[near] / 255)[:, None]
    pure = np.clip((here - (1 - alpha) * back) / np.maximum(alpha, 0.25), 0, 255)
    colour = np.where(trusted[:, None] & (alpha < 0.98), 0.5 * pure + 0.5 * front, here)
    return as_uint8(np.hstack([colour * (alpha > 0), alpha * 255]))


def _mean_colour(rgb: RGB, flags: NDArray[np.bool_], near: NDArray[np.bool_]) -> Floats:
    """The mean colour of the flagged pixels around each pixel of the band -> N×3; 0 where there are none."""
    size = (4 * _BAND + 1, 4 * _BAND + 1)
    weight = flags.astype(np.float32)
    total, amount = (cv2.blur(cv2.blur(x, size), size)[near] for x in (rgb * weight[..., None], weight))
    return np.asarray(np.where(amount[:, None] > 1e-5, total / (amount[:, None] + 1e-9), 0), np.float32)


def _field(colour: Floats, weight: Floats, radius: int) -> Floats:
    """The weighted mean colour around each pixel -> H×W×3; 0 where nothing has weight."""
    size = (2 * radius + 1, 2 * radius + 1)
    total = cv2.blur(cv2.blur(colour * weight[..., None], size), size)
    amount = cv2.blur(cv2.blur(weight, size), size)
    return np.asarray(np.where(amount[..., None] > 1e-5, total / (amount[..., None] + 1e-9), 0), np.float32)


def _box_of(flags: NDArray[np.bool_], margin: int) -> tuple[slice, slice] | None:
    rows, columns = np.flatnonzero(flags.any(axis=1)), np.flatnonzero(flags.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(0, rows[0] - margin), rows[-1] + margin + 1),
        slice(max(0, columns[0] - margin), columns[-1] + margin + 1),
    )
