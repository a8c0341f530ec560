"""A program of its own that reads and compares formulas with math-verify: SymPy may run for ever, so it may be killed.

It reads one JSON object a line and answers with one: `{"answer", "gold", "decimals", "seconds"}` gives `{"answer":
readable?, "gold": readable?, "same": equal?}`; without `gold`, only whether the answer is readable. A question that
takes more than `seconds` of processor time ends the program, by the kernel. It imports nothing of the factory.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from typing import Any, TextIO

MEMORY = 3 << 30
WALL = 20
"""A question may take this many times its seconds by the clock, on a machine that is busy with other things."""


def main() -> None:
    """Answer questions until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "w") as nowhere:  # ANTLR and math-verify print
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(2000)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    try:
        verifier = importlib.import_module("math_verify")  # before the first question's clock starts
    except Exception as error:  # whatever keeps it from being imported is told, and ends the program
        _say(answers, {"failed": f"{type(error).__name__}: {error}"[:300]})
        return
    _say(answers, {"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, question["seconds"])
        signal.setitimer(signal.ITIMER_REAL, WALL * question["seconds"])
        answer = _answer(verifier, question)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(answers, answer)


def _say(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _answer(verifier: Any, question: dict[str, Any]) -> dict[str, Any]:
    def parse(text: str) -> list[Any]:
        return list(verifier.parse("\\boxed{" + text + "}", fallback_mode="no_fallback", parsing_timeout=None))

    try:
        answer = parse(question["answer"])
        if question.get("gold") is None:
            return {"answer": bool(answer)}
        gold = parse(question["gold"])
        same = bool(answer and gold) and verifier.verify(
            gold[0], answer[0], float_rounding=question["decimals"], strict=True, timeout_seconds=None
        )
    except (MemoryError, RecursionError) as error:
        return {"error": type(error).__name__}
    return {"answer": bool(answer), "gold": bool(gold), "same": same}


if __name__ == "__main__":
    main()
