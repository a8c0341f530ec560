"""Fidelity: does the dataset look like real rows? Every check compares with a reference, beyond what chance explains.

No check asks whether both are equal in every trifle: each has a limit, and its test asks whether the difference is
beyond it. What chance adds to a difference at these numbers of rows is taken off first.
"""

from __future__ import annotations

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.fidelity.gates import CHECKS, read_gates
from factory.auditors.fidelity.telling import GIVE, count, unmeasured
from factory.types import Check

FEWEST_ROWS = 20
"""Rows of each side below which nothing is compared."""


async def fidelity(
    dataset: Data,
    reference: Data | None,
    context: AuditContext,
    *,
    checks: list[str] | None = None,
    limits: dict[str, float] | None = None,
    min_label_share: float = 0.001,
    model: str | None = None,
) -> list[Check]:
    """Compare with real rows: lengths, words, topics, style, coverage, labels, columns and how these hang together.

    `checks`: those to make, all without it. `limits`: by check, in place of the default ones. `min_label_share`: labels
    of fewer rows than this share may be missing. `model`: a role that embeds, for topics, coverage and MAUVE. Raises
    UsageError for a check or a limit that is not there.
    """
    gates = read_gates(checks, limits, min_label_share)
    why = _cannot(dataset, reference)
    if why is not None or reference is None:
        advice = GIVE if reference is None else f"at least {FEWEST_ROWS} rows of each"
        return [unmeasured(name, why or "", advice, n=len(dataset)) for name in CHECKS if name in gates.checks]
    from factory.auditors.fidelity.comparing import compare
    from factory.auditors.spaces import one_thread

    with one_thread():  # so that sums are rounded alike wherever the audit runs
        return await compare(dataset, reference, context, gates, model)


def _cannot(dataset: Data, reference: Data | None) -> str | None:
    """Why nothing can be compared, None where it can."""
    if reference is None:
        return "There is nothing to compare with: this check takes real rows."
    if min(len(dataset), len(reference)) < FEWEST_ROWS:
        have = f"the dataset has {count(len(dataset), 'row')}, the reference {count(len(reference), 'row')}"
        return f"Too few rows to compare: {have}."
    return None
