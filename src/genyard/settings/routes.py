"""What `[routes]` says of one operation: where it goes, and what may be bought again there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from genyard.settings.fields import Frozen


class RouteSettings(Frozen):
    """`txt2img = "runpod"` for short, or a table.

    to    a kind of place, or an endpoint; not said: `provider`
    lost  what becomes of a job whose run may have been bought, where the place cannot be asked: it fails (`fail`), or
          the run is bought once more (`again`), which may pay for it twice
    """

    to: str = ""
    lost: Literal["fail", "again"] = "fail"

    @model_validator(mode="before")
    @classmethod
    def _for_short(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"to": given}
        if not isinstance(given, dict | RouteSettings):
            raise ValueError('must be a place, or a table such as { to = "runpod", lost = "again" }')
        return given
