"""Two scores of a pair: coverage, and the characters layer's weighted evidence. Fixed formulae, nothing is learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from factory.decontamination.spaces import Floats

_SMOOTHING = {"trigrams": 120.0, "stems": 40.0, "numbers": 8.0, "names": 12.0}
_WEIGHTS: Mapping[str, float] = {
    "q3": 5.10, "r3": -1.84, "q1": 6.32, "r1": -6.61, "g1": -1.30, "ch": 2.19, "nj": 3.12, "nc": 2.33, "nh": -2.04,
    "aj": 0.36, "ac": -0.47, "ah": 0.51, "ms": -0.36, "lr": -2.57, "m3": 4.02, "m1": 4.96, "nc*q1": 0.14,
    "ac*q1": 1.57, "nc*ac": 2.05,
}  # fmt: skip
_BIAS = -7.36
"""A logistic regression, fitted once on rewritten test rows against clean ones (the even rows of GSM8K and MMLU)."""


def coverage(features: Mapping[str, Floats]) -> Floats:
    """How much of the unit is in the stretch, or of the stretch in the unit: IDF²-weighted masked trigrams, in 0 … 1.

    The smoothing is worth two or three trigrams never seen elsewhere (seven for the second direction): a short text
    cannot be covered by chance.
    """
    shared = features["trigrams_shared"]
    theirs = shared / (features["trigrams_theirs"] + _SMOOTHING["trigrams"])
    covered: Floats = np.maximum(theirs, shared / (features["trigrams_mine"] + _OF_MINE))
    return covered


_OF_MINE = 400.0


def evidence(features: Mapping[str, Floats]) -> Floats:
    """The characters layer's log-odds: wording, numbers and names together."""
    terms = describe_pair(features)
    total = np.full(len(features["chars"]), _BIAS)
    for name, weight in _WEIGHTS.items():
        total += weight * terms[name]
    return total.astype(np.float32)


def _shares(features: Mapping[str, Floats], space: str) -> tuple[Floats, Floats, Floats, Floats]:
    """(of theirs, of mine, of both together, how much theirs weighs), smoothed."""
    shared, mine, theirs = (features[f"{space}_{which}"] for which in ("shared", "mine", "theirs"))
    smoothing = _SMOOTHING[space]
    union = mine + theirs - shared
    return (
        shared / (theirs + smoothing),
        shared / (mine + smoothing),
        shared / (union + smoothing),
        theirs / (theirs + smoothing),
    )


def describe_pair(features: Mapping[str, Floats]) -> dict[str, Floats]:
    """The terms of the rule. q: of the unit, r: of the stretch; 3 trigrams, 1 stems; n numbers, a names."""
    q3, r3, _, _ = _shares(features, "trigrams")
    q1, r1, _, _ = _shares(features, "stems")
    nc, _, nj, nh = _shares(features, "numbers")
    ac, _, aj, ah = _shares(features, "names")
    ratio = np.maximum(features["words_mine"], 1) / np.maximum(features["words_theirs"], 1)
    return {
        "q3": q3, "r3": r3, "m3": np.maximum(q3, r3), "q1": q1, "r1": r1, "g1": np.sqrt(q1 * r1),
        "m1": np.maximum(q1, r1), "ch": features["chars"], "nj": nj, "nc": nc, "nh": nh, "aj": aj, "ac": ac, "ah": ah,
        "ms": np.log1p(features["stems_shared"] / 100), "lr": np.abs(np.log(ratio)), "nc*q1": nc * q1, "ac*q1": ac * q1,
        "nc*ac": nc * ac,
    }  # fmt: skip
