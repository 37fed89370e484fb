"""`genyard` and `python -m genyard`: the command line, with everything heavy loaded only when a command needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from genyard.app import Product
    from genyard.frontends.cli import Composition


def main() -> NoReturn:
    from genyard.frontends.cli import run

    run(_load)


def _load() -> Composition[Product]:
    from genyard import app
    from genyard.frontends.cli import Composition
    from genyard.settings import load_settings

    return Composition(
        load_settings=load_settings,
        setup_logging=app.setup_logging,
        build=app.build,
        working=app.working,
        serve=app.serve,
    )


if __name__ == "__main__":
    main()
