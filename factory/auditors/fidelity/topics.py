"""fidelity.topics: is the dataset about what real rows are about, in the same shares?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.fidelity.displacement import Displacement, measure_displacement
from factory.auditors.fidelity.pairing import Pair
from factory.auditors.fidelity.scenes import Places, Scene, assign, cluster
from factory.auditors.fidelity.telling import percent, point_at, unmeasured
from factory.auditors.fidelity.testing import Divergence, compare_counts
from factory.auditors.fidelity.words import Words
from factory.auditors.statistics import worst_of
from factory.types import Check, Evidence

MOST_TOPICS = 20
ROWS_A_TOPIC = 15
MOST_GROUPS = 7
FIT_SHARE = 0.25
FAR = 0.98
TOP_WORDS = 4


@dataclass(frozen=True, eq=False)
class Topics:
    """`here`, `there`: the topic of each row of the scene; the last topic is "far from all". `fitted`: rows of the
    reference that the topics were made of, which are not counted. `labels`: the topics in words. `group`: by topic a
    number of a few groups of topics, for tables that would be too thin otherwise."""

    here: Places
    there: Places
    fitted: NDArray[np.bool_]
    labels: tuple[str, ...]
    group: Places

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of each topic: the dataset's, and the reference's that are counted."""
        size = len(self.labels)
        held = self.there[~self.fitted]
        return np.bincount(self.here, minlength=size), np.bincount(held, minlength=size)


def find_topics(pair: Pair, words: Words, scene: Scene, context: AuditContext) -> Topics:
    """Topics by k-means over a quarter of the reference's rows; a point farther from its centre than 98 % of these are
    from theirs belongs to none. The other rows of the reference are counted, so that nothing is counted that the
    topics were fitted on: both counts are equal in law where dataset and reference are."""
    rng = context.rng("fidelity.topics")
    total = len(scene.there)
    fitted = np.zeros(total, dtype=bool)
    fitted[rng.choice(total, max(2, round(FIT_SHARE * total)), replace=False)] = True
    made_of = scene.there[fitted]
    centres = cluster(made_of, max(2, min(MOST_TOPICS, len(made_of) // ROWS_A_TOPIC)), rng)
    edge = float(np.quantile(assign(made_of, centres)[1], FAR))
    sides = []
    for points in (scene.here, scene.there):
        nearest, squared = assign(points, centres)
        sides.append(np.where(squared > edge, len(centres), nearest))
    labels = [*_name(words, scene, sides[1], len(centres)), "far from all topics"]
    few = assign(centres, cluster(centres, MOST_GROUPS, rng))[0]
    return Topics(sides[0], sides[1], fitted, tuple(labels), np.append(few, few.max() + 1))


def _name(words: Words, scene: Scene, topics: Places, count: int) -> list[str]:
    """The words that stand in more of a topic's rows than in others': by difference of shares of rows."""
    from scipy.sparse import csr_matrix

    counts = words.joined()[1][scene.others]
    stands = csr_matrix((np.ones(counts.nnz), counts.indices, counts.indptr), shape=counts.shape)
    belongs = csr_matrix((np.ones(len(topics)), (topics, np.arange(len(topics)))), shape=(count + 1, len(topics)))
    rows = np.asarray((belongs @ stands).todense())
    sizes = np.bincount(topics, minlength=count + 1)[:, None]
    inside, outside = rows / np.maximum(1, sizes), (rows.sum(axis=0) - rows) / np.maximum(1, len(topics) - sizes)
    found = []
    for place in range(count):
        gain = inside[place] - outside[place]
        best = np.argsort(-gain, kind="stable")[:TOP_WORDS]
        told = [words.names[at] for at in best if gain[at] > 0]
        found.append(" ".join(told) or f"topic {place + 1}")
    return found


def check_topics(pair: Pair, scene: Scene, topics: Topics, *, limit: float, effect: float) -> Check:
    """Divergence of the topics' shares, and displacement of the middle of all rows, each beyond what chance adds."""
    here, there = topics.counts
    shares_found = compare_counts(here, there, limit=limit, effect=effect)
    moved = measure_displacement(scene.here, scene.there, limit=limit, effect=effect)
    if shares_found.df == 0 and moved.found.df == 0:
        return unmeasured("topics", "All rows of both sides are alike.", "rows that differ", n=len(pair.dataset))
    shares = here / here.sum(), there / there.sum()
    gaps = shares[0] - shares[1]
    worst = int(np.argmax(np.abs(gaps)))
    larger = max(shares_found, moved.found, key=lambda one: one.value)
    return Check(
        "fidelity.topics",
        larger.value,
        interval=larger.interval,
        n=int(here.sum()),
        gate=f"topics diverge by at most {limit:g} bits beyond chance (10 % of the rows of another topic: about 0.01)",
        tests=2,
        test=worst_of([shares_found.test, moved.found.test]),
        sentence=_tell(shares_found, topics.labels[worst], shares[0][worst], shares[1][worst], moved.found),
        advice=_advise(topics.labels, gaps),
        method=(
            f"k-means with {len(here) - 1} topics over {int(topics.fitted.sum()):,} rows of the reference, counted on "
            f"its other {int(there.sum()):,}; Hotelling's T² of all; {scene.space}; non-central chi-square"
        ),
        evidence=_evidence(pair, scene, moved),
        details={
            "topics": {"bits": shares_found.value, "chance": shares_found.chance, "moved": shares_found.moved},
            "middle": {"bits": moved.found.value, "chance": moved.found.chance},
            "plots": [_bars(topics.labels, shares)],
        },
    )


def _tell(found: Divergence, label: str, here: float, there: float, moved: Divergence) -> str:
    return (
        f"{percent(found.moved)} of the rows would have to change their topic for the shares to be the reference's "
        f"(chance alone moves some). The largest difference: “{label}” with {percent(here)} against {percent(there)}. "
        f"The middle of the rows lies {moved.value:.4f} bits beyond chance from that of the reference."
    )


def _advise(labels: Sequence[str], gaps: NDArray[np.float64]) -> str:
    order = np.argsort(gaps, kind="stable")
    less = ", ".join(f"“{labels[at]}”" for at in order[:3] if gaps[at] < 0)
    more = ", ".join(f"“{labels[at]}”" for at in order[::-1][:3] if gaps[at] > 0)
    return f"make topics an axis with the reference's shares: more of {less}; less of {more}"


def _evidence(pair: Pair, scene: Scene, moved: Displacement) -> tuple[Evidence, ...]:
    """The rows that are most unlike the reference's in the direction in which the two sides differ."""
    best = np.argsort(-moved.scores, kind="stable")[:5]
    scores = [float(moved.scores[at]) for at in best]
    return point_at(pair.dataset, scene.rows[best].tolist(), pair.joined[0], score=scores)


def _bars(labels: Sequence[str], shares: tuple[NDArray[np.float64], NDArray[np.float64]]) -> dict[str, object]:
    order = np.argsort(-shares[1], kind="stable")
    return {
        "kind": "bars",
        "title": "Topics and their words",
        "labels": [labels[at] for at in order],
        "series": {"dataset": shares[0][order].tolist(), "reference": shares[1][order].tolist()},
        "y_label": "share of rows",
    }
