"""People and the like: one chibi body, dressed by a table.

Feet stand at y = 1, the head's top lies near y = -1.05; the character faces the viewer, slightly to one side.
What people wear and carry on their heads is in `outfits`.
"""

from __future__ import annotations

from typing import Final

from genyard.preview import faces, heads, items, outfits
from genyard.preview.bodies import (
    BLACK,
    BODIES,
    BROWN,
    GOLD,
    LEATHER,
    STEEL,
    TEAL,
    WHITE,
    Outfit,
    Person,
    dye,
)
from genyard.preview.look import Look
from genyard.preview.paint import Pen
from genyard.preview.palette import Ink, ink
from genyard.preview.shapes import box, ellipse, limb, polygon, spline, xy

HAIRS: Final = (
    ink(0.36, 0.06, 45), ink(0.3, 0.03, 300), ink(0.78, 0.13, 85), ink(0.58, 0.14, 45), ink(0.5, 0.1, 40),
        ink(0.85, 0.02, 250),
)  # fmt: skip
BONE: Final = ink(0.92, 0.035, 92, "bone")


RED, BLUE, GREEN, VIOLET = (
    dye(0.55, 0.19, 27),
    dye(0.5, 0.17, 262),
    dye(0.54, 0.14, 145),
    dye(0.45, 0.17, 300),
)
PINK, ORANGE = dye(0.74, 0.14, 355), dye(0.68, 0.16, 50)
GREENSKIN = (dye(0.68, 0.16, 135, "skin"), dye(0.62, 0.14, 125, "skin"))

OUTFITS: Final[dict[str, Outfit]] = {
    "knight": Outfit(main=(RED, BLUE, VIOLET), second=(STEEL,), body="armor", wear=("knight helm",),
        right=("sword",), left=("shield",), back=("cape",)),
    "wizard": Outfit(main=(BLUE, VIOLET, TEAL), second=(GOLD,), body="robe", wear=("wizard hat",),
        right=("staff",), beard=True),
    "witch": Outfit(main=(VIOLET, BLACK), second=(ORANGE,), body="dress", wear=("witch hat",),
        right=("staff",), hair=("long",)),
    "archer": Outfit(main=(GREEN, TEAL), body="tunic", wear=("hood",), left=("bow",), back=("quiver",
        "cape"), hair=("long", "short")),
    "elf": Outfit(main=(GREEN, TEAL), second=(GOLD,), body="tunic", ears="long", wear=("circlet",),
        left=("bow",), hair=("long",), back=("quiver",)),
    "ninja": Outfit(main=(BLACK, dye(0.34, 0.09, 268)), second=(RED,), body="wrap", wear=("ninja mask",),
        right=("katana",), mood="angry"),
    "samurai": Outfit(main=(RED, BLACK), second=(GOLD,), body="armor", wear=("kabuto",), right=("katana",),
        mood="angry"),
    "robot": Outfit(main=(dye(0.7, 0.04, 235, "metal"), dye(0.72, 0.12, 75, "metal")), second=(dye(0.45, 0.03,
        260, "metal"),), body="robot", head="robot", hair=()),
    "villager": Outfit(main=(BROWN, GREEN, ORANGE), body="tunic", wear=("straw hat",), hair=("short",
        "bowl"), mood="happy"),
    "girl": Outfit(main=(PINK, TEAL, VIOLET), body="dress", hair=("long", "pigtails", "bun"), mood="happy"),
    "princess": Outfit(main=(PINK, dye(0.8, 0.09, 230), VIOLET), second=(GOLD,), body="dress",
        wear=("crown",), hair=("long",), mood="happy"),
    "king": Outfit(main=(RED, VIOLET, BLUE), second=(GOLD,), body="robe", wear=("crown",), back=("cape",),
        right=("scepter",), beard=True, wide=1.08),
    "zombie": Outfit(main=(dye(0.5, 0.06, 230), BROWN), skin=(dye(0.7, 0.09, 140, "skin"), dye(0.68, 0.06, 190,
        "skin")), body="ragged", hair=("messy",), head="zombie"),
    "skeleton": Outfit(main=(BONE,), second=(BROWN,), body="bones", head="skull", hair=(), skin=(BONE,),
        right=("sword",), legs=BONE),
    "pirate": Outfit(main=(RED, BLUE), second=(GOLD,), body="coat", wear=("tricorne", "eyepatch"),
        right=("sabre",), hair=("long", "short"), beard=True),
    "viking": Outfit(main=(BROWN, BLUE), second=(STEEL,), body="fur", wear=("horned helm",), right=("axe",),
        left=("shield",), beard=True, wide=1.12),
    "barbarian": Outfit(main=(BROWN, RED), second=(LEATHER,), body="bare", right=("axe",), hair=("long",
        "spiky"), mood="angry", wide=1.14),
    "astronaut": Outfit(main=(WHITE,), second=(ORANGE,), body="suit", wear=("bubble helm",), back=("pack",),
        wide=1.08),
    "vampire": Outfit(main=(BLACK,), second=(RED,), body="coat", skin=(dye(0.9, 0.02, 300, "skin"),),
        hair=("slick",), back=("high cape",), mood="fangs"),
    "angel": Outfit(main=(WHITE,), second=(GOLD,), body="robe", hair=("long", "short"), back=("wings",),
        wear=("halo",), right=("staff",), mood="happy"),
    "demon": Outfit(main=(BLACK,), second=(GOLD,), skin=(dye(0.55, 0.19, 25, "skin"), dye(0.5, 0.15, 310,
        "skin")), body="bare", ears="point", wear=("horns",), back=("bat wings", "tail"), right=("trident",),
        hair=(), mood="fangs"),
    "goblin": Outfit(main=(BROWN, RED), skin=GREENSKIN, body="tunic", ears="long", hair=(),
        right=("dagger",), mood="fangs", head="goblin"),
    "orc": Outfit(main=(BROWN, BLACK), skin=GREENSKIN, body="bare", ears="point", hair=("topknot",),
        right=("axe",), mood="tusks", wide=1.2, head="goblin"),
    "thief": Outfit(main=(BLACK, GREEN, dye(0.35, 0.06, 300)), body="wrap", wear=("hood", "scarf"),
        right=("dagger",), hair=("short",)),
    "dwarf": Outfit(main=(ORANGE, BLUE), second=(STEEL,), body="armor", wear=("horned helm",),
        right=("hammer",), beard=True, wide=1.2),
    "cowboy": Outfit(main=(BROWN, BLUE), body="coat", wear=("cowboy hat", "scarf"), hair=("short",)),
    "hero": Outfit(main=(BLUE, GREEN, RED, TEAL), body="tunic", wear=("scarf",), right=("sword",),
        hair=("spiky", "messy", "short"), back=("cape",)),
}  # fmt: skip


def _asked(look: Look, name: str, outfit: Outfit) -> tuple[tuple[str, ...], tuple[str, ...], str, str]:
    """(wear, back, right hand, left hand): the outfit's, changed by what the prompt names."""
    wish = look.wish
    wear, back = list(outfit.wear), list(outfit.back)
    for thing, piece in (
        ("hood", "hood"),
        ("mask", "ninja mask"),
        ("horns", "horns"),
        ("halo", "halo"),
        ("eyepatch", "eyepatch"),
        ("glasses", "glasses"),
    ):
        if wish.has(thing) and piece not in wear:
            wear.append(piece)
    for thing, piece in (("crown", "crown"), ("helmet", "knight helm")):
        if thing in wish.things and piece not in wear:
            wear = [w for w in wear if w not in outfits.COVERING] + [piece]
    if wish.has("hat") and not any("hat" in w for w in wear):
        wear = [w for w in wear if w not in outfits.COVERING] + ["wizard hat"]
    for thing, piece in (("cape", "cape"), ("wings", "wings"), ("tail", "tail")):
        if wish.has(thing) and not any(piece in b for b in back):
            back.append("bat wings" if piece == "wings" and name in ("demon", "vampire") else piece)
    right = look.pick(outfit.right) if outfit.right else ""
    left = look.pick(outfit.left) if outfit.left else ""
    held = [t for t in wish.things if t in items.HELD]
    for thing in held:
        if thing in ("shield", "bow", "book", "lantern", "orb", "bag"):
            left = thing
        else:
            right = thing
    if held and not any(t == right for t in held):
        right = "" if left in held and left == "bow" else right
    return tuple(wear), tuple(back), right, left


def choose(look: Look, name: str) -> Person:
    outfit = OUTFITS[name]
    wish = look.wish
    wear, back, right, left = _asked(look, name, outfit)
    main = look.main(*outfit.main)
    hair = wish.colour("hair", look.pick(HAIRS))
    if wish.has("blonde"):
        hair = HAIRS[2]
    style = "long" if wish.has("long hair") else (look.pick(outfit.hair) if outfit.hair else "")
    mood = look.mood()
    return Person(
        outfit=outfit,
        main=main,
        second=wish.second(look.varied(look.pick(outfit.second))),
        skin=wish.colour("skin", look.pick(outfit.skin)),
        hair=hair,
        hair_style=style,
        legs=outfit.legs
        or wish.colour("pants", look.pick((BROWN, dye(0.36, 0.05, 265), dye(0.42, 0.04, 60)))),
        wear=wear,
        right=right,
        left=left,
        back=back,
        beard=(outfit.beard and (name != "pirate" or look.chance(0.5))) or wish.has("beard"),
        mood=outfit.mood if mood == "calm" else mood,
        wide=outfit.wide
        * look.between(0.95, 1.06)
        * (1.22 if wish.has("fat") else 0.88 if wish.has("thin") else 1),
        turn=look.between(0.02, 0.07) * look.pick((-1, 1)),
        arm=look.between(-6, 14),
        eye=wish.colour(
            "eyes",
            look.pick(
                (
                    ink(0.5, 0.12, 250, "eye"),
                    ink(0.5, 0.12, 150, "eye"),
                    ink(0.45, 0.08, 55, "eye"),
                    ink(0.5, 0.14, 300, "eye"),
                )
            ),
        ),
    )


def draw_character(pen: Pen, look: Look) -> None:
    person = choose(look, look.wish.subject)
    for piece in person.back:
        outfits.BACK[piece](pen, look, person)
    if person.hair_style in ("long", "pigtails") and not {"knight helm", "ninja mask", "bubble helm"} & set(
        person.wear
    ):
        heads.back_hair(pen, person)
    _legs(pen, person)
    _arm(pen, look, person, side=1)
    BODIES[person.outfit.body](pen, person)
    _head(pen, look, person)
    _arm(pen, look, person, side=-1)


def _legs(pen: Pen, p: Person) -> None:
    robe = p.outfit.body in ("robe", "dress")
    thin = 0.06 if p.outfit.body == "bones" else 0.125
    for side in (-1, 1):
        x = side * 0.17 * p.wide + p.turn * 0.5
        boot = p.legs if p.outfit.body in ("bones",) else _boot(p)
        if not robe:
            pen.fill(limb([(x, 0.45, thin * 1.05), (x + side * 0.01, 0.82, thin * 0.95)]), p.legs)
        pen.fill(
            spline(
                [
                    (x - 0.12, 0.76),
                    (x + 0.12, 0.76),
                    (x + 0.14, 0.88),
                    (x + 0.15 + p.turn, 0.985),
                    (x, 1.0),
                    (x - 0.15 + p.turn, 0.985),
                    (x - 0.14, 0.88),
                ]
            ),
            boot,
        )
        if p.outfit.body in ("tunic", "coat", "fur", "bare"):
            pen.decal(box(x - 0.2, 0.72, x + 0.2, 0.815), boot.lighter(0.14), line=0.6)


def _boot(p: Person) -> Ink:
    special = {
        "armor": STEEL,
        "robot": p.second,
        "suit": p.main,
        "dress": p.second,
        "wrap": p.main.darker(0.06),
        "ragged": BROWN,
    }
    return special.get(p.outfit.body, LEATHER)


def _arm(pen: Pen, look: Look, p: Person, *, side: int) -> None:
    """One arm with its hand and what it holds. side -1 is the viewer's left, where weapons are."""
    held = p.right if side < 0 else p.left
    body = p.outfit.body
    bones = body == "bones"
    sleeve = {"bare": p.skin, "armor": STEEL, "bones": p.main, "robot": p.second, "dress": p.skin}.get(
        body, p.main.darker(0.03)
    )
    r = 0.048 if bones else 0.095 * (1.15 if body in ("bare", "suit", "robe") else 1)
    shoulder = (side * 0.27 * p.wide, -0.04)
    lift = 0.12 if held else 0.0
    hand = (side * (0.47 * p.wide + 0.02 * lift), 0.34 - lift - (0.16 if p.outfit.head == "zombie" else 0))
    elbow = (side * 0.43 * p.wide, 0.17)
    if held and side > 0:
        _hold(pen, look, p, held, hand, side)
    pen.fill(
        limb(
            [
                (*shoulder, r),
                (*elbow, r * (1.02 if body != "robe" else 1.25)),
                (hand[0], hand[1] - 0.03, r * (0.9 if body != "robe" else 1.35)),
            ]
        ),
        sleeve,
    )
    if held and side < 0:
        _hold(pen, look, p, held, hand, side)
    glove = {
        "armor": LEATHER,
        "robot": p.main,
        "suit": p.main.darker(0.1),
        "bones": p.main,
        "wrap": p.main.darker(0.05),
    }.get(body, p.skin)
    if not (held == "shield" and side > 0):
        pen.fill(ellipse(hand[0], hand[1] + 0.03, 0.1 if not bones else 0.07), glove)
    if body in ("armor", "fur") or look.wish.has("armor"):
        pen.fill(
            ellipse(shoulder[0] + side * 0.03, shoulder[1] + 0.01, 0.15, 0.13),
            STEEL if body != "fur" else ink(0.72, 0.05, 70, "fur"),
        )


def _hold(pen: Pen, look: Look, p: Person, thing: str, hand: tuple[float, float], side: int) -> None:
    if thing == "shield":
        with pen.placed(hand[0] + side * 0.0, hand[1] + 0.02, size=0.36):
            items.draw_held(pen, look, thing, p.main)
        return
    turn = {"bow": 8, "staff": 3, "scepter": 6, "trident": 3, "spear": 3}.get(thing, 14 + p.arm)
    with pen.placed(hand[0], hand[1] + 0.03, turn=turn * side, size=0.62):
        items.draw_held(pen, look, thing, p.main)


def _head(pen: Pen, look: Look, p: Person) -> None:
    x, y = p.turn * 0.6, -0.52
    kind = p.outfit.head
    heads.ears(pen, p, x, y)
    if kind == "robot":
        heads.robot_head(pen, look, p, x, y)
    elif kind == "skull":
        heads.skull(pen, p, x, y)
    else:
        _face(pen, look, p, x, y, kind)
    if p.hair_style and not {"knight helm", "ninja mask", "bubble helm", "hood"} & set(p.wear):
        heads.front_hair(pen, p, x, y)
    if p.beard:
        heads.beard(pen, look, p, x, y)
    for piece in p.wear:
        outfits.WEAR[piece](pen, look, p, x, y)


def _face(pen: Pen, look: Look, p: Person, x: float, y: float, kind: str) -> None:
    pen.fill(
        spline(xy("-.36 -.25, 0 -.42, .36 -.25, .42 .06, .3 .31, 0 .4, -.3 .31, -.42 .06", at=(x, y))),
        p.skin,
        puff=0.8,
    )
    fx = x + p.turn * 1.6
    mood = "angry" if p.mood in ("fangs", "tusks") else p.mood
    if kind == "zombie":
        faces.eye(
            pen, fx - 0.17, y + 0.05, 0.12, ink(0.7, 0.16, 95, "eye"), white=ink(0.93, 0.06, 105, "eye")
        )
        faces.eye(
            pen, fx + 0.18, y + 0.06, 0.085, ink(0.6, 0.16, 30, "eye"), white=ink(0.93, 0.06, 105, "eye")
        )
        faces.mouth(pen, fx + 0.02, y + 0.24, 0.12, mood="angry")
        return
    white = ink(0.93, 0.1, 100, "eye") if kind == "goblin" else faces.WHITE
    iris = ink(0.5, 0.2, 25, "eye") if kind == "goblin" or p.mood == "fangs" else p.eye
    brow = p.hair.darker(0.08) if p.hair_style else None
    if not {"ninja mask", "knight helm"} & set(p.wear):
        size = 0.125 if "cute" in look.wish.styles else 0.108
        faces.eyes(
            pen,
            fx,
            y + 0.06,
            0.17,
            size,
            iris,
            mood=mood,
            look=p.turn * 6,
            white=white,
            brow=brow,
            slit=kind == "goblin",
        )
        if mood in ("happy", "calm"):
            faces.cheeks(pen, fx, y + 0.2, 0.26, 0.07)
    if kind == "goblin":
        pen.fill(spline(xy("-.05 .08, .05 .08, .09 .2, 0 .24, -.09 .2", at=(fx, y))), p.skin, shadow=0.5)
    if p.mood == "tusks":
        for side in (-1, 1):
            pen.fill(polygon(xy(".17 .3, .09 .31, .14 .15", side=side, at=(fx, y))), faces.IVORY, line=0.7)
    elif not p.beard:
        faces.mouth(pen, fx, y + 0.26, 0.075, mood=mood, fangs=p.mood == "fangs")
