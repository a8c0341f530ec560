"""Operands by difficulty, and the worked equations a small model can follow digit by digit."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

SYMBOL = {"addition": "+", "subtraction": "-", "multiplication": "×", "division": "÷"}


@dataclass(frozen=True)
class Step:
    """One calculation: `left op right = result`, with the easier equations that lead to it."""

    op: str
    left: int
    right: int

    @property
    def result(self) -> int:
        """The value of the calculation."""
        if self.op == "+":
            return self.left + self.right
        if self.op == "-":
            return self.left - self.right
        return self.left * self.right if self.op == "×" else self.left // self.right

    @property
    def equation(self) -> str:
        """The calculation as text, `12 + 7 = 19`."""
        return f"{self.left} {self.op} {self.right} = {self.result}"


def draw_operands(rng: Random, op: str, difficulty: str) -> Step:
    """Draw a calculation whose size fits the difficulty (easy, medium, hard)."""
    level = ("easy", "medium", "hard").index(difficulty)
    if op == "+":
        low, high = ((2, 20), (11, 99), (101, 899))[level]
        return Step(op, rng.randint(low, high), rng.randint(low, high))
    if op == "-":
        low, high = ((5, 20), (24, 99), (210, 990))[level]
        left = rng.randint(low, high)
        return Step(op, left, rng.randint((2, 11, 101)[level], left - (2, 5, 20)[level]))
    if op == "×":
        left, right = ((2, 6), (3, 12), (13, 99))[level], ((2, 9), (3, 12), (3, 9))[level]
        return Step(op, rng.randint(*left), rng.randint(*right))
    divisor = rng.randint(*((2, 5), (3, 12), (3, 9))[level])
    quotient = rng.randint(*((2, 9), (3, 12), (12, 30))[level])
    return Step(op, divisor * quotient, divisor)


def split_places(number: int) -> list[int]:
    """Cut a number into its place values: 285 gives [200, 80, 5]."""
    digits = str(number)
    return [int(d) * 10 ** (len(digits) - i - 1) for i, d in enumerate(digits) if d != "0"]


def work_equations(step: Step) -> list[str]:
    """The easier equations before `step.equation`; empty where the calculation is direct."""
    if step.op in "+-":
        parts = split_places(step.right)
        if step.right < 100 or len(parts) == 1:
            return []
        lines, value = [f"{' + '.join(map(str, parts))} = {step.right}"], step.left
        for part in parts:
            smaller = Step(step.op, value, part)
            lines.append(smaller.equation)
            value = smaller.result
        return lines
    if step.op == "×":
        parts = split_places(max(step.left, step.right))
        if max(step.left, step.right) <= 12 or len(parts) == 1:
            return []
        other = min(step.left, step.right)
        pieces = [part * other for part in parts]
        lines = [f"{' + '.join(map(str, parts))} = {max(step.left, step.right)}"]
        lines += [f"{part} × {other} = {piece}" for part, piece in zip(parts, pieces, strict=True)]
        return [*lines, f"{' + '.join(map(str, pieces))} = {step.result}"]
    quotient = step.left // step.right
    if quotient <= 12 or quotient % 10 == 0:
        return []
    tens, rest = quotient // 10 * 10, quotient % 10
    parts = [tens * step.right, rest * step.right]
    lines = [f"{parts[0]} + {parts[1]} = {step.left}", f"{parts[0]} ÷ {step.right} = {tens}"]
    return [*lines, f"{parts[1]} ÷ {step.right} = {rest}", f"{tens} + {rest} = {quotient}"]
