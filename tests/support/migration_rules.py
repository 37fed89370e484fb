"""What a migration may not do, because older processes work on while it is applied and afterwards.

docs/howto/upgrade.md says it in words.

`-- allowed: WHY` on the line before a statement lets that one pass; `-- breaks older: WHY` in the head, the whole file.
"""

from __future__ import annotations

import re

from genyard.database._migrate import Migration

_ALLOWED = re.compile(r"^-- allowed: \S", re.MULTILINE)
_CREATED = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)
_TABLE = re.compile(r"^ALTER TABLE (?:ONLY )?(\w+)")
_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(?:IF NOT EXISTS )?(\w+) ON (\w+)")
_DROPPED_TRIGGER = re.compile(r"^DROP TRIGGER (?:IF EXISTS )?(\w+)")
_DROPPED_INDEX = re.compile(r"^DROP INDEX CONCURRENTLY IF EXISTS (\w+)")

#: Which somebody writes all the time.
_BUSY = frozenset(
    {"jobs", "stages", "attempts", "events", "assets", "movements", "balances", "procrastinate_jobs"}
)
#: Statements that hold a table until the file is through.
_HOLDS = (_TABLE, re.compile(r"\bTRIGGER .*? ON (\w+)"), re.compile(r"\bREFERENCES (\w+)"))

#: What is wrong with a statement, whatever it is about.
_NEVER = (
    (r"^(DROP (TABLE|VIEW|FUNCTION|TYPE|SCHEMA|SEQUENCE|COLUMN))\b", "older processes may still use it"),
    (r"^(TRUNCATE|VACUUM|CLUSTER|LOCK)\b", "it keeps everybody out"),
    (r"^(UPDATE|DELETE)\b", "it may hold rows of a large table for long"),
)
#: What is wrong with an ALTER TABLE of a table that was there before.
_NOT_IN_USE = (
    (r"\bDROP (?:COLUMN|CONSTRAINT)\b", "older processes may still use it"),
    (r"\bRENAME\b", "older processes know the old name"),
    (r"\bALTER (?:COLUMN )?\w+ (?:SET DATA )?TYPE\b", "it writes the table anew under a lock"),
    (r"\bSET NOT NULL\b", "it reads the whole table under a lock, and older processes may write NULL"),
    (r"\bADD (?:CONSTRAINT \w+ )?(?:CHECK|FOREIGN KEY|UNIQUE|PRIMARY KEY|EXCLUDE)\b(?!.*NOT VALID)",
     "it reads the whole table under a lock; NOT VALID does not"),
    (r"\bADD COLUMN\b[^,]*\b(?:UNIQUE|PRIMARY KEY|GENERATED)\b", "it writes the whole table under a lock"),
    (r"\bADD COLUMN\b[^,]*\bDEFAULT (?:gen_random_uuid|clock_timestamp|random|nextval)",
     "a default that differs by row writes the whole table under a lock"),
    (r"\bADD COLUMN\b(?![^,]*\bDEFAULT\b)[^,]*\bNOT NULL\b", "older processes do not fill it: give it a default"),
)  # fmt: skip


def broken_rules(migration: Migration) -> list[str]:
    """`statement: why`, for each that may not be."""
    if migration.breaks_older:
        return []
    created = set(_CREATED.findall(migration.sql))
    found: list[str] = []
    dropped: set[str] = set()
    for statement in _statements(migration.sql):
        bare = re.sub(r"--[^\n]*", "", statement)
        flat = " ".join(bare.split())
        if not flat:
            continue
        dropped |= set(_DROPPED_INDEX.findall(flat))
        why = _wrong(flat, migration, created, dropped)
        if why and not _ALLOWED.search(statement):
            found.append(f"{flat[:80]}: {why}")
    return found


def held_at_once(migration: Migration) -> set[str]:
    """Busy tables that it holds together, while statements under way hold them in another order."""
    if migration.breaks_older or migration.one_by_one:
        return set()
    flat = [" ".join(re.sub(r"--[^\n]*", "", one).split()) for one in _statements(migration.sql)]
    found = {name for one in flat for pattern in _HOLDS for name in pattern.findall(one)}
    return found & _BUSY - set(_CREATED.findall(migration.sql))


def _wrong(statement: str, migration: Migration, created: set[str], dropped: set[str]) -> str | None:
    for pattern, why in _NEVER:
        if re.search(pattern, statement):
            return why
    table = _TABLE.match(statement)
    if table and table[1] not in created:
        return next((why for pattern, why in _NOT_IN_USE if re.search(pattern, statement)), None)
    trigger = _DROPPED_TRIGGER.match(statement)
    if trigger and not re.search(rf"CREATE (?:CONSTRAINT )?TRIGGER {trigger[1]}\b", migration.sql):
        return "older processes may rely on it"
    index = _INDEX.match(statement)
    if index and index[3] not in created:
        if not index[1]:
            return (
                "it keeps writers out; CREATE INDEX CONCURRENTLY, in a file of its own with `-- one by one`"
            )
        if not migration.one_by_one:
            return "CONCURRENTLY needs a file with `-- one by one`"
        if index[2] not in dropped:
            return "a try that failed leaves a broken index: DROP INDEX CONCURRENTLY IF EXISTS before it"
    return None


def _statements(sql: str) -> list[str]:
    """With the comments before them; bodies of functions stay whole, and are nobody's business here."""
    outside = re.sub(r"\$\$.*?\$\$", "$$$$", sql, flags=re.DOTALL)
    return re.split(r";[ \t]*(?:--[^\n]*)?\n", outside + "\n")
