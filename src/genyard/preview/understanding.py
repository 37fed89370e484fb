"""Reading a prompt: from words to a wish. Pure text; the tables are in `lexicon`, drawing is elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from genyard.preview import lexicon
from genyard.preview.palette import Ink, ink

_QUOTED: Final = re.compile(r"[\"“”«»]([^\"“”«»]{1,60})[\"“”«»]|(?<!\w)['‘]([^'’]{1,60})['’](?!\w)")
_WORD: Final = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_SUBJECT_ORDER: Final = ("title", "ui", "character", "creature", "tile", "item", "prop", "scene")
#: what a word can be: (class, canonical name)
Meaning = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be drawn. `colours` and `substances` hang on the thing they stand before."""

    kind: str
    subject: str
    word: str
    things: tuple[str, ...] = ()
    colours: dict[str, tuple[Ink, ...]] = field(default_factory=dict)
    substances: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    styles: frozenset[str] = frozenset()
    scene: str | None = None
    time: str | None = None
    weather: str | None = None
    label: str | None = None
    size: float = 1.0
    count: int = 1
    transparent: bool = False
    backdrop: Ink | None = None
    understood: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def colour(self, thing: str, default: Ink) -> Ink:
        """The ink of a thing that the prompt coloured, else the default; a named substance gives the material."""
        named = self.colours.get(thing)
        substance = self.substance(thing)
        material = lexicon.SUBSTANCES[substance][0] if substance else default.material
        if named:
            return named[0].made_of(material)
        own = lexicon.SUBSTANCES[substance][1] if substance else None
        return ink(*own, material) if own else default.made_of(material)

    def main(self, default: Ink) -> Ink:
        return self.colour(self.subject, default)

    def second(self, default: Ink) -> Ink:
        """The subject's second colour: "red and gold dragon"."""
        named = self.colours.get(self.subject, ())
        return named[1].made_of(default.material) if len(named) > 1 else default

    def substance(self, thing: str) -> str | None:
        named = self.substances.get(thing)
        return named[0] if named else None

    def coloured(self, thing: str) -> bool:
        return thing in self.colours or thing in self.substances

    def has(self, *features: str) -> bool:
        return any(f in self.features for f in features)


def _spread(name: str, synonyms: str) -> Iterator[str]:
    yield name
    yield from (s.strip() for s in synonyms.split(",") if s.strip())


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, tuple[Meaning, ...]]:
    """phrase -> its meanings, strongest first."""
    table: dict[str, list[Meaning]] = {}

    def add(phrase: str, meaning: Meaning) -> None:
        table.setdefault(phrase, []).append(meaning)

    for phrase in lexicon.TRANSPARENT:
        add(phrase, ("transparent", "transparent"))
    for kind, rows in lexicon.SUBJECTS.items():
        for name, synonyms in rows.items():
            for phrase in _spread(name, synonyms):
                add(phrase, (kind, name))
    groups = (
        ("feature", lexicon.FEATURES),
        ("style", lexicon.STYLES),
        ("time", lexicon.TIMES),
        ("weather", lexicon.WEATHERS),
    )
    for group, rows in groups:
        for name, synonyms in rows.items():
            for phrase in _spread(name, synonyms):
                add(phrase, (group, name))
    for name, (_, synonyms) in lexicon.COLOURS.items():
        for phrase in _spread(name, synonyms):
            add(phrase, ("colour", name))
    for name, (_, _, synonyms) in lexicon.SUBSTANCES.items():
        for phrase in _spread(name, synonyms):
            add(phrase, ("substance", name))
    for name, (_, synonyms) in lexicon.SIZES.items():
        for phrase in _spread(name, synonyms):
            add(phrase, ("size", name))
    for word in lexicon.COUNTS:
        add(word, ("count", word))
    for word in lexicon.SCENERY_WORDS:
        add(word, ("scenery", word))
    return {phrase: tuple(meanings) for phrase, meanings in table.items()}


def _singular(word: str) -> Iterator[str]:
    yield word
    if word.endswith(("'s", "’s")):
        yield word[:-2]
    if word.endswith("ies"):
        yield word[:-3] + "y"
    if word.endswith("ves"):
        yield word[:-3] + "f"
    if word.endswith("es"):
        yield word[:-2]
    if word.endswith("s"):
        yield word[:-1]


@dataclass(frozen=True, kw_only=True)
class _Token:
    text: str
    meanings: tuple[Meaning, ...]
    clause: int = 0

    def a(self, *classes: str) -> str | None:
        return next((name for group, name in self.meanings if group in classes), None)


def _tokens(text: str) -> list[_Token]:
    """The longest known phrases first, else single words (with no meaning where unknown)."""
    found: list[_Token] = []
    for clause, part in enumerate(re.split(r"[,.;:!?()\n]+", text.lower())):
        words = _WORD.findall(part)
        at = 0
        while at < len(words):
            token = _longest(words[at : at + 3], clause)
            found.append(token)
            at += token.text.count(" ") + 1
    return found


def _longest(words: list[str], clause: int) -> _Token:
    known = vocabulary()
    for length in range(len(words), 0, -1):
        head, last = words[: length - 1], words[length - 1]
        phrase = next((p for s in _singular(last) if (p := " ".join([*head, s])) in known), None)
        if phrase is not None:
            return _Token(text=" ".join(words[:length]), meanings=known[phrase], clause=clause)
    return _Token(text=words[0], meanings=(), clause=clause)


def read(prompt: str, negative: str = "") -> Wish:
    """The wish behind a prompt; what the negative prompt names is taken away, where it can be."""
    quoted = _QUOTED.search(prompt)
    label = next((g for g in quoted.groups() if g), None) if quoted else None
    text = prompt if quoted is None else prompt[: quoted.start()] + ", " + prompt[quoted.end() :]
    unwanted = _tokens(negative)
    refused = {m for token in unwanted for m in token.meanings}
    tokens = [
        t
        for t in _without_negated(_tokens(text))
        if not (set(t.meanings) & refused and t.a("feature", "item"))
    ]
    kind, subject, chosen = _subject(tokens, label)
    binding = _Binding(tokens=tokens, subject=subject, chosen=chosen)
    rest = [t for t in tokens if t is not chosen]
    scenes = _scenes_behind(tokens, chosen, kind)
    understood, ignored = _told(tokens, label, chosen, kind)
    return Wish(
        kind=kind,
        subject=subject,
        word=chosen.text if chosen else "",
        things=tuple(binding.things),
        colours={k: tuple(v) for k, v in binding.colours.items()},
        substances={k: tuple(v) for k, v in binding.substances.items()},
        features=frozenset(n for t in rest if (n := t.a("feature"))),
        styles=frozenset(n for t in rest if (n := t.a("style"))),
        scene=scenes[0] if scenes else None,
        time=_first(rest, "time"),
        weather=_first(rest, "weather"),
        label=label,
        size=lexicon.SIZES[name][0] if (name := _first(rest, "size")) else 1.0,
        count=_count(rest),
        transparent=_first(rest, "transparent") is not None or ("scenery", "background") in refused,
        backdrop=next(iter(binding.colours.get("background", ())), None),
        understood=understood,
        ignored=tuple(dict.fromkeys((*ignored, *_unheeded(unwanted)))),
    )


def _unheeded(unwanted: list[_Token]) -> Iterator[str]:
    """What a negative prompt names and cannot take away: only features, items and the background can be."""
    for token in unwanted:
        removable = token.a("feature", "item") or ("scenery", "background") in token.meanings
        if not removable and token.text not in lexicon.STOP:
            yield token.text


def _first(tokens: list[_Token], group: str) -> str | None:
    return next((n for t in tokens if (n := t.a(group))), None)


def _count(tokens: list[_Token]) -> int:
    digits = [int(t.text) for t in tokens if t.text in _DIGITS]
    word = _first(tokens, "count")
    return digits[0] if digits else lexicon.COUNTS[word] if word else 1


def _scenes_behind(tokens: list[_Token], chosen: _Token | None, kind: str) -> list[str]:
    """Scenery named after a subject: "a knight in a forest", "in front of a castle", "at night"."""
    if kind not in ("character", "creature", "item", "prop", "title", "unknown") or chosen is None:
        return []
    after = tokens[tokens.index(chosen) + 1 :]
    found = [n for t in after if (n := t.a("scene"))]
    if kind in ("character", "creature"):
        found += [_PROP_SCENES[n] for t in after if (n := t.a("prop")) in _PROP_SCENES]
        found += ["meadow" for t in after if t.a("time", "weather")]
    return found


def _without_negated(tokens: list[_Token]) -> list[_Token]:
    """Drops what "no" or "without" stands before."""
    kept: list[_Token] = []
    for token in tokens:
        negated = bool(kept) and kept[-1].text in ("no", "without")
        if not (negated and token.a("feature", "item", "scene", "prop")):
            kept.append(token)
    return kept


def _subject(tokens: list[_Token], label: str | None) -> tuple[str, str, _Token | None]:
    """(kind, subject, its token): lettering and controls first, then living things, then the rest."""
    scenery = any(t.a("scenery") for t in tokens)
    landscape = scenery and any(t.a("scene") for t in tokens)
    for kind in _SUBJECT_ORDER:
        for token in tokens:
            name = token.a(kind)
            if (
                name is None
                or _is_modifier(token, tokens)
                or (landscape and kind in ("tile", "item", "prop"))
            ):
                continue
            if kind == "prop" and scenery and name in _PROP_SCENES:
                return "scene", _PROP_SCENES[name], token
            return kind, name, token
    for token in tokens:
        hint = token.a("substance", "weather", "time")
        if hint in _IMPLIED and (scenery or token.a("time", "weather")):
            return "scene", _IMPLIED[hint], token
    return ("title", "title", None) if label else ("unknown", "emblem", None)


#: props that become scenery beside a word like "background"
_PROP_SCENES: Final = {
    "castle": "castle grounds",
    "tree": "forest",
    "pine": "forest",
    "house": "meadow",
    "grave": "graveyard",
}
_IMPLIED: Final = {
    "snow": "snowfield", "ice": "snowfield", "sand": "desert", "lava": "volcano", "fire": "volcano",
        "water": "ocean",
    "grass": "meadow", "nature": "forest", "sci-fi": "city", "night": "meadow", "sunset": "mountains",
        "dawn": "meadow",
    "day": "meadow", "rain": "meadow", "fog": "forest", "autumn": "forest", "snowfall": "snowfield",
        "stone": "cave",
}  # fmt: skip


def _is_modifier(token: _Token, tokens: list[_Token]) -> bool:
    """Whether another thing follows at once: "crystal sword", "pirate ship", "dragon egg"."""
    after = tokens[tokens.index(token) + 1 :]
    if not after or after[0].clause != token.clause or (token.a("character") and after[0].a("character")):
        return False  # "skeleton warrior": the first is what it is, the second what it does
    return after[0].a(*_SUBJECT_ORDER[:-1]) is not None


class _Binding:
    """Hangs colours and substances on the next thing named after them; left over ones on the subject."""

    def __init__(self, *, tokens: list[_Token], subject: str, chosen: _Token | None) -> None:
        self.things: list[str] = []
        self.colours: dict[str, list[Ink]] = {}
        self.substances: dict[str, list[str]] = {}
        waiting: list[_Token] = []
        for token in tokens:
            adjective = token.a("colour", "substance") and (
                not token.a("item") or _is_modifier(token, tokens)
            )
            if token is not chosen and adjective:
                waiting.append(token)
                continue
            thing = subject if token is chosen else self._thing(token)
            if thing is not None:
                self._hang(waiting, thing)
                waiting = []
        self._hang(waiting, subject)
        if chosen is not None and chosen.text in _GEM_COLOURS:
            self.colours.setdefault(subject, []).append(ink(*_GEM_COLOURS[chosen.text]))

    def _thing(self, token: _Token) -> str | None:
        named = token.a("item", "prop", "creature", "tile", "scene")
        if named is not None:
            self.things.append(named)
            return named
        if token.a("scenery"):
            return "background"
        part = token.a("feature")
        return token.text if token.text in _BODY_PARTS else part if part in _COLOURABLE else None

    def _hang(self, waiting: list[_Token], thing: str) -> None:
        for token in waiting:
            substance, colour = token.a("substance"), token.a("colour")
            if colour and not (substance and colour in ("golden", "silver", "bronze")):
                self.colours.setdefault(thing, []).append(ink(*lexicon.COLOURS[colour][0]))
            if substance or colour == "golden":
                self.substances.setdefault(thing, []).append(substance or "gold")


_COLOURABLE: Final = frozenset(
    ["wings", "horns", "tail", "cape", "hat", "hood", "mask", "beard", "armor", "spikes"]
)
_BODY_PARTS: Final = frozenset(
    ["hair", "eyes", "eye", "skin", "shirt", "pants", "dress", "robe", "belly", "clothes", "tunic"]
)
_GEM_COLOURS: Final[dict[str, tuple[float, float, float]]] = {
    "ruby": (0.58, 0.22, 20), "emerald": (0.66, 0.18, 158), "sapphire": (0.55, 0.2, 262),
    "amethyst": (0.6, 0.19, 305), "topaz": (0.8, 0.15, 80), "diamond": (0.88, 0.06, 215),
}  # fmt: skip


_DIGITS: Final = frozenset("23456")


def _told(
    tokens: list[_Token], label: str | None, chosen: _Token | None, kind: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(understood, ignored): a word counts as understood only when the picture shows it."""
    understood, ignored = [], []
    for token in tokens:
        plain = token.text in lexicon.GRANTED or token.text in _BODY_PARTS or token.text in _DIGITS
        if token is chosen or plain or (token.meanings and _is_shown(token, kind)):
            understood.append(token.text)
        elif token.text not in lexicon.STOP:
            ignored.append(token.text)
    if label:
        understood.append(f'"{label}"')
    return tuple(dict.fromkeys(understood)), tuple(dict.fromkeys(ignored))


def _is_shown(token: _Token, kind: str) -> bool:
    """Whether a second thing beside the subject has a place in the picture; other words always have."""
    if not token.a(*_SUBJECT_ORDER[:-1]) or token.a("colour", "substance", "feature", "style"):
        return True
    thing = token.a("item", "prop")
    if kind == "character":
        return thing in lexicon.CARRIED or thing in ("crown", "helmet") or thing in _PROP_SCENES
    if kind == "creature":
        return thing in ("crown", "flame") or thing in _PROP_SCENES
    return kind in ("title", "ui") and thing in lexicon.CARRIED
