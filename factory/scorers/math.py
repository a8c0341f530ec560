"""Math: the final answer of a worked solution equals the expected one, by value and not by spelling."""

from __future__ import annotations

import importlib.util
import re

from factory.errors import MissingExtra, UsageError, nearest
from factory.scorers import Context, Setup, Traits, as_text, column, render_template, shorten, text_of, veto
from factory.scorers.choices import normal
from factory.scorers.final_answers import MAX_ANSWER, Final, find_finals, unwrap
from factory.scorers.math_process import Undecided, formulas
from factory.scorers.numerals import Quantity, find_numbers, plain_digits, read_quantity, same_quantity
from factory.types import Candidate, Score

MAX_CHARS = 400_000
MAX_DEPTH = 40
_FRACTION = re.compile(r"(?<=\d)?\\[dtc]?frac\s?(?:\{\s?(\d{1,40})\s?\}\s?\{\s?(\d{1,40})\s?\}|(\d)\s?(\d))")
_TEXT = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|operatorname)\s?\{([^{}]{0,200})\}")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|[,;!: ]|quad|qquad)(?![a-zA-Z])|~")
_ASSIGNED = re.compile(r"\A([a-zA-Z])\s?=\s?(?=[^=])")
_WORDS = re.compile(r"[^\W\d_]{3,}")
_NAMES = "sin cos tan cot sec csc log exp sqrt max min mod gcd lcm arcsin arccos arctan sinh cosh tanh inf infty pmod"
_FUNCTIONS = frozenset(_NAMES.split())
_POWER = r"\s?(?:\^|\*\*)\s?[{(\s]*-?\s?"
TOO_LARGE = re.compile(
    rf"{_POWER}\d{{5,}}|\d[\d.)}}\s]*{_POWER}[\d.]+[)}}\s]*{_POWER}\d|\d{{5,}}\)?\s?!|!\s?[)}}]*\s?!|\d{{401,}}"
)
"""Powers and factorials that no computer writes out: towers, exponents and factorials of five digits."""


class math:
    """1 when the final answer equals `expect`, 0 and a veto when it does not; 0 or 1, higher is better.

    What cannot be decided is missing, and vetoes.

    Final answers: `\\boxed{…}`, `#### …`, "the answer is …" (the last one), a text that is one answer; or the column
    `answer`. Several must agree. `expect`: a template with the right answer, or a solution that ends in one; without
    it, the text's own final answer must be there and be mathematics. `require_final: false` takes the last number of a
    text without one. Equal are 1/2, 0.5 and 50%, sets in any order, intervals, equations, LaTeX (math-verify); a unit
    may be missing on one side, `decimals` (6) are compared. `seconds`: processor time that one comparison may take.
    """

    traits = Traits(0, 1, expense="check")

    def __init__(
        self,
        *,
        expect: str | None = None,
        answer: str | None = None,
        require_final: bool = True,
        decimals: int = 6,
        seconds: float = 5.0,
        on: str | None = None,
    ):
        if not 0 <= decimals <= 15:
            raise UsageError(f"`decimals: {decimals}` of `math`", "use 0 to 15")
        if not 0.1 <= seconds <= 600:
            raise UsageError(f"`seconds: {seconds:g}` of `math`", "use 0.1 to 600")
        self.expect, self.answer, self.require_final = expect, answer, require_final
        self.decimals, self.seconds, self.on = decimals, float(seconds), on
        self._known: dict[tuple[str, str | None, str], tuple[bool, bool]] = {}

    def bind(self, setup: Setup) -> None:
        """Raises MissingExtra without math-verify, UsageError for a column that is not there."""
        if importlib.util.find_spec("math_verify") is None:
            raise MissingExtra("the scorer `math`", "math")
        for option, name in (("answer", self.answer), ("on", self.on)):
            if name is not None and setup.columns and name not in setup.columns:
                raise UsageError(f"`{option}: {name}` of `math` names no output column", nearest(name, setup.columns))

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        text = text_of(candidate, self.on)
        if len(text) > MAX_CHARS:
            return veto("math", f"too long to check ({len(text):,} characters)")
        finals = find_finals(text)
        if self.answer is not None:
            given = unwrap(as_text(column(candidate, self.answer, "answer")))
            finals = [Final(given, "column"), *(final for final in finals if final.kind != "bare")]
        if not finals and not self.require_final:
            finals = _last_number(text, context.language)
        if not finals:
            return (
                veto("math", "no final answer")
                if self.require_final or self.expect
                else Score("math", 1.0, "no final answer")
            )
        try:
            fault = await self._fault(finals, context)
        except Undecided as undecided:
            return Score("math", None, f"'{shorten(finals[0].text)}' cannot be checked: {undecided}", vetoed=True)
        return veto("math", fault) if fault else Score("math", 1.0, shorten(finals[0].text))

    async def _fault(self, finals: list[Final], context: Context) -> str:
        """What is wrong with the final answers, or ''."""
        first, language = finals[0].text, context.language
        if not first:
            return "the final answer is empty"
        for other in finals[1:]:
            if not (await self._same(other.text, first, language))[1]:
                return f"two final answers: '{shorten(first)}' and '{shorten(other.text)}'"
        if self.expect is None:
            readable, _ = await self._same(first, None, language)
            return "" if readable else f"the final answer '{shorten(first)}' is not mathematics"
        wanted = expected(render_template(context, self.expect))
        if not wanted:
            return "`expect` is empty on this row"
        _, same = await self._same(first, wanted, language)
        return "" if same else f"the answer is '{shorten(first)}', wanted '{shorten(wanted)}'"

    async def _same(self, answer: str, wanted: str | None, language: str) -> tuple[bool, bool]:
        """Whether an answer is mathematics, and whether it equals the wanted one. Raises Undecided."""
        key = (answer, wanted, language)
        if key not in self._known:
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known[key] = await self._compare(answer, wanted, language)
        return self._known[key]

    async def _compare(self, answer: str, wanted: str | None, language: str) -> tuple[bool, bool]:
        quick = compare_plainly(answer, wanted, language, self.decimals)
        if quick is not None:
            return quick
        for text in (answer, wanted or ""):
            if len(text) > MAX_ANSWER:
                raise Undecided(f"it has {len(text)} characters or more")
            if TOO_LARGE.search(text):
                raise Undecided("its numbers are too large to write out")
            if _depth(text) > MAX_DEPTH:
                raise Undecided("its brackets are nested too deep")
        question = {"answer": _for_worker(answer), "decimals": self.decimals, "seconds": self.seconds}
        said = await formulas.ask({**question, "gold": None if wanted is None else _for_worker(wanted)})
        return bool(said["answer"]), bool(said.get("same", False))


def expected(text: str) -> str:
    """The answer that an expected text gives: the last marked final answer, or the text itself."""
    marked = [final.text for final in find_finals(text) if final.kind != "bare"] if len(text) <= MAX_CHARS else []
    return marked[-1] if marked else unwrap(text)


def compare_plainly(answer: str, wanted: str | None, language: str, decimals: int = 6) -> tuple[bool, bool] | None:
    """(mathematics?, equal?) of what is no formula: numbers with their units, and words. None: ask math-verify."""
    one = simplify(answer)
    quantity = _quantity(one, language)
    if wanted is None:
        if quantity is not None:
            return True, False
        return (False, False) if not one or _is_prose(one) else None
    other = simplify(wanted)
    right = _quantity(other, language)
    if quantity is not None and right is not None:
        return True, _close(quantity, right, decimals)
    if normal(one) == normal(other):
        return True, True
    if _is_prose(one) or _is_prose(other):
        return not _is_prose(one), _bare(one) == _bare(other)
    return None


def simplify(text: str) -> str:
    """LaTeX's ways to write plain numbers and words, undone: `\\frac{1}{2}` is 1/2, `12\\text{ cm}` is 12 cm."""
    text = plain_digits(text).replace("\\%", "%").replace("\\$", "$").replace("{,}", ",").replace("−", "-")
    if "\\" in text:
        text = re.sub(r"\^\s?\{?\s?\\circ\s?\}?", "°", text)
        text = _TEXT.sub(r" \1 ", text)
        text = _FRACTION.sub(_plain_fraction, text)
        text = _SPACING.sub("", text)
    return " ".join(text.split())


def _plain_fraction(match: re.Match[str]) -> str:
    above, below = match[1] or match[3], match[2] or match[4]
    space = " " if match.start() and match.string[match.start() - 1].isdigit() else ""
    return f"{space}{above}/{below}"


def _quantity(text: str, language: str) -> Quantity | None:
    assigned = _ASSIGNED.match(text)
    return read_quantity(text[assigned.end() :] if assigned else text, language)


def _close(one: Quantity, other: Quantity, decimals: int) -> bool:
    """Equal, or equal when rounded, where one of them is a decimal fraction."""
    if same_quantity(one, other):
        return True
    if one.percent != other.percent or not (one.places or other.places):
        return False
    if one.unit and other.unit and one.unit != other.unit:
        return False
    return abs(one.value - other.value) * 10**decimals <= 1 and round(one.value, decimals) == round(
        other.value, decimals
    )


def _is_prose(text: str) -> bool:
    """Whether words stand in it that are no functions; LaTeX's commands are not words."""
    bare = re.sub(r"\\(?:begin|end)\s?\{[a-zA-Z]+\*?\}|\\[a-zA-Z]+", " ", text)
    return any(word.lower() not in _FUNCTIONS for word in _WORDS.findall(bare))


def _depth(text: str) -> int:
    """How deep brackets are nested."""
    depth = deepest = 0
    for char in text:
        if char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth -= 1
    return deepest


def _bare(text: str) -> str:
    """Words without the marks around them: `(A)` and `A.` alike."""
    return normal(text).strip("().:'\"*` ")


def _last_number(text: str, language: str) -> list[Final]:
    """The last number of a text, with its sign."""
    found = [one for one in find_numbers(text, language) if not one.word]
    if not found:
        return []
    last = found[-1]
    sign = re.search(r"(?:(?<=[\s(=:$])|\A)[-−]\Z", text[max(0, last.start - 2) : last.start])
    return [Final(("-" if sign else "") + last.text, "last")]


def _for_worker(text: str) -> str:
    """Digits of every script as ASCII; `**` as LaTeX's power."""
    return re.sub(r"\*\*", "^", plain_digits(text)).replace("−", "-")
