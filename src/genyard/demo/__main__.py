"""`python -m genyard.demo OUT`, or `python -m genyard.demo --emulated OUT` for every kind of place."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from genyard.errors import GenyardError
from genyard.frontends.cli.exits import EXIT_STATUS, complain


def main(words: list[str]) -> int:
    emulated = "--emulated" in words
    folders = [word for word in words if not word.startswith("--")]
    out = Path(folders[0] if folders else "out/demo-emulated" if emulated else "out/demo")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if emulated:
            from genyard.demo.places import demonstrate_places

            return 0 if asyncio.run(demonstrate_places(out)) else 1
        from genyard.demo.pieces import demonstrate

        return 0 if asyncio.run(demonstrate(out)) else 1
    except GenyardError as error:
        complain(error, None)
        return EXIT_STATUS[error.code]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
