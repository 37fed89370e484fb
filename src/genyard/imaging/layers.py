"""A picture taken apart into layers, back to front, without a model.

    sprite   transparency is there already: the subject is split by colour and place
    subject  a subject can be cut out: filled background behind it, each split further when asked
    bands    flat art: regions of like colour and height, as in a parallax background

Stacked back to front the layers give the picture again. What a layer in front hides is invented behind it
by blurring inwards from the edges (pyramid push-pull), so that layers can be moved a little. Depth is not
understood: a photo beyond two layers is split by colour and height only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.errors import Code, GenyardError
from genyard.imaging import oklab
from genyard.imaging.arrays import RGBA, Floats, Mask, as_uint8, is_opaque, opaque
from genyard.imaging.cutout import cut_out, has_subject_alpha

MOST: Final = 10  #: layers
_SURE: Final = 0.6  # a cut-out below this confidence does not make a subject layer
_REGION_SIDE: Final = 192  # the colours of regions are found at this size
_HEIGHT: Final = 0.22  # what the whole height counts, in Oklab units
_FILL_SIDE: Final = 384  # what is invented is blurred anyway
_ISLAND: Final = 0.003  # of the picture: smaller pieces of a region join what is around them
_REACH: Final = 0.08  # how far a layer continues behind those in front of it, of the longer side

Labels = NDArray[np.int32]  # H×W, 0 = furthest back


class Split(StrEnum):
    whole = "whole"
    sprite = "sprite"
    subject = "subject"
    bands = "bands"


@dataclass(frozen=True, kw_only=True)
class Layers:
    """`pictures` back to front, each H×W×4 of the original's size; `split` says how they were found."""

    pictures: tuple[RGBA, ...]
    split: Split


def split_layers(rgba: RGBA, count: int) -> list[RGBA]:
    """Exactly `count` (1..10) layers, back to front; a layer may be empty where a picture has too little
    in it. Raises request.invalid for another count."""
    return list(take_apart(rgba, count).pictures)


def take_apart(rgba: RGBA, count: int) -> Layers:
    """`split_layers`, with how it was done."""
    if not 1 <= count <= MOST:
        raise GenyardError(
            Code.request_invalid,
            f"{count} layers are not possible; ask for 1 to {MOST}",
            field="parameters.layers",
        )
    if count == 1:
        return Layers(pictures=(rgba,), split=Split.whole)
    if has_subject_alpha(rgba):
        return Layers(pictures=_split_within(rgba, count), split=Split.sprite)
    found = cut_out(rgba)
    if found.confidence >= _SURE and is_opaque(rgba) and not _is_scenery(found.pixels[..., 3]):
        return Layers(pictures=_subject_and_ground(rgba, found.pixels, count), split=Split.subject)
    return Layers(pictures=_split_within(rgba, count), split=Split.bands)


def fill_holes(rgb: NDArray[np.uint8], known: Mask) -> NDArray[np.uint8]:
    """H×W×3 whose pixels outside `known` (255) are invented from those inside: pyramid push-pull."""
    height, width = known.shape
    ratio = min(1.0, _FILL_SIDE / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    weight = cv2.resize((known > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    shown = cv2.resize(cv2.copyTo(rgb, known), size, interpolation=cv2.INTER_AREA)
    colour = np.asarray(shown / np.maximum(weight, 1e-3)[..., None], np.float32)
    filled = as_uint8(_push_pull(colour, (weight > 0.05).astype(np.float32)))
    if size != (width, height):
        filled = np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    filled[known > 0] = rgb[known > 0]
    return filled


# --- subject and background ----------------------------------------------------------------------


def _subject_and_ground(rgba: RGBA, subject: RGBA, count: int) -> tuple[RGBA, ...]:
    kernel = np.ones((9, 9), np.uint8)
    hidden = cv2.dilate(np.where(subject[..., 3] > 0, 255, 0).astype(np.uint8), kernel)
    ground = opaque(fill_holes(rgba[..., :3], np.asarray(255 - hidden, np.uint8)))
    clear = subject[..., 3] == 0
    ground[clear] = rgba[clear]
    subject = _recoloured(rgba, ground, subject[..., 3])
    behind = 1 if count == 2 or _is_plain(ground) else count // 2
    grounds = (ground,) if behind == 1 else _split_within(ground, behind)
    fronts = (subject,) if count - behind == 1 else _split_within(subject, count - behind)
    return (*grounds, *fronts)


def _is_scenery(alpha: Mask) -> bool:
    """Hills reach from the left side to the right one; a subject does not."""
    return bool((alpha[:, 0] > 127).mean() > 0.02 and (alpha[:, -1] > 127).mean() > 0.02)


def _recoloured(picture: RGBA, ground: RGBA, alpha: Mask) -> RGBA:
    """The colour that over `ground` gives exactly `picture`; alpha grows where no colour could."""
    wanted, behind = picture[..., :3].astype(np.float32), ground[..., :3].astype(np.float32)
    difference = wanted - behind
    room = np.where(difference > 0, 255 - behind, behind)
    needed = (np.abs(difference) / np.maximum(room, 1e-3)).max(axis=2)
    share = np.where(alpha > 0, np.maximum(alpha / np.float32(255), np.ceil(needed * 255) / 255), 0)
    share = np.minimum(share, 1)[..., None]
    colour = behind + difference / np.maximum(share, 1e-3)
    return np.dstack([as_uint8(colour * (share > 0)), as_uint8(share * 255)])


def _is_plain(ground: RGBA) -> bool:
    """A ground that is not worth splitting: one colour, or a smooth run."""
    small = cv2.resize(ground[..., :3], (48, 48), interpolation=cv2.INTER_AREA)
    return float(oklab.from_rgb(np.asarray(small, np.uint8)).std(axis=(0, 1)).max()) < 0.03


# --- regions -------------------------------------------------------------------------------------


def _split_within(rgba: RGBA, count: int) -> tuple[RGBA, ...]:
    """By colour and height within what is visible; alpha is kept, each pixel's colour is on its own layer."""
    labels = _regions(rgba, count)
    return tuple(_layer(rgba, labels, index) for index in range(count))


def _layer(rgba: RGBA, labels: Labels, index: int) -> RGBA:
    """Region `index`, continued behind the regions in front of it (the furthest one everywhere)."""
    own = np.where((labels == index) & (rgba[..., 3] > 0), 255, 0).astype(np.uint8)
    if not own.any():
        return np.zeros_like(rgba)
    # Continued only behind solid pixels: two half transparent ones would not stack to the original.
    covered = (labels > index) & (rgba[..., 3] == 255)
    if index:
        reach = max(2, round(_REACH * max(own.shape)))
        covered &= cv2.distanceTransform(255 - own, cv2.DIST_L2, 3) < reach
    # Colours at the rim are mixed with the neighbour's: what is hidden is invented from further inside.
    rim = max(5, max(own.shape) // 90 | 1)
    inner = cv2.erode(np.where(rgba[..., 3] > 250, own, 0).astype(np.uint8), np.ones((rim, rim), np.uint8))
    invented = fill_holes(rgba[..., :3], np.asarray(inner if inner.any() else own, np.uint8))
    behind = np.where(covered, 255, 0).astype(np.uint8)
    picture = cv2.copyTo(opaque(invented), behind)
    return np.asarray(cv2.copyTo(rgba, own, picture), np.uint8)


def _regions(rgba: RGBA, count: int) -> Labels:
    """k-means of colour and height, smoothed, ordered back to front -> H×W labels 0..count-1."""
    height, width = rgba.shape[:2]
    ratio = min(1.0, _REGION_SIDE / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    visible = small[..., 3] > 127
    if not visible.any():
        return np.zeros((height, width), np.int32)
    features = _features(np.asarray(small[..., :3], np.uint8))
    _, centres = oklab.cluster(features[visible], count)
    ranks = _back_to_front(features, visible, centres)
    calm = np.asarray(cv2.medianBlur(np.ascontiguousarray(rgba[..., :3]), 5), np.uint8)
    labels = ranks[oklab.nearest(_features(calm).reshape(-1, 4), centres)].reshape(height, width)
    return _smoothed(labels, len(centres))


def _features(rgb: NDArray[np.uint8]) -> Floats:
    """H×W×4: Oklab and height, so that a sky is not a lake."""
    rows = np.linspace(0, _HEIGHT, rgb.shape[0], dtype=np.float32)
    return np.dstack([oklab.from_rgb(rgb), np.broadcast_to(rows[:, None], rgb.shape[:2])])


def _back_to_front(features: Floats, visible: NDArray[np.bool_], centres: Floats) -> NDArray[np.int32]:
    """The rank of each centre: first what fills the top edge (else the largest), the others by height."""
    labels = np.where(visible, oklab.nearest(features.reshape(-1, 4), centres).reshape(visible.shape), -1)
    top = labels[: max(1, len(labels) // 24)]
    sky = top[top >= 0] if visible.all() else labels[visible]
    first = int(np.bincount(sky, minlength=len(centres)).argmax())
    lowest = np.array([_lowest(labels, index) for index in range(len(centres))])
    lowest[first] = -1
    ranks = np.empty(len(centres), np.int32)
    ranks[np.argsort(lowest, kind="stable")] = np.arange(len(centres))
    return ranks


def _lowest(labels: NDArray[np.int32], index: int) -> float:
    rows = np.nonzero(labels == index)[0]
    return float(rows.mean()) if len(rows) else float(len(labels))


def _smoothed(labels: Labels, count: int) -> Labels:
    """Each pixel takes the label of the majority around it; islands join what surrounds them."""
    side = max(3, max(labels.shape) // 128 | 1)
    calm = _majority(labels, count, side)
    large = np.full_like(calm, -1)
    for index in range(count):
        own = (calm == index).astype(np.uint8)
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(own, connectivity=4)
        keep = stats[:, cv2.CC_STAT_AREA] >= max(4, _ISLAND * calm.size)
        keep[0] = False
        large[keep[pieces]] = index
    while (large < 0).any() and (large >= 0).any():
        side = side * 2 + 1
        large = np.where(large < 0, _majority(large, count, side), large)
    return np.where(large < 0, calm, large)


def _majority(labels: Labels, count: int, side: int) -> Labels:
    """The most frequent label (0..count-1) in a square window; -1 where there is none."""
    most = np.zeros(labels.shape, np.float32)
    winner = np.full(labels.shape, -1, np.int32)
    for index in range(count):
        votes = cv2.blur((labels == index).astype(np.float32), (side, side))
        ahead = votes > most + 1e-5
        winner[ahead], most[ahead] = index, votes[ahead]
    return winner


# --- filling -------------------------------------------------------------------------------------


def _push_pull(colour: Floats, weight: Floats) -> Floats:
    """Averages of what is known go down a pyramid until nothing is missing, then come up into the holes."""
    height, width = weight.shape
    if min(height, width) <= 2 or bool((weight > 0).all()):
        total = max(float(weight.sum()), 1e-6)
        mean = (colour * weight[..., None]).sum(axis=(0, 1)) / total
        return np.asarray(np.where(weight[..., None] > 0, colour, mean), np.float32)
    size = ((width + 1) // 2, (height + 1) // 2)
    amount = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    total_colour = cv2.resize(colour * weight[..., None], size, interpolation=cv2.INTER_AREA)
    mean_colour = total_colour / np.maximum(amount, 1e-6)[..., None]
    below = _push_pull(np.asarray(mean_colour, np.float32), (amount > 0).astype(np.float32))
    above = cv2.GaussianBlur(cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 1)
    return np.asarray(np.where(weight[..., None] > 0, colour, above), np.float32)
