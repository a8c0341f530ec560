"""Multiple choice: options that differ and one letter that names one of them."""

from __future__ import annotations

from factory.errors import UsageError
from factory.scorers import Context, text_of, traits, veto
from factory.scorers.choices import LETTERS, from_fields, options_fault, read_choice, wanted_fault
from factory.types import Candidate, Score


@traits(low=0, high=1)
def choice_answer(
    candidate: Candidate,
    context: Context,
    *,
    options: int = 4,
    expect: str | None = None,
    also: str | None = None,
    letter: str | None = None,
    on: str | None = None,
) -> Score:
    """1 when there are `options` distinct options and exactly one letter names one of them; anything else vetoes (0).

    Reads `Question: … A) … D) … Answer: B` (also in one column, `on`), or columns `options` and `answer`. Templates:
    `expect`: the right answer, which must stand at the letter and nowhere else; `also`: further right answers,
    `|`-separated, none of which may be an option; `letter`: where the right answer must stand.
    """
    if not 2 <= options <= len(LETTERS):
        raise UsageError(f"`options: {options}` of `choice_answer`", f"2 to {len(LETTERS)} are possible")
    found = from_fields(candidate.fields) if on is None and candidate.fields else None
    if found is None:
        found = read_choice(text_of(candidate, on))
    fault = found.fault or options_fault(found, options) or wanted_fault(found, context, expect, also, letter)
    return veto("choice_answer", fault) if fault else Score("choice_answer", 1.0, found.letter)
