"""What a callback says: the type and the time of the event, and the job as it is when the message leaves. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from genyard.jobs.model import Asset, Job

#: A link to a file and when it expires; None where nobody outside could follow it.
Link = Callable[[Asset], tuple[str, datetime] | None]

#: Parameters in which people write, or programs put, what may be somebody's words.
WORDS: Final = frozenset({"prompt", "negative_prompt", "workflow", "values"})


def write_message(kind: str, at: datetime, job: Job, *, prompts: bool, link: Link) -> bytes:
    told = job.as_json()
    told["outputs"] = [_output(asset, link) for asset in job.outputs]
    if not prompts:
        told = without_words(told)
    message = {"type": f"job.{kind}", "timestamp": at.isoformat(), "data": told}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def without_words(told: Mapping[str, Any]) -> dict[str, Any]:
    """A job's JSON without prompts: neither in its steps nor in the facts of its outputs."""
    return {
        **told,
        "steps": [
            {**step, "parameters": {n: v for n, v in step["parameters"].items() if n not in WORDS}}
            for step in told["steps"]
        ],
        "outputs": [
            {**one, "facts": {n: v for n, v in one["facts"].items() if n not in WORDS}}
            for one in told["outputs"]
        ],
    }


def _output(asset: Asset, link: Link) -> dict[str, Any]:
    found = link(asset)
    told = asset.as_json()
    if found is not None:
        told |= {"url": found[0], "url_expires_at": found[1].isoformat()}
    return told
