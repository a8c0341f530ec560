"""How this area tells things: checks that could not be measured, shares, counts, evidence."""

from __future__ import annotations

from collections.abc import Iterable

from factory.auditors.data import Data
from factory.types import Check, Evidence

EXCERPT = 300
MOST_EVIDENCE = 20
GIVE = "--reference REAL (in a recipe: `reference: FILE`), real rows of the same kind"


def unmeasured(name: str, why: str, advice: str, *, n: int = 0, subject: str = "") -> Check:
    """A check that could not be measured: INCONCLUSIVE, why, and what to give."""
    return Check(f"fidelity.{name}", None, n=n, subject=subject, sentence=why, advice=advice)


def count(number: int, what: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def percent(share: float, digits: int = 1) -> str:
    """ "1.6 %"."""
    return f"{100 * share:.{digits}f} %"


def several(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first few of many."""
    found = list(names)
    told = ", ".join(f"`{name}`" for name in found[:most])
    return told if len(found) <= most else f"{told} and {len(found) - most} more"


def point_at(data: Data, rows: Iterable[int], texts: list[str], **details: list[float]) -> tuple[Evidence, ...]:
    """Evidence for rows of the dataset, with figures of each by name."""
    places = list(rows)[:MOST_EVIDENCE]
    return tuple(
        Evidence(
            row=place,
            text=texts[place][:EXCERPT],
            id=data.ids[place],
            details={name: values[at] for name, values in details.items()},
        )
        for at, place in enumerate(places)
    )
