"""The rooms: imports go down only, and the few rules that keep the rest light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "genyard"

LEVELS = {
    "app": 9, "demo": 9, "__main__": 9, "testing": 9,
    "frontends": 8,
    "packs": 7, "compare": 7,
    "studio": 6,
    "jobs": 5,
    "pipelines": 4, "routing": 4,
    "providers": 3,
    "catalog": 2, "owners": 2, "ledger": 2, "transfer": 2,
    "operations": 1, "comfy": 1, "imaging": 1, "preview": 1, "storage": 1, "outbound": 1, "database": 1,
    "storable": 1,
    "errors": 0, "media": 0, "settings": 0, "telemetry": 0, "policy": 0,
}  # fmt: skip

#: Same level, one way only.
BESIDE = {("routing", "pipelines"), ("media", "errors"), ("settings", "errors"), ("settings", "media"),
          ("demo", "app"), ("demo", "testing"), ("__main__", "app"), ("__main__", "demo"),
          ("owners", "catalog")}  # fmt: skip

#: What must start on a bare worker image, or within the time of `--help`.
STANDARD_LIBRARY_ONLY = ("errors", "media", "policy", "comfy")


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(SOURCE).with_suffix("").parts), path)
        for path in sorted(SOURCE.rglob("*.py"))
    ]


MODULES = {f"genyard.{module.removesuffix('.__init__')}" for module, _ in modules()}


def room_of(module: str) -> str:
    return module.split(".")[0]


@cache
def imports_of(path: Path) -> set[str]:
    """What a module imports when it runs: not what only its types need."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for branch in [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]:
        branch.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= found
            if not found <= MODULES:  # `from package import module` needs nothing of the package itself
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


@pytest.mark.parametrize(
    ("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_go_down(module: str, path: Path) -> None:
    room = room_of(module)
    if room == "__init__":
        return
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] != "genyard" or len(parts) < 2 or parts[1] not in LEVELS:
            continue
        other = parts[1]
        allowed = other == room or LEVELS[other] < LEVELS[room] or (room, other) in BESIDE
        assert allowed, f"{module} ({room}) imports {name}: rooms import only rooms below them"


@pytest.mark.parametrize("room", STANDARD_LIBRARY_ONLY)
def test_light_rooms_use_the_standard_library_only(room: str) -> None:
    for module, path in modules():
        if room_of(module) != room:
            continue
        foreign = {
            name.split(".")[0]
            for name in imports_of(path)
            if name.split(".")[0] not in sys.stdlib_module_names and name.split(".")[0] != "genyard"
        }
        assert not foreign, f"{module} imports {foreign}"


def test_only_app_names_concrete_providers() -> None:
    concrete = {path.stem for path in (SOURCE / "providers").iterdir() if not path.stem.startswith("_")}
    for module, path in modules():
        if room_of(module) in ("app", "providers", "testing", "demo"):
            continue
        for name in imports_of(path):
            parts = name.split(".")
            assert not (parts[:2] == ["genyard", "providers"] and len(parts) > 2 and parts[2] in concrete), (
                f"{module} imports {name}: only the room `app` knows concrete providers"
            )


def test_only_settings_reads_the_environment() -> None:
    for module, path in modules():
        if room_of(module) != "settings":
            assert "os.environ" not in path.read_text(), module


def test_no_room_imports_in_a_circle() -> None:
    """Between modules, whatever the rooms: a circle makes import order matter."""
    known = {module.removesuffix(".__init__"): path for module, path in modules()}
    graph = {
        module: {
            target
            for name in imports_of(path)
            if name.startswith("genyard.")
            for target in [name.removeprefix("genyard.")]
            if target in known and target != module
        }
        for module, path in known.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done:
            return
        for target in graph[module]:
            visit(target, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_importing_genyard_is_light() -> None:
    code = "import sys, genyard; print([m for m in ('numpy', 'cv2', 'psycopg', 'fastapi', 'av') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
