"""Profanity: swear words and slurs as whole words, disguised ones too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from factory.errors import UsageError, nearest
from factory.scorers import Context, Setup, text_of, traits
from factory.scorers.coded import Table, batches, code_words
from factory.scorers.profanity_words import EVERYWHERE, INNOCENT, NAMES, WORDS
from factory.scorers.words import folded, vocabulary
from factory.types import Candidate, Score

LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i"}
)
DISGUISED = re.compile(r"(?<![\w@$*#!])\w*+[@$*#!][\w@$*#!]*+")
"""A word with signs in it that stand for letters."""
SIGNS = "@$*#!"
MASKS = "*#"
MIN_DISGUISED = 4
STRETCHED = re.compile(r"([^\W\d_])\1{2,}")
MAX_LETTERS = 64
MAX_PLACES = 50


class _List:
    """A list of words, `*` at the end for any further letters: `look(word)` is the entry that a word is, or ''."""

    def __init__(self, entries: Iterable[str], allowed: Iterable[str]):
        every = [entry.casefold() for entry in entries]
        self._allowed = frozenset(word.casefold() for word in allowed)
        self._whole = frozenset(entry for entry in every if not entry.endswith("*")) - self._allowed
        self._stems = tuple(entry[:-1] for entry in every if entry.endswith("*") and entry not in self._allowed)
        self._by_length = {word for word in (*self._whole, *self._stems) if len(word) >= MIN_DISGUISED}

    def look(self, word: str) -> str:
        """Entries are found as they stand, in digits for letters (sh1t), and with letters drawn out (shiiit)."""
        if len(word) > MAX_LETTERS:
            return ""
        bare = word.removesuffix("'s")
        forms = [bare]
        if len(bare) >= MIN_DISGUISED and not bare.isalpha() and sum(map(str.isalpha, bare)) >= 2:
            forms.append(bare.translate(LEET))
        if STRETCHED.search(forms[-1]):
            forms += [STRETCHED.sub(r"\1", forms[-1]), STRETCHED.sub(r"\1\1", forms[-1])]
        return next((found for form in forms if (found := self._entry(form))), "")

    def look_disguised(self, token: str) -> str:
        """The entry behind `f*ck`, `$hit` or `b!tch`: a mask stands for one letter, at least two letters are open."""
        open_token = token.strip("*#!_")  # marks of Markdown, exclamations
        plain = open_token.casefold().translate(LEET)
        if (
            not any(sign in open_token for sign in SIGNS)
            or len(token) > MAX_LETTERS
            or len(plain) < MIN_DISGUISED
            or sum(map(str.isalpha, plain)) < 2
        ):
            return ""
        if not any(mask in plain for mask in MASKS):
            return self._entry(plain)
        pattern = re.compile("".join("[a-zà-ÿ]" if sign in MASKS else re.escape(sign) for sign in plain))
        return min((word for word in self._by_length if pattern.fullmatch(word)), default="") or next(
            (
                stem
                for stem in sorted(self._stems)
                if len(stem) >= MIN_DISGUISED and pattern.match(stem + plain[len(stem) :])
            ),
            "",
        )

    def _entry(self, word: str) -> str:
        if word in self._whole:
            return word
        if word.startswith(self._stems) and word not in self._allowed:
            return next(stem for stem in self._stems if word.startswith(stem))
        return ""


CLEAN = Score("profanity", 1.0)


@traits(low=0, high=1)
class Profanity:
    """1 without swear words and slurs, 0 with any, which vetoes; 0…1, higher is better.

    `languages`: whose lists (de, en, es, fr, it, pt); the recipe's language by default. `words` are added, `allow` is
    taken away; `*` at the end of a word stands for any further letters. Whole words alone count, whatever their case:
    Scunthorpe and cocktails are safe, and so are names such as Dick Van Dyke. Digits and signs for letters (sh1t,
    f*ck) and drawn-out letters are seen through. `veto: false` only lowers the value.
    """

    def __init__(
        self,
        *,
        languages: list[str] | None = None,
        words: list[str] | None = None,
        allow: list[str] | None = None,
        veto: bool = True,
        on: str | None = None,
    ):
        for option, entries in (("words", words), ("allow", allow)):
            for entry in entries or ():
                if not entry.removesuffix("*").replace("'", "a").isalnum():
                    raise UsageError(
                        f"`{option}` of `profanity`: {entry!r} is no single word", "letters and digits, `*` at the end"
                    )
        self._languages, self._words, self._allow = languages, words or [], allow or []
        self._veto, self._on = veto, on
        self._load(["en"] if languages is None else languages)

    def bind(self, setup: Setup) -> None:
        """Choose the recipe's language where none is named. Raises UsageError for one without a list."""
        if self._languages is None:
            self._load([setup.language])

    def _load(self, languages: Iterable[str]) -> None:
        entries = EVERYWHERE.split() + self._words
        for language in languages:
            code = re.split("[-_]", language.strip().lower())[0]
            if code in WORDS:
                entries += WORDS[code].split()
            elif not self._words:
                raise UsageError(
                    f"`profanity` has no list for the language '{language}'",
                    f"{nearest(code, WORDS)}; or give your own `words:`",
                )
        self._list = _List(entries, self._allow)
        self._table = Table(
            lambda found: [1 if len(word) > MAX_LETTERS or self._list.look(word) else 0 for word in found]
        )

    def __call__(self, candidates: Sequence[Candidate], context: Context) -> list[Score]:
        scores = []
        for part in batches([text_of(candidate, self._on) for candidate in candidates]):
            coded = code_words(part)
            suspected = self._table.find(coded)
            amounts = coded.sums(suspected) if suspected.any() else [0] * len(part)
            scores += [self._score(text, amount > 0) for text, amount in zip(part, amounts, strict=True)]
        return scores

    def _score(self, text: str, suspected: bool) -> Score:
        found = self._look(text) if suspected else ""
        if not found and ("*" in text or "$" in text or "@" in text or "#" in text or "!" in text):
            found = next((token for token in DISGUISED.findall(text) if self._list.look_disguised(token)), "")
        if not found:
            return CLEAN
        return Score("profanity", 0.0, f"'{found[0]}{'*' * (min(len(found), 20) - 1)}'", self._veto)

    def _look(self, text: str) -> str:
        """The first word, by the alphabet, that counts; or ''."""
        entries = ((word, self._list.look(word)) for word in sorted(vocabulary(text)))
        return next((word for word, entry in entries if entry and self._counts(text, word, entry)), "")

    def _counts(self, text: str, word: str, entry: str) -> bool:
        """Whether a listed word is neither a name nor part of an innocent phrase, anywhere it stands."""
        lower = text.lower()  # like casefold, but sign for sign, nearly always
        if entry not in NAMES and not any(entry in phrase and phrase in lower for phrase in INNOCENT):
            return True
        plain = lower if len(lower) == len(text) else folded(text)
        original = text if len(plain) == len(text) else plain
        count = -1
        for count, match in enumerate(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", plain)):
            named = word in NAMES and original[match.start() : match.end()].istitle()
            around = plain[max(0, match.start() - 20) : match.end() + 20]
            if count >= MAX_PLACES or not (named or any(entry in phrase and phrase in around for phrase in INNOCENT)):
                return True
        return count < 0
