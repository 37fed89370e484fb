"""All commands: in which module of this room they are, and what they do in a line.

`genyard --help` reads this and nothing else, so that a command costs time only when it is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: name → (module, summary)
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "generate": ("making", "Draw a picture from a prompt."),
    "edit": ("making", "Redraw an image under a prompt."),
    "cutout": ("making", "Cut the subject out: a PNG with transparency."),
    "layers": ("making", "Take a picture apart into transparent layers, back to front."),
    "animate": ("making", "Animate the face in a photo: an MP4."),
    "pixelate": ("making", "Turn a picture into pixel art."),
    "run": ("making", "Run your own ComfyUI workflow, a request of several steps, or a batch."),
    "estimate": ("estimating", "What a command would cost, before it is given."),
    "try": ("trying", "One cheap real request per operation at an endpoint, with a report."),
    "jobs": ("jobs", "List jobs, newest first; `jobs show ID` says more."),
    "cancel": ("jobs", "Stop a job, whether it waits or runs."),
    "rerun": ("jobs", "The same request again: same seeds, or new ones."),
    "delete": ("jobs", "Delete a job for good, with everything that it made."),
    "assets": ("assets", "List and search stored pictures, videos and sounds."),
    "keys": ("keys", "API keys: who may use the HTTP API from elsewhere."),
    "owners": (
        "owners",
        "Who has keys, in which tier; `owners set`, `owners delete`.",
    ),
    "credits": (
        "credits",
        "Balances, statements, gifts, refunds, budgets, the books.",
    ),
    "admin": (
        "admin",
        "Workers, queues, waits, alerts; pause, resume, clean.",
    ),
    "webhooks": ("webhooks", "Callbacks: what was told to whom; resend, secret."),
    "db": ("moving", "Export and import: backups, the move to another server."),
    "serve": ("service", "The HTTP API and its page."),
    "worker": ("service", "Run jobs until SIGTERM or Ctrl-C."),
    "doctor": ("doctor", "What is configured, what each place can and cannot do, and why."),
}


def summary(name: str) -> str:
    return COMMANDS[name][1]
