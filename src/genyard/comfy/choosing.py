"""Which of several templates an endpoint can run, by what is known of it.

A template fits when all its node classes are there and each of its model files exists under the exact name;
where none fits, the error says for each what is missing and which file comes nearest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from genyard.comfy._packs import pack_of
from genyard.comfy._values import nearest
from genyard.comfy.catalogue import Catalogue
from genyard.comfy.template import ModelFile, Template
from genyard.errors import Code, GenyardError


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`files`: the template's names → the file names to put in, alternatives resolved; for `fill`."""

    template: Template
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Unfit:
    """What an endpoint lacks for a template. `files`: model file → a sentence with the nearest one."""

    template: str
    classes: tuple[str, ...] = ()
    files: Mapping[str, str] | None = None

    def __str__(self) -> str:
        packs: dict[str | None, list[str]] = {}
        for name in self.classes:
            packs.setdefault(pack_of(name), []).append(name)
        told = [
            f"it has no node {', '.join(names)}" + (f", from {pack}" if pack else "")
            for pack, names in packs.items()
        ]
        return f"{self.template}: " + "; ".join([*told, *(self.files or {}).values()])


def choose(
    templates: Sequence[Template],
    catalogue: Catalogue | None,
    *,
    files: Mapping[str, str] | None = None,
    inputs: Collection[str] | None = None,
) -> Choice:
    """The first template that the endpoint can run; without a catalogue, the first one.

    files   names that a binding or an endpoint decided on: taken exactly, without alternatives
    inputs  input roles that are given; only templates that take exactly these are looked at
    Raises `provider.missing` when none fits, `request.unsupported` when none takes these inputs.
    """
    files = files or {}
    eligible = [t for t in templates if inputs is None or set(t.inputs) == set(inputs)]
    if not eligible:
        raise _no_template(templates, inputs or ())
    if catalogue is None:
        template = eligible[0]
        return Choice(template=template, files=_with_defaults(template, files))
    reasons = []
    for template in eligible:
        reason = unfit(template, catalogue, files=files)
        if reason is None:
            return Choice(template=template, files=_resolved(template, catalogue, files))
        reasons.append(reason)
    raise GenyardError(
        Code.provider_missing,
        "the server lacks what this needs: " + " — or ".join(map(str, reasons)),
        context={
            "templates": [
                {"template": r.template, "classes": list(r.classes), "files": dict(r.files or {})}
                for r in reasons
            ]
        },
    )


def unfit(
    template: Template, catalogue: Catalogue, *, files: Mapping[str, str] | None = None
) -> Unfit | None:
    """What the endpoint lacks for this template; None when it can run it. ControlNets and LoRAs are not
    part of this: they depend on the request."""
    files = files or {}
    classes = tuple(sorted(name for name in template.classes if name not in catalogue))
    missing = {}
    for name, file in template.files.items():
        sentence = _missing(file, files.get(name), template, catalogue)
        if sentence is not None:
            missing[name] = sentence
    return Unfit(template=template.name, classes=classes, files=missing) if classes or missing else None


def _names(file: ModelFile, decided: str | None) -> tuple[str, ...]:
    return (decided,) if decided is not None else (file.default, *file.alternatives)


def _existing(file: ModelFile, template: Template, catalogue: Catalogue) -> tuple[str, ...] | None:
    choices = catalogue.choices(template.workflow[file.site.node]["class_type"], file.site.input)
    return None if choices is None else tuple(map(str, choices))


def _missing(file: ModelFile, decided: str | None, template: Template, catalogue: Catalogue) -> str | None:
    existing = _existing(file, template, catalogue)
    wanted = _names(file, decided)
    if existing is None or set(wanted) & set(existing):
        return None  # without the loader's class there is no list: the class is told as missing
    near = [name for want in wanted for name in nearest(want, existing, 1)]
    if near:
        hint = f"the nearest is {near[0]!r}"
    elif existing:
        hint = f"it has {', '.join(existing[:5])}"
    else:
        hint = "the folder is empty"
    return f"model file {file.folder}/{' or '.join(wanted)} does not exist; {hint}"


def _resolved(template: Template, catalogue: Catalogue, files: Mapping[str, str]) -> dict[str, str]:
    chosen = _with_defaults(template, files)
    for name, file in template.files.items():
        existing = _existing(file, template, catalogue)
        if existing is not None and chosen[name] not in existing:
            chosen[name] = next(want for want in _names(file, files.get(name)) if want in existing)
    return chosen


def _with_defaults(template: Template, files: Mapping[str, str]) -> dict[str, str]:
    return {name: file.default for name, file in template.files.items()} | dict(files)


def _no_template(templates: Sequence[Template], inputs: Collection[str]) -> GenyardError:
    takes = " or ".join(sorted({" and ".join(t.inputs) or "no inputs" for t in templates})) or "nothing"
    return GenyardError(
        Code.request_unsupported,
        f"no template takes exactly {' and '.join(inputs) or 'no inputs'}; they take {takes}",
        field="inputs",
        context={"templates": [t.name for t in templates]},
    )
