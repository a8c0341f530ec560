"""What `doctor` found, for people: a line for each check, a block for each model, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from factory.cli.output import one_line

if TYPE_CHECKING:
    from factory.model_check import ModelFacts

WIDTH = 80
_MARK = {True: "ok", False: "BAD", None: "–"}


def show_check(check: dict[str, Any]) -> str:
    """A check, with what to do, in lines of at most 80 columns (but for words that are longer)."""
    lines = [_wrap(f"{_MARK[check['ok']]:<4} ", f"{check['name']}: {check['told']}")]
    if check["hint"]:
        lines.append(_wrap("     → ", check["hint"]))
    lines += [_wrap("     note: ", told) for told in check.get("notes", ())]
    return "\n".join(lines)


def show_model(check: dict[str, Any], facts: ModelFacts) -> str:
    """A model: what is wrong, or where it is, what it costs, how fast it is, what it honours."""
    head = {**check, "notes": (), "told": facts.told}
    parts = [] if not facts.ok else [("price", _price(facts))]
    if facts.context is not None:
        parts.append(("context", f"{facts.context:,} tokens"))
    if facts.batches:
        parts.append(("batches", "its server has batch jobs"))
    if facts.latency_s is not None:
        parts.append(("speed", _speed(facts)))
    if facts.said:
        parts.append(("says", facts.said))
    if facts.findings:
        parts.append(("honours", _named(facts, True) or "nothing of what was tried"))
        parts += [("not", _why(facts, name)) for name, found in facts.findings.items() if found.honours is False]
        parts += [("unclear", _why(facts, name)) for name, found in facts.findings.items() if found.honours is None]
    parts += [("note", told) for told in check["notes"]]
    return "\n".join([show_check(head), *(_wrap(f"     {name:<9}", told) for name, told in parts if told)])


def show_failures(count: int, bad: Sequence[str]) -> str:
    """The last lines: how many checks failed, and which."""
    return _wrap("", f"{len(bad)} of {count} checks failed: {', '.join(bad)}") if bad else "nothing is broken"


def _price(facts: ModelFacts) -> str:
    from factory.doctor import tell_price

    told = "" if facts.price is None else tell_price(facts.price)
    if facts.asked and facts.asked_usd:
        told += f"; {facts.asked} questions cost ${facts.asked_usd:.2g}"
    return told


def _speed(facts: ModelFacts) -> str:
    seconds = facts.latency_s or 0.0
    latency = f"{seconds:.2g} s for a word" if seconds >= 0.001 else "less than 1 ms for a word"
    if facts.tokens_per_s is None:
        return latency
    return f"{latency}, {facts.tokens_per_s:,.0f} tokens/s for one answer alone"


def _named(facts: ModelFacts, honours: bool) -> str:
    return ", ".join(name for name, found in facts.findings.items() if found.honours is honours)


def _why(facts: ModelFacts, name: str) -> str:
    why = facts.findings[name].why
    return f"{name}: {why}" if why else name


def _wrap(start: str, text: object) -> str:
    return textwrap.fill(
        one_line(text),
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
