"""Commands of the person who runs genyard: what goes on, pauses, owners and their tiers."""

from __future__ import annotations

from pathlib import Path

from .conftest import Cli

_TIERS = "[tiers.free]\nat_once = 1\nqueue = 10\n"


async def test_an_endpoint_is_paused_and_goes_on(cli: Cli) -> None:
    paused = await cli("admin", "pause", "preview", "--why", "new GPU")
    try:
        assert paused.status == 0
        [row] = (await cli("admin", "--json")).document["endpoints"]
        assert (row["endpoint"], row["paused_why"]) == ("preview", "new GPU")
        assert "paused" in (await cli("admin")).out
        assert "paused since" in (await cli("doctor")).out
        made = (await cli("generate", "a slime", "--size", "64x64", "--detach", "--json")).document
        shown = (await cli("jobs", "show", made["id"], "--json")).document
        assert shown["queue"]["position"] == 1
        assert "#1 of preview, which is paused" in (await cli("jobs", "--state", "queued")).out
        await cli("cancel", made["id"])
    finally:
        assert (await cli("admin", "resume", "preview")).status == 0
    [row] = (await cli("admin", "--json")).document["endpoints"]
    assert row["paused_at"] is None
    assert (await cli("admin", "pause", "nowhere")).status == 3


async def test_owners_are_put_into_tiers_that_the_settings_name(cli: Cli) -> None:
    (Path(cli.folder) / "genyard.toml").write_text(_TIERS)
    key = (await cli("keys", "create", "ada", "--tier", "free", "--json")).document
    try:
        owners = {one["name"]: one for one in (await cli("owners", "--json")).document["owners"]}
        assert (owners["ada"]["tier"], owners["local"]["tier"]) == ("free", "standard")
        assert (await cli("owners", "set", "ada", "--tier", "standard")).status == 0
        assert "ada" in (await cli("owners")).out
        refused = await cli("owners", "set", "ada", "--tier", "gold")
        assert refused.status == 2
        assert "free, standard" in refused.err
        assert (await cli("owners", "set", "nobody", "--tier", "free")).status == 3
    finally:
        await cli("keys", "revoke", key["prefix"])
