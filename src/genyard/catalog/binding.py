"""What a binding's file may contain, typed. What it means at a place is that provider's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genyard.errors import Code, GenyardError


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Licence(_Data):
    """What may be done with the model. `commercial`: None where nobody has confirmed it yet."""

    name: str
    commercial: bool | None = None
    note: str = ""


class Price(_Data):
    """What a run costs, in US dollars (`usd`) or in the place's own units (`units`; an endpoint's settings say what
    one of them costs). Both None: by the endpoint's price per second alone.

    per      an output, a megapixel of each output, a second of the run, or one request
    seconds  how long a run typically takes, for estimates where `per` is second
    note     whose number it is, and from when
    """

    usd: float | None = Field(default=None, ge=0)
    units: float | None = Field(default=None, ge=0)
    per: Literal["output", "megapixel", "second", "request"]
    seconds: float | None = Field(default=None, gt=0)
    note: str = ""

    @model_validator(mode="after")
    def _can_be_estimated(self) -> Price:
        if self.per == "second" and self.seconds is None:
            raise ValueError("a price per second needs `seconds`, the typical length of a run")
        if self.usd is not None and self.units is not None:
            raise ValueError("give usd or units, not both")
        return self


class Limits(_Data):
    """What the binding accepts; the place's own limits, not genyard's."""

    min_side: int = 64
    max_side: int = 4096
    multiple: int = 8
    max_count: int = 16
    max_steps: int = 150


class MappedParameter(_Data):
    """Where a parameter goes in the place's flat input: `to`, as it is, as text, or as a list of one."""

    to: str
    form: Literal["value", "text", "list"] = "value"


class MappedInput(_Data):
    """Where media go: `to`, in the form that the place reads.

    url        an address that the place fetches
    data_uri   `data:image/png;base64,…`
    base64     the bare base64 text
    reference  the place's own name for an uploaded file
    many       a list, even of one
    """

    to: str
    form: Literal["url", "data_uri", "base64", "reference"]
    many: bool = False


class MappedSize(_Data):
    """How width and height are said.

    sides  as two fields
    text   as one, `{width}*{height}` filled in
    table  as the fields of the row "1024x1024"; what has no row is refused
    """

    form: Literal["sides", "text", "table"]
    width: str = "width"
    height: str = "height"
    to: str = "size"
    text: str = "{width}*{height}"
    table: dict[str, dict[str, Any]] = Field(default_factory=dict)


class FieldMap(_Data):
    """From our parameters and roles to a place's flat input. A parameter that was given and has no place here is
    refused by name, never dropped."""

    parameters: dict[str, MappedParameter] = Field(default_factory=dict)
    inputs: dict[str, MappedInput] = Field(default_factory=dict)
    size: MappedSize | None = None
    constants: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, given: Any) -> Any:
        """`prompt = "text"` is short for `prompt = { to = "text" }`."""
        if not isinstance(given, dict) or not isinstance(given.get("parameters"), dict):
            return given
        parameters = {
            name: {"to": value} if isinstance(value, str) else value
            for name, value in given["parameters"].items()
        }
        return {**given, "parameters": parameters}


class Binding(_Data):
    """One row of the catalogue.

    kind        whose binding it is: a kind of place, or one of its protocols (`runpod`, `runpod-public`)
    templates   for ComfyUI: names in order of preference; the endpoint's facts choose
    defaults    parameter → value for parameters that the caller left open
    files       model files by the template's own names; an endpoint's settings may rename them
    refuses     parameter → why this binding cannot honour it (it is refused by name, never dropped)
    stands_in   serves requests for any known model, and says so in the result (the preview renderer)
    default     the binding of its kind and operation that is taken when no model is named
    fields      for places with a flat input: where our parameters and roles go in it
    wire        whatever else the provider kind needs: read by that provider alone
    """

    kind: str
    operation: str
    model: str
    title: str
    ai: bool = True
    default: bool = False
    stands_in: bool = False
    templates: tuple[str, ...] = ()
    defaults: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    refuses: dict[str, str] = Field(default_factory=dict)
    limits: Limits = Limits()
    price: Price | None = None
    licence: Licence
    fields: FieldMap = FieldMap()
    wire: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.operation}.{self.model}"

    def require(self, parameters: Mapping[str, Any]) -> None:
        """`request.unsupported` naming the parameter that this binding refuses, or that is beyond its limits."""
        for name, reason in self.refuses.items():
            if parameters.get(name):
                raise self._unsupported(name, f"{self.model} does not take it: {reason}")
        for name in ("width", "height"):
            if (side := parameters.get(name)) is not None:
                self._require_side(name, side)
        for name, most in (("count", self.limits.max_count), ("steps", self.limits.max_steps)):
            if (parameters.get(name) or 0) > most:
                raise self._unsupported(name, f"{parameters[name]} is more than {most}")

    def _require_side(self, name: str, side: int) -> None:
        limits = self.limits
        low = -(-limits.min_side // limits.multiple) * limits.multiple
        high = limits.max_side // limits.multiple * limits.multiple
        nearest = min(max(round(side / limits.multiple) * limits.multiple, low), high)
        if not limits.min_side <= side <= limits.max_side:
            raise self._unsupported(
                name, f"{side} is outside {limits.min_side} to {limits.max_side} pixels; take {nearest}"
            )
        if side != nearest:
            raise self._unsupported(name, f"{side} is not a multiple of {limits.multiple}; take {nearest}")

    def _unsupported(self, parameter: str, why: str) -> GenyardError:
        return GenyardError(
            Code.request_unsupported,
            f"{parameter}: {why} ({self.key})",
            field=f"parameters.{parameter}",
            context={"binding": self.key},
        )
