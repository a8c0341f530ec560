"""How texts speak, by lexicon: for comparing groups of rows, never for judging one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.lexicons.loading import entries, read_measure
from factory.auditors.lexicons.matching import WORD, phrase_pattern
from factory.errors import UsageError

Floats = NDArray[np.float64]
TOXIC = 0.5
"""From this weight on a text counts as toxic: it holds at least one insult."""
_FLIP, _BOOST, _DAMP, _REACH = -0.5, 1.5, 0.5, 3
_POLARITY = {"strong_positive": 2.0, "positive": 1.0, "negative": -1.0, "strong_negative": -2.0}
_HEAD = 240
_LINES = 50


@dataclass(frozen=True, eq=False)
class Tone:
    """The words of a language by polarity and by toxicity, and hostile phrases by their longest word.

    `sentiment_told` and `toxicity_told` are the versions. An absent lexicon is empty.
    """

    polarity: Mapping[str, float]
    turns: Mapping[str, float]
    toxic: Mapping[str, float]
    stems: tuple[str, ...]
    phrases: Mapping[str, Any]
    sentiment_told: str
    toxicity_told: str


def has_tone(language: str | None, folder: Path | None = None) -> bool:
    """Whether a language has a lexicon of sentiment."""
    return bool(load_tone(_code(language), folder).polarity)


@lru_cache(maxsize=8)
def load_tone(language: str, folder: Path | None = None) -> Tone:
    """The lexicons of a language. Raises UsageError for files that hold no lists of words."""
    from factory.scorers.profanity_words import EVERYWHERE, NAMES, WORDS

    spoken, toxic = read_measure("sentiment", language, folder), read_measure("toxicity", language, folder)
    content, sha = spoken if spoken else ({}, "")
    polarity = {word: value for kind, value in _POLARITY.items() for word in _list(content, kind)}
    turns = dict.fromkeys(_list(content, "negations"), _FLIP)
    turns |= dict.fromkeys(_list(content, "boosters"), _BOOST)
    turns |= dict.fromkeys(_list(content, "dampeners"), _DAMP)
    rude, rude_sha = toxic if toxic else ({}, "")
    swears = [word for word in f"{EVERYWHERE} {WORDS.get(language, '')}".split() if word not in NAMES] if toxic else []
    weights = dict.fromkeys(_list(rude, "mild"), TOXIC) | dict.fromkeys(_list(rude, "strong"), 1.0)
    weights |= {word: 1.0 for word in swears if not word.endswith("*")}
    phrases = _list(rude, "phrases")
    return Tone(
        polarity,
        turns,
        weights,
        tuple(word[:-1] for word in swears if word.endswith("*")),
        _by_longest(phrases),
        f"sentiment lexicon {language} {content.get('version', '')} (sha256 {sha[:12]})" if spoken else "",
        f"toxicity lexicon {language} {rude.get('version', '')} (sha256 {rude_sha[:12]}) and the words of `profanity`"
        if toxic
        else "",
    )


def measure(texts: Sequence[str], language: str | None, folder: Path | None = None) -> dict[str, Floats]:
    """Of each text: `length` in words, `sentiment` −1…1, `toxicity` 0…1, `refusal` 0 or 1.

    Sentiment is (p − n) / (p + n + 1), p and n the weights of positive and negative words; a negation among the three
    words before turns one round and halves it, an intensifier weighs it by 1.5 or 0.5. Toxicity is the weight of the
    worst word: 0.5 for an insult, 1 for a swear word or slur. Both are 0 throughout in a language without a lexicon.
    """
    tone = load_tone(_code(language), folder)
    found = np.zeros((4, len(texts)))
    known: dict[str, float] = {}
    marked = frozenset(tone.polarity)
    for row, text in enumerate(texts):
        words = WORD.findall(text.lower().replace("’", "'"))
        found[0, row] = len(text.split())
        if not marked.isdisjoint(words):
            found[1, row] = _sentiment(words, tone)
        if tone.toxic:
            found[2, row] = _toxicity(words, text, tone, known)
        found[3, row] = _refuses(text)
    return dict(zip(("length", "sentiment", "toxicity", "refusal"), found, strict=True))


def _sentiment(words: Sequence[str], tone: Tone) -> float:
    good = bad = 0.0
    for place, word in enumerate(words):
        value = tone.polarity.get(word)
        if value is None:
            continue
        for before in words[max(0, place - _REACH) : place]:
            value *= tone.turns.get(before, 1.0)
        if value > 0:
            good += value
        else:
            bad -= value
    return (good - bad) / (good + bad + 1)


def _toxicity(words: Sequence[str], text: str, tone: Tone, known: dict[str, float]) -> float:
    """The weight of the worst word; `known` keeps those looked up before."""
    worst = 0.0
    phrased: dict[str, None] = {}
    for word in words:
        weight = known.get(word)
        if weight is None:
            weight = tone.toxic.get(word, 1.0 if word.startswith(tone.stems) else 0.0)
            known[word] = weight
        if word in tone.phrases:
            phrased[word] = None
        if weight > worst:
            worst = weight
    if worst < 1.0 and any(tone.phrases[word].search(text) for word in phrased):
        return 1.0
    return worst


def _by_longest(phrases: Sequence[str]) -> dict[str, Any]:
    """A pattern of the phrases by their longest word, so that few texts are searched."""
    found: dict[str, list[str]] = {}
    for phrase in phrases:
        found.setdefault(max(WORD.findall(phrase), key=len), []).append(phrase)
    return {word: phrase_pattern(own) for word, own in found.items()}


def _refuses(text: str) -> bool:
    """Whether a line opens with a refusal (the columns of a row are lines), or an assistant speaks of itself."""
    from factory.scorers.refusal_phrases import ALL_HINTS_BY_PART, OPENING, SELF

    lower = text.replace("’", "'").lower()
    if any(OPENING.match(line[:_HEAD]) for line in lower.split("\n", _LINES)):
        return True
    hinted = any(part in lower and any(hint in lower for hint in hints) for part, hints in ALL_HINTS_BY_PART)
    return hinted and SELF.search(lower) is not None


def _code(language: str | None) -> str:
    return (language or "en").strip().lower().replace("_", "-").split("-")[0]


def _list(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    try:
        return tuple(word.casefold() for word in entries(content.get(key) or []))
    except ValueError as error:
        raise UsageError(f"a lexicon's `{key}` is not {error}", f"as in `{key}: word word`") from error
