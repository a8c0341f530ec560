"""Batches over the library's models: the same text as `generate`, as a plain loop, and alone as in any company."""

from __future__ import annotations

import random
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the transformers backend needs torch")
transformers = pytest.importorskip("transformers", reason="the transformers backend needs transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from transformers_models import (  # noqa: E402
    FAMILIES,
    RECURRENT,
    VOCAB,
    make_batch,
    make_job,
    make_model,
    make_prompt,
    make_task,
    run_alone,
    run_together,
    spell,
)

from factory.backends.gpu_time import ShareMeter  # noqa: E402
from factory.backends.transformers.batch import Batch, Limits  # noqa: E402
from factory.backends.transformers.network import Network, batches_well  # noqa: E402
from factory.backends.transformers.sampling import Rows, Settings, Uniforms, draw  # noqa: E402
from factory.backends.transformers.sequences import Task  # noqa: E402
from factory.backends.transformers.solo import Solo  # noqa: E402
from factory.errors import Permanent  # noqa: E402

LENGTHS = (3, 17, 1, 40, 9, 9, 28)


@pytest.fixture(scope="module")
def llama() -> Network:
    return Network(make_model("llama"))


def generate_greedily(family: str, prompt: tuple[int, ...], limit: int) -> list[int]:
    """What the library's own `generate` writes, alone."""
    ids = torch.tensor([prompt])
    out = make_model(family).generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=limit, eos_token_id=2, pad_token_id=0
    )
    return [int(token) for token in out[0, len(prompt) :]]


# --- against the library ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_text_is_that_of_generate(family: str) -> None:
    network = Network(make_model(family))
    tasks = [make_task(make_prompt(number, length), temperature=0) for number, length in enumerate(LENGTHS)]
    with torch.inference_mode():
        assert batches_well(network)
    found = run_together(network, tasks, make_batch(network, rows=4), random.Random(1))
    for task, [completion] in zip(tasks, found, strict=True):
        assert list(completion.tokens) == generate_greedily(family, task.prompt, task.limit)


@pytest.mark.parametrize("family", RECURRENT)
def test_recurrent_models_run_one_at_a_time(family: str) -> None:
    network = Network(make_model(family))
    tasks = [make_task(make_prompt(n, length), temperature=0, limit=8) for n, length in enumerate(LENGTHS[:3])]
    wanted = [generate_greedily(family, task.prompt, task.limit) for task in tasks]
    kept = network.model.generation_config
    with torch.inference_mode():
        assert not batches_well(network)
    solo = Solo(network, spell, None, family, lambda: False)
    sampled = [make_task(make_prompt(1, 5), 7, 8, limit=8, logprobs=1, presence_penalty=0.5, top_p=0.9)] * 2
    jobs = [make_job(task) for task in [*tasks, *sampled]]
    with torch.inference_mode():
        for job in jobs:
            solo.add(job)
        while len(solo):
            solo.step()
    network.model.generation_config = kept
    found: list[Any] = [job.future.result() for job in jobs]
    assert [list(completion.tokens) for [completion] in found[:3]] == wanted
    assert found[3] == found[4]
    assert found[3][0].tokens != found[3][1].tokens
    assert all(len(one.logprobs) == len(one.tokens) for one in found[3])


REFERENCE = [
    {"temperature": 1.0},
    {"temperature": 0.7},
    {"temperature": 2.0, "top_k": 5},
    {"temperature": 1.5, "top_p": 0.8},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
    {"temperature": 1.5, "min_p": 0.1},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "presence_penalty": 0.7, "frequency_penalty": 0.4},
    {"temperature": 0, "frequency_penalty": 1.5},
]


def loop_one_by_one(model: Any, task: Task, seed: int) -> list[int]:
    """A plain loop without a cache: the library's own samplers, then the token where the running sum passes a number
    of the candidate's generator."""
    s = task.settings
    numbers = Uniforms(seed)
    tokens: list[int] = []
    while len(tokens) < task.limit and 2 not in tokens:
        ids = torch.tensor([[*task.prompt, *tokens]])
        scores = model(input_ids=ids, use_cache=False).logits[:, -1].float()
        if s.repetition_penalty != 1:
            scores = transformers.RepetitionPenaltyLogitsProcessor(s.repetition_penalty)(ids, scores)
        for token in set(tokens):
            scores[0, token] -= s.frequency_penalty * tokens.count(token) + s.presence_penalty
        if s.temperature == 0:
            tokens.append(int(scores.argmax()))
            continue
        scores = transformers.TemperatureLogitsWarper(float(s.temperature))(ids, scores)
        if s.top_k:
            scores = transformers.TopKLogitsWarper(s.top_k)(ids, scores)
        if s.top_p < 1:
            scores = transformers.TopPLogitsWarper(s.top_p)(ids, scores)
        if s.min_p:
            scores = transformers.MinPLogitsWarper(s.min_p)(ids, scores)
        running = scores.double().softmax(-1)[0].cumsum(0)
        tokens.append(int((running <= numbers[len(tokens)] * running[-1]).sum()))
    return tokens


@pytest.mark.parametrize("changes", REFERENCE, ids=str)
def test_sampled_text_is_that_of_a_plain_loop(llama: Network, changes: dict[str, Any]) -> None:
    task = make_task(make_prompt(3, 11), *range(8), limit=25, **changes)
    [found] = run_together(llama, [task], make_batch(llama))
    with torch.inference_mode():
        for seed, completion in zip(task.seeds, found, strict=True):
            assert list(completion.tokens) == loop_one_by_one(llama.model, task, seed)


@given(st.integers(0, 10**6), st.integers(2, 3000), st.sampled_from(REFERENCE[:6]))
@settings(max_examples=40, deadline=None)
def test_tokens_are_drawn_from_the_samplers_distribution(seed: int, vocab: int, changes: dict[str, Any]) -> None:
    """Numbers spread evenly over [0, 1) meet every token in proportion to its probability."""
    rng = torch.Generator().manual_seed(seed)
    scores = torch.randn(1, vocab, generator=rng) * 3
    one = Settings(**changes)
    count = 4000
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    drawn = draw(scores.repeat(count, 1), Rows([one] * count, torch.device("cpu")), uniform)
    warped = transformers.TemperatureLogitsWarper(float(one.temperature))(None, scores)
    for wanted, warper in ((one.top_k, "TopK"), (one.top_p < 1 and one.top_p, "TopP"), (one.min_p, "MinP")):
        if wanted:
            warped = getattr(transformers, f"{warper}LogitsWarper")(wanted)(None, warped)
    expected = warped.double().softmax(-1)[0]
    share = torch.bincount(drawn, minlength=vocab) / count
    assert (share - expected).abs().max() <= 1.5 / count


# --- alone as in company ----------------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_a_candidate_never_depends_on_its_neighbours(llama: Network, data: st.DataObject) -> None:
    order = random.Random(data.draw(st.integers(0, 10**6)))
    tasks = [
        make_task(
            make_prompt(order.randrange(4), order.choice((1, 5, 12, 30))),
            *(order.randrange(100) for _ in range(order.choice((1, 1, 2, 5)))),
            limit=order.choice((1, 7, 20)),
            temperature=order.choice((0, 0.8, 1.3)),
            top_p=order.choice((1.0, 0.9)),
            top_k=order.choice((0, 10)),
            frequency_penalty=order.choice((0, 0.3)),
            logprobs=order.choice((None, 2)),
            stop=order.choice(((), ("a", "zz"))),
        )
        for _ in range(data.draw(st.integers(1, 8)))
    ]
    rows = data.draw(st.sampled_from((1, 2, 3, 8, 64)))
    places, prefill = data.draw(st.sampled_from((60, 200, 10**6))), data.draw(st.sampled_from((10, 10**6)))
    batch = make_batch(llama, rows, places, prefill)
    found = run_together(llama, tasks, batch, order)
    for together, alone in zip(found, run_alone(llama, tasks), strict=True):
        for one, other in zip(together, alone, strict=True):
            assert (one.tokens, one.text, one.finish_reason) == (other.tokens, other.text, other.finish_reason)
            if one.logprobs is not None and other.logprobs is not None:
                pairs = zip(one.logprobs, other.logprobs, strict=True)
                assert all(abs(a.logprob - b.logprob) < 1e-4 for a, b in pairs)


def test_one_at_a_time_is_exact_to_the_last_bit(llama: Network) -> None:
    tasks = [make_task(make_prompt(n, 5 + 3 * n), n, n + 1, logprobs=3) for n in range(6)]
    crowd = run_together(llama, tasks, make_batch(llama, rows=1), random.Random(5))
    assert crowd == run_alone(llama, tasks)


def test_the_seed_alone_tells_candidates_apart(llama: Network) -> None:
    [found] = run_together(llama, [make_task(make_prompt(1, 8), *range(30), 0)], make_batch(llama))
    assert found[0] == found[-1]
    assert len({one.tokens for one in found}) == 30


def test_a_short_row_does_not_wait_for_a_long_one(llama: Network) -> None:
    long, *short = jobs = [make_job(make_task(make_prompt(n, 5), limit=n or 90, ends=frozenset())) for n in range(6)]
    batch = make_batch(llama, rows=2)
    with torch.inference_mode():
        for job in jobs:
            batch.add(job)
        for _ in range(40):
            batch.step()
    assert all(job.complete for job in short) and not long.done


# --- room -------------------------------------------------------------------------------------------------------------


def test_the_budget_of_places_is_kept(llama: Network) -> None:
    tasks = [make_task(make_prompt(n, 4 + n), limit=30, temperature=1.0, ends=frozenset()) for n in range(12)]
    batch = make_batch(llama, rows=8, places=100)
    seen: list[tuple[int, int]] = []
    plain = llama.step

    def watch(tokens: Any, memory: Any) -> Any:
        seen.append((len(tokens), memory.width + 1))
        return plain(tokens, memory)

    llama.step = watch  # type: ignore[method-assign]
    try:
        found = run_together(llama, tasks, batch)
    finally:
        llama.step = plain  # type: ignore[method-assign]
    assert [job[0].tokens for job in found] == [job[0].tokens for job in run_alone(llama, tasks)]
    assert all(rows * width <= 100 or rows == 1 for rows, width in seen)
    assert max(rows for rows, _ in seen) > 1


def test_a_shared_prompt_is_read_once(llama: Network) -> None:
    read: list[int] = []
    plain = llama.read

    def watch(prompts: Any) -> Any:
        read.append(len(prompts))
        return plain(prompts)

    llama.read = watch  # type: ignore[method-assign]
    try:
        run_together(
            llama, [make_task(make_prompt(1, 9), *range(6)), make_task(make_prompt(1, 9), 9)], make_batch(llama)
        )
    finally:
        llama.read = plain  # type: ignore[method-assign]
    assert read == [1]


class Cramped(Network):
    """A network whose memory holds so many rows, and so many columns."""

    rows, width = 64, 10**6

    def read(self, prompts: Any) -> Any:
        if len(prompts) > self.rows or max(map(len, prompts)) > self.width:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().read(prompts)

    def step(self, tokens: Any, memory: Any) -> Any:
        if len(tokens) > self.rows or memory.width >= self.width:
            raise MemoryError
        return super().step(tokens, memory)


def test_out_of_memory_halves_the_batch_and_loses_nothing(llama: Network) -> None:
    tasks = [make_task(make_prompt(n, 3 + n), n, limit=12) for n in range(10)]
    network = Cramped(make_model("llama"))
    network.rows = 3
    batch = make_batch(network, rows=16)
    found = run_together(network, tasks, batch, random.Random(2))
    assert [[one.tokens for one in job] for job in found] == [
        [one.tokens for one in job] for job in run_alone(llama, tasks)
    ]
    assert batch.limits.rows <= 3


def test_a_sequence_that_does_not_fit_alone_is_refused_and_the_others_go_on() -> None:
    network = Cramped(make_model("llama"))
    network.width = 20
    batch = make_batch(network)
    tasks = [make_task(make_prompt(n, length), limit=8, ends=frozenset()) for n, length in enumerate((5, 30, 15, 10))]
    jobs = [make_job(task) for task in tasks]
    with torch.inference_mode():
        for job in jobs:
            batch.add(job)
        while len(batch):
            batch.step()
    faults = [job.future.exception() for job in jobs]
    assert [type(fault) for fault in faults] == [type(None), Permanent, Permanent, type(None)]
    assert "lower `max_tokens`" in str(faults[1]) and "30 tokens" in str(faults[1])


def test_logits_that_are_no_numbers_refuse_their_own_row_only() -> None:
    class Overflowing(Network):
        def step(self, tokens: Any, memory: Any) -> Any:
            logits = super().step(tokens, memory)
            logits[[length > 20 for length in memory.lengths]] = float("nan")
            return logits

    network = Overflowing(make_model("llama"))
    jobs = [make_job(make_task(make_prompt(1, length), 1, 2, limit=5, ends=frozenset())) for length in (5, 30, 9)]
    batch = make_batch(network)
    with torch.inference_mode():
        for job in jobs:
            batch.add(job)
        while len(batch):
            batch.step()
    assert isinstance(jobs[1].future.exception(), Permanent) and "bfloat16" in str(jobs[1].future.exception())
    assert all(len(job.future.result()) == 2 for job in (jobs[0], jobs[2]))  # type: ignore[arg-type]


def test_accelerator_time_is_shared_out_whole(llama: Network) -> None:
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    shares: list[float | None] = []
    batch = Batch(llama, spell, Limits(8, 10**6, 4096), ShareMeter(clock=tick), "a model")
    with torch.inference_mode():
        for n in range(4):
            job = make_job(make_task(make_prompt(n, 5), n, n + 9))
            job.finish = lambda completions, seconds: shares.append(seconds)  # type: ignore[assignment,return-value]
            batch.add(job)
        while len(batch):
            batch.step()
    assert all(share is not None and share > 0 for share in shares)
    assert sum(share or 0 for share in shares) == pytest.approx(now[0] - 1.0)


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_stop_strings_end_a_text_across_token_borders(llama: Network) -> None:
    prompt = make_prompt(2, 6)
    [free] = run_together(llama, [make_task(prompt, *range(6), limit=40)], make_batch(llama))
    stop = free[0].text[8:11]
    [cut] = run_together(llama, [make_task(prompt, *range(6), limit=40, stop=(stop, "nothing"))], make_batch(llama))
    assert cut[0].finish_reason == "stop" and len(cut[0].tokens) < len(free[0].tokens)
    for before, after in zip(free, cut, strict=True):
        assert after.text == before.text.split(stop)[0]


def test_logprobs_are_the_models_own(llama: Network) -> None:
    task = make_task(make_prompt(4, 7), 3, limit=10, temperature=0.5, top_k=3, presence_penalty=1.0, logprobs=4)
    [[found]] = run_together(llama, [task], make_batch(llama))
    assert found.logprobs is not None and len(found.logprobs) == len(found.tokens)
    with torch.inference_mode():
        whole = llama.model(input_ids=torch.tensor([[*task.prompt, *found.tokens]])).logits[0].log_softmax(-1)
    for place, one in enumerate(found.logprobs, start=len(task.prompt) - 1):
        best = whole[place].topk(4)
        assert one.token == found.tokens[place - len(task.prompt) + 1]
        assert one.logprob == pytest.approx(float(whole[place, one.token]), abs=1e-4)
        assert [token for token, _ in one.top] == best.indices.tolist()
        assert [value for _, value in one.top] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_a_nucleus_wider_than_the_ordered_head_is_exact() -> None:
    flat = torch.zeros(3, 5000)
    flat[:, 7] = 1.0
    rows = Rows([Settings(top_p=0.99), Settings(), Settings(top_p=0.0002)], torch.device("cpu"))
    for number in (0.0, 0.5, 0.999999):
        drawn = draw(flat, rows, torch.full((3,), number, dtype=torch.float64)).tolist()
        assert drawn[0] == drawn[1]  # equals are kept, so nothing is cut
        assert drawn[2] == 7
    assert VOCAB < 512
