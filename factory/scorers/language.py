"""Language: is the text in the language that was wanted?"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from factory.errors import UsageError, nearest
from factory.scorers import Context, render_template, text_of, traits, veto
from factory.types import Candidate, Score

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MIN_LETTERS = 20
SAMPLE = 3000
NOT_LETTERS = re.compile(r"[\W\d_]+")
UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
LETTERS_PER_SIGN = 3
"""A Han, kana, Hangul or Thai sign tells as much as some three letters."""


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _known() -> frozenset[str]:
    return frozenset(_identifier().labels)


def _wanted(context: Context, expect: str | list[str] | None) -> tuple[str, ...]:
    """The wanted languages' codes: `en` of `en-GB`. Raises UsageError for a language that is not known."""
    given = [context.language] if expect is None else [expect] if isinstance(expect, str) else expect
    codes = tuple(re.split(r"[-_]", render_template(context, code).strip().lower())[0] for code in given)
    for code in codes:
        if code not in _known():
            near = nearest(code, _known()) if len(code) <= 3 else "use an ISO 639-1 code, such as `en` or `de`"
            raise UsageError(f"`language` does not know the language '{code}'", near)
    if not codes:
        raise UsageError("`expect` of `language` is an empty list", "name at least one language, such as `en`")
    return codes


def _sample(text: str) -> str:
    """Letters alone, without digits and signs; of a long text its beginning and its end."""
    if len(text) > 2 * SAMPLE:
        text = f"{text[:SAMPLE]} {text[-SAMPLE:]}"
    return NOT_LETTERS.sub(" ", text).strip()


@traits(low=0, high=1)
def language(
    candidate: Candidate,
    context: Context,
    *,
    expect: str | list[str] | None = None,
    min_probability: float = 0.03,
    on: str | None = None,
) -> Score:
    """The probability of the wanted language, 0…1, higher is better; below `min_probability` it vetoes.

    `expect`: a code, a list of codes or a template; the recipe's `language` by default. Digits and signs are left
    out; below 20 letters nobody can tell, so the value is 1. Naive Bayes over byte n-grams (langid.py, Lui and
    Baldwin 2012), with probabilities scaled by length.
    """
    wanted = _wanted(context, expect)
    text = _sample(text_of(candidate, on))
    letters = len(text) if text.isascii() else len(text) + (LETTERS_PER_SIGN - 1) * len(UNSPACED.findall(text))
    if letters < MIN_LETTERS:
        return Score("language", 1.0, "too short to tell")
    found, probability = _identifier().classify(text)
    if found in wanted and len(wanted) == 1:
        share = float(probability)
    else:
        share = min(1.0, sum(chance for code, chance in _identifier().rank(text) if code in wanted))
    if share < min_probability:
        return veto("language", f"{found} ({probability:.0%}), wanted {' or '.join(wanted)} ({share:.0%})", share)
    return Score("language", share, found)
