"""Calls between the two processes: each side asks for operations on the other's objects, and serves its own.

The tests' side is strict: it sends the candidate no value that a result is compared with. `==` of a candidate's object
with plain data is False there, and order and arithmetic with plain data are errors, unless `own_operators` is on;
between two objects of the candidate they are the candidate's own.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

from factory.sandbox.inside.wire import Gone, Malformed, Refs, Wire, pack, receive, send

CLOSED = (
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
"""Objects of the tests whose attributes the candidate's side may not read: they lead to everything else."""

COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift")
IN_PLACE = ("iadd", "isub", "imul", "itruediv", "iand", "ior", "ixor")
UNARY: dict[str, Callable[..., Any]] = {
    "len": len,
    "bool": bool,
    "str": str,
    "repr": repr,
    "int": int,
    "float": float,
    "complex": complex,
    "index": operator.index,
    "abs": abs,
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "round": round,
    "format": format,
    "bytes": bytes,
    "reversed": reversed,
    "iter": iter,
    "next": next,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "dir": dir,
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    **UNARY,
    **{name: getattr(operator, name) for name in (*COMPARE, *BINARY, *IN_PLACE)},
    "call": lambda function, /, *arguments, **options: function(*arguments, **options),
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "isinstance": isinstance,
    "issubclass": issubclass,
    "contains": operator.contains,
    "await": lambda waiting: _run_coroutine(waiting),
    "enter": lambda manager: type(manager).__enter__(manager),
    "exit": lambda manager, kind, error: type(manager).__exit__(manager, kind, error, None),
}


def _run_coroutine(waiting: Any) -> Any:
    import asyncio

    return asyncio.run(waiting)


class Peer:
    """One end. `strict`: this is the tests' side. `extra`: further operations that this side serves."""

    def __init__(
        self,
        fd: int,
        *,
        strict: bool,
        own_operators: bool = False,
        extra: dict[str, Callable[..., Any]] | None = None,
        take_output: Callable[[], str] = lambda: "",
    ) -> None:
        self._fd, self.strict, self.own_operators = fd, strict, own_operators
        self._operations = OPERATIONS | (extra or {})
        self._take_output = take_output
        proxy = make_proxy_type(self)
        self.proxy_type = proxy
        self._wire = Wire(proxy, proxy, self._wait_for, trusting=not strict)

    def ask(self, operation: str, /, *arguments: Any, **options: Any) -> Any:
        """Have an operation done by the other side; raises what it raised there. Serves what it asks meanwhile."""
        refs = Refs()
        coded = [self._wire.encode(argument, refs) for argument in arguments]
        named = {name: self._wire.encode(value, refs) for name, value in options.items()}
        send(self._fd, pack(["ask", operation, coded, named]))
        while True:
            message = receive(self._fd)
            if not isinstance(message, list) or len(message) != 4:
                raise Malformed("no message")
            if message[0] == "ask":
                self._serve(message)
                continue
            return self._read_answer(message, refs)

    def serve(self) -> None:
        """Answer until the other side is gone."""
        while True:
            self._serve(receive(self._fd))

    def _read_answer(self, message: list[Any], refs: Refs) -> Any:
        outcome, coded, after, written = message
        value = self._wire.decode(coded, refs)
        for place, held in after:
            if type(place) is not int or not 0 <= place < len(refs.items):
                raise Malformed("no such container")
            self._wire.fill(refs.items[place], held, refs)
        if written:
            sys.stdout.write(str(written))
        if outcome == "raised":
            if not isinstance(value, BaseException):
                raise Malformed("raised what is no exception")
            raise value
        return value

    def _serve(self, message: Any) -> None:
        refs = Refs()
        try:
            _, operation, coded, options = message
            arguments = [self._wire.decode(item, refs) for item in coded]
            named = {name: self._wire.decode(item, refs) for name, item in options.items()}
            refs.remember()
            self._check(operation, coded, arguments)
            outcome, value = "gave", self._operations[operation](*arguments, **named)
        except BaseException as error:  # all of it goes to the caller, SystemExit and the like included
            if isinstance(error, Gone):
                raise
            outcome, value = "raised", error
        try:
            changed = refs.changed()
            answer = self._wire.encode(value, refs)
            after = [[place, self._wire.encode_contents(refs.items[place], refs)] for place in changed]
            body = pack([outcome, answer, after, self._take_output()])
        except Exception as error:  # a result that cannot be written is a failure of the call
            told = TypeError(f"the result cannot be passed on: {type(error).__name__}: {error}"[:300])
            body = pack(["raised", self._wire.encode(told, refs), [], ""])
        send(self._fd, body)

    def _check(self, operation: str, coded: list[Any], arguments: list[Any]) -> None:
        """What the candidate may ask for: operations on objects that the tests gave it, and on nothing else. Else it
        could have objects made here that are equal to everything. Raises Malformed or AttributeError."""
        if operation not in self._operations:
            raise Malformed("no such operation")
        if not self.strict:
            return
        turned = operation in (*COMPARE, *BINARY)
        if not any(isinstance(item, list) and item[:1] == ["o"] for item in coded[: 2 if turned else 1]):
            raise Malformed("an operation on nothing that the tests have given")
        if operation.endswith("attr"):
            owner, name = arguments[0], arguments[1]
            closed = CLOSED if operation == "getattr" else (*CLOSED, type)
            if type(name) is not str or name.startswith("_") or isinstance(owner, closed):
                raise AttributeError(f"{str(name)[:60]} of the tests' {type(owner).__name__} is closed")

    def _wait_for(self, place: int) -> Any:
        waiting = self._wire._theirs_at(place)

        async def wait() -> Any:
            return self.ask("await", waiting)

        return wait()


def make_proxy_type(peer: Peer) -> type:
    """The class of stand-ins for the other side's objects: what is done to one is asked of the other side."""

    def alien(value: Any) -> bool:
        return type(value) is not made

    def refuse(name: str, other: Any) -> None:
        if peer.strict and not peer.own_operators and alien(other):
            raise TypeError(f"`{name}` of an object of the code with {type(other).__name__}: see `own_operators`")

    def init(self: Any, place: int) -> None:
        object.__setattr__(self, "_place", place)

    def contains(self: Any, item: Any) -> bool:
        if peer.strict and not peer.own_operators and alien(item):
            return any(one is item or one == item for one in self)
        return bool(peer.ask("contains", self, item))

    def compare(name: str) -> Callable[[Any, Any], Any]:
        def method(self: Any, other: Any) -> Any:
            if name in ("eq", "ne") and peer.strict and not peer.own_operators and alien(other):
                return name == "ne"
            refuse(name, other)
            return peer.ask(name, self, other)

        return method

    def binary(name: str, turned: bool) -> Callable[[Any, Any], Any]:
        def method(self: Any, other: Any) -> Any:
            refuse(name, other)
            return peer.ask(name, other, self) if turned else peer.ask(name, self, other)

        return method

    def isinstance_(self: Any, value: Any) -> bool:
        known = not alien(value) or isinstance(value, BaseException)
        return bool(peer.ask("isinstance", value, self)) if known or not peer.strict else False

    def exit_(self: Any, kind: Any, error: Any, trace: Any) -> bool:
        return bool(peer.ask("exit", self, kind, error))

    body: dict[str, Any] = {
        "__init__": init,
        "__slots__": ("__weakref__", "_place"),
        "__call__": lambda self, /, *arguments, **options: peer.ask("call", self, *arguments, **options),
        "__getattr__": lambda self, name: peer.ask("getattr", self, name),
        "__setattr__": lambda self, name, value: peer.ask("setattr", self, name, value),
        "__delattr__": lambda self, name: peer.ask("delattr", self, name),
        "__contains__": contains,
        "__hash__": lambda self: hash(object.__getattribute__(self, "_place")),
        "__instancecheck__": isinstance_,
        "__subclasscheck__": lambda self, other: bool(peer.ask("issubclass", other, self)),
        "__enter__": lambda self: peer.ask("enter", self),
        "__exit__": exit_,
        "__divmod__": lambda self, other: (self // other, self % other),
    }
    for name in UNARY:
        body[f"__{name}__"] = _unary(peer, name)
    body |= {f"__{name}__": compare(name) for name in COMPARE}
    body |= {f"__{name.strip('_')}__": binary(name, turned=False) for name in (*BINARY, *IN_PLACE)}
    body |= {f"__r{name.strip('_')}__": binary(name, turned=True) for name in BINARY}
    made = type("Proxy", (), body)
    return made


def _unary(peer: Peer, name: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        return peer.ask(name, self, *arguments)

    return method
