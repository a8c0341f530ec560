"""The values that flow through the factory. All are frozen; only the recipe (`factory.recipe`) is a pydantic model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

Role = Literal["system", "user", "assistant"]
Purpose = Literal["generate", "repair", "judge", "score", "probe", "audit"]
Task = Literal["generate", "likelihood", "classify", "embed"]
"""What a request wants of a model: text; the log-probabilities of a given answer; a score for it; its embedding."""

STAGES = ("call", "parse", "score", "select", "filter", "decontaminate", "dedup", "unused")
"""Where a candidate can end, in the order of a row's walk."""

NANO = 1_000_000_000
"""Money is counted in integer nano-USD: 1 USD is `NANO` of them."""


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. Raises TypeError on what JSON cannot hold."""
    return _CANONICAL.encode(value)


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Rendered messages, with the SHA-256 (hex) of the template and of everything it includes."""

    messages: tuple[Message, ...]
    template_sha: str


@dataclass(frozen=True, slots=True)
class Variation:
    """What the plan drew for one row: axis values (JSON values) and, with `from:`, the source row."""

    row: int
    values: Mapping[str, Any]
    source: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters as asked. `extra` holds further request fields (`reasoning_effort`, `extra_body`, …)."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The parameters that are set, as request fields."""
        fields: dict[str, Any] = dict(self.extra)
        for name in ("temperature", "top_p", "max_tokens"):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if self.stop:
            fields["stop"] = list(self.stop)
        return fields


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model: everything that is asked, and for whom.

    `identity` is `backend/model@base_url` or the recipe's `identity:`. `row` is None for a probe.
    `index` is the candidate for single requests, 0 where one request asks for all `n`. `logprobs`: log-probabilities
    of the answer's tokens are wanted, and of so many alternatives to each (0: none).

    `task`: other than "generate", nothing is written, the given messages are measured. The answer is one choice.
    "likelihood": the last message is the assistant's; `Choice.logprobs` are those of its tokens, given the messages
    before. "classify": `Choice.text` is a JSON object of numbers by label (`{"score": …}` for a reward model).
    "embed": the last message's text; `Choice.text` is the vector as base64 of little-endian float32.
    """

    identity: str
    model: str
    messages: tuple[Message, ...]
    sampling: Sampling
    n: int
    seed: int
    row: int | None
    step: str
    purpose: Purpose
    index: int
    response_format: Mapping[str, Any] | None = None
    logprobs: int | None = None
    task: Task = "generate"

    def content(self) -> dict[str, Any]:
        """The request as plain data: what `call_id` hashes and the journal stores."""
        content: dict[str, Any] = {
            "identity": self.identity,
            "model": self.model,
            "messages": [[m.role, m.content] for m in self.messages],
            "sampling": self.sampling.body(),
            "n": self.n,
            "seed": self.seed,
            "row": self.row,
            "step": self.step,
            "purpose": self.purpose,
            "index": self.index,
            "response_format": self.response_format,
        }
        if self.logprobs is not None:
            content["logprobs"] = self.logprobs
        if self.task != "generate":
            content["task"] = self.task
        return content

    @property
    def call_id(self) -> str:
        """32 hex digits: SHA-256 over the canonical JSON of `content()`, cut to 128 bits."""
        return hashlib.sha256(canonical_json(self.content()).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer as the server counted them; `estimated` where it did not say and we counted.

    `reasoning_tokens` are part of `completion_tokens`, `cached_tokens` of `prompt_tokens`. `gpu_seconds`: the request's
    share of the accelerator's time, where the model runs in this process.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    gpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token of an answer, its natural log-probability, and the likeliest alternatives (itself included)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: its text and why it ended (`stop`, `length`, `content_filter`, …). `reasoning` is kept apart.

    `logprobs` None: not asked for, or the server dropped them.
    """

    text: str
    finish_reason: str
    reasoning: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What one attempt brought back. `model` is the name the server gave itself."""

    choices: tuple[Choice, ...]
    usage: Usage
    model: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of a row's N texts. `fields` are the parsed output columns, None until (or unless) parsing succeeds.

    `logprobs`: those of the text's tokens, where the model's `logprobs` asks for them and the server gives them.
    """

    row: int
    step: str
    index: int
    text: str
    finish_reason: str
    seed: int
    model: str
    fields: Mapping[str, Any] | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A scorer's opinion of one candidate. `value` None means missing (never 0); `vetoed` when a bound was broken.

    `parts`: what the value was made of (a judge's aspects, say); told beside it as `name.part`.
    """

    name: str
    value: float | None
    reason: str = ""
    vetoed: bool = False
    parts: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with its scores; `total` is the weighted mean of the weighted ones (0 without any).

    How values of different scales are made comparable: see `factory.scoring.totals`.
    """

    candidate: Candidate
    scores: tuple[Score, ...] = ()
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Flag:
    """What a filter says of a row that stays: the stage where it would have fallen, and why."""

    stage: str
    reason: str
    matched: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of one candidate: accepted, or rejected at a stage (see `STAGES`) for a reason.

    `matched` names what a duplicate or a contaminated row matched. `flags`: what filters say of an accepted one.
    """

    row: int
    scored: Scored
    accepted: bool
    stage: str = ""
    reason: str = ""
    matched: str | None = None
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Money and tokens of a set of answers. `nano_usd` None: a price is unknown (never a silent 0)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    nano_usd: int | None = 0

    def __add__(self, other: Cost) -> Cost:
        unknown = self.nano_usd is None or other.nano_usd is None
        return Cost(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            None if unknown else (self.nano_usd or 0) + (other.nano_usd or 0),
        )


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One attempt at a call. Lost attempts have None tokens and cost, and an upper bound instead."""

    call_id: str
    attempt: int
    row: int | None
    step: str
    purpose: str
    model: str
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    nano_usd: int | None
    upper_bound_nano_usd: int | None
    price_source: str
    outcome: str
    latency_s: float | None
    at: str
    gpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """A finished row before curation.

    `ranked`: the last step's eligible candidates, best first (−total, index), or by `keep: diversity`. `rejected`:
    verdicts already given (stages call, parse, score, select). `cost`: the sum over the row's usable responses.
    `context`: what each step kept, by step name. `refused`: the row got no candidate because its calls failed for good.
    `prepared`: what filters found with models, by (number of the filter, index of the candidate).
    """

    variation: Variation
    ranked: tuple[Scored, ...]
    rejected: tuple[Verdict, ...]
    cost: Cost
    prompt_sha: str
    context: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    refused: bool = False
    prepared: Mapping[tuple[int, int], Any] = field(default_factory=dict)

    @property
    def row(self) -> int:
        return self.variation.row


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One accepted row as it is exported: output columns in order, carried columns, and `meta`."""

    columns: Mapping[str, Any]
    meta: Mapping[str, Any]

    def flat(self) -> dict[str, Any]:
        """The row as the dataset holds it."""
        return {**self.columns, "meta": dict(self.meta)}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a check points at: a row of the data by its place (from 0, None: no single row), an excerpt, figures.

    `id`: the row's `meta.id` where it has one. `source`: the data whose row it is, where that is not the dataset.
    """

    row: int | None
    text: str = ""
    id: str | None = None
    source: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Test:
    """How a gate is decided. The null hypothesis: the true effect is no larger than the gate allows.

    `p`: its p-value. `effect`: the size that must not go unseen, on the scale of the check's value; where the minimum
    detectable effect is larger, the check is INCONCLUSIVE and not PASS. `mde_at(alpha)`: the smallest true effect that
    is found with a power of .8 when p is compared with `alpha`.
    """

    __test__: ClassVar[bool] = False  # no test of pytest's

    p: float
    effect: float
    mde_at: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Check:
    """One result of an audit. `name` is `area.check`; `subject` tells checks of one name apart (a group, a column).

    `interval`: 95 %, of `value`. `gate`: the limit in words. A check with a `test` gets its verdict from
    `factory.auditing.conclude`, which corrects for every test of the audit; one without brings its own, as counts do
    that have no sampling error. `tests`: hypotheses tested within. `details`: figures for report and `audit.json`
    (JSON values). `advice`: what to do about a FAIL, or what to give where it is INCONCLUSIVE. `method`: how it was
    measured, and with what.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    n: int = 0
    mde: float | None = None
    gate: str | None = None
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"] = "INCONCLUSIVE"
    sentence: str = ""
    subject: str = ""
    evidence: tuple[Evidence, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    method: str = ""
    advice: str = ""
    tests: int = 0
    test: Test | None = None
    p: float | None = None
    p_adjusted: float | None = None

    @property
    def area(self) -> str:
        return self.name.partition(".")[0]

    @property
    def title(self) -> str:
        """Its name, and what of."""
        return f"{self.name} [{self.subject}]" if self.subject else self.name

    def as_json(self) -> dict[str, Any]:
        """What `audit.json` holds of it: plain JSON values, numbers that are not finite as null."""
        shown = {key: getattr(self, key) for key in _TOLD}
        shown["interval"] = None if self.interval is None else list(self.interval)
        shown["evidence"] = [asdict(one) for one in self.evidence]
        found: dict[str, Any] = _plain(shown)
        return found


_TOLD = (
    "name", "subject", "verdict", "value", "interval", "n", "mde", "gate", "p", "p_adjusted", "tests", "sentence",
    "advice", "method", "details",
)  # fmt: skip


def _plain(value: Any) -> Any:
    """A value as JSON holds it; whatever quacks like a number (of NumPy) is one."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value)


def with_fields(candidate: Candidate, fields: Mapping[str, Any]) -> Candidate:
    """The candidate with its parsed output."""
    return replace(candidate, fields=fields)
