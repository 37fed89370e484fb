"""Commands on jobs, assets and keys that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Cli


@pytest.mark.long
async def test_a_job_from_its_listing_to_its_deletion(cli: Cli) -> None:
    made = (await cli("generate", "lonely lighthouse", "--size", "64x64", "-t", "tower", "--json")).document
    identity = made["id"]
    listed = (await cli("jobs", "--tag", "tower", "--search", "lighthouse", "--json")).document["jobs"]
    assert [one["id"] for one in listed] == [identity]
    assert identity[-8:] in (await cli("jobs", "--state", "succeeded")).out

    shown = await cli("jobs", "show", identity[-8:], "-o", "kept.png")
    assert shown.lines == ["kept.png"]
    assert "lonely lighthouse" in (await cli("jobs", "show", identity)).out

    same = (await cli("rerun", identity[-8:], "--json")).document
    assert same["rerun_of"] == identity
    assert same["steps"][0]["parameters"]["seed"] == made["steps"][0]["parameters"]["seed"]
    other = (await cli("rerun", identity, "--new-seed", "--json")).document
    assert other["steps"][0]["parameters"]["seed"] != made["steps"][0]["parameters"]["seed"]

    assert "already succeeded" in (await cli("cancel", identity)).out
    assert (await cli("delete", identity)).status == 2
    assert (await cli("delete", identity, "--yes")).status == 0
    assert (await cli("jobs", "show", identity)).status == 3


@pytest.mark.long
async def test_an_id_that_fits_several_jobs(cli: Cli) -> None:
    for _ in range(2):
        await cli("generate", "twin", "--size", "64x64", "--detach", "-t", "twin")
    identities = [one["id"] for one in (await cli("jobs", "-t", "twin", "--json")).document["jobs"]]
    told = await cli("jobs", "show", identities[0][:4], "--json")
    assert told.status == 2
    assert "fits" in told.document["error"]["message"]
    assert (await cli("jobs", "show", "zzzzzz")).status == 3
    for identity in identities:
        assert (await cli("cancel", identity)).status == 0


async def test_assets(cli: Cli, picture: Path) -> None:
    identity = (await cli("assets", "add", str(picture), "-t", "given")).lines[0]
    [found] = (await cli("assets", "--tag", "given", "--role", "image", "--json")).document["assets"]
    assert (found["id"], found["width"], found["height"]) == (identity, 128, 96)
    used = await cli(
        "pixelate", f"asset:{identity[-8:]}", "--cells", "8", "--scale", "1", "--json", "-o", "p.png"
    )
    assert used.status == 0, used.err
    saved = await cli("assets", "get", identity[-8:])
    assert saved.lines == ["round thing.png"]
    assert (cli.folder / "round thing.png").stat().st_size == found["bytes"]
    by_fact = await cli("assets", "--fact", "operation=pixelate", "--json")
    assert used.document["outputs"][0]["id"] in [one["id"] for one in by_fact.document["assets"]]
    assert (await cli("assets", "delete", identity, "-y")).status == 0
    assert (await cli("assets", "get", identity)).status == 3


async def test_keys(cli: Cli) -> None:
    made = (await cli("keys", "create", "alice", "--label", "laptop", "--json")).document
    assert made["key"].startswith(made["prefix"])
    listed = await cli("keys", "list")
    assert "alice" in listed.out
    assert made["key"] not in listed.out
    assert (await cli("keys", "revoke", made["prefix"])).status == 0
    assert (await cli("keys", "revoke", made["prefix"])).status == 3
