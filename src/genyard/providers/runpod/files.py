"""Files in a job's output: as addresses, data URIs or base64; in lists, objects, or bare. Pure.

An output has no canonical shape. A binding may say where to look; else the names that are in use are tried in order.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from yarl import URL

from genyard.errors import Code, GenyardError
from genyard.media import MEDIA_TYPES, sniff

Json = Any
Path = tuple[str | int, ...]
Encoding = Literal["auto", "url", "data_uri", "base64"]

#: Tried in this order in an object; the first under which there is a file is taken (`images` and `image_url` are often
#: the same picture twice; a `mask` beside an `image` was not asked for).
_NAMES: Final = (
    *("images", "image_urls", "videos", "video_urls", "layers"),
    *("message", "data", "image_url", "video_url", "url", "image", "video"),
    *("image_b64", "image_base64", "b64_json", "base64"),
    *("result", "results", "output", "outputs"),
)
_SUFFIXES: Final = {suffix: name for name, (_, suffix) in MEDIA_TYPES.items()} | {".jpeg": "image/jpeg"}
_PIECE: Final = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Found:
    """`path` leads to the text within the output. `name`: the file's, where it is told."""

    path: Path
    encoding: Literal["url", "data_uri", "base64"] | None
    text: str
    name: str | None = None

    @property
    def media_type(self) -> str | None:
        """As it is said to be; whoever stores the bytes sniffs them."""
        if self.encoding == "data_uri":
            told = self.text[5:].partition(",")[0].partition(";")[0]
            return told if told in MEDIA_TYPES else None
        name = self.name or (URL(self.text).path if self.encoding == "url" else "")
        return _SUFFIXES.get(PurePosixPath(name).suffix.lower())


def files_in(output: Json, paths: Sequence[str] = (), encoding: Encoding = "auto") -> list[Found]:
    """At the first of `paths` ("result.images.0") where there are any; without paths, wherever files usually are."""
    if not paths:
        return list(_search(output, (), encoding))
    for dotted in paths:
        path = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
        try:
            found = list(_search(walk(output, path), path, encoding))
        except LookupError:
            continue
        if found:
            return found
    return []


def walk(output: Json, path: Sequence[str | int]) -> Json:
    """Raises LookupError."""
    for part in path:
        fits = isinstance(output, list if isinstance(part, int) else Mapping)
        if not fits:
            raise LookupError(part)
        output = output[part]
    return output


def _search(value: Json, path: Path, encoding: Encoding, name: str | None = None) -> Iterator[Found]:
    if isinstance(value, str):
        told = _encoding(value, encoding)
        if told is not None:
            yield Found(path=path, encoding=told, text=value, name=name)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _search(one, (*path, number), encoding)
    elif isinstance(value, Mapping):
        name = value["filename"] if isinstance(value.get("filename"), str) else name
        how: Encoding = "base64" if value.get("type") == "base64" and encoding == "auto" else encoding
        for key in _NAMES:
            found = list(_search(value.get(key), (*path, key), how, name))
            if found:
                yield from found
                return


def _encoding(text: str, wanted: Encoding) -> Literal["url", "data_uri", "base64"] | None:
    if text.startswith(("https://", "http://")):
        return "url" if wanted in ("auto", "url") else None
    if text.startswith("data:"):
        return "data_uri" if wanted != "url" else None
    if wanted == "base64":
        return "base64"
    if wanted != "auto":
        return None
    try:
        return "base64" if sniff(base64.b64decode(text[:64])) is not None else None
    except (binascii.Error, ValueError):
        return None


def decoded(text: str) -> Iterator[bytes]:
    """A data URI's or a base64 text's bytes, in pieces. `provider.bad_output` where it is neither."""
    try:
        if text.startswith("data:"):
            head, _, text = text.partition(",")
            if not head.endswith(";base64"):
                yield unquote_to_bytes(text)
                return
        if "\n" in text or " " in text:
            text = "".join(text.split())
        for start in range(0, len(text), _PIECE):
            yield base64.b64decode(text[start : start + _PIECE], validate=True)
    except (binascii.Error, ValueError):
        raise GenyardError(Code.provider_bad_output, "the output is not readable base64") from None
