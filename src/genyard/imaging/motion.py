"""How a head moves over time: a default motion, and the motion of a driving clip.

Only numbers: shifts, angles and sizes per frame, in units of the face, so that any portrait can be moved by
them (`animate`). From a clip the motion of the face as a whole is read, by following points on it; lips,
eyes and expression are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.imaging.arrays import RGB, Mask
from genyard.imaging.faces import find_face

FPS: Final = 24
_TRACK_SIDE: Final = 320  # pixels; clips are followed at this size
_FEWEST_POINTS: Final = 24

#: What a pose may be at most, so that the warp stays gentle: shift x, y (faces), angle (radians), ln(size).
_BOUNDS: Final = np.array([0.16, 0.12, 0.14, 0.07])

Poses = NDArray[np.float64]  # N×4: shift x, shift y, angle, ln(size)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One loop at `FPS`: `poses` N×4 of the head (shift x and y in face widths, angle in radians
    clockwise, natural logarithm of size), `breath` N (-1..1). The last frame leads back to the first."""

    poses: Poses
    breath: NDArray[np.float64]


def default_motion(frames: int) -> Motion:
    """A slow sway, a hint of a nod, breathing: sums of whole waves, so that the loop has no seam."""
    turn = 2 * np.pi * np.arange(frames) / frames
    poses = np.stack(
        [
            0.050 * np.sin(turn) + 0.012 * np.sin(3 * turn + 0.8),
            0.016 * np.sin(2 * turn + 0.5) + 0.008 * np.sin(3 * turn),
            0.032 * np.sin(turn + 0.35) + 0.006 * np.sin(2 * turn),
            0.010 * np.sin(turn - 1.1),
        ],
        axis=-1,
    )
    return Motion(poses=poses, breath=_breathing(frames))


def motion_of(clip: Iterable[RGB], clip_fps: float | Fraction, most_frames: int) -> Motion | None:
    """The head's motion in a clip, `most_frames` at most, made to return to its start; None when nothing
    in it can be followed."""
    track = list(_followed(clip, most_frames * float(clip_fps) / FPS))
    if len(track) < 3:
        return None
    poses = _resampled(np.asarray(track), float(clip_fps))[:most_frames]
    poses = poses - np.median(poses, axis=0)
    ramp = np.linspace(0, 1, len(poses))[:, None]
    poses = poses - ramp * (poses[-1] - poses[0])
    poses = _BOUNDS * np.tanh(_calmed(poses) / _BOUNDS)
    return Motion(poses=poses, breath=_breathing(len(poses)))


def _breathing(frames: int) -> NDArray[np.float64]:
    breaths = max(1, round(frames / FPS / 3.6))
    return np.sin(2 * np.pi * breaths * np.arange(frames) / frames)


def _resampled(track: Poses, fps: float) -> Poses:
    frames = max(2, round(len(track) * FPS / fps))
    at = np.linspace(0, len(track) - 1, frames)
    columns = [np.interp(at, np.arange(len(track)), column) for column in track.T]
    return np.stack(columns, axis=-1)


def _calmed(poses: Poses) -> Poses:
    """Jitter removed over about a fifth of a second, around the loop."""
    width = np.hanning(9)[1:-1]
    wrapped = np.pad(poses, ((3, 3), (0, 0)), mode="wrap")
    columns = [np.convolve(column, width / width.sum(), mode="valid") for column in wrapped.T]
    return np.stack(columns, axis=-1)


def _followed(clip: Iterable[RGB], most: float) -> Iterator[tuple[float, float, float, float]]:
    """The pose of each frame relative to the first, by optical flow of points on the face."""
    before: Mask | None = None
    centre, size = np.zeros(2), 1.0
    total = np.eye(3)
    for index, frame in enumerate(clip):
        if index >= most:
            return
        grey = _small(frame)
        if before is None:
            centre, size = _subject_of(grey)
        else:
            total = _step(before, grey, total, centre, size) @ total
        moved = total @ np.array([*centre, 1.0])
        scale = max(float(np.hypot(total[0, 0], total[1, 0])), 1e-6)
        angle = float(np.arctan2(total[1, 0], total[0, 0]))
        yield (
            float(moved[0] - centre[0]) / size,
            float(moved[1] - centre[1]) / size,
            angle,
            float(np.log(scale)),
        )
        before = grey


def _small(frame: RGB) -> Mask:
    ratio = min(1.0, _TRACK_SIDE / max(frame.shape[:2]))
    size = (max(16, round(frame.shape[1] * ratio)), max(16, round(frame.shape[0] * ratio)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _subject_of(grey: Mask) -> tuple[NDArray[np.float64], float]:
    """Centre and width of the face, else of the middle of the picture."""
    face = find_face(np.dstack([grey] * 3))
    if face is not None:
        return np.asarray(face.centre), face.size
    height, width = grey.shape
    return np.array([width / 2, height / 2]), min(width, height) / 2


def _step(
    before: Mask, after: Mask, total: NDArray[np.float64], centre: NDArray[np.float64], size: float
) -> Poses:
    """The 3×3 similarity from one frame to the next; the identity where points are lost."""
    spot = np.zeros_like(before)
    x, y, _ = total @ np.array([*centre, 1.0])
    cv2.circle(spot, (round(float(x)), round(float(y))), max(4, round(size * 0.62)), 255, cv2.FILLED)
    points = cv2.goodFeaturesToTrack(before, 120, 0.01, 4, mask=spot)
    if points is None or len(points) < _FEWEST_POINTS // 3:
        return np.eye(3)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, np.empty_like(points))
    kept = found.ravel() == 1
    if kept.sum() < _FEWEST_POINTS // 3:
        return np.eye(3)
    cv2.setRNGSeed(7)
    step, _ = cv2.estimateAffinePartial2D(points[kept], moved[kept], method=cv2.RANSAC)
    return np.eye(3) if step is None else np.vstack([step, [0.0, 0.0, 1.0]])
