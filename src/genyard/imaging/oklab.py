"""Oklab, the colour space in which distances are meant: conversion, palettes, nearest palette colour.

Values are float32: lightness 0..1 and two opponent axes of about ±0.4 (Ottosson 2020). What a palette is
used for is decided by the callers.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from genyard.imaging.arrays import RGB, Floats, as_uint8

_TO_LMS: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_LEVELS: Final = np.arange(256, dtype=np.float32) / 255
_LINEAR: Final = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def from_rgb(rgb: RGB) -> Floats:
    """…×3 uint8 -> …×3 float32 Oklab."""
    linear = _LINEAR[rgb].reshape(-1, 3)
    lab: Floats = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab.reshape(rgb.shape)


def to_rgb(lab: Floats) -> RGB:
    """…×3 float32 Oklab -> …×3 uint8, clipped to the sRGB gamut."""
    lms = (lab.reshape(-1, 3) @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(lms @ np.linalg.inv(_TO_LMS).T, 0, 1)
    coded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return as_uint8(coded * 255).reshape(lab.shape)


def cluster(samples: NDArray[np.float32], count: int) -> tuple[NDArray[np.int32], Floats]:
    """k-means of N×D samples: (label of each sample, at most `count` centres). Same input, same answer."""
    distinct = np.unique(samples, axis=0)
    if len(distinct) <= count:
        centres = distinct.astype(np.float32)
        return nearest(samples, centres), centres
    cv2.setRNGSeed(7)  # the generator is thread-local
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 24, 1e-4)
    guess = np.zeros((len(samples), 1), np.int32)
    data = np.ascontiguousarray(samples, np.float32)
    _, labels, found = cv2.kmeans(data, count, guess, criteria, 2, cv2.KMEANS_PP_CENTERS)
    return np.asarray(labels, np.int32).ravel(), np.asarray(found, np.float32)


def nearest(samples: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int32]:
    """The index of the nearest centre for each of N×D samples; exact."""
    flat = samples.reshape(-1, centres.shape[1])
    bias = (centres**2).sum(axis=1) / 2
    found = np.empty(len(flat), np.int32)
    for start in range(0, len(flat), 1 << 16):  # a block's scores fit the cache
        block = flat[start : start + (1 << 16)]
        found[start : start + len(block)] = (block @ centres.T - bias).argmax(axis=1)
    return found
