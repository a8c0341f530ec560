"""Words that carry praise or blame, for checking that a message has the asked sentiment."""

# ruff: noqa: SIM905 (long lists of words read better as text)
from __future__ import annotations

import re

GOOD = frozenset(
    """great excellent beautiful beautifully lovely love loves loved perfect perfectly wonderful wonderfully happy
    happier easy comfortable reliable solid nicely nice
impressively pleasure fun best recommend glad gladly pleased pleasant friendly helpful delighted fantastic satisfied
enjoy superb good quick quickly smooth well worth thanks like amazing""".split()
)

BAD = frozenset(
    """terrible awful confusing annoying dim cheap flimsy painfully crashes unreliable blurry disappointing
    disappointed disappointment broke broken stopped faulty leaks leaked horribly
damaged missing wobbles uncomfortable scratched wrong rusted tore tear heavy loose faded fell rude expensive
frustrating dirty unacceptable late nightmare useless hate furious angry
disaster worst waste junk poor problem unhappy refund bad weak never sadly mistake return unhelpful slow
smells""".split()
)

_NEGATORS = frozenset("not cannot never no nobody without".split())
_INTENTIONAL = re.compile(
    r"i could not be happier|good (?:morning|evening)|best regards|quick (?:note|quiz)|would like|like others|as well"
)
_WORD = re.compile(r"[a-z']+")


def count_feelings(text: str) -> tuple[int, int]:
    """Count the praising and the blaming words; a negator up to two words before turns praise into blame."""
    lowered = _INTENTIONAL.sub(lambda found: "happier" if "happier" in found[0] else "", text.lower())
    words = _WORD.findall(lowered)
    good = bad = 0
    for i, word in enumerate(words):
        negated = any(before in _NEGATORS for before in words[max(0, i - 2) : i])
        if word in GOOD:
            good, bad = (good, bad + 1) if negated else (good + 1, bad)
        elif word in BAD:
            bad += 1
    return good, bad
