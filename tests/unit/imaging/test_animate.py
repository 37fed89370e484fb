"""Portraits, faces and the gentle warp."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from genyard.errors import Code, GenyardError
from genyard.imaging.animate import animate_photo, animate_to_mp4, plan_animation
from genyard.imaging.arrays import RGB, opaque
from genyard.imaging.faces import find_face
from genyard.imaging.motion import default_motion, motion_of
from genyard.imaging.portrait import sample_portrait
from genyard.imaging.video import encode_mp4, probe_video, read_mp4_facts
from genyard.media import MediaLimits

PORTRAIT = sample_portrait(192, 1)


def swaying(frames: int, amount: float) -> list[RGB]:
    """A clip of a portrait that moves sideways by `amount` of its width and tilts."""
    moved = []
    for index in range(frames):
        wave = math.sin(2 * math.pi * index / frames)
        turn = cv2.getRotationMatrix2D((96, 96), -6 * wave, 1)
        turn[0, 2] += amount * 192 * wave
        picture = cv2.warpAffine(PORTRAIT[..., :3], turn, (192, 192), borderMode=cv2.BORDER_REFLECT)
        moved.append(np.asarray(picture, np.uint8))
    return moved


@pytest.mark.parametrize("seed", range(6))
def test_a_drawn_portrait_has_a_face(seed: int) -> None:
    face = find_face(sample_portrait(200, seed)[..., :3])
    assert face is not None
    x, y = face.centre
    assert abs(x - 100) < 16
    assert abs(y - 88) < 20


def test_portraits_are_opaque_repeatable_and_different() -> None:
    assert PORTRAIT.shape == (192, 192, 4)
    assert (PORTRAIT[..., 3] == 255).all()
    assert np.array_equal(PORTRAIT, sample_portrait(192, 1))
    assert not np.array_equal(PORTRAIT, sample_portrait(192, 2))


def test_the_loop_moves_gently_and_closes() -> None:
    plan = plan_animation(PORTRAIT, 10)
    assert plan.frames == 240
    frames = [frame.astype(int) for frame in plan.loop()]
    assert len(frames) == 120
    assert frames[0].shape == (192, 192, 3)
    steps = [np.abs(a - b).mean() for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(steps) < 4
    assert steps[-1] <= max(steps[:-1]) * 1.2
    assert max(np.abs(frames[0] - frame).mean() for frame in frames) > 1.5


def test_all_frames_come_one_by_one_with_progress() -> None:
    told: list[float] = []
    frames = list(animate_photo(PORTRAIT, 10, progress=told.append))
    assert len(frames) == 240
    assert np.array_equal(frames[0], frames[120])
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_to_mp4() -> None:
    told: list[float] = []
    data = animate_to_mp4(PORTRAIT, 10.3, facts={"seed": 5}, progress=told.append)
    info = probe_video(data, MediaLimits(), decode=True)
    assert info.seconds == pytest.approx(10.3, abs=0.1)
    assert (info.width, info.height, info.fps) == (192, 192, 24.0)
    assert read_mp4_facts(data) == {"seed": 5}
    assert told[-1] == 1.0
    assert animate_to_mp4(PORTRAIT, 10.3, facts={"seed": 5}) == data


def test_large_and_transparent_pictures_are_fitted() -> None:
    large = sample_portrait(240, 1).repeat(4, axis=0).repeat(4, axis=1)[:, 101:-100]
    large[:50, :50, 3] = 0
    frame = next(iter(plan_animation(large, 10).loop()))
    assert max(frame.shape) == 720
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0


@pytest.mark.parametrize("name", ["noise", "plain", "upside down"])
def test_without_a_face_it_is_refused(name: str) -> None:
    pictures = {
        "noise": opaque(np.random.default_rng(0).integers(0, 255, (120, 120, 3), dtype=np.uint8)),
        "plain": np.full((90, 90, 4), 128, np.uint8),
        "upside down": PORTRAIT[::-1].copy(),
    }
    with pytest.raises(GenyardError, match="no face") as caught:
        animate_photo(pictures[name], 10)
    assert caught.value.code is Code.no_face
    assert caught.value.field == "inputs.image"


@pytest.mark.parametrize("seconds", [0, -1, 61])
def test_other_lengths_are_refused(seconds: float) -> None:
    with pytest.raises(GenyardError) as caught:
        plan_animation(PORTRAIT, seconds)
    assert caught.value.field == "parameters.seconds"


def test_a_clips_motion_is_read() -> None:
    motion = motion_of(swaying(48, 0.04), 24, 240)
    assert motion is not None
    assert motion.poses.shape == (48, 4)
    wave = np.sin(2 * np.pi * np.arange(48) / 48)
    assert np.corrcoef(motion.poses[:, 0], wave)[0, 1] > 0.95
    assert np.corrcoef(motion.poses[:, 2], wave)[0, 1] > 0.9
    assert 0.03 < motion.poses[:, 0].max() < 0.16
    assert np.abs(motion.poses[-1] - motion.poses[0]).max() < 0.03


def test_a_clips_tempo_is_kept_and_it_is_repeated_and_cut() -> None:
    clip = encode_mp4(swaying(36, 0.04), 12)  # 3 s
    plan = plan_animation(PORTRAIT, 10, clip)
    assert len(plan.motion.poses) == 72
    assert plan.frames == 240
    assert probe_video(animate_to_mp4(PORTRAIT, 10, clip), MediaLimits()).frames == 240
    assert len(plan_animation(PORTRAIT, 2, clip).motion.poses) == 48


def test_a_clip_in_which_nothing_moves_or_can_be_followed() -> None:
    still = motion_of([np.full((64, 64, 3), 80, np.uint8)] * 12, 24, 100)
    assert still is not None
    assert np.abs(still.poses).max() == 0
    assert motion_of([PORTRAIT[..., :3]], 24, 100) is None


def test_a_broken_clip_is_refused() -> None:
    clip = encode_mp4(swaying(24, 0.02), 24)
    with pytest.raises(GenyardError, match="cut off"):
        plan_animation(PORTRAIT, 10, clip[: len(clip) // 2])


def test_the_default_motion_is_a_loop() -> None:
    motion = default_motion(120)
    seam = np.abs(motion.poses[0] - motion.poses[-1]).max()
    assert seam <= np.abs(np.diff(motion.poses, axis=0)).max() * 1.1
