"""A portrait that breathes: a gentle warp of a still photo around the face that is found in it.

The head sways and turns a hint, the chest breathes; nothing blinks or speaks, because that looks wrong
without a model. The motion itself (default, or read from a driving clip) is in `motion`, coding in `video`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.errors import Code, GenyardError
from genyard.imaging.arrays import RGB, RGBA, Floats, fit, flatten
from genyard.imaging.faces import Face, require_face
from genyard.imaging.motion import FPS, Motion, default_motion, motion_of
from genyard.imaging.video import encode_mp4, probe_video, read_frames
from genyard.media import MediaLimits

LONGEST_SIDE: Final = 720  #: pixels of the video
SHORTEST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 60.0
_LOOP_SECONDS: Final = 5.0  # of the default motion
_TRACKED_FPS: Final = 12  # of a driving clip; heads are slow
_ZOOM: Final = 1.03  # hides what a warp pulls in from outside
_STEADY: Final = 24  # grey: what shows behind transparency

Progress = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class Animation:
    """A loop ready to be drawn, played over and over at `FPS` until there are `frames`."""

    picture: RGB
    face: Face
    motion: Motion
    frames: int

    def loop(self) -> Iterator[RGB]:
        """The frames of one loop, H×W×3, drawn as they are asked for."""
        warp = _Warp(self.picture, self.face)
        for pose, breath in zip(self.motion.poses, self.motion.breath, strict=True):
            yield warp.frame(*(float(value) for value in pose), breath=float(breath))


def plan_animation(rgba: RGBA, seconds: float, driving: bytes | Path | None = None) -> Animation:
    """Find the face, and the motion that fills `seconds`.

    The picture is shrunk to a longer side of 720. A driving clip (MP4 or WebM) keeps its tempo: a shorter
    one is repeated, a longer one is cut; where nothing in it can be followed, the default motion is used.
    Raises media.no_face, media.invalid (the clip), request.invalid (seconds).
    """
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise GenyardError(
            Code.request_invalid,
            f"{seconds:g} s is not possible; ask for {SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} s",
            field="parameters.seconds",
        )
    picture = _even(flatten(fit(rgba, LONGEST_SIDE), (_STEADY,) * 3))
    face = require_face(picture)
    wanted = max(2, round(seconds * FPS))
    motion = _driven(driving, wanted) if driving is not None else None
    if motion is None:
        repeats = max(1, round(seconds / _LOOP_SECONDS))
        motion = default_motion(-(-wanted // repeats))  # whole loops, so that a player can loop the video
        wanted = repeats * len(motion.poses)
    return Animation(picture=picture, face=face, motion=motion, frames=wanted)


def animate_photo(
    rgba: RGBA, seconds: float, driving: bytes | Path | None = None, progress: Progress | None = None
) -> Iterator[RGB]:
    """All frames of the animation at `FPS`, H×W×3, drawn one at a time. Raises as `plan_animation`, before
    the first frame; `progress` gets 0..1."""
    plan = plan_animation(rgba, seconds, driving)
    endless = (frame for _ in count() for frame in plan.loop())
    return _counted(islice(endless, plan.frames), plan.frames, progress)


def animate_to_mp4(
    rgba: RGBA,
    seconds: float,
    driving: bytes | Path | None = None,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> bytes:
    """The animation as MP4 with `facts` inside. One loop is drawn and coded, then repeated as it is, so that
    20 s cost little more than 5 s. Raises as `plan_animation`."""
    plan = plan_animation(rgba, seconds, driving)
    frames = _counted(plan.loop(), len(plan.motion.poses), progress)
    return encode_mp4(frames, FPS, facts, total=plan.frames)


def _counted(frames: Iterator[RGB], total: int, progress: Progress | None) -> Iterator[RGB]:
    for number, frame in enumerate(frames, start=1):
        yield frame
        if progress is not None:
            progress(number / total)


def _even(rgb: RGB) -> RGB:
    return np.ascontiguousarray(rgb[: max(2, rgb.shape[0] // 2 * 2), : max(2, rgb.shape[1] // 2 * 2)])


def _driven(driving: bytes | Path, most: int) -> Motion | None:
    info = probe_video(driving, MediaLimits())
    every = max(1, round(info.fps / _TRACKED_FPS))
    return motion_of(read_frames(driving, every=every), info.fps / every, most)


class _Warp:
    """The fields of one portrait, computed once: where the head is, how it is attached, where the chest is.

    A frame is the picture sampled at (x, y) - displacement; coordinates are pixels.
    """

    def __init__(self, picture: RGB, face: Face) -> None:
        height, width = picture.shape[:2]
        self._picture = picture
        self._face = face
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        self._base_x: Floats = ((xs - width / 2) / _ZOOM + width / 2).astype(np.float32)
        self._base_y: Floats = ((ys - height / 2) / _ZOOM + height / 2).astype(np.float32)
        # Everything below is smooth: a quarter of the size is enough.
        coarse = max(1, width // 4), max(1, height // 4)
        xs, ys = (cv2.resize(axis, coarse, interpolation=cv2.INTER_AREA) for axis in (xs, ys))
        cx, cy = face.centre
        u, v = (xs - cx) / face.size, (ys - cy) / face.size  # in faces, from between the eyes
        # 1 on the head, fading into the picture around it and towards the shoulders
        away = np.sqrt((u / 1.25) ** 2 + ((v + 0.1) / np.where(v < 0, 1.45, 1.2)) ** 2)
        self._head = _smooth_step(1.3 - away)
        self._dome: Floats = np.clip(1 - (u / 0.62) ** 2 - (v / 0.75) ** 2, 0, 1).astype(np.float32)
        self._chest = _smooth_step((v - 0.75) / 0.9)
        self._u, self._v = u.astype(np.float32), v.astype(np.float32)

    def frame(self, shift_x: float, shift_y: float, angle: float, growth: float, *, breath: float) -> RGB:
        size = self._face.size
        # The head turns around the neck: (u, v - 0.7) is the arm.
        cos, sin = np.cos(angle) * np.exp(growth) - 1, np.sin(angle)
        arm = self._v - np.float32(0.7)
        # A shift goes half into moving the head, half into turning it: the middle of the face moves most.
        across = np.float32(cos) * self._u - np.float32(sin) * arm + np.float32(0.55 * shift_x)
        down = np.float32(sin) * self._u + np.float32(cos) * arm + np.float32(0.55 * shift_y)
        dx = (across * self._head + np.float32(0.55 * shift_x) * self._dome) * np.float32(size)
        dy = (down * self._head + np.float32(0.55 * shift_y) * self._dome) * np.float32(size)
        lift = np.float32(0.012 * size * breath)
        dx += self._chest * self._u * lift * np.float32(0.5)
        dy -= self._chest * lift
        whole = self._picture.shape[1::-1]
        moved = cv2.remap(
            self._picture,
            self._base_x - cv2.resize(dx, whole, interpolation=cv2.INTER_LINEAR),
            self._base_y - cv2.resize(dy, whole, interpolation=cv2.INTER_LINEAR),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(moved, np.uint8)


def _smooth_step(values: NDArray[Any]) -> Floats:
    """0 below 0, 1 above 1, without a kink in between."""
    inside = np.clip(values, 0, 1)
    return np.asarray(inside * inside * (3 - 2 * inside), np.float32)
