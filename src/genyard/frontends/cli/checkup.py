"""The report of `genyard doctor` for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from genyard.frontends.cli.screen import stdout

_COMMERCIAL: Final = {
    True: "commercial use allowed",
    False: "NOT for commercial use",
    None: "commercial use unconfirmed",
}


def print_report(report: Mapping[str, Any]) -> None:
    console = stdout()
    versions = dict(report["versions"])
    console.print(
        f"genyard {versions.pop('genyard')} · Python {versions.pop('python')} · {versions.pop('platform')}"
    )
    console.print("  " + " · ".join(f"{name} {version}" for name, version in versions.items()), style="dim")
    _settings(console, report)
    for name, endpoint in report.get("endpoints", {}).items():
        _endpoint(console, name, endpoint, report)
    missing = report["settings"]["not_configured"]
    if missing:
        console.print("\nnot configured", style="bold")
    for kind, needs in missing.items():
        console.print(f"  {kind}: set {' and '.join(needs)}")
    _verdict(console, report)


def _settings(console: Console, report: Mapping[str, Any]) -> None:
    settings = report["settings"]
    console.print("\nhere", style="bold")
    console.print(f"  provider in force: {settings['provider']} (IMAGE_GENERATION_PROVIDER)")
    if "database" not in report:
        console.print(f"  data folder: {settings['data']}")
        return
    _line(console, True, f"database: {settings['database']}, PostgreSQL {report['database']['postgresql']}")
    _line(console, report["storage_works"], f"storage: {settings['storage']}")
    worker = (
        "a worker is running" if report["worker"] else "no worker is running: each command works by itself"
    )
    console.print(f"  · {worker}")
    keys = (
        "needs a key from other machines"
        if report["keys"]
        else "no API keys: only this machine may use the API"
    )
    console.print(f"  · HTTP API: {keys}")


def _endpoint(console: Console, name: str, endpoint: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    configured = report["settings"]["endpoints"][name]
    url = f" {configured['url']}" if configured["url"] else ""
    force = " · in force" if configured["kind"] == report["settings"]["provider"] else ""
    console.print(f"\n{name}{url}{force}", style="bold")
    if not endpoint["reachable"]:
        _line(console, False, endpoint["error"]["message"] if endpoint["error"] else "it does not answer")
        return
    queue = f", {endpoint['queue_depth']} waiting" if endpoint["queue_depth"] is not None else ""
    _line(console, True, f"answers: version {endpoint['version'] or 'unknown'}{queue}")
    for one in report["operations"]:
        if one["endpoint"] == name:
            _operation(console, one)


def _operation(console: Console, one: Mapping[str, Any]) -> None:
    licence = one["licence"]
    text = f"{one['operation']:<18} {one['model']:<20}"
    detail = f"{licence['name']} · {_COMMERCIAL[licence['commercial']]}" + (" · default" * one["default"])
    mark = Text("  ✓ " if one["can"] else "  ✗ ", style="green" if one["can"] else "red")
    console.print(mark.append(text, style="").append(f" {detail}", style="dim"))
    for problem in one["problems"]:
        console.print(f"      {problem}", style="yellow")


def _line(console: Console, good: bool, text: str) -> None:
    console.print(
        Text("  ✓ " if good else "  ✗ ", style="green" if good else "red").append(text, style="none")
    )


def _verdict(console: Console, report: Mapping[str, Any]) -> None:
    console.print()
    if report["usable"]:
        console.print("usable", style="bold green")
    for problem in report["problems"]:
        field = (
            f"{problem['field']}: "
            if "field" in problem and problem["field"] not in problem["message"]
            else ""
        )
        console.print(f"not usable: {field}{problem['message']} ({problem['code']})", style="bold red")
