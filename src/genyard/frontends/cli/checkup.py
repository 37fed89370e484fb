"""The report of `genyard doctor` for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from genyard.frontends.cli.prices import UNKNOWN, money, today_line
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
    if "routes" in report:
        _routes(console, report)
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


def _routes(console: Console, report: Mapping[str, Any]) -> None:
    console.print("\nwhere requests go", style="bold")
    for route in report["routes"]:
        name = f"{route['operation']:<18} "
        place = f"{route['endpoint']} ({route['model']})" if route["endpoint"] else "nowhere"
        by = f", by {route['by']}" if route["explicit"] else ""
        by += "; lost runs are bought again" if route["lost"] == "again" else ""
        if route["can"] or route["endpoint"] or route["explicit"]:
            why = f": {route['problems'][0]}" if route["problems"] else ""
            _line(console, route["can"], f"{name}{place}{by}{why}")
        else:
            console.print(f"  · {name}nowhere: {route['target']} has nothing for it", style="dim")


def _endpoint(console: Console, name: str, endpoint: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    configured = report["settings"]["endpoints"][name]
    protocol = f", {configured['protocol']}" if configured["protocol"] else ""
    address = " ".join(part for part in (configured["url"], configured["endpoint_id"]) if part)
    console.print(
        f"\n{name} ({configured['kind']}{protocol}){f' {address}' if address else ''}", style="bold"
    )
    if endpoint["money"] is not None:
        console.print(f"  $ {today_line(name, endpoint['money'])}")
        for remedy in _remedies([one for one in report["operations"] if one["endpoint"] == name]):
            console.print(f"  $ prices are {UNKNOWN}: {remedy}")
    if endpoint["missing"]:
        _line(console, False, f"{' and '.join(endpoint['missing'])} is not set; it was not asked")
    elif not endpoint["reachable"]:
        _line(console, False, endpoint["error"]["message"] if endpoint["error"] else "it does not answer")
        return
    else:
        queue = f", {endpoint['queue_depth']} waiting" if endpoint["queue_depth"] is not None else ""
        version = f": version {endpoint['version']}" if endpoint["version"] else ""
        _line(console, endpoint["error"] is None, f"answers{version}{queue}")
    if endpoint["paused"]:
        why = f" ({endpoint['paused']['paused_why']})" if endpoint["paused"]["paused_why"] else ""
        since = f"{endpoint['paused']['paused_at'].astimezone():%d %b %H:%M}"
        console.print(f"  ! paused since {since}{why}; `genyard admin resume {name}` goes on", style="yellow")
    for note in endpoint["notes"] if not endpoint["missing"] else ():
        console.print(f"  ! {note}", style="yellow")
    for one in report["operations"]:
        if one["endpoint"] == name:
            _operation(console, one, said=endpoint["notes"])


def _operation(console: Console, one: Mapping[str, Any], said: Sequence[str]) -> None:
    licence = one["licence"]
    text = f"{one['operation']:<18} {one['model']:<20}"
    detail = f"{licence['name']} · {_COMMERCIAL[licence['commercial']]}" + (" · default" * one["default"])
    mark = Text("  ✓ " if one["can"] else "  ✗ ", style="green" if one["can"] else "red")
    console.print(mark.append(text, style="").append(f" {_price(one['price'])}{detail}", style="dim"))
    for problem in one["problems"]:
        if problem not in said:
            console.print(f"      {problem}", style="yellow")


def _price(price: Mapping[str, Any]) -> str:
    if not price["paid"]:
        return ""
    return f"price {UNKNOWN} · " if price["usd"] is None else f"{money(price['usd'])} · "


def _remedies(served: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which settings would tell the prices that are not known."""
    told = (one["price"]["how"].partition("; ")[2] for one in served if one["price"]["usd"] is None)
    return [remedy for remedy in dict.fromkeys(told) if remedy.startswith("set ")]


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
