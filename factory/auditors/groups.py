"""Which rows mention which groups of people: by lexicons, by the user's own terms, by a recipe's axis or a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import Data
from factory.auditors.lexicons.detecting import Spoken, spoken
from factory.auditors.lexicons.loading import Lexicon, languages, load_lexicons, made_lexicon
from factory.auditors.lexicons.matching import Matcher, build_matcher, known_terms
from factory.errors import UsageError, nearest

MOST_GROUPS = 50
"""An axis of a recipe or a column with more values is no set of groups."""
HOW_TO_ADD = "add one as LANGUAGE/AXIS.yaml in a folder that `lexicons:` names"
Members = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Lookup:
    """How a grouping was found, so that it can be found in other texts: by terms, or by a column or an axis."""

    matcher: Matcher | None = None
    lexicon: Lexicon | None = None
    first: int = 0
    drawn: str | None = None
    column: str | None = None


@dataclass(frozen=True, eq=False)
class Grouping:
    """Groups of one axis in the rows of some data. `members`: [rows, groups], a row may mention several.

    `source`: "lexicon en 1.0 (sha256 …)", "axis persona", "column origin". `terms`: the words and phrases of each group
    in small letters, {} for axes and columns. `rows`: how many rows were looked at (those in the lexicon's language).
    """

    axis: str
    names: tuple[str, ...]
    members: Members
    source: str
    terms: Mapping[str, frozenset[str]]
    rows: int = 0
    language: str | None = None
    lookup: Lookup = field(default_factory=Lookup, repr=False)

    def only(self) -> NDArray[np.intp]:
        """[rows]: the place of the row's only group, −1 for none or several."""
        one = self.members.sum(axis=1) == 1
        return np.where(one, self.members.argmax(axis=1), -1).astype(np.intp)


_scanned: WeakKeyDictionary[Data, dict[int, tuple[Matcher, Members]]] = WeakKeyDictionary()


def groupings(
    data: Data,
    language: str | None,
    *,
    axis: str | Sequence[str] | None = None,
    groups: str | Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    lexicons: str | Path | None = None,
    base: Path = Path(),
) -> tuple[list[Grouping], list[str]]:
    """The groupings of some data, and why some axes are not applicable.

    `axis`: names of axes of the recipe, of the user's `groups`, of lexicons, or of columns; by default all lexicons
    and all `groups`. `groups`: terms by axis and group, or a YAML file of them (relative to `base`, as is the folder
    `lexicons`). `language`: of the texts; None: detected. Raises UsageError for an axis that is nowhere, terms that are
    none, and files that cannot be read.
    """
    folder = None if lexicons is None else base / lexicons
    own = _own_terms(groups, base)
    wanted = None if axis is None else [axis] if isinstance(axis, str) else list(dict.fromkeys(axis))
    known = languages(folder)
    speech = _speech(data, language, known, needed=_asks_for_words(wanted, own, data))
    found_lexicons = load_lexicons(speech.language, folder) if speech.language in known and speech.language else {}
    made = {name: made_lexicon(name, terms, _code(language) or speech.language or "en") for name, terms in own.items()}
    drawn: list[Grouping] = []
    why: list[str] = []
    chosen: list[Lexicon] = []
    for name in [*found_lexicons, *made] if wanted is None else wanted:
        if wanted is not None and name in data.axes:
            drawn += _drawn(data, name, why, axis=True)
        elif name in made:
            chosen.append(made[name])
        elif name in found_lexicons:
            chosen.append(found_lexicons[name])
        elif name in data.table.schema.names:
            drawn += _drawn(data, name, why, axis=False)
        elif name not in _axes_anywhere(known, folder):
            choices = {*data.axes, *made, *_axes_anywhere(known, folder), *data.table.schema.names}
            raise UsageError(f"`axis`: nothing is called '{name}'", nearest(name, choices))
    if (wanted is None or any(name in _axes_anywhere(known, folder) for name in wanted)) and not found_lexicons:
        why.append(_not_applicable(speech, language, known))
    return [*_matched(data, chosen, speech), *drawn], why


def same_groups(grouping: Grouping, data: Data) -> Grouping | None:
    """The same groups in other data; None where it has no such axis or column."""
    lookup = grouping.lookup
    if lookup.matcher is not None:
        every = _scan(data, lookup.matcher)
        members = every[:, lookup.first : lookup.first + len(grouping.names)]
        return _with(grouping, members, len(data))
    name = lookup.drawn or lookup.column
    if name is None:
        return None
    if lookup.drawn is not None and name in data.axes:
        values = data.axes[name]
    elif name in data.table.schema.names:
        values = data.values(name)
    else:
        return None
    return _with(grouping, _members(values, grouping.names), len(data))


def group_texts(grouping: Grouping, texts: Sequence[str]) -> Members:
    """[texts, groups]: which groups texts mention. Raises UsageError for groups that no words tell."""
    lookup = grouping.lookup
    if lookup.lexicon is None:
        raise UsageError(
            f"the groups of {grouping.source} are told by no words", "name an axis of a lexicon or `groups`"
        )
    return _matcher((lookup.lexicon,)).members(texts)


def swap_terms(
    text: str, grouping_axis: str, here: str, there: str, language: str | None, *, lexicons: Path | None = None
) -> str | None:
    """The text with the terms of group `here` turned into those of `there`; None where nothing is to swap."""
    from factory.auditors.lexicons.swapping import swap

    lexicon = load_lexicons(_code(language) or "en", lexicons).get(grouping_axis)
    if lexicon is None or here not in lexicon.groups or there not in lexicon.groups:
        return None
    return swap(text, lexicon, here, there)


def _with(grouping: Grouping, members: Members, rows: int) -> Grouping:
    return Grouping(
        grouping.axis,
        grouping.names,
        members,
        grouping.source,
        grouping.terms,
        rows,
        grouping.language,
        grouping.lookup,
    )


def _matched(data: Data, chosen: Sequence[Lexicon], speech: Spoken) -> list[Grouping]:
    """The groupings of all lexicons, found in one reading of the texts."""
    if not chosen:
        return []
    matcher = _matcher(tuple(chosen))
    every = _scan(data, matcher)
    rows = len(data)
    if speech.rows is not None:
        every = every & speech.rows[:, None]
        rows = int(speech.rows.sum())
    found, first = [], 0
    for lexicon in chosen:
        names = tuple(lexicon.groups)
        terms = {name: known_terms(kinds) for name, kinds in lexicon.groups.items()}
        lookup = Lookup(matcher, lexicon, first)
        members = every[:, first : first + len(names)]
        found.append(Grouping(lexicon.axis, names, members, lexicon.told, terms, rows, lexicon.language, lookup))
        first += len(names)
    return found


@lru_cache(maxsize=8)
def _matcher(chosen: tuple[Lexicon, ...]) -> Matcher:
    return build_matcher(chosen)


def _scan(data: Data, matcher: Matcher) -> Members:
    """Which groups of a matcher the rows mention; kept while the data lives, so that no text is read twice."""
    kept = _scanned.setdefault(data, {})
    if id(matcher) not in kept:
        kept[id(matcher)] = (matcher, matcher.members(data.clipped))
    return kept[id(matcher)][1]


def _drawn(data: Data, name: str, why: list[str], *, axis: bool) -> list[Grouping]:
    """The grouping by what a recipe drew, or by a column; none, and why, where its values are no groups."""
    values = data.axes[name] if axis else data.values(name)
    counts = Counter(text for value in values for text in _as_texts(value))
    what = f"axis {name}" if axis else f"column {name}"
    if not 2 <= len(counts) <= MOST_GROUPS:
        told = f"{len(counts)} different values" if counts else "no value"
        why.append(f"{what} has {told}; groups are 2 to {MOST_GROUPS}")
        return []
    names = tuple(sorted(counts, key=lambda one: (-counts[one], one)))
    lookup = Lookup(drawn=name) if axis else Lookup(column=name)
    return [Grouping(name, names, _members(values, names), what, {}, len(data), None, lookup)]


def _members(values: Sequence[Any], names: Sequence[str]) -> Members:
    places = {name: place for place, name in enumerate(names)}
    found = np.zeros((len(values), len(names)), dtype=np.bool_)
    for row, value in enumerate(values):
        for text in _as_texts(value):
            if text in places:
                found[row, places[text]] = True
    return found


def _as_texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(str(one) for one in value if one is not None))
    return (str(value),)


def _code(language: str | None) -> str | None:
    return language.strip().lower().replace("_", "-").split("-")[0] or None if language else None


def _asks_for_words(wanted: Sequence[str] | None, own: Mapping[str, Any], data: Data) -> bool:
    """Whether any axis is told by words, so that the language matters."""
    return wanted is None or any(name not in data.axes and name not in own for name in wanted)


def _speech(data: Data, language: str | None, known: Sequence[str], *, needed: bool) -> Spoken:
    """The language that lexicons are taken from, and the rows that are in it."""
    code = _code(language)
    if code is not None:
        return Spoken(code, 1.0, code)
    if not needed:
        return Spoken("en", 1.0, "")
    return spoken(data.clipped, known)


def _axes_anywhere(known: Sequence[str], folder: Path | None) -> set[str]:
    """The axes that have a lexicon in some language."""
    return {name for code in known for name in load_lexicons(code, folder)}


def _not_applicable(speech: Spoken, language: str | None, known: Sequence[str]) -> str:
    exist = ", ".join(known)
    if language is not None:
        return f"not applicable: the language is '{language}', and lexicons exist for {exist}; {HOW_TO_ADD}"
    return (
        f"not applicable: most rows are in another language (such as '{speech.other}'; {speech.share:.0%} are in one "
        f"that has lexicons), and lexicons exist for {exist}; {HOW_TO_ADD}"
    )


def _own_terms(groups: Any, base: Path) -> Mapping[str, Mapping[str, Sequence[str]]]:
    """The user's terms by axis and group. Raises UsageError for a file or a mapping that has none."""
    if groups is None:
        return {}
    given = groups
    if isinstance(groups, str):
        import yaml

        path = base / groups
        try:
            given = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(
                f"`groups`: {path} cannot be read: {error}", "a YAML file: axis, group, list of terms"
            ) from error
    if not isinstance(given, Mapping) or not all(isinstance(terms, Mapping) for terms in given.values()):
        raise UsageError("`groups` is a mapping of axes to groups to terms", "such as {role: {nurse: [nurse, nurses]}}")
    return {str(axis): {str(name): terms for name, terms in of.items()} for axis, of in given.items()}
