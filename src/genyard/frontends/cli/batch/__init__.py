"""Many requests from one file: `genyard run --batch prompts.jsonl` (or .csv).

The truth about what was bought is in the database, under a key that each row makes of itself (`rows`); the results
file tells of it (`results`). So the same command goes on wherever the last one was stopped, and buys nothing twice.
"""

from __future__ import annotations

from genyard.frontends.cli.batch.running import estimate_batch, run_batch

__all__ = ["estimate_batch", "run_batch"]
