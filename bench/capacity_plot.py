"""A picture of a simulated day: who comes, how many GPUs that keeps busy, how many wait under each sizing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from capacity_model import DAY, Floats, Load, Waits, Work, rate

_WIDTH, _HEIGHT, _EDGE, _GAP = 1000, 300, 90, 40
_COLOURS = ("#2a6fbb", "#c8452f", "#3b8f4c", "#8a5bb0")
Line = tuple[str, str, Floats]


def plot(path: Path, load: Load, mix: Sequence[Work], days: Mapping[tuple[str, str], Waits]) -> None:
    times = np.arange(0, DAY, 600.0)
    panels: list[tuple[str, list[Line]]] = [
        (
            f"jobs a second ({load.jobs_a_day:,} a day)",
            [
                (one.name, colour, one.share * rate(load, times))
                for one, colour in zip(mix, _COLOURS, strict=True)
            ],
        ),
        *(
            (
                f"jobs that wait; GPUs sized for the {policy}"
                + (" of the day" if policy == "mean" else " hour"),
                [
                    (f"{one.name}, {days[one.name, policy].gpus:,} GPUs", colour, days[one.name, policy].line)
                    for one, colour in zip(mix, _COLOURS, strict=True)
                ],
            )
            for policy in ("peak", "mean")
        ),
    ]
    image = Image.new("RGB", (_WIDTH, len(panels) * (_HEIGHT + _GAP) + _GAP), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    for number, (title, lines) in enumerate(panels):
        _panel(draw, font, _GAP + number * (_HEIGHT + _GAP), title, lines)
    image.save(path)


def _panel(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    top: int,
    title: str,
    lines: Sequence[Line],
) -> None:
    most = max(float(values.max()) for _, _, values in lines) * 1.05 or 1.0
    left, right, bottom = _EDGE, _WIDTH - 20, top + _HEIGHT - 24
    draw.text((left, top - 22), title, "black", font)
    for part in range(5):
        value = most * part / 4
        y = bottom - (bottom - top) * part / 4
        draw.line((left, y, right, y), "#dddddd")
        draw.text(
            (left - 8, y - 8), f"{value:,.0f}" if most > 20 else f"{value:.1f}", "#555555", font, anchor="ra"
        )
    for hour in range(0, 25, 3):
        x = left + (right - left) * hour / 24
        draw.text((x, bottom + 4), f"{hour}:00", "#555555", font, anchor="ma")
    place: Callable[[int, float, int], tuple[float, float]] = lambda at, value, count: (  # noqa: E731
        left + (right - left) * at / (count - 1),
        bottom - (bottom - top) * value / most,
    )
    for number, (name, colour, values) in enumerate(lines):
        draw.line([place(at, float(v), values.size) for at, v in enumerate(values)], colour, 2)
        draw.text((left + 10, top + 6 + number * 18), name, colour, font)
