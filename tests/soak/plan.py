"""What is asked for and what goes wrong, drawn from a seed before anything starts: the same seed, the same plan.

When things happen is said by counts ("after the 40th job was accepted"), never by the clock. What the operating
system makes of the timing is not in the plan: two runs of one seed differ there, and must both be clean.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from soak.faults import LASTING, PASSING

Json = Any

#: operation → (credits, per). The audit computes every charge from this table alone.
PRICES: Final[Mapping[str, tuple[int, Literal["output", "request"]]]] = {
    "txt2img": (2, "output"),
    "img2img": (3, "output"),
    "remove_background": (4, "request"),
}
#: What owners of a tier pay for a picture in place of the above.
PRO_TXT2IMG: Final = 1


@dataclass(frozen=True, kw_only=True)
class Customer:
    """`credits`: bought at the start; one of them runs out. `share`: of all orders."""

    name: str
    tier: str
    credits: int = 1_000_000
    share: float = 1.0


CUSTOMERS: Final = (
    Customer(name="ada", tier="standard"),
    Customer(name="ben", tier="standard"),
    Customer(name="cleo", tier="pro"),
    Customer(name="dora", tier="pro"),
    Customer(name="emil", tier="free", share=0.5),
    Customer(name="fay", tier="free", credits=30, share=0.1),
)


@dataclass(frozen=True, kw_only=True)
class Order:
    """One job that a customer wants. `asks_again`: sent twice under one key. `cancel_after`: seconds; None: never."""

    number: int
    customer: str
    endpoint: str
    body: Mapping[str, Json]
    asks_again: bool = False
    by_http: bool = False
    called_back: bool = False
    cancel_after: float | None = None

    @property
    def key(self) -> str:
        return f"order-{self.number}"

    @property
    def steps(self) -> Sequence[Mapping[str, Json]]:
        return self.body.get("steps") or [self.body]


Happening = Literal["fault", "state", "cut", "kill", "freeze", "stop", "database", "receiver"]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """`after`: as many accepted jobs. `facts`: what exactly, by kind of happening."""

    after: int
    kind: Happening
    facts: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Plan:
    seed: int
    orders: Sequence[Order]
    troubles: Sequence[Trouble]


#: endpoint → how much of the work goes there.
WEIGHTS: Final[Mapping[str, int]] = {
    "comfyui": 20,
    "comfyui-old": 12,
    "flux": 22,
    "links": 10,
    "worker": 8,
    "public": 2,
    "scenario": 10,
    "replicate": 14,
    "preview": 6,
}
#: endpoint → how large its pictures are: the smallest that it makes.
_SIDES: Final = {"public": 256, "scenario": 128}
#: endpoint → the model that is named, where its default one has no small pictures.
_MODELS: Final = {"comfyui": "sdxl", "comfyui-old": "sdxl", "worker": "sdxl", "replicate": "sdxl"}


def make_plan(seed: int, jobs: int, *, troubles: bool = True) -> Plan:
    draw = random.Random(seed)
    orders = tuple(_order(number, draw) for number in range(1, jobs + 1))
    return Plan(seed=seed, orders=orders, troubles=tuple(_troubles(jobs, draw)) if troubles else ())


def _order(number: int, draw: random.Random) -> Order:
    endpoint = draw.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    body, by_http = _request(number, endpoint, draw)
    called_back = draw.random() < 0.3
    if draw.random() < 0.03:
        body["expires_in"] = round(draw.uniform(0.3, 4.0), 2)
    body["priority"] = draw.choice((0, 0, 0, 0, -20, 10, 50))
    return Order(
        number=number,
        customer=draw.choices(CUSTOMERS, weights=[one.share for one in CUSTOMERS])[0].name,
        endpoint=endpoint,
        body=body,
        asks_again=draw.random() < 0.05,
        by_http=by_http,
        called_back=called_back,
        cancel_after=round(draw.expovariate(0.7), 3) if draw.random() < 0.07 else None,
    )


def _request(number: int, endpoint: str, draw: random.Random) -> tuple[dict[str, Json], bool]:
    """The body, and whether it goes in over HTTP (where routes, not callers, choose the place)."""
    side = _SIDES.get(endpoint, 64)
    model = {"model": _MODELS[endpoint]} if endpoint in _MODELS else {}
    parameters = {
        "prompt": f"order {number} of a red dragon",
        "width": side,
        "height": side,
        "seed": number,
    }
    drawing = {"operation": "txt2img", "parameters": parameters, **model}
    kind = draw.random()
    if endpoint == "flux" and kind < 0.25:
        return _two_stages(drawing), True
    if endpoint == "flux" and kind < 0.6:
        return drawing, True
    if endpoint in ("comfyui", "comfyui-old", "worker", "preview") and kind < 0.2:
        return _two_stages(drawing), False
    if endpoint in ("comfyui", "flux", "replicate") and kind > 0.85:
        given = {"operation": "img2img", "inputs": {"image": "@picture"}}
        return {**drawing, **given, "parameters": {**parameters, "strength": 0.5}}, False
    if endpoint in ("flux", "scenario", "preview", "comfyui", "worker") and kind > 0.7:
        parameters["count"] = draw.choice((2, 3, 4))
    return drawing, False


def _two_stages(drawing: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "steps": [
            {**drawing, "name": "draw", "keep": False},
            {"operation": "remove_background", "name": "cut", "inputs": {"image": "step:draw"}},
        ]
    }


def _troubles(jobs: int, draw: random.Random) -> list[Trouble]:
    """About one fault at a place for eight jobs; deaths, cuts and restarts by the thousand. None in the last jobs of
    all: what goes wrong there is the same, and an end is to be reached."""
    last = int(jobs * 0.97)

    def some(per_thousand: float, kind: Happening, **facts: Json) -> list[Trouble]:
        count = max(1, round(per_thousand * jobs / 1000))
        return [Trouble(after=draw.randint(5, last), kind=kind, facts=facts) for _ in range(count)]

    found = []
    for trouble in some(125, "fault"):
        place = draw.choice(list(PASSING))
        fault = draw.choice(PASSING[place])
        found.append(Trouble(after=trouble.after, kind="fault", facts={"place": place, "fault": fault}))
    for trouble in some(2, "state"):
        place = draw.choice(list(LASTING))
        facts = {"place": place, "kind": draw.choice(LASTING[place]), "seconds": draw.uniform(1.0, 3.0)}
        found.append(Trouble(after=trouble.after, kind="state", facts=facts))
    for trouble in some(2, "cut"):
        facts = {"place": draw.choice(list(PASSING)), "seconds": draw.uniform(0.5, 3.0)}
        found.append(Trouble(after=trouble.after, kind="cut", facts=facts))
    for trouble in some(1.6, "freeze"):
        facts = {"seconds": draw.choice((2.0, 5.0, 12.0, 15.0)), "who": draw.random()}
        found.append(Trouble(after=trouble.after, kind="freeze", facts=facts))
    for trouble in some(1.0, "receiver"):
        facts = {"seconds": draw.uniform(0.5, 3.0)}
        found.append(Trouble(after=trouble.after, kind="receiver", facts=facts))
    found += [
        Trouble(after=one.after, kind="kill", facts={"who": draw.random()}) for one in some(2.5, "kill")
    ]
    found += [
        Trouble(after=one.after, kind="stop", facts={"who": draw.random()}) for one in some(0.5, "stop")
    ]
    found += [
        Trouble(after=one.after, kind="database", facts={"crash": draw.random() < 0.5})
        for one in some(0.5, "database")
    ]
    return sorted(found, key=lambda one: one.after)
