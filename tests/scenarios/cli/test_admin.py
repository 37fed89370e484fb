"""Commands of the person who runs genyard: what goes on, pauses, owners and their tiers."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Cli

_TIERS = "[tiers.free]\nat_once = 1\nqueue = 10\n"


async def test_an_endpoint_is_paused_and_goes_on(cli: Cli) -> None:
    paused = await cli("admin", "pause", "preview", "--why", "new GPU")
    try:
        assert paused.status == 0
        [row] = (await cli("admin", "--json")).document["endpoints"]
        assert (row["endpoint"], row["paused_why"]) == ("preview", "new GPU")
        assert "preview is paused: new GPU" in (await cli("admin")).out
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


@pytest.mark.long
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


@pytest.mark.long
async def test_an_owner_is_deleted_and_the_command_says_what_stays(cli: Cli) -> None:
    key = (await cli("keys", "create", "leaver", "--json")).document
    await cli("credits", "grant", "leaver", "5", "--reason", "welcome")
    asked = await cli("owners", "delete", "leaver")
    assert asked.status != 0
    assert key["prefix"] in (await cli("keys", "list")).out
    deleted = await cli("owners", "delete", "leaver", "--yes")
    assert (deleted.status, deleted.out.strip()) == (0, "leaver is deleted")
    assert "1 movements, 1 with a reason" in deleted.err
    assert "leaver" not in (await cli("owners")).out + (await cli("keys", "list")).out
    assert (await cli("owners", "delete", "leaver", "--yes")).status == 3
    assert (await cli("owners", "delete", "local", "--yes")).status == 2


async def test_monitoring_is_told_by_the_status_that_somebody_has_to_look(cli: Cli) -> None:
    calm = await cli("admin", "--check")
    assert (calm.status, calm.out) == (0, "ok\n")
    await cli("admin", "pause", "preview")
    try:
        made = (await cli("generate", "a slime", "--size", "64x64", "--detach", "--json")).document
        checked = await cli("admin", "--check", "--json")
        assert checked.status == 10
        assert [one["code"] for one in checked.document["alerts"]] == ["worker.none"]
        assert "no worker is alive" in (await cli("admin", "--check")).out
        assert (await cli("admin")).status == 0
        await cli("cancel", made["id"])
    finally:
        await cli("admin", "resume", "preview")


async def test_what_would_go_is_shown_before_it_goes(cli: Cli) -> None:
    (Path(cli.folder) / "genyard.toml").write_text("[retention]\njobs = 1\noutputs = 1\nuploads = 1\n")
    shown = (await cli("admin", "clean", "--dry-run", "--orphans", "--json")).document
    assert shown["dry_run"]
    assert {"jobs", "outputs", "output_bytes", "uploads", "events", "callbacks", "orphans"} <= shown.keys()
    assert "would go" in (await cli("admin", "clean", "--dry-run")).out
    assert (await cli("admin", "clean")).status == 0
    assert (await cli("admin", "clean", "--adopt")).status == 2


async def test_a_database_is_exported_and_one_in_use_takes_no_import(cli: Cli) -> None:
    exported = await cli("db", "export", "all.genyard", "--with-files", "--json")
    assert exported.status == 0
    assert exported.document["rows"] > 0
    assert "like a password" in (await cli("db", "export", "again.genyard")).err
    assert (await cli("db", "export", "again.genyard")).status == 2
    refused = await cli("db", "import", "all.genyard")
    assert refused.status == 2
    assert "in use" in refused.err
    assert (await cli("db", "import", "nowhere.genyard")).status == 2
