"""Where results go on this machine: names that say what is in them, nothing half-written."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from genyard.errors import GenyardError
from genyard.frontends.cli.composition import Product
from genyard.frontends.cli.exits import wrong
from genyard.media import MEDIA_TYPES, suffix_of

if TYPE_CHECKING:
    from genyard.jobs.model import Asset, Job

_SUFFIXES: Final = frozenset(suffix for _, suffix in MEDIA_TYPES.values()) | {".jpeg", ".txt"}
_STEM_LENGTH: Final = 48


@dataclass(frozen=True, kw_only=True)
class Target:
    """`file` and `archive` are written over; in a folder, a free name is found."""

    folder: Path
    file: Path | None = None
    archive: bool = False


def choose_target(output: str | None) -> Target:
    """A name that ends like a picture, a video or a .zip is a file; anything else is a folder.

    `request.invalid` where nothing can be written: asked before a job is submitted.
    """
    path = Path(output or ".").expanduser()
    is_file = path.suffix.lower() in _SUFFIXES | {".zip"} and not path.is_dir()
    folder = path.parent if is_file else path
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as broken:
        why = (broken.strerror or str(broken)).lower()
        raise wrong(f"cannot write to {str(folder)!r} ({why}); name another folder", "--output") from broken
    if not is_file:
        return Target(folder=folder)
    return Target(folder=folder, file=path, archive=path.suffix.lower() == ".zip")


async def save_job(product: Product, job: Job, target: Target, stem: str) -> list[Path]:
    """All outputs of the job, or an archive of them."""
    if target.file is not None and target.archive:
        await _write(target.file, product.studio.zip(job.id))
        return [target.file]
    paths: list[Path] = []
    for asset, name in zip(
        job.outputs, names_of(job, target.file.stem if target.file else stem), strict=True
    ):
        path = target.folder / name
        if target.file is None:
            path = _free(path)
        await _write(path, product.studio.open(asset))
        paths.append(path)
    return paths


async def save_asset(product: Product, asset: Asset, target: Target) -> Path:
    stem = target.file.stem if target.file else Path(asset.name).stem or f"{asset.role}-{str(asset.id)[-8:]}"
    path = target.folder / f"{stem}{suffix(asset)}"
    path = path if target.file else _free(path)
    await _write(path, product.studio.open(asset))
    return path


def names_of(job: Job, stem: str) -> list[str]:
    """`hero.png`; `hero-layer-2.png`; with several steps `hero-sketch.png`, by the step's name."""
    steps = {asset.step for asset in job.outputs}
    groups = [
        "-".join(
            [
                stem,
                *([asset.step or ""] if len(steps) > 1 else []),
                *([asset.role] if asset.role not in ("image", "video") else []),
            ]
        )
        + "\0"
        + suffix(asset)
        for asset in job.outputs
    ]
    numbers: dict[str, int] = {}
    names = []
    for one in groups:
        numbers[one] = numbers.get(one, 0) + 1
        alone = groups.count(one) == 1
        names.append(one.replace("\0", "" if alone else f"-{numbers[one]}"))
    return names


def slug(text: str) -> str:
    """A file name out of a prompt, cut between words."""
    words = re.sub(r"[^\w]+", "-", text.lower(), flags=re.UNICODE).strip("-_")
    if len(words) > _STEM_LENGTH:
        words = words[: _STEM_LENGTH + 1].rpartition("-")[0] or words[:_STEM_LENGTH]
    return words or "picture"


def suffix(asset: Asset) -> str:
    return suffix_of(asset.media_type) if asset.media_type in MEDIA_TYPES else ".txt"


def _free(path: Path) -> Path:
    number = 2
    free = path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free


async def _write(path: Path, pieces: AsyncIterator[bytes]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            async for piece in pieces:
                file.write(piece)
        part.replace(path)
    except OSError as broken:
        part.unlink(missing_ok=True)
        raise wrong(f"cannot write {str(path)!r}: {broken.strerror or broken}", "--output") from broken
    except GenyardError:
        part.unlink(missing_ok=True)
        raise
