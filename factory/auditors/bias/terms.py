"""Terms whose tie to groups is measured: occupations, traits, emotions…, alone and pooled by category.

From `lexicons/categories_LANGUAGE.yaml`. A group's own terms are never among them for the axis of that group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from factory.auditors.data import Data
from factory.auditors.groups import Grouping
from factory.auditors.vocabulary import find_terms, split_words, words_of
from factory.errors import UsageError, nearest

_FOLDER = Path(__file__).parents[1] / "lexicons"


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase with its forms, or, `pooled`, all words of a category. `field`: what the category is of."""

    name: str
    category: str
    field: str
    forms: tuple[str, ...]
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Categories:
    """The lexicon of categories of a language. `told`: its version and hash."""

    terms: tuple[Term, ...]
    told: str

    def fields(self) -> tuple[str, ...]:
        """What can be declared neutral: fields and categories."""
        return tuple(dict.fromkeys(name for term in self.terms for name in (term.field, term.category)))


@cache
def load_categories(language: str) -> Categories | None:
    """The package's categories of a language, None where it has none."""
    import yaml

    path = _FOLDER / f"categories_{language}.yaml"
    if not path.is_file():
        return None
    raw = path.read_bytes()
    content = yaml.safe_load(raw)
    words, pools = [], []
    for category, kinds in content["categories"].items():
        forms = _forms(kinds)
        words += [Term(name, category, kinds["of"], found) for name, found in forms.items()]
        pools.append(
            Term(
                category, category, kinds["of"], tuple(sorted({one for found in forms.values() for one in found})), True
            )
        )
    told = f"categories {language} {content['version']} (sha256 {hashlib.sha256(raw).hexdigest()[:12]})"
    return Categories((*pools, *_merged(words)), told)


def _forms(kinds: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Each term of a category with its forms; a word that is its plural's stem is not listed twice."""
    nouns = [
        *kinds.get("nouns", "").split(),
        *(one.strip() for one in kinds.get("phrases", "").split(",") if one.strip()),
    ]
    found = {name: tuple(dict.fromkeys(" ".join(split_words(form)) for form in (name, plural(name)))) for name in nouns}
    for word in kinds.get("words", "").split():
        if not any(word in forms for forms in found.values()):
            found[word] = (word,)
    return found


def _merged(terms: Sequence[Term]) -> list[Term]:
    """A word that stands in several categories is one term, of the first."""
    found: dict[str, Term] = {}
    for term in terms:
        found.setdefault(term.name, term)
    return list(found.values())


def plural(noun: str) -> str:
    """The regular English plural."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    if noun.endswith(("man",)):
        return f"{noun[:-3]}men"
    return f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"


def own_words(grouping: Grouping) -> frozenset[str]:
    """The words by which the groups are known, words of their phrases among them: no evidence of anything else."""
    found = {word for terms in grouping.terms.values() for term in terms for word in split_words(term)}
    return frozenset(found)


def is_own(form: str, own: frozenset[str]) -> bool:
    """Whether a word, a word of a phrase, or what stands before its apostrophe is a group's own."""
    return any(part in own or part.partition("'")[0] in own for part in form.split(" "))


@cache
def _all_forms(language: str) -> tuple[str, ...]:
    found = load_categories(language)
    return tuple(sorted({form for term in found.terms for form in term.forms})) if found else ()


def term_rows(data: Data, language: str, own: frozenset[str]) -> tuple[tuple[Term, ...], Any]:
    """The terms that are left without a group's own words, and how many of their forms each row has: CSR [rows, terms].

    Raises UsageError for a language without categories.
    """
    terms, mapping = _without(language, own)
    return terms, _form_rows(data, language) @ mapping


@lru_cache(maxsize=64)
def _without(language: str, own: frozenset[str]) -> tuple[tuple[Term, ...], Any]:
    """The terms without a group's own words, and which forms are theirs: CSR 0/1 [forms, terms]."""
    from scipy.sparse import csr_matrix

    categories = load_categories(language)
    if categories is None:
        raise UsageError(f"there are no categories of words for '{language}'", "they are there for: en")
    forms = _all_forms(language)
    place = {form: at for at, form in enumerate(forms)}
    foreign = {form for form in forms if not is_own(form, own)}
    kept = [(term, [place[form] for form in term.forms if form in foreign]) for term in categories.terms]
    kept = [(term, places) for term, places in kept if places]
    rows = np.array([at for _, places in kept for at in places], dtype=np.int64)
    columns = np.repeat(np.arange(len(kept)), [len(places) for _, places in kept])
    mapping = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(forms), len(kept)))
    return tuple(term for term, _ in kept), mapping


_KEPT: WeakKeyDictionary[Data, dict[str, Any]] = WeakKeyDictionary()


def _form_rows(data: Data, language: str) -> Any:
    """In which rows each form stands, found once for as long as the data lives."""
    kept = _KEPT.setdefault(data, {})
    if language not in kept:
        forms = {form: (form,) for form in _all_forms(language)}
        kept[language] = find_terms(data.clipped, words_of(data), forms)
    return kept[language]


def choose_neutral(language: str, neutral: Sequence[str]) -> frozenset[str]:
    """The categories that `neutral` names, by themselves or by their field. Raises UsageError for others."""
    categories = load_categories(language)
    if not neutral or categories is None:
        return frozenset()
    for name in neutral:
        if name not in categories.fields():
            raise UsageError(f"`neutral`: there is no category '{name}'", nearest(str(name), categories.fields()))
    return frozenset(term.category for term in categories.terms if {term.field, term.category} & set(neutral))


def categories_of(language: str) -> tuple[str, ...]:
    """Every form of the lexicon, none where the language has no categories."""
    return _all_forms(language)
