"""Python code with tests, or with the output that it must print: run in the sandbox."""

from __future__ import annotations

import ast

from factory.errors import UsageError, nearest
from factory.recipe.files import find_file, is_path, missing_file, read_text
from factory.sandbox import Finished, Limits, check_available, run_program
from factory.sandbox.trials import Trial, try_tests
from factory.scorers import Context, Setup, render_template, shorten, text_of, traits, veto
from factory.scorers.code_blocks import Block, pick_code
from factory.types import Candidate, Score

LABELS = ("python", "py", "python3")
MOST_CHARACTERS = 1_000_000
CLOCK = 3.0
"""By the clock a program may last so many times its CPU seconds (a busy machine), and never less than CLOCK_LEAST."""
CLOCK_LEAST = 6.0


@traits(low=0, high=1, expense="check")
class PythonCode:
    """Python code run in a sandbox: the share of its tests that pass; 0…1, higher is better.

    `tests` (a template, or the path of a .py file) or `tests_on` (a column): assert statements, test functions,
    unittest classes, or a doctest; they find the code's names in scope and as `import solution`. Or `expect_output`
    (a template): what the program prints, given `stdin`. Anything but full marks vetoes, unless `allow_partial`.
    The code: the answer's fenced `block` (of the column `on`), or the text where none is fenced. Standard library only.
    `timeout` counts seconds of CPU time. Raises UsageError where no sandbox can be had.
    """

    def __init__(
        self,
        *,
        tests: str | None = None,
        tests_on: str | None = None,
        expect_output: str | None = None,
        stdin: str | None = None,
        on: str | None = None,
        block: Block = "first",
        timeout: float = 5.0,
        memory_mb: int = 512,
        allow_partial: bool = False,
        own_operators: bool = False,
    ) -> None:
        if sum(option is not None for option in (tests, tests_on, expect_output)) != 1:
            raise UsageError(
                "`python` needs exactly one of `tests`, `tests_on` and `expect_output`",
                'for example `tests: "{{ source.tests }}"`',
            )
        if stdin is not None and expect_output is None:
            raise UsageError("`stdin` of `python` goes with `expect_output`", "tests call the code themselves")
        if not 0 < timeout <= 3600:
            raise UsageError(f"`timeout: {timeout:g}` of `python`", "use seconds of CPU time, up to 3600")
        if not 32 <= memory_mb <= 1 << 16:
            raise UsageError(f"`memory_mb: {memory_mb}` of `python`", "use 32 to 65536 MB")
        self._tests, self._tests_on = tests, tests_on
        self._output, self._stdin = expect_output, stdin
        self._on, self._block = on, block
        self._partial, self._operators = allow_partial, own_operators
        self._limits = Limits(cpu_seconds=timeout, wall_seconds=max(CLOCK_LEAST, CLOCK * timeout), memory_mb=memory_mb)

    def bind(self, setup: Setup) -> None:
        """Check the columns, read a file of tests, and make sure that there is a sandbox. Raises UsageError."""
        for option, name in (("on", self._on), ("tests_on", self._tests_on)):
            if name is not None and setup.columns and name not in setup.columns:
                raise UsageError(f"`{option}: {name}` of `python` names no column", nearest(name, setup.columns))
        if self._tests_on is not None and self._on is None and len(setup.columns) > 1:
            raise UsageError("`python` with `tests_on` needs `on`", "name the column that holds the code")
        if self._tests is not None and is_path(self._tests, (".py",)):
            path = find_file(self._tests, setup.base)
            if path is None:
                raise UsageError(*missing_file(self._tests, setup.base, "recipes"))
            self._tests = read_text(path)
        if self._tests is not None:
            _check_tests(self._tests)
        check_available("the scorer `python`")

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        """Run one candidate. Raises UsageError for a column that is missing."""
        code = pick_code(text_of(candidate, self._on), self._block, LABELS)
        if not code.strip():
            return veto("python", "there is no code")
        if len(code) > MOST_CHARACTERS:
            return veto("python", f"the code has more than {MOST_CHARACTERS} characters")
        if self._output is not None:
            stdin = render_template(context, self._stdin) if self._stdin else ""
            finished = await run_program(code, stdin=stdin, limits=self._limits)
            return judge_output(finished, render_template(context, self._output))
        trial = await try_tests(
            code, self._read_tests(candidate, context), limits=self._limits, own_operators=self._operators
        )
        return self._judge(trial)

    def _read_tests(self, candidate: Candidate, context: Context) -> str:
        if self._tests is not None:
            return render_template(context, self._tests)
        return pick_code(text_of(candidate, self._tests_on), "all", (*LABELS, "pycon", "doctest"))

    def _judge(self, trial: Trial) -> Score:
        if trial.fault:
            return veto("python", shorten(trial.fault, 250), None)
        share = trial.passed / trial.total
        if trial.passed == trial.total:
            return Score("python", 1.0, f"{trial.total} test{'s' * (trial.total > 1)} passed")
        count = f"{trial.passed} of {trial.total} tests passed; " if trial.passed else ""
        reason = shorten(count + trial.reason, 250)
        return Score("python", share, reason) if self._partial else veto("python", reason, share)


def judge_output(finished: Finished, wanted: str) -> Score:
    """1 when the program ended well and printed what is wanted, spaces at the ends of lines and of the text aside."""
    if finished.status != "ok":
        return veto("python", shorten(finished.reason, 250))
    found = _lines(finished.stdout.decode("utf-8", "replace"))
    right = _lines(wanted)
    if found == right:
        return Score("python", 1.0, "the output is as wanted")
    for number, (one, other) in enumerate(zip(found, right, strict=False), 1):
        if one != other:
            told = f"line {number} of the output is '{shorten(one)}', wanted '{shorten(other)}'"
            return veto("python", told)
    return veto("python", f"{len(found)} lines of output, wanted {len(right)}")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _check_tests(tests: str) -> None:
    """Raise UsageError where tests that are the same for every row do not parse: no code could pass them."""
    if "{{" in tests or "{%" in tests or ">>>" in tests:
        return
    try:
        ast.parse(tests)
    except (SyntaxError, ValueError) as error:
        where = f" (line {line})" if (line := getattr(error, "lineno", None)) else ""
        told = f"`tests` of `python` do not parse: {getattr(error, 'msg', error)}{where}"
        raise UsageError(told, "write `assert` statements, `test_…` functions, or the path of a .py file") from error
