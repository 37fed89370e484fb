"""Credits at the command line: gifts, balances from elsewhere, budgets, the proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genyard.errors import Code, GenyardError
from genyard.ledger import Opening
from genyard.ledger.opening import parse_openings
from scenarios.cli.conftest import Cli


@pytest.mark.long
async def test_what_is_booked_is_on_the_statement(cli: Cli) -> None:
    assert (await cli("credits", "balance", "gina")).status == 3
    await cli("keys", "create", "gina")
    assert (await cli("credits", "grant", "gina", "10", "--reason", "welcome")).out == (
        "grant of 10; 10 available\n"
    )
    bought = ("credits", "purchase", "gina", "5", "--key", "bill 1", "--json")
    assert (await cli(*bought)).document["replayed"] is False
    assert (await cli(*bought)).document["replayed"] is True
    assert (await cli("credits", "correct", "gina", "--by", "-4", "--reason", "twice")).status == 0
    assert (await cli("credits", "bonus", "gina", "1")).status == 0
    told = (await cli("credits", "statement", "gina", "--json")).document["movements"]
    assert [(one["kind"], one["change"], one["balance"]) for one in told] == [
        ("bonus", 1, 12),
        ("correction", -4, 11),
        ("purchase", 5, 15),
        ("grant", 10, 10),
    ]
    assert (await cli("credits", "balance", "gina")).out == "12 available, 0 held by open jobs\n"
    shown = await cli("credits", "statement", "gina")
    assert "welcome" in shown.out
    assert (await cli("credits", "reconcile", "--json")).document["balanced"] is True
    assert "the books balance" in (await cli("credits", "reconcile")).out


async def test_what_cannot_be_booked_says_why(cli: Cli) -> None:
    await cli("keys", "create", "gus")
    poor = await cli("credits", "correct", "gus", "--by", "-4", "--reason", "x", "--json")
    assert (poor.status, poor.document["error"]["code"]) == (5, "credits.insufficient")
    for wrong in (
        ("grant", "gus", "0"),
        ("grant", "gus", "1.5"),
        ("refund", "abc"),
        ("budget", "gus", "--daily", "a lot"),
    ):
        assert (await cli("credits", *wrong)).status == 2, wrong
    never = await cli("credits", "refund", "01a1fe21-0349-71da-a084-7606579592da")
    assert never.status == 2
    assert "charged nothing" in never.err


@pytest.mark.long
async def test_what_a_job_was_charged_is_given_back_in_parts_and_once(cli: Cli, tmp_path: Path) -> None:
    """The owner on this machine pays, too, where it is not exempt."""
    (tmp_path / "genyard.toml").write_text(
        '[credits]\nenabled = true\nexempt = []\n[[credits.prices]]\noperation = "*"\ncredits = 3\n'
    )
    await cli("credits", "grant", "local", "5")
    drawing = ("generate", "a red dragon", "--size", "64x64", "--json")
    planned = await cli(*drawing, "--dry-run")
    assert planned.document["credits"] == 3
    assert "credits: 3 at most" in (await cli(*drawing[:-1], "--dry-run")).out
    made = (await cli(*drawing)).document
    assert made["credits"] == {"price": 3, "reserved": 0, "charged": 3, "refunded": 0}
    part = ("credits", "refund", made["id"], "--credits", "1", "--key", "ticket 9")
    assert (await cli(*part)).out == "refund of 1; 3 available\n"
    assert "booked before under this key" in (await cli(*part)).out
    too_much = await cli("credits", "refund", made["id"], "--credits", "3")
    assert too_much.status == 2
    assert (await cli("credits", "refund", made["id"])).out == "refund of 2; 5 available\n"
    again = await cli("credits", "refund", made["id"], "--json")
    assert (again.status, again.document["error"]["code"]) == (2, "request.conflict")
    assert "3 of 3 charged, 3 refunded" in (await cli("jobs", "show", made["id"])).out
    poor = await cli(*drawing, "--count", "2")
    assert (poor.status, poor.document["error"]["code"]) == (5, "credits.insufficient")
    assert (await cli("credits", "reconcile")).status == 0


async def test_balances_from_elsewhere_come_in_once(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("owner,credits\nimp1,120\nimp2,0\n")
    first = (await cli("credits", "import", str(file), "--json")).document
    assert first == {"rows": 2, "booked": 1, "known": 0, "empty": 1, "credits": 120}
    file.write_text("owner,credits\nimp1,120\nimp2,0\nimp3,7\n")
    assert (await cli("credits", "import", str(file), "--json")).document == {
        "rows": 3, "booked": 1, "known": 1, "empty": 1, "credits": 7,
    }  # fmt: skip
    assert (await cli("credits", "balance", "imp1", "--json")).document["available"] == 120
    file.write_text("owner,credits\nimp4,1\nimp1,121\n")
    assert (await cli("credits", "import", str(file))).status == 2
    assert (await cli("credits", "balance", "imp4")).status == 3
    missing = await cli("credits", "import", str(tmp_path / "none.csv"))
    assert missing.status == 2


async def test_a_budget_of_ones_own(cli: Cli) -> None:
    await cli("keys", "create", "ben")
    assert (await cli("credits", "budget", "ben")).out.count("no budget") == 2
    set_ = (await cli("credits", "budget", "ben", "--daily", "1.5", "--json")).document
    assert set_["day"] == {"budget_usd": 1.5, "own": True, "spent_usd": 0}
    assert set_["month"] == {"budget_usd": None, "own": False, "spent_usd": 0}
    (await cli("credits", "budget", "ben", "--monthly", "9"))
    gone = (await cli("credits", "budget", "ben", "--daily", "none", "--json")).document
    assert (gone["day"]["budget_usd"], gone["month"]["budget_usd"]) == (None, 9)


async def test_an_admins_key_is_made_and_listed(cli: Cli) -> None:
    made = (await cli("keys", "create", "ada", "--admin", "--json")).document
    assert made["admin"] is True
    listed = (await cli("keys", "list")).lines
    assert any("ada" in line and "admin" in line for line in listed)
    assert (await cli("keys", "create", "bea", "--json")).document["admin"] is False


# ---- files ----


def test_both_forms_of_a_file_say_the_same() -> None:
    rows = [
        Opening(owner="abe", credits=3, key="abe"),
        Opening(owner="zoe", credits=0, key="u7", reason="old"),
    ]
    assert parse_openings("\ufeffowner,credits,key,reason\nabe, 3 ,,\nzoe,0,u7,old\n") == rows
    told = [{"owner": "abe", "credits": 3}, {"owner": "zoe", "credits": 0, "key": "u7", "reason": "old"}]
    assert parse_openings("\n\n".join(json.dumps(one) for one in told)) == rows
    assert parse_openings("\ufeff" + "\r\n".join(json.dumps(one) for one in told)) == rows
    assert parse_openings("owner,credits\n") == []
    [odd] = parse_openings('{"owner": "a\u2028b", "credits": 1}')
    assert odd.owner == "a\u2028b"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the first line names"),
        ("name,credits\na,1", "line 1: the first line names"),
        ("owner,credits\na,1\nb,1.5", "line 3: credits is a whole number"),
        ("owner,credits\na,-1", "line 2: credits is a whole number"),
        ("owner,credits\na,", "line 2: credits is a whole number"),
        ("owner,credits\na", "line 2: credits is a whole number"),
        ("owner,credits\na,1,2", "line 2: there is no column"),
        ("owner,credits,colour\na,1,red", "line 2: there is no column 'colour'"),
        ("owner,credits\n ,1", "line 2: owner is a name"),
        ("owner,credits\na,1\na,1", "line 3: the key 'a' is in line 2 already"),
        ('owner,credits\n"a"b,1', "line 2: this is not CSV"),
        ('{"owner": "a", "credits": 1}\n{"owner"', "line 2: this is not JSON"),
        ('{"owner": "a", "credits": true}', "line 1: credits is a whole number"),
        ('{"owner": "a", "credits": "1"}', "line 1: credits is a whole number"),
        ('{"owner": "a\\u0000", "credits": 1}', "line 1"),
        ('{"owner": "a", "credits": 1, "key": 5}', "line 1: key and reason are text"),
        ('{"owner": "a", "credits": 1}\n5', "line 2: a row is an object"),
        ("owner,credits\na," + "9" * 5000, "line 2: credits is a whole number"),
        ('{"owner": "a", "credits": ' + "9" * 4200 + "}", "line 1: credits is a whole number"),
        ('{"owner": ' + "[" * 100_000, "line 1: this is not JSON"),
        ('{"owner": "a", "credits": 1, "credits": 100}', "line 1: .* one field twice"),
        ("owner,credits,credits\na,1,100", "line 1: a column is there twice"),
        ("owner,credits\na,1\n a,1", "line 3: .* spaces around it"),
        ("owner,credits\na,٣", "line 2: credits is a whole number"),
        ("owner,credits\na," + "x" * 200_000, "line 2: this is not CSV"),
    ],
)
def test_a_wrong_row_is_named(text: str, told: str) -> None:
    with pytest.raises(GenyardError, match=told) as wrong:
        parse_openings(text)
    assert (wrong.value.code, wrong.value.field) == (Code.request_invalid, "FILE")
