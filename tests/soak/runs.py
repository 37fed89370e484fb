"""Of the audit: the runs at the places, each found again as one attempt's, and the pictures that they made."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise
from typing import Final
from uuid import UUID

from soak.evidence import Check, Evidence, Json
from soak.pictures import digest_of

#: endpoint → the emulator behind it; None: drawn by genyard itself.
PLACE_OF: Final[Mapping[str, str | None]] = {
    "comfyui": "comfyui",
    "comfyui-old": "comfyui-old",
    **dict.fromkeys(("flux", "links", "background", "worker", "public"), "runpod"),
    "scenario": "scenario",
    "replicate": "replicate",
    "preview": None,
}
#: Runs that may be bought for one stage: a place that costs money, one that does not.
MOST_PAID, MOST_FREE = 2, 3
#: What a place itself does twice; it is no run that we bought.
BY_ITSELF: Final = ("restart_worker", "runs_again")
_ORDER: Final = re.compile(r"order (\d+) of")


def runs_were_bought_once(evidence: Evidence, second_runs: Counter[tuple[str, str]]) -> list[Check]:
    """Every run at a place belongs to one attempt, every attempt has one run at most, and a second attempt has a
    reason that can be read on the first."""
    wrong: list[str] = []
    found, strays, repeats = match_runs(evidence, wrong)
    for key, runs in found.items():
        if len(runs) > 1:
            wrong.append(f"attempt {key} was submitted {len(runs)} times: {[one['id'] for one in runs]}")
    by_stage = defaultdict(list)
    for attempt in evidence.attempts:
        by_stage[attempt["stage_id"]].append(attempt)
    for stage, attempts in by_stage.items():
        free = PLACE_OF[attempts[0]["endpoint"]] in ("comfyui", "comfyui-old", None)
        bought = [one for one in attempts if any(run["runs"] for run in found.get(one["id"], ()))]
        for former, later in pairwise(attempts):
            second_runs[attempts[0]["endpoint"], former["code"] or "none"] += (
                later in bought and former in bought
            )
            if not former["code"] or former["state"] not in ("failed", "lost"):
                wrong.append(f"stage {stage}: another attempt after one that is {former['state']}")
            if former["state"] == "lost" and not free:
                wrong.append(f"stage {stage}: bought again although nobody knows what became of the first")
        if len(bought) > (MOST_FREE if free else MOST_PAID):
            wrong.append(f"stage {stage} at {attempts[0]['endpoint']}: {len(bought)} runs")
    itself = sum(evidence.struck.get("runpod", {}).get(kind, 0) for kind in BY_ITSELF)
    if repeats > itself:
        wrong.append(
            f"{repeats} runs were repeated within a submission; the places did {itself} by themselves"
        )
    total = sum(run["runs"] for runs in evidence.submissions.values() for run in runs)
    second = sum(second_runs.values())
    counted = (
        f"{total} runs at the places, {sum(map(len, found.values()))} of {len(evidence.attempts)} attempts have one; "
        f"{second} second runs, each with a reason; {repeats} repeated by the place itself"
    )
    return [
        Check(promise="No run was bought twice.", counted=counted, wrong=wrong),
        Check(
            promise="Every run at a place belongs to an attempt that genyard knows of.",
            counted=f"{len(strays)} runs without one",
            wrong=strays,
        ),
    ]


def match_runs(
    evidence: Evidence, wrong: list[str]
) -> tuple[dict[UUID, list[Mapping[str, Json]]], list[str], int]:
    """Attempt → the submissions that belong to it, those that belong to none, and how many runs were repeats."""
    by_key = {str(one["id"]): one for one in evidence.attempts}
    by_ref = {one["ref"]["id"]: one for one in evidence.attempts if one["ref"] and "id" in one["ref"]}
    numbers = {job_id: number for number, ids in evidence.told.accepted.items() for job_id in ids}
    refless = defaultdict(list)
    for one in evidence.attempts:
        if one["ref"] is None and one["state"] == "lost":
            refless[numbers.get(one["job_id"]), PLACE_OF[one["endpoint"]]].append(one)
    found: dict[UUID, list[Mapping[str, Json]]] = defaultdict(list)
    strays, repeats = [], 0
    for place, submissions in evidence.submissions.items():
        for one in submissions:
            attempt = by_key.get(one["key"] or "") or by_ref.get(one["id"])
            if attempt is None and (match := _ORDER.search(one["prompt"] or "")):
                lost = refless[int(match[1]), place]
                attempt = lost.pop() if lost else None
            if attempt is None:
                number = int(match[1]) if match else None
                others = [
                    _told(other) for other in evidence.attempts if numbers.get(other["job_id"]) == number
                ]
                strays.append(
                    f"{place}: {one['id']} ({one['prompt']}), {one['runs']} runs; there are {others}"
                )
                continue
            if attempt["id"] in found and one in found[attempt["id"]]:
                continue
            found[attempt["id"]].append(one)
            if place.startswith("comfyui"):
                if one["runs"] > 1 + one["forgot"]:
                    wrong.append(f"{_told(attempt)} was run {one['runs']} times by {place}, which knew of it")
            else:
                repeats += max(0, one["runs"] - 1)
    return found, strays, repeats


def _told(attempt: Mapping[str, Json]) -> str:
    facts = ("number", "state", "endpoint", "code", "word", "ref", "still_here", "created_at", "submitted_at")
    return f"attempt {attempt['id']} ({', '.join(f'{name} {attempt[name]}' for name in facts)})"


def pictures_are_ones_own(evidence: Evidence) -> Check:
    """Pixel for pixel what the run of that very job made: nothing was swapped between jobs or owners."""
    found, _, _ = match_runs(evidence, [])
    winners = {
        (one["job_id"], one["endpoint"]): one["id"]
        for one in evidence.attempts
        if one["state"] == "succeeded"
    }
    wrong, compared = [], 0
    for output in evidence.outputs:
        endpoint = output["facts"].get("endpoint")
        if not output["delivered"] or PLACE_OF.get(endpoint) is None:
            continue
        attempt = winners.get((output["job_id"], endpoint))
        made = [digest for run in found.get(attempt, ()) for digest in run["pictures"]] if attempt else []
        compared += 1
        try:
            mine = digest_of((evidence.blobs / output["object"]).read_bytes())
        except OSError:
            continue
        if mine not in made:
            wrong.append(
                f"job {output['job_id']} at {endpoint}: its picture is not among the {len(made)} of its run"
            )
    return Check(
        promise="Every delivered picture is, pixel for pixel, one that this job's own run made.",
        counted=f"{compared} pictures compared with what the places made",
        wrong=wrong,
    )
