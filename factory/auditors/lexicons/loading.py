"""Reads lexicon files: `LANGUAGE/AXIS.yaml` of the package, and of a folder that the user names.

A file has `axis`, `version`, `sources`, and `groups`: by name, lists of entries by how they count:

    words         whatever their case (she, She, SHE)
    phrases       several words, whatever their case; a space stands for spaces and hyphens
    proper        only as written (German, United Kingdom)
    capital       only as written, and not where a sentence begins (Polish)
    names         only as written (Mary); also `female_names`, `male_names` and `surnames`, so that a name changes
                  places with one of its kind
    careful       names that are common words too: only where a name stands (asked Will, Will said)
    with_person   only before a noun for a person, whatever the case (black women)

`except`: phrases that count for nothing. `swaps`: rows of words that change places, one of each group.
`LANGUAGE/language.yaml` holds what all files of a language lean on (nouns for persons, titles).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from factory.errors import UsageError, nearest

NAMES = ("names", "female_names", "male_names", "surnames")
KINDS = ("words", "phrases", "proper", "capital", *NAMES, "careful", "with_person")
PACKAGE = Path(__file__).parent
MEASURES = ("sentiment", "toxicity")
"""Files that are no axes: how a text speaks, not of whom."""
_FILE_KEYS = ("axis", "version", "sources", "groups", "except", "swaps")
_SUPPORT = "language"


@dataclass(frozen=True, eq=False)
class Support:
    """What the lexicons of a language lean on; empty where a language has no `language.yaml`.

    `hints`: words by which forms with two senses are told apart when words change places.
    """

    name: str = ""
    spaced: bool = True
    persons: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    titles: frozenset[str] = frozenset()
    speaks: frozenset[str] = frozenset()
    articles: frozenset[str] = frozenset()
    hints: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The terms of one axis in one language. `groups`: by name, the entries of each kind. `sha`: of the file."""

    axis: str
    language: str
    version: str
    sha: str
    groups: Mapping[str, Mapping[str, tuple[str, ...]]]
    exceptions: tuple[str, ...] = ()
    swaps: tuple[Mapping[str, str], ...] = ()
    origin: str = "lexicon"
    sources: tuple[str, ...] = ()
    support: Support = field(default_factory=Support)

    @property
    def told(self) -> str:
        """Which lexicon it is, for `method` and report."""
        if not self.version:
            return f"{self.origin} (sha256 {self.sha[:12]})"
        return f"{self.origin} {self.language} {self.version} (sha256 {self.sha[:12]})"


def languages(folder: Path | None = None) -> list[str]:
    """Codes of the languages that have a lexicon of groups, the package's and those of a folder."""
    return sorted({path.parent.name for root in _roots(folder) for path in root.glob("*/*.yaml") if _is_axis(path)})


def load_lexicons(language: str, folder: Path | None = None) -> dict[str, Lexicon]:
    """The lexicons of a language by axis; a file of the folder stands in for the package's of the same name.

    Raises UsageError for a folder that is not there and a file that is no lexicon.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"`lexicons`: there is no folder '{folder}'", "it holds LANGUAGE/AXIS.yaml, such as de/gender.yaml"
        )
    paths: dict[str, Path] = {}
    support = Path()
    for root in _roots(folder):
        for path in sorted((root / language).glob("*.yaml")):
            if _is_axis(path):
                paths[path.stem] = path
            elif path.stem == _SUPPORT:
                support = path
    return {name: _load(path, support) for name, path in sorted(paths.items())}


def made_lexicon(axis: str, groups: Mapping[str, Iterable[str]], language: str) -> Lexicon:
    """A lexicon of the user's own terms: lower-case ones count in any case, capitalised ones only as written.

    Raises UsageError for a group without terms.
    """
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, given in groups.items():
        terms = list(given) if isinstance(given, list | tuple) else []
        if not terms or not all(isinstance(term, str) and term.strip() for term in terms):
            raise UsageError(f"`groups`: '{name}' of '{axis}' has no list of terms", "such as [nurse, nurses]")
        any_case = tuple(term for term in terms if term == term.casefold())
        found[name] = {"phrases": any_case, "proper": tuple(term for term in terms if term != term.casefold())}
    if len(found) < 2:
        raise UsageError(f"`groups`: '{axis}' has fewer than two groups", "groups are compared with one another")
    sha = hashlib.sha256(repr(sorted((k, sorted(map(str, v))) for k, v in groups.items())).encode()).hexdigest()
    support = load_support(language)
    return Lexicon(axis, language, "", sha, found, origin="own terms", support=support)


@cache
def load_support(language: str) -> Support:
    """What the package knows of a language; nothing where it has none."""
    path = PACKAGE / language / f"{_SUPPORT}.yaml"
    return _support(path) if path.is_file() else Support()


def read_measure(name: str, language: str, folder: Path | None = None) -> tuple[dict[str, Any], str] | None:
    """The content of `sentiment.yaml` or `toxicity.yaml` of a language and the file's SHA-256; None without one."""
    for root in reversed(_roots(folder)):
        path = root / language / f"{name}.yaml"
        if path.is_file():
            content, sha = _read(path)
            return content, sha
    return None


def entries(value: Any) -> tuple[str, ...]:
    """Entries as a list, or as words in one text; each once, in order."""
    given = value.split() if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ValueError("a list of texts, or words in one text")
    return tuple(dict.fromkeys(one.strip() for one in given if one.strip()))


def _roots(folder: Path | None) -> tuple[Path, ...]:
    return (PACKAGE,) if folder is None else (PACKAGE, folder)


def _is_axis(path: Path) -> bool:
    return path.stem not in (*MEASURES, _SUPPORT)


def _read(path: Path) -> tuple[dict[str, Any], str]:
    import yaml

    try:
        raw = path.read_bytes()
        content = yaml.load(raw.decode("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read as a lexicon: {error}", "it is a YAML file in UTF-8") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a lexicon is a mapping", "with `axis`, `version`, `sources` and `groups`")
    return content, hashlib.sha256(raw).hexdigest()


@cache
def _support(path: Path) -> Support:
    content, _ = _read(path)
    try:
        found = {key: entries(content.get(key, "")) for key in ("persons", "between", "titles", "speaks", "articles")}
        hints = {str(key): frozenset(entries(words)) for key, words in (content.get("hints") or {}).items()}
    except ValueError as error:
        raise UsageError(f"{path}: an entry is not {error}", "as in `titles: Mr Mrs`") from error
    return Support(
        str(content.get("name", path.parent.name)),
        bool(content.get("spaced", True)),
        found["persons"],
        found["between"],
        frozenset(found["titles"]),
        frozenset(found["speaks"]),
        frozenset(found["articles"]),
        hints,
    )


def _load(path: Path, support: Path) -> Lexicon:
    stamp = path.stat().st_mtime_ns
    return _load_stamped(path, support, stamp)


@cache
def _load_stamped(path: Path, support: Path, stamp: int) -> Lexicon:
    content, sha = _read(path)
    for key in content:
        if key not in _FILE_KEYS:
            raise UsageError(f"{path}: unknown key `{key}`", nearest(str(key), _FILE_KEYS))
    given = content.get("groups")
    if not isinstance(given, dict) or len(given) < 2:
        raise UsageError(f"{path}: `groups` names fewer than two groups", "such as `female: {words: she her}`")
    groups = {str(name): _group(path, str(name), kinds) for name, kinds in given.items()}
    swaps = content.get("swaps") or []
    if not isinstance(swaps, list) or not all(isinstance(row, dict) and set(row) <= set(groups) for row in swaps):
        raise UsageError(f"{path}: `swaps` is a list of rows by group", "such as `- {female: she, male: he}`")
    return Lexicon(
        axis=str(content.get("axis", path.stem)),
        language=path.parent.name,
        version=str(content.get("version", "")),
        sha=sha,
        groups=groups,
        exceptions=_entries(path, "except", content.get("except") or []),
        swaps=tuple({str(name): str(word) for name, word in row.items()} for row in swaps),
        sources=_entries(path, "sources", content.get("sources") or []),
        support=_support(support) if support.name else Support(),
    )


def _group(path: Path, name: str, kinds: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(kinds, dict) or not kinds:
        raise UsageError(f"{path}: group `{name}` has no terms", f"give {', '.join(KINDS)}")
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"{path}: group `{name}`: unknown kind of terms `{kind}`", nearest(str(kind), KINDS))
    return {str(kind): _entries(path, f"{name}.{kind}", terms) for kind, terms in kinds.items()}


def _entries(path: Path, key: str, value: Any) -> tuple[str, ...]:
    try:
        return entries(value)
    except ValueError as error:
        raise UsageError(f"{path}: `{key}` is not {error}", "as in `words: she her`") from error
