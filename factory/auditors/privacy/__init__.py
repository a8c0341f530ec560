"""The area `privacy`: what the finished rows give away of people, and of the real rows that they were made from.

*Members* are the real rows that the dataset was made from, the *holdout* real rows of the same kind that were not used.
Whatever the rows have in common with the holdout they have without a copy: every test compares the two.
"""

from __future__ import annotations

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.errors import UsageError
from factory.types import Check

UNMEASURED = {
    "privacy.tail": "whether rows are copies of the real rows that they were made from",
    "privacy.membership": "whether the rows tell which real rows they were made from",
    "privacy.rare": "whether rare words and combinations of single real rows come back",
}
"""What takes members and a holdout, in words."""
FEWEST = 100
"""Members, and rows of the holdout, below which nothing can be told."""
SHARED = 0.2
"""A holdout of which more than this share are members is none."""


async def privacy(
    dataset: Data,
    reference: Data | None,
    context: AuditContext,
    *,
    max_pii_rows: int = 0,
    pii_kinds: list[str] | None = None,
    pii_allow: list[str] | None = None,
    pii_region: str | None = None,
    pii_engine: str = "patterns",
    max_copied: float = 0.0005,
    max_recognised: float = 0.02,
    max_auc: float = 0.53,
    max_rare: float = 0.01,
    rare_rows: int = 3,
    private_words: int = 8,
    max_private_rows: int = 0,
    canaries: str | None = None,
    max_canaries: int = 0,
) -> list[Check]:
    """Personal data, copies of real rows, membership inference, rare combinations, planted canaries.

    `max_pii_rows`: rows with personal data that pass; `pii_kinds`, `pii_allow`, `pii_region`, `pii_engine`: as
    `privacy.pii` takes them. `max_copied`: the share of rows that may be copies of members, light paraphrases
    included. `max_recognised`: the share of members that may be recognised where one stranger in a hundred is
    suspected; `max_auc`: the area under that attack's curve. `max_rare`: how much larger the share of members may be
    than that of the holdout of which something comes back that at most `rare_rows` real rows have. `max_private_rows`:
    how many rows may repeat `private_words` words in a row of a private source. `canaries`: the record that `factory
    canaries` wrote; `max_canaries`: how many of them may be found. Raises UsageError for limits that make no sense, and
    for a record that is none.
    """
    shares = {"max_copied": max_copied, "max_recognised": max_recognised, "max_auc": max_auc, "max_rare": max_rare}
    _check_limits(shares, {"max_pii_rows": max_pii_rows, "max_canaries": max_canaries, "rare_rows": rare_rows})
    checks: list[Check] = []
    if canaries is not None:
        from factory.auditors.canaries import find_canaries, read_record

        checks.append(find_canaries(dataset, read_record(context.base / canaries), limit=max_canaries))
    context.progress("looking for personal data", 0.1)
    from factory.auditors.privacy.pii import pii

    checks += pii(
        dataset, context, max_rows=max_pii_rows, kinds=pii_kinds, allow=pii_allow, region=pii_region, engine=pii_engine
    )
    if context.private is not None:
        from factory.auditors.privacy.substring import verbatim

        options = {"min_words": private_words, "max_rows": max_private_rows}
        checks += verbatim(dataset, context.private, context, **options)
    from factory.auditors.privacy.substring import substring

    members = reference if reference is not None else context.private
    why = _why_not(dataset, members, context.holdout)
    if members is None or context.holdout is None or why is not None:
        checks += _inconclusive(dataset, *(why or ("", "")))
        return checks + substring(dataset, members, None, context)
    sides = (members, context.holdout)
    return checks + _compared(dataset, sides, context, (shares, rare_rows)) + substring(dataset, *sides, context)


def _compared(
    dataset: Data, sides: tuple[Data, Data], context: AuditContext, options: tuple[dict[str, float], int]
) -> list[Check]:
    """The checks that compare members with the holdout."""
    from factory.auditors.privacy.membership import membership
    from factory.auditors.privacy.rare import rare
    from factory.auditors.privacy.real import open_real
    from factory.auditors.privacy.tail import tail

    limits, rows = options
    context.progress("comparing with real rows", 0.4)
    real = open_real(dataset, *sides, context)
    checks = [tail(real, limit=limits["max_copied"])]
    rng = context.rng("privacy", "membership")
    checks += membership(real, rng, limit=limits["max_recognised"], auc_limit=limits["max_auc"])
    return checks + rare(real, sides, rows=rows, limit=limits["max_rare"])


def _why_not(dataset: Data, members: Data | None, holdout: Data | None) -> tuple[str, str] | None:
    """Why members and holdout cannot be compared, and what to give instead; None where they can."""
    if members is None:
        what = "give `reference: FILE` (or `--reference FILE`): the real rows that it was made from"
        also = "; and `holdout: FILE` (or `--holdout FILE`): such rows that were not used" if holdout is None else ""
        return "no real rows were given.", what + also
    if holdout is None:
        what = "give `holdout: FILE` (or `--holdout FILE`): real rows of the same kind that were not used"
        return "no real rows were held out, so that nobody can say how near is near by chance.", what
    for data in (dataset, members, holdout):
        if not data.columns:
            return f"{data.name} has no column of text.", "name the columns that hold text: `on: [NAME, …]`"
    if min(len(members), len(holdout)) < FEWEST:
        told = f"{len(members):,} real rows and {len(holdout):,} held out are too few to tell anything."
        return told, f"give {FEWEST} or more of each; several thousand show small leaks"
    known = set(members.texts)
    shared = sum(text in known for text in holdout.texts) / len(holdout)
    if shared > SHARED:
        told = f"{shared:.0%} of the holdout are among the real rows that were used, so it is not held out."
        return told, "give `holdout: FILE`: real rows of the same kind that were not used"
    return None


def _inconclusive(dataset: Data, why: str, advice: str) -> list[Check]:
    return [
        Check(name, None, n=len(dataset), sentence=f"Not measured was {what}: {why}", advice=advice)
        for name, what in UNMEASURED.items()
    ]


def _check_limits(shares: dict[str, float], counts: dict[str, int]) -> None:
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise UsageError(f"`{name}: {share}` of privacy is no share", "give a number from 0 up to 1, 0.01 for 1 %")
    if shares["max_auc"] < 0.5:
        raise UsageError(f"`max_auc: {shares['max_auc']}` of privacy is below chance", "give a number from 0.5 up to 1")
    for name, count in counts.items():
        if count < (1 if name == "rare_rows" else 0):
            raise UsageError(
                f"`{name}: {count}` of privacy is too small", "give a whole number, 0 or more (rare_rows: 1)"
            )
