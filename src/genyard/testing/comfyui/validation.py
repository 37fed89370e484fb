"""What POST /prompt accepts: the server's own checks, with the recorded error shapes and texts.

It is as lenient, as wave-like and as odd as the real one (a numeric string is taken for an integer, a plain
string is taken for a link): what genyard thinks of a graph is `genyard.comfy`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genyard.testing.comfyui.catalogue import inputs_of

Json = Any
Error = dict[str, Json]

#: class, input -> says what is wrong with the value, or None. These inputs skip the list check.
CustomChecks = Mapping[tuple[str, str], Callable[[Json], str | None]]


@dataclass(kw_only=True)
class Verdict:
    """`error` is set when nothing can run; `outputs` are the nodes that will."""

    error: Error | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Json] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Result:
    valid: bool
    errors: list[Error]


def error_of(kind: str, message: str, details: str = "", **extra: Json) -> Error:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def validate(
    prompt: Mapping[str, Json],
    catalogue: Mapping[str, Json],
    *,
    checks: CustomChecks,
    targets: Sequence[str] | None,
    old: bool,
) -> Verdict:
    """`old` is the behaviour of 0.3.64. May raise what a real server answers with 500."""
    outputs: list[str] = []
    for node_id, node in prompt.items():
        if wrong := _class_error(node_id, node, catalogue, old):
            return Verdict(error=wrong)
        if catalogue[node["class_type"]]["output_node"] and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict(error=error_of("prompt_no_outputs", "Prompt has no outputs"))
    walk = _Walk(prompt, catalogue, checks, old)
    verdict = Verdict()
    details: list[str] = []
    for output in outputs:
        result = walk.output(output)
        if result.valid:
            verdict.outputs.append(output)
            continue
        details += [f"{error['message']}: {error['details']}" for error in result.errors]
        walk.report(verdict.node_errors, output)
    if not verdict.outputs:
        verdict.error = error_of(
            "prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(details)
        )
    return verdict


def _class_error(node_id: str, node: Json, catalogue: Mapping[str, Json], old: bool) -> Error | None:
    where = f"Node ID '#{node_id}'"
    if "class_type" not in node:
        title = node.get("_meta", {}).get("title")
        if old:
            return error_of(
                "invalid_prompt", "Cannot execute because a node is missing the class_type property.", where
            )
        return error_of(
            "missing_node_type",
            f"Node '{title or f'ID #{node_id}'}' has no class_type. "
            "The workflow may be corrupted or a custom node is missing.",
            where,
            node_id=node_id,
            class_type=None,
            node_title=title,
        )
    class_type = node["class_type"]
    if class_type in catalogue:
        return None
    if old:
        return error_of("invalid_prompt", f"Cannot execute because node {class_type} does not exist.", where)
    title = node.get("_meta", {}).get("title", class_type)
    return error_of(
        "missing_node_type",
        f"Node '{title}' not found. The custom node may not be installed.",
        where,
        node_id=node_id,
        class_type=class_type,
        node_title=title,
    )


class _Walk:
    """From one output towards the loaders; what has been judged is not judged again."""

    def __init__(
        self, prompt: Mapping[str, Json], catalogue: Mapping[str, Json], checks: CustomChecks, old: bool
    ) -> None:
        self._prompt, self._catalogue, self._checks, self._old = prompt, catalogue, checks, old
        self._judged: dict[str, _Result] = {}
        self._path: list[str] = []

    def report(self, node_errors: dict[str, Json], output: str) -> None:
        for node_id, result in self._judged.items():
            if result.valid or not result.errors:
                continue
            entry = node_errors.setdefault(
                node_id,
                {
                    "errors": result.errors,
                    "dependent_outputs": [],
                    "class_type": self._prompt[node_id]["class_type"],
                },
            )
            entry["dependent_outputs"].append(output)

    def output(self, node_id: str) -> _Result:
        try:
            return self.enter(node_id)
        except (KeyError, IndexError, TypeError, AttributeError) as wrong:
            reason = error_of(
                "exception_during_validation",
                "Exception when validating node",
                str(wrong),
                exception_type=type(wrong).__name__,
                traceback=['  File "/comfyui/execution.py", line 1171, in validate_prompt\n'],
            )
            self._judged[node_id] = _Result(valid=False, errors=[reason])
            return self._judged[node_id]

    def enter(self, node_id: str) -> _Result:
        if node_id in self._judged:
            return self._judged[node_id]
        if node_id in self._path:
            return self._cycle(node_id)
        node = self._prompt[node_id]
        given = node["inputs"]
        errors: list[Error] = []
        valid = True
        for name, (required, kind, options) in inputs_of(self._catalogue[node["class_type"]], given).items():
            if name not in given:
                if required:
                    errors.append(
                        error_of(
                            "required_input_missing",
                            "Required input is missing",
                            name.split(".")[-1],
                            input_name=name,
                        )
                    )
            elif isinstance(given[name], list):
                valid &= self._link(node_id, name, given[name], kind, options, errors)
            elif wrong := self._value(node, name, kind, options):
                errors.append(wrong)
        told = self._judged.get(node_id, _Result(valid=True, errors=[]))
        result = _Result(
            valid=told.valid and valid and not errors,
            errors=told.errors + [error for error in errors if error not in told.errors],
        )
        self._judged[node_id] = result
        return result

    def _cycle(self, node_id: str) -> _Result:
        path = [*self._path[self._path.index(node_id) :], node_id]
        nodes = list(dict.fromkeys(path))
        text = " -> ".join(f"{one} ({self._prompt[one]['class_type']})" for one in path)
        for one in nodes:
            wrong = error_of(
                "dependency_cycle", "Dependency cycle detected", text, node_id=one, cycle_nodes=nodes
            )
            self._judged[one] = _Result(valid=False, errors=[] if self._old else [wrong])
        return self._judged[node_id]

    def _link(
        self, node_id: str, name: str, link: list[Json], kind: Json, options: Json, errors: list[Error]
    ) -> bool:
        """Whether what is behind the link is valid; the link's own errors go to `errors`."""
        told: dict[str, Any] = {"input_name": name, "input_config": [kind, options]}
        if len(link) != 2:
            text = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            errors.append(error_of("bad_linked_input", text, name, **told, received_value=link))
            return True
        # A missing node or slot is noticed by the consumer's consumer: that is where the real one catches it.
        received = tuple(self._catalogue[self._prompt[link[0]]["class_type"]]["output"])[link[1]]
        if not fits(received, kind):
            text = f"{name}, received_type({received}) mismatch input_type({kind})"
            extra = {**told, "received_type": received, "linked_node": link}
            message = "Return type mismatch between linked nodes"
            errors.append(error_of("return_type_mismatch", message, text, **extra))
            return True
        self._path.append(node_id)
        try:
            return self.enter(link[0]).valid
        except (KeyError, IndexError, TypeError, AttributeError) as wrong:
            reason = _inner_exception(wrong, linked_node=link, **told)
            self._judged[link[0]] = _Result(valid=False, errors=[reason])
            return False
        finally:
            self._path.pop()

    def _value(self, node: Json, name: str, kind: Json, options: Json) -> Error | None:
        given = node["inputs"]
        value = given[name]
        if isinstance(value, dict) and "__value__" in value:
            value = given[name] = value["__value__"]
        cast = (
            {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}.get(kind)
            if isinstance(kind, str)
            else None
        )
        try:
            if cast is not None:
                value = given[name] = cast(value)
        except (ValueError, TypeError) as wrong:
            return error_of(
                "invalid_input_type",
                f"Failed to convert an input value to a {kind} value",
                f"{name}, {value}, {wrong}",
                input_name=name,
                input_config=[kind, options],
                received_value=value,
                exception_message=str(wrong),
            )
        check = self._checks.get((node["class_type"], name))
        if check is not None:
            told = check(value)
            if told is None:
                return None
            return error_of(
                "custom_validation_failed",
                "Custom validation failed for node",
                f"{name} - {told}",
                input_name=name,
            )
        return _out_of_range(name, value, kind, options) or _not_in_list(name, value, kind, options)


def _inner_exception(wrong: Exception, *, input_name: str, input_config: Json, linked_node: Json) -> Error:
    return error_of(
        "exception_during_inner_validation",
        "Exception when validating inner node",
        str(wrong),
        input_name=input_name,
        input_config=input_config,
        exception_message=str(wrong),
        exception_type=type(wrong).__name__,
        traceback=['  File "/comfyui/execution.py", line 955, in validate_inputs\n'],
        linked_node=linked_node,
    )


def _out_of_range(name: str, value: Json, kind: Json, options: Json) -> Error | None:
    wrong = None
    if "min" in options and value < options["min"]:
        wrong = ("value_smaller_than_min", f"Value {value} smaller than min of {options['min']}")
    elif "max" in options and value > options["max"]:
        wrong = ("value_bigger_than_max", f"Value {value} bigger than max of {options['max']}")
    if wrong is None:
        return None
    return error_of(*wrong, name, input_name=name, input_config=[kind, options], received_value=value)


def _not_in_list(name: str, value: Json, kind: Json, options: Json) -> Error | None:
    choices = kind if isinstance(kind, list) else options.get("options", []) if kind == "COMBO" else None
    if choices is None or value in choices:
        return None
    long = len(choices) > 20
    return error_of(
        "value_not_in_list",
        "Value not in list",
        f"{name}: {value!r} not in {f'(list of length {len(choices)})' if long else choices}",
        input_name=name,
        input_config=None if long else [kind, options],
        received_value=value,
    )


def fits(received: Json, wanted: Json) -> bool:
    """Whether an output of one type may feed an input of another."""
    anything = ("*", "COMFY_MATCHTYPE_V3")
    if received == wanted or wanted in anything or received in anything:
        return True
    if isinstance(wanted, list) or wanted == "COMBO":
        return received == "COMBO" or isinstance(received, list)
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    return bool(set(received.split(",")) & set(wanted.split(",")))
