"""The process that runs the tests and holds the verdict: the candidate's code is in another, behind calls.

Each top-level `assert` (or call, or block with an `assert`) is a test, as is each method of a unittest.TestCase, each
function `test_…` without parameters, and each example of a doctest. The report goes out on a descriptor of its own.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import sys
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from factory.sandbox.inside.peer import Peer
from factory.sandbox.inside.wire import Gone, Malformed

FILE = "tests.py"
MODULE = "solution"
MOST = 10_000
CODE_IS_GONE = 75
Test = tuple[str, Callable[[], None]]


class Report:
    """Lines of JSON for the factory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, **facts: Any) -> None:
        data = memoryview(json.dumps(facts).encode() + b"\n")
        while data:
            data = data[os.write(self._fd, data) :]


class Stop(Exception):
    """No test can be run; the message says why."""


def run(job: dict[str, Any]) -> None:
    """Load the code over there, run the tests here, and report."""
    report = Report(job["report"])
    source: str = job["source"].decode("utf-8", "replace")
    peer = Peer(job["channel"], strict=True, own_operators=job["own_operators"])
    code = 0
    try:
        _run(peer, source, report)
    except Stop as stop:
        report.tell(fault=str(stop)[:500])
    except Gone:
        report.tell(gone=True)
        code = CODE_IS_GONE
    report.tell(done=True)
    sys.stdout.flush()
    os._exit(code)


def _run(peer: Peer, source: str, report: Report) -> None:
    doctest = any(line.lstrip().startswith(">>>") for line in source.splitlines())
    tree = None if doctest else _parse(source)
    wanted, modules = _mentioned(tree)
    try:
        found = peer.ask("load", wanted)
        if not isinstance(found, dict):
            raise Malformed("no names")
    except Gone:
        raise
    except BaseException as error:  # whatever the code raised while it was loaded
        report.tell(code=_say(error))
        return
    names = {name: value for name, value in found.items() if not hasattr(builtins, name) and name not in modules}
    space: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins, **names}
    _offer_module(peer, found)
    if tree is None:
        tests = list(_doctests(source, space))
        report.tell(total=len(tests))
        _run_all(tests, source, report)
    else:
        for module in sorted(modules):
            space[module] = __import__(module)
        _run_module(tree, space, source, report)


def _run_all(tests: list[Test], source: str, report: Report) -> None:
    for name, test in tests[:MOST]:
        report.tell(name=name[:200], why=_try(test, source))


def _run_module(tree: ast.Module, space: dict[str, Any], source: str, report: Report) -> None:
    """The statements in order, each test reported; then the functions and classes of tests. A statement that is no test
    and fails is reported as one, and no test after it is run."""
    body = [node for node in tree.body if not _is_main(node)]
    total, broken = sum(map(_is_test, body)), ""
    report.tell(total=total)
    for node in body:
        if broken and not _is_test(node):
            continue
        why = broken or _try(lambda node=node: _execute(node, space), source)  # type: ignore[misc]
        if _is_test(node):
            report.tell(name=f"line {node.lineno}", why=why)
        elif why:
            broken = why
            total += 1
            report.tell(name=f"line {node.lineno}", why=why)
    called = {
        node.value.func.id
        for node in body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
    }
    tests = [] if broken else list(_collect(space, called))
    report.tell(total=total + len(tests))
    _run_all(tests, source, report)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source, FILE)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise Stop(f"the tests do not parse: {getattr(error, 'msg', error)}{where}") from error


def _mentioned(tree: ast.Module | None) -> tuple[list[str] | None, set[str]]:
    """The names that the tests want of the code (None: all), and those that are modules of the standard library."""
    if tree is None:
        return None, set()
    names, owners = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owners.add(node.value.id)
        elif isinstance(node, ast.ImportFrom) and node.module == MODULE:
            names.update(alias.name for alias in node.names)
    # `math.isclose` of the tests means the real one, whatever the code calls `math`
    modules = owners & set(sys.stdlib_module_names)
    return (None if "*" in names else sorted(names - {"solution"})), modules


def _offer_module(peer: Peer, found: dict[str, Any]) -> None:
    """`import solution` in the tests gives the code's names, looked up over there at every use."""
    module = ModuleType(MODULE)
    module.__dict__["__all__"] = list(found)
    module.__dict__["__getattr__"] = lambda name: peer.ask("attribute", name)
    sys.modules[MODULE] = module


def _collect(space: dict[str, Any], called: set[str]) -> Iterator[Test]:
    """The tests that are functions and methods, in the order of their definition."""
    for name, value in list(space.items()):
        if isinstance(value, FunctionType):
            if name.startswith("test") and name not in called and value.__module__ == "tests":
                yield name, value
        elif type(value) is type and value.__module__ == "tests":
            yield from _methods(value)


def _is_main(node: ast.stmt) -> bool:
    """`if __name__ == …:` and `unittest.main()`: how a file of tests starts itself."""
    if isinstance(node, ast.If):
        return any(isinstance(part, ast.Name) and part.id == "__name__" for part in ast.walk(node.test))
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "unittest.main"


def _is_test(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return False
    if isinstance(node, ast.Expr):
        return any(isinstance(part, ast.Call | ast.Await) for part in ast.walk(node))
    return any(isinstance(part, ast.Assert) for part in ast.walk(node))


def _execute(node: ast.stmt, space: dict[str, Any]) -> None:
    exec(compile(ast.Module([node], []), FILE, "exec"), space)


def _methods(kind: type) -> Iterator[Test]:
    """The test methods of a unittest.TestCase, in unittest's order; of another class `Test…`, those called `test…`."""
    unittest = sys.modules.get("unittest")
    if unittest is not None and issubclass(kind, unittest.TestCase):
        for name in unittest.TestLoader().getTestCaseNames(kind):
            yield f"{kind.__name__}.{name}", _case(unittest, kind, name)
    elif kind.__name__.startswith("Test"):
        for name, value in list(vars(kind).items()):
            if name.startswith("test") and isinstance(value, FunctionType):
                yield f"{kind.__name__}.{name}", lambda name=name: getattr(kind(), name)()  # type: ignore[misc]


def _case(unittest: Any, kind: type, name: str) -> Callable[[], None]:
    def test() -> None:
        result = Outcome()
        outcome = unittest.TestSuite([kind(name)])
        outcome.run(result)  # with the class's own setUpClass
        if result.raised is not None:
            raise result.raised
        if not result.passed:
            raise Stop("skipped")

    class Outcome(unittest.TestResult):  # type: ignore[misc]
        raised: BaseException | None = None
        passed = False

        def addSuccess(self, test: Any) -> None:
            self.passed = True

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            self.passed = True

        def addUnexpectedSuccess(self, test: Any) -> None:
            self.raised = AssertionError("a failure was expected")

        def addError(self, test: Any, err: Any) -> None:
            self.raised = self.raised or err[1]

        def addFailure(self, test: Any, err: Any) -> None:
            self.raised = self.raised or err[1]

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                self.raised = self.raised or err[1]

    return test


def _doctests(source: str, space: dict[str, Any]) -> Iterator[Test]:
    import doctest

    try:
        examples = doctest.DocTestParser().get_examples(source, FILE)
    except ValueError as error:
        raise Stop(f"the doctest does not parse: {error}") from error
    for example in examples:

        def test(example: doctest.Example = example) -> None:
            told: list[str] = []
            one = doctest.DocTest([example], space, "tests", FILE, example.lineno, source)
            doctest.DocTestRunner(verbose=False).run(one, out=told.append, clear_globs=False)
            space.update(one.globs)
            if told:
                text = "".join(told)
                got = text.partition("Got:\n")[2] or text.strip().rpartition("\n")[2]
                raise AssertionError(f"{example.source.strip()}: got {got.strip()}, wanted {example.want.strip()}")

        yield f"line {example.lineno + 1}", test


def _try(test: Callable[[], None], source: str) -> str:
    """'' when the test passes, else why not."""
    try:
        test()
    except Gone:
        raise
    except BaseException as error:  # a failed assertion, and whatever else ends a test
        if isinstance(error, Stop):
            return str(error)[:300]
        where = _failing_line(error, source)
        if type(error) is AssertionError and not str(error):
            return f"{where or 'an assertion'} failed"[:300]
        return (_say(error) + (f" in {where}" if where and type(error) is not AssertionError else ""))[:300]
    return ""


def _failing_line(error: BaseException, source: str) -> str:
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = source.splitlines()
    return " ".join(lines[line - 1].split())[:120] if 0 < line <= len(lines) else ""


def _say(error: BaseException) -> str:
    try:
        text = " ".join(str(error)[:1000].split())
    except BaseException:  # its own __str__ may do anything
        text = ""
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:250]
