"""A command that meets an outage of the database: no defect, and no traceback."""

from __future__ import annotations

import psycopg
import pytest

from genyard.frontends.cli import run


@pytest.mark.long
def test_an_outage_of_the_database_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> None:
        raise psycopg.errors.AdminShutdown("terminating connection due to administrator command")

    with pytest.raises(SystemExit) as ended:
        run(load, ["worker"])  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert ended.value.code == 7
    assert "database broke off: terminating connection" in said
    assert "Traceback" not in said
