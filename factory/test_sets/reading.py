"""Test sets by whatever names them: the registry's name, one of the user's own, a Hub name, files with a field map."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from factory.decontamination.types import TestSet
from factory.errors import UsageError, nearest
from factory.sources.tables import format_of, missing_path
from factory.test_sets.cache import cached, check_name, read_stored, store_rows, stored_facts
from factory.test_sets.entries import MISSING, Entry, Fields, find, find_if_known, make_fields
from factory.test_sets.fetching import Wanted, fetch_rows
from factory.test_sets.files import Raw, hash_files, list_files, read_files
from factory.test_sets.naming import columns_of, fits, guess_fields, looks_like_code
from factory.test_sets.shaping import shape_rows
from factory.types import canonical_json

READER = 1
"""Counts up when the same files give other rows."""
MAP_KEYS = ("question", "answer", "choices", "turns", "labels", "classes", "base", "id", "correct")
SPEC_KEYS = ("path", "name", "split", "config", "code", *MAP_KEYS)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Notice = Callable[[str], None]
Spec = str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Located:
    """What a spec names. Files where `files` are given; else rows kept under `name`; else the Hub dataset `hub`."""

    name: str
    fields: Fields
    entry: Entry | None = None
    files: tuple[Path, ...] = ()
    hub: str = ""
    configs: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("test",)
    code: bool | None = None
    stored: bool = False

    @property
    def source(self) -> str:
        """Where the rows come from, for people."""
        return ", ".join(str(file) for file in self.files) if self.files else self.hub or self.name

    @property
    def map_sha(self) -> str:
        """The hash of everything that decides, beside the source, which rows come out."""
        told = [READER, asdict(self.fields), self.configs, self.splits, self.code, self.entry is not None]
        return hashlib.sha256(canonical_json(told).encode()).hexdigest()


def read_test_set(spec: Spec, base: Path, *, notice: Notice = lambda told: None) -> TestSet:
    """The rows of a test set. `spec` is a name of the registry (`NAME:CONFIG` for one of its configurations) or of the
    user's own sets, a Hub name OWNER/NAME, a file or folder (relative to `base`), or a mapping:
    `path` (any of these, or a list of files), `question`, `answer`, `choices`, `turns` (field paths), `labels`,
    `classes`, `base`, `id`, `name`, `split`, `config`, `code`.

    What comes from the Hub is kept in the cache. `notice` gets a sentence on what is left out or fetched. Raises
    UsageError: an unknown name (with the nearest), no such file, a broken line, a missing column (with those there
    are), no network (with what to do instead).
    """
    return read_located(locate(spec, base), notice)


def locate(spec: Spec, base: Path) -> Located:
    """What a spec names, before anything is read. Raises UsageError as `read_test_set`."""
    given = {"path": spec} if isinstance(spec, str) else dict(spec)
    for key in given:
        if key not in SPEC_KEYS:
            raise UsageError(
                f"a test set has no key `{key}` ({nearest(key, SPEC_KEYS)})", f"it has: {', '.join(SPEC_KEYS)}"
            )
    paths = given.get("path")
    listed = [paths] if isinstance(paths, str | Path) else list(paths or ())
    if not listed or not all(isinstance(path, str | Path) and str(path) for path in listed):
        raise UsageError("a test set needs a `path`: a name, a Hub name, or a file", "for example `path: gsm8k`")
    told = make_fields({key: given[key] for key in MAP_KEYS if given.get(key) not in (None, "")})
    options = {"name": given.get("name"), "split": given.get("split"), "config": given.get("config")}
    located = _locate([str(path) for path in listed], base, told, options)
    code = given.get("code")
    return located if code is None else replace(located, code=bool(code))


def _locate(paths: Sequence[str], base: Path, told: Fields, options: Mapping[str, Any]) -> Located:
    name, split = options["name"], options["split"]
    first = paths[0]
    if len(paths) == 1 and not _is_file(first, base):
        own = told != Fields() or bool(split or options["config"])
        facts = None if own else _stored(first)
        entry = find_if_known(first)
        if facts is not None:
            return Located(str(facts["name"]), Fields(), entry=entry, stored=True)
        if entry is not None:
            return _of_entry(entry, told, options, own)
        if not _path(first, base).exists():
            return _of_hub(first, base, told, options)
    files = [file for path in paths for file in list_files(_path(path, base), split or "")]
    return Located(check_name(name) if name else _stem(paths, files), told, files=tuple(files))


def _of_entry(entry: Entry, told: Fields, options: Mapping[str, Any], own: bool) -> Located:
    """A set of the registry, with what the user says otherwise."""
    fields = entry.fields if told == Fields() else told
    config, split = options["config"], options["split"]
    return Located(
        name=check_name(options["name"]) if options["name"] else entry.name,
        fields=fields,
        entry=None if own else entry,
        hub=entry.hub,
        configs=(config,) if config else entry.configs,
        splits=(split,) if split else entry.splits,
        code=entry.code,
    )


def _of_hub(name: str, base: Path, told: Fields, options: Mapping[str, Any]) -> Located:
    if not _HUB_NAME.fullmatch(name) or _path(name, base).parent.is_dir():
        if "/" in name or "\\" in name:
            raise missing_path(_path(name, base))
        find_own(name)
    config = options["config"]
    return Located(
        name=check_name(options["name"]) if options["name"] else name,
        fields=told,
        hub=name,
        configs=(config,) if config else (),
        splits=(options["split"] or "test",),
    )


def find_own(name: str) -> None:
    """Raise UsageError for a name that is neither of the registry nor of the user's own sets, with the nearest."""
    own = [one.name for one in cached()]
    close = nearest(name, own)
    if own and close.startswith("did you"):
        raise UsageError(f"{MISSING} `{name}`: {close}", "`factory benchmarks list` shows all")
    find(name)


def _is_file(written: str, base: Path) -> bool:
    """Whether this is written as a path, or is a file (a name of the registry goes before a folder)."""
    path = Path(written)
    return (
        format_of(path) is not None
        or written.startswith((".", "/", "~"))
        or path.is_absolute()
        or _path(written, base).is_file()
    )


def _path(written: str, base: Path) -> Path:
    path = Path(written).expanduser()
    return path if path.is_absolute() else base / path


def _stored(name: str) -> Mapping[str, Any] | None:
    """The facts of the rows that are kept under this name, or under the name of the entry that it is an alias of."""
    entry = find_if_known(name)
    return stored_facts(entry.name if entry is not None else name)


def _stem(paths: Sequence[str], files: Sequence[Path]) -> str:
    """A name out of a path: the file's, or the folder's; with its folder's where a file only says `test`."""
    path = Path(paths[0])
    stem = path.name.split(".")[0] if files and files[0].name == path.name else path.name or files[0].parent.name
    if stem.lower() in ("test", "validation", "val", "dev", "question", "questions", "data", "train", "", ".", ".."):
        stem = f"{files[0].resolve().parent.name}-{stem or 'data'}".strip(".-")
    return re.sub(r"[^A-Za-z0-9._-]", "-", stem).strip(".-_")[:80] or "test-set"


def read_located(located: Located, notice: Notice = lambda told: None) -> TestSet:
    """The rows of what `locate` found. See `read_test_set`."""
    if located.stored:
        return read_stored(located.name)
    if located.files:
        return make_test_set(located, read_files(located.files), notice)
    facts = stored_facts(located.name)
    if facts is not None and (facts.get("map") == located.map_sha or located.entry is not None):
        return read_stored(located.name)
    return fetch(located, notice)


def fetch(located: Located, notice: Notice = lambda told: None) -> TestSet:
    """The rows from the Hub, kept in the cache. Raises UsageError when it is out of reach."""
    entry = located.entry
    if not located.hub:
        where = f" Its page is {entry.page}" if entry is not None and entry.page else ""
        raise UsageError(
            f"`{located.name}` is not on the Hub and not here",
            f"download it, then: factory benchmarks index {located.name} --from FILE.{where}",
        )
    wanted = Wanted(
        name=located.name,
        hub=located.hub,
        configs=located.configs,
        splits=located.splits,
        files=entry.files if entry is not None else (),
        columns=columns_of(entry.fields) if entry is not None else (),
        gated=entry is not None and entry.gated,
    )
    raw = fetch_rows(wanted, notice)
    made = make_test_set(located, raw, notice)
    store_rows(made, source=located.hub, private=False, map_sha=located.map_sha)
    return made


def make_test_set(located: Located, raw: Sequence[Raw], notice: Notice) -> TestSet:
    """Raw rows as a test set: the fields of the registry where they fit, else by the usual names."""
    what = located.name if not located.files else _short(located)
    fields = located.fields
    if located.entry is not None and (not located.files or fits(located.entry.fields, raw)):
        fields = located.entry.fields
    else:
        fields = guess_fields(raw, fields, what)
    shaped = shape_rows(raw, fields)
    if shaped.empty:
        notice(
            f"{what}: {shaped.empty:,} of {shaped.empty + len(shaped.rows):,} rows have no question and are left out"
        )
    if not shaped.rows:
        columns = ", ".join(raw[0]) if raw else "nothing"
        asked = ", ".join(fields.question) or fields.turns
        raise UsageError(f"{what}: no row has a question in `{asked}`", f"its rows have: {columns}")
    code = looks_like_code(raw) if located.code is None else located.code
    return TestSet(name=located.name, rows=shaped.rows, code=code)


def _short(located: Located) -> str:
    files = located.files
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


def source_key(located: Located) -> str:
    """The hash of where the rows come from and how they are read (hex); '' where that is not here yet."""
    if located.files:
        return hashlib.sha256(f"{hash_files(located.files)} {located.map_sha}".encode()).hexdigest()
    facts = stored_facts(located.name)
    if facts is None or not (located.stored or located.entry is not None or facts.get("map") == located.map_sha):
        return ""
    return str(facts["sha"])


def keep(
    located: Located, name: str, *, replace_: bool, again: bool = False, notice: Notice = lambda told: None
) -> TestSet:
    """Copy the rows of files into the cache, under a name of the registry or the user's own.

    Raises UsageError where there are rows under this name and `replace_` is not set; with `again` those of the same
    source may be read again.
    """
    entry = find_if_known(name)
    taken = check_name(name if entry is None else entry.name)
    facts = stored_facts(taken)
    if facts is not None and not replace_ and not (again and facts["source"] == located.source):
        raise UsageError(
            f"there is a test set `{taken}` already ({facts['rows']:,} rows of {facts['source']})",
            "--replace puts this one in its place (`add`; for `index` it is --rebuild); or choose another name",
        )
    own = located.fields != Fields()
    made = make_test_set(
        replace(located, name=taken, entry=None if own else entry, code=_code(located, entry)),
        read_files(located.files),
        notice,
    )
    if entry is not None and entry.rows and not 0.5 <= len(made.rows) / entry.rows <= 2:
        notice(f"{entry.title} has {entry.rows:,} rows, these are {len(made.rows):,}: are they the right ones?")
    store_rows(made, source=located.source, private=entry is None, map_sha="")
    return made


def _code(located: Located, entry: Entry | None) -> bool | None:
    return entry.code if entry is not None and located.code is None else located.code
