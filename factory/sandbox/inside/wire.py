"""Values on their way between two processes that do not trust each other, as JSON.

Plain data goes by value and keeps its exact type, so that `==` means what it says on the other side; whatever else
there is goes as a handle, and is a `Proxy` there. Lists, dicts, sets and the like are numbered in the order in which
they are met: the answer to a call refers to the arguments by number, so that identity survives and changes come back.
"""

from __future__ import annotations

import builtins
import collections
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, CoroutineType, ModuleType
from typing import Any

SMALL = 1 << 53
FRAME = 64 << 20
MUTABLE: tuple[type, ...] = (list, dict, set, bytearray, collections.deque)
CONTAINERS: dict[str, Any] = {"l": list, "s": set, "d": dict, "ba": bytearray, "q": collections.deque}
KNOWN: dict[str, Callable[[Any], list[Any]]] = {
    "decimal.Decimal": lambda value: [str(value)],
    "fractions.Fraction": lambda value: [f"{value.numerator}/{value.denominator}"],
    "datetime.date": lambda value: [value.isoformat()],
    "datetime.time": lambda value: [value.isoformat()],
    "datetime.datetime": lambda value: [value.isoformat()],
    "datetime.timedelta": lambda value: [value.days, value.seconds, value.microseconds],
    "uuid.UUID": lambda value: [str(value)],
}
"""Types of the standard library that go by value: how to write one."""


class Malformed(Exception):
    """What came is no value: the other side does not keep to the protocol."""


class Gone(BaseException):
    """The other process has ended."""


class Refs:
    """The mutable containers of one call, numbered; with what they held when they were met."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.held: list[tuple[Any, ...]] = []
        self._places: dict[int, int] = {}

    def place(self, value: Any) -> int | None:
        return self._places.get(id(value))

    def add(self, value: Any) -> int:
        self._places[id(value)] = len(self.items)
        self.items.append(value)
        self.held.append(())
        return len(self.items) - 1

    def remember(self) -> None:
        """Note what every container holds now."""
        self.held = [contents(value) for value in self.items]

    def changed(self) -> list[int]:
        """Numbers of the containers that hold something else than was noted."""
        found = []
        for place, before in enumerate(self.held):
            now = contents(self.items[place])
            if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
                found.append(place)
        return found


def contents(value: Any) -> tuple[Any, ...]:
    if isinstance(value, dict):
        return tuple(part for pair in value.items() for part in pair)
    return (bytes(value),) if type(value) is bytearray else tuple(value)


class Wire:
    """Encodes and decodes. `proxy(id)` makes the stand-in for the other side's object; `trusting`: this is the
    candidate's side, which may be told of functions by name."""

    def __init__(self, proxy: Callable[[int], Any], proxy_type: type, waits: Callable[[int], Any], trusting: bool):
        self._make, self._proxy_type, self._waits, self._trusting = proxy, proxy_type, waits, trusting
        self._own: list[Any] = []
        self._own_places: dict[int, int] = {}
        self._theirs: dict[int, Any] = {}
        self._mirrored: dict[type, int] = {}

    def own(self, place: int) -> Any:
        """The object that was handed out under a number. Raises Malformed."""
        if type(place) is not int or not 0 <= place < len(self._own):
            raise Malformed("no such object")
        return self._own[place]

    def hand_out(self, value: Any) -> int:
        """The number of an object of this side; it is kept alive."""
        place = self._own_places.get(id(value))
        if place is None:
            place = self._own_places[id(value)] = len(self._own)
            self._own.append(value)
        return place

    def encode(self, value: Any, refs: Refs) -> Any:
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return value if -SMALL < value < SMALL else ["i", hex(value)]
        if kind is self._proxy_type:
            return ["o", object.__getattribute__(value, "_place")]
        if kind in MUTABLE or (issubclass(kind, dict) and kind.__module__ == "collections"):
            return self._encode_mutable(value, refs)
        if kind is tuple or kind is frozenset:
            return ["t" if kind is tuple else "f", [self.encode(item, refs) for item in value]]
        fields = getattr(kind, "_fields", None)
        if issubclass(kind, tuple) and isinstance(fields, tuple):
            return ["n", kind.__name__, list(fields), [self.encode(item, refs) for item in value]]
        if kind is bytes:
            return ["b", value.decode("latin-1")]
        if kind is complex:
            return ["c", value.real, value.imag]
        if kind in (range, slice):
            parts = [self.encode(part, refs) for part in (value.start, value.stop, value.step)]
            return ["g" if kind is range else "sl", *parts]
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in KNOWN:
            return ["k", name, KNOWN[name](value)]
        return self._encode_object(value, refs)

    def _encode_mutable(self, value: Any, refs: Refs) -> list[Any]:
        place = refs.place(value)
        if place is not None:
            return ["r", place]
        refs.add(value)
        return self.encode_contents(value, refs)

    def encode_contents(self, value: Any, refs: Refs) -> list[Any]:
        """What a container holds now."""
        if isinstance(value, dict):
            return ["d", [[self.encode(key, refs), self.encode(item, refs)] for key, item in value.items()]]
        if isinstance(value, bytearray):
            return ["ba", bytes(value).decode("latin-1")]
        if isinstance(value, collections.deque):
            return ["q", value.maxlen, [self.encode(item, refs) for item in value]]
        return ["l" if isinstance(value, list) else "s", [self.encode(item, refs) for item in value]]

    def _encode_object(self, value: Any, refs: Refs) -> list[Any]:
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["E", *self._describe(value)]
        if isinstance(value, BaseException):
            return ["x", *self._describe(type(value)), *self._state(value, refs)]
        named = isinstance(value, type) or (isinstance(value, BuiltinFunctionType) and not self._trusting)
        name = str(getattr(value, "__name__", ""))
        if named and getattr(builtins, name, None) is value:
            return ["y", name]
        if isinstance(value, ModuleType) and value.__name__ in sys.stdlib_module_names:
            return ["m", value.__name__]
        if isinstance(value, CoroutineType):
            return ["w", self.hand_out(value)]
        if value is Ellipsis or value is NotImplemented:
            return ["y", "Ellipsis" if value is Ellipsis else "NotImplemented"]
        return ["h", self.hand_out(value)]

    def _describe(self, kind: type) -> list[Any]:
        """An exception class: its builtin ancestor, and the classes above it with their numbers, the root first."""
        if kind in self._mirrored:
            return ["", [[self._mirrored[kind], ""]]]
        own: list[list[Any]] = []
        for ancestor in kind.__mro__:
            if getattr(builtins, ancestor.__name__, None) is ancestor:
                return [ancestor.__name__, own[::-1]]
            if issubclass(ancestor, BaseException):
                own.append([self.hand_out(ancestor), ancestor.__name__])
        return ["Exception", own[::-1]]

    def _state(self, value: BaseException, refs: Refs) -> list[Any]:
        """An exception's arguments, text and public attributes, as far as they are small plain data."""
        text = str(value)[:2000]
        arguments = [arg if type(arg) in (int, float, bool, str, type(None)) else text for arg in value.args[:8]]
        kept = {
            name: item
            for name, item in list(getattr(value, "__dict__", {}).items())[:32]
            if not name.startswith("_") and type(item) in (int, float, bool, str, type(None))
        }
        arguments = [arg[:2000] if isinstance(arg, str) else arg for arg in arguments]
        return [[self.encode(arg, refs) for arg in arguments], text, self.encode(kept, Refs())]

    def decode(self, data: Any, refs: Refs) -> Any:
        """The value that was encoded. Raises Malformed, whatever the other side sent."""
        try:
            return self._decode(data, refs)
        except (Malformed, RecursionError, MemoryError):
            raise
        except Exception as error:  # data of any shape may come: it is no value, and nothing else follows from it
            raise Malformed(f"{type(error).__name__}: {error}"[:200]) from error

    def _decode(self, data: Any, refs: Refs) -> Any:
        if not isinstance(data, list):
            if isinstance(data, dict):
                raise Malformed("a bare mapping")
            return data
        tag, *rest = data
        if tag in ("l", "s", "d", "q", "ba"):
            return self._decode_mutable(tag, rest, refs)
        if tag == "r":
            return refs.items[_natural(rest[0])]
        if tag in ("t", "f"):
            items = [self._decode(item, refs) for item in rest[0]]
            return tuple(items) if tag == "t" else frozenset(items)
        if tag == "n":
            return _named(str(rest[0]), tuple(rest[1]))(*(self._decode(item, refs) for item in rest[2]))
        if tag in ("g", "sl"):
            return (range if tag == "g" else slice)(*(self._decode(item, refs) for item in rest))
        if tag in SCALARS:
            return SCALARS[tag](*rest)
        if tag == "k":
            return _known(rest[0], rest[1])
        return self._decode_object(tag, rest, refs)

    def _decode_mutable(self, tag: str, rest: list[Any], refs: Refs) -> Any:
        made: Any = {"l": list, "s": set, "d": dict, "ba": bytearray}.get(tag, list)()
        if tag == "q":
            made = collections.deque(maxlen=rest[0])
        refs.add(made)
        self.fill(made, [tag, *rest], refs)
        return made

    def fill(self, made: Any, data: list[Any], refs: Refs) -> None:
        """Put what came into a container, in place of what it held. Raises Malformed when the kinds differ."""
        tag, *rest = data
        if not isinstance(made, CONTAINERS[tag]):
            raise Malformed("a container of another kind")
        if tag == "d":
            pairs = [(self._decode(key, refs), self._decode(item, refs)) for key, item in rest[0]]
            made.clear()
            made.update(pairs)
        elif tag == "ba":
            made[:] = rest[0].encode("latin-1")
        else:
            items = [self._decode(item, refs) for item in rest[-1]]
            made.clear()
            (made.update if tag == "s" else made.extend)(items)

    def _decode_object(self, tag: str, rest: list[Any], refs: Refs) -> Any:
        if tag == "o":
            return self.own(rest[0])
        if tag == "h":
            return self._theirs_at(_natural(rest[0]))
        if tag == "w":
            return self._waits(_natural(rest[0]))
        if tag == "E":
            return self._mirror(rest[0], rest[1])
        if tag == "x":
            return self._exception(self._mirror(rest[0], rest[1]), rest[2], rest[3], self._decode(rest[4], Refs()))
        if tag == "y":
            value = getattr(builtins, rest[0])
            if isinstance(value, type) or value in (Ellipsis, NotImplemented) or self._trusting:
                return value
        if tag == "m" and rest[0] in sys.stdlib_module_names:
            return importlib.import_module(rest[0])
        raise Malformed(f"a value of kind {str(tag)[:20]!r}")

    def _theirs_at(self, place: int) -> Any:
        if place not in self._theirs:
            self._theirs[place] = self._make(place)
        return self._theirs[place]

    def _mirror(self, base: str, above: Iterable[list[Any]]) -> type[BaseException]:
        """A class of this side for an exception class of the other: `except` and `raises` work with it."""
        kind: Any = getattr(builtins, base) if base else None
        for place, name in above:
            if not base:
                kind = self.own(place)
                break
            if place not in self._theirs:
                self._theirs[place] = type(str(name)[:100], (kind,), {})
                self._mirrored[self._theirs[place]] = place
            kind = self._theirs[place]
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise Malformed("no exception")
        return kind

    def _exception(self, kind: type[BaseException], arguments: list[Any], text: str, attributes: Any) -> BaseException:
        values = tuple(self._decode(argument, Refs()) for argument in arguments)
        made = _make_exception(kind, values, str(text))
        for name, item in attributes.items():
            if name.isidentifier() and not name.startswith("_"):
                setattr(made, name, item)
        return made


def _make_exception(kind: type[BaseException], values: tuple[Any, ...], text: str) -> BaseException:
    """An exception that says `text`: of its own kind, unless that kind wants arguments that are not passed on."""
    for arguments in (values, (text,)):
        try:
            made = kind(*arguments)
        except TypeError:
            continue
        if str(made) == text:
            return made
    return Exception(f"{kind.__name__}: {text}")


@functools.lru_cache(maxsize=256)
def _named(name: str, fields: tuple[str, ...]) -> Any:
    return collections.namedtuple(name, fields)


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise Malformed("no number")
    return value


def _known(name: str, arguments: list[Any]) -> Any:
    if name not in KNOWN:
        raise Malformed("a type that is not known")
    module, _, attribute = name.partition(".")
    kind = getattr(importlib.import_module(module), attribute)
    return getattr(kind, "fromisoformat", kind)(*arguments)


SCALARS: dict[str, Callable[..., Any]] = {
    "i": lambda text: int(text, 16),
    "b": lambda text: text.encode("latin-1"),
    "c": complex,
}


def pack(message: Any) -> bytes:
    """A message as bytes: its length, then JSON."""
    body = json.dumps(message).encode()
    return len(body).to_bytes(8, "big") + body


def send(fd: int, message: bytes) -> None:
    """Write one message. Raises Gone when nobody reads."""
    data = memoryview(message)
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        raise Gone from error


def receive(fd: int) -> Any:
    """Read one message. Raises Gone at the end, Malformed for what is no message."""
    size = int.from_bytes(_read(fd, 8), "big")
    if size > FRAME:
        raise Malformed(f"a message of {size} bytes")
    try:
        return json.loads(_read(fd, size))
    except ValueError as error:
        raise Malformed(f"no JSON: {error}"[:200]) from error


def _read(fd: int, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        try:
            piece = os.read(fd, min(size - len(found), 1 << 20))
        except OSError as error:
            raise Gone from error
        if not piece:
            raise Gone
        found += piece
    return bytes(found)
