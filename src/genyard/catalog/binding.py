"""What a binding's file may contain, typed. What it means at a place is that provider's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genyard.errors import Code, GenyardError

#: Width and height in pixels, where they are known.
Size = tuple[int | None, int | None]
SIDES: Final = ("width", "height")


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


class Range(_Data):
    """Lowest and highest value; `[low, high]` is short for it. `why` is told with a refusal."""

    low: float
    high: float
    why: str = ""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        return {"low": given[0], "high": given[1]} if isinstance(given, list) and len(given) == 2 else given


class Limits(_Data):
    """What the binding accepts; the place's own limits, not genyard's. `ranges`: of any other parameter."""

    min_side: int = 64
    max_side: int = 4096
    multiple: int = 8
    max_count: int = 16
    max_steps: int = 150
    ranges: dict[str, Range] = Field(default_factory=dict)


class Fixed(_Data):
    """The one value of a parameter that needs no saying, because the place does that anyway."""

    value: Any
    why: str


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
    fixed       parameter → the one value that it has there; another one is refused
    needs       role → why it cannot do without it, though the operation can
    size_of     the role whose picture decides on the size: width and height may repeat it, nothing else
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
    fixed: dict[str, Fixed] = Field(default_factory=dict)
    needs: dict[str, str] = Field(default_factory=dict)
    size_of: str | None = None
    limits: Limits = Limits()
    price: Price | None = None
    licence: Licence
    fields: FieldMap = FieldMap()
    wire: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.operation}.{self.model}"

    def require(self, parameters: Mapping[str, Any], pictures: Mapping[str, Size]) -> None:
        """`request.unsupported` naming what this binding refuses, lacks, or has other limits for. `pictures`: role →
        width and height of what is given in it, (None, None) where that is not known yet."""
        for name, reason in self.refuses.items():
            if parameters.get(name):
                raise self.unsupported(name, f"{self.model} does not take it: {reason}")
        for role, why in self.needs.items():
            if role not in pictures:
                raise GenyardError(
                    Code.request_unsupported,
                    f"{self.title} needs an input in the role {role!r}: {why} ({self.key})",
                    field=f"inputs.{role}",
                    context={"binding": self.key},
                )
        for name, fixed in self.fixed.items():
            if (given := parameters.get(name)) is not None and given != fixed.value:
                raise self.unsupported(name, f"{given} cannot be had; {fixed.why}")
        self._require_size(parameters, pictures)
        self._require_limits(parameters)

    def _require_size(self, parameters: Mapping[str, Any], pictures: Mapping[str, Size]) -> None:
        for name, side in zip(SIDES, pictures.get(self.size_of or "", (None, None)), strict=True):
            given = parameters.get(name)
            if given is None:
                continue
            if self.size_of is None:
                self._require_side(name, given)
            elif given != side:
                here = "" if side is None else f", here {side} pixels"
                what = f"the result is as large as the input {self.size_of}{here}; leave the size out"
                raise self.unsupported(name, what)

    def _require_limits(self, parameters: Mapping[str, Any]) -> None:
        for name, most in (("count", self.limits.max_count), ("steps", self.limits.max_steps)):
            if (parameters.get(name) or 0) > most:
                raise self.unsupported(name, f"{parameters[name]} is more than {most}")
        for name, range_ in self.limits.ranges.items():
            given = parameters.get(name)
            if given is not None and not range_.low <= given <= range_.high:
                reason = f"; {range_.why}" if range_.why else ""
                what = f"{given} is outside {range_.low:.16g} to {range_.high:.16g}{reason}"
                raise self.unsupported(name, what)

    def _require_side(self, name: str, side: int) -> None:
        limits = self.limits
        low = -(-limits.min_side // limits.multiple) * limits.multiple
        high = limits.max_side // limits.multiple * limits.multiple
        nearest = min(max(round(side / limits.multiple) * limits.multiple, low), high)
        if not limits.min_side <= side <= limits.max_side:
            raise self.unsupported(
                name, f"{side} is outside {limits.min_side} to {limits.max_side} pixels; take {nearest}"
            )
        if side != nearest:
            raise self.unsupported(name, f"{side} is not a multiple of {limits.multiple}; take {nearest}")

    def unsupported(self, parameter: str, why: str) -> GenyardError:
        """What refuses a parameter, naming it and this binding."""
        return GenyardError(
            Code.request_unsupported,
            f"{parameter}: {why} ({self.key})",
            field=f"parameters.{parameter}",
            context={"binding": self.key},
        )
