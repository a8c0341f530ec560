"""The backend `vllm` on a stand-in for the package: options, parameters, answers, and what its failures mean.

The engine itself is asked in tests/real.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_vllm
import psutil
import pytest

from factory.backends.vllm import open_backend
from factory.backends.vllm.children import Children
from factory.backends.vllm.engine import root_cause
from factory.errors import BadRequest, ConnectionLost, ContextTooLong, Incomplete, MissingExtra, ServerFault, UsageError
from factory.generating import build_request
from factory.recipe import ModelConfig
from factory.types import Message, Request, Response

FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}


@pytest.fixture(autouse=True)
def untouched_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting an engine sets variables; they end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    return fake_vllm.install(monkeypatch)


def config(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({"backend": "vllm", "model": "some/model"} | changes)


def request_of(model: ModelConfig, text: str = "a bb ccc", seed: int = 7, **changes: Any) -> Request:
    return build_request(model, (Message("user", text),), seed=seed, row=0, step="x", **changes)


def ask(model: ModelConfig | None = None, text: str = "a bb ccc", seed: int = 7, **changes: Any) -> Response:
    model = model or config()

    async def once() -> Response:
        backend = open_backend(model)
        try:
            return await backend.generate(request_of(model, text, seed, **changes))
        finally:
            await backend.close()

    return asyncio.run(once())


def test_without_the_package_one_line_says_what_to_install() -> None:
    with pytest.raises(MissingExtra) as told:
        open_backend(config())
    assert "vllm/some/model" in told.value.message and told.value.hint == 'pip install "text-data-factory[vllm]"'


def test_nothing_is_loaded_before_the_first_request(plan: SimpleNamespace) -> None:
    asyncio.run(open_backend(config()).close())
    assert plan.started == [] and plan.closed == 0


def test_all_candidates_are_one_request_with_a_seed(plan: SimpleNamespace) -> None:
    response = ask(n=3)
    (prompt, params, _, lora), *more = plan.asked
    assert not more and lora is None
    assert (params.n, params.seed, params.output_kind) == (3, 7, "final")
    assert prompt["prompt_token_ids"] == [4, 5, 6]
    assert len({choice.text for choice in response.choices}) == 3
    assert response.model == "vllm/some/model"
    usage = response.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (3, 9, 2)
    assert usage.gpu_seconds is not None and usage.gpu_seconds >= 0


def test_sampling_parameters_reach_the_engine_by_name(plan: SimpleNamespace) -> None:
    plan.defaults = {"temperature": 0.6, "top_k": 20, "max_tokens": 50}
    extra = {"repetition_penalty": 1.1, "logit_bias": {"5": -1}}
    ask(config(top_p=0.9, top_k=5, min_p=0.1, presence_penalty=0.5, stop="END", extra_body=extra))
    params = plan.asked[0][1]
    assert (params.temperature, params.top_p, params.top_k, params.min_p) == (0.6, 0.9, 5, 0.1)
    assert (params.presence_penalty, params.repetition_penalty, params.stop) == (0.5, 1.1, ["END"])
    assert (params.max_tokens, params.logit_bias) == (50, {5: -1})


def test_without_any_limit_the_answer_may_fill_the_context(plan: SimpleNamespace) -> None:
    ask()
    assert plan.asked[0][1].max_tokens is None


def test_greedy_candidates_are_computed_once(plan: SimpleNamespace) -> None:
    response = ask(config(temperature=0), n=4)
    assert plan.asked[0][1].n == 1
    assert len(response.choices) == 4 and len(set(response.choices)) == 1
    assert response.usage.completion_tokens == 3


@pytest.mark.parametrize(
    ("extra", "message", "hint"),
    [
        ({"repetition_penalt": 1}, "no sampling parameter `repetition_penalt`", "repetition_penalty"),
        ({"output_kind": 1}, "`output_kind` is set by the factory", "extra_body"),
        ({"repetition_penalty": -1}, "repetition_penalty must be greater than zero", "recipe"),
        ({"logit_bias": {"word": 1}}, "'word' is none", "1234"),
        ({"chat_template_kwargs": 3}, "chat_template_kwargs", "variables"),
    ],
)
def test_a_parameter_that_cannot_be_stops_the_run(plan: Any, extra: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as told:
        ask(config(extra_body=extra))
    assert message in told.value.message and hint in told.value.hint


def test_a_json_form_becomes_a_grammar(plan: SimpleNamespace) -> None:
    ask(response_format=FORM)
    assert plan.asked[0][1].structured_outputs.json == {"type": "object"}
    ask(response_format={"type": "json_object"})
    assert plan.asked[1][1].structured_outputs.json_object is True
    ask(config(extra_body={"structured_outputs": {"regex": "a+"}}))
    assert plan.asked[2][1].structured_outputs.regex == "a+"
    with pytest.raises(UsageError, match="contradict"):
        ask(config(extra_body={"structured_outputs": {"regex": "a+"}}), response_format=FORM)


def test_older_versions_call_the_grammar_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = fake_vllm.install(monkeypatch, old=True)
    ask(response_format=FORM)
    assert plan.asked[0][1].guided_decoding.json == {"type": "object"}


def test_engine_options_reach_the_engine(plan: SimpleNamespace) -> None:
    ask(config(engine={"tensor_parallel_size": 2, "max_model_len": 32, "dtype": "bfloat16"}))
    (started,) = plan.started
    assert (started.model, started.tensor_parallel_size, started.max_model_len) == ("some/model", 2, 32)
    assert started.enable_prefix_caching is True and started.trust_remote_code is False
    assert started.disable_log_stats is True and started.enable_chunked_prefill is None


def test_on_a_cpu_prompts_are_read_whole(plan: SimpleNamespace) -> None:
    plan.on_cpu = True
    ask()
    ask(config(engine={"enable_chunked_prefill": True}))
    assert [started.enable_chunked_prefill for started in plan.started] == [False, True]


def test_a_lora_adapter_brings_its_rank(plan: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 24}))
    ask(config(engine={"lora": str(tmp_path)}))
    assert (plan.started[0].enable_lora, plan.started[0].max_lora_rank) == (True, 32)
    assert plan.asked[0][3].lora_path == str(tmp_path)
    ask(config(engine={"lora": "somebody/adapter"}))
    assert (plan.started[1].max_lora_rank, plan.asked[1][3].lora_path) == (16, "somebody/adapter")


@pytest.mark.parametrize(
    ("engine", "message", "hint"),
    [
        ({"tensor_parallel": 2}, "`engine.tensor_parallel`", "tensor_parallel_size"),
        ({"chat_templat": "x"}, "`engine.chat_templat`", "chat_template"),
        ({"model": "other"}, "`model`", "recipe's"),
        ({"lora": 3}, "`engine.lora` is 3", "Hub name"),
        ({"chat_template": "some/file.jinja"}, "holds no template", "own text"),
        ({"chat_template_kwargs": [1]}, "chat_template_kwargs", "variables"),
    ],
)
def test_an_engine_option_that_cannot_be(plan: Any, engine: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as told:
        ask(config(engine=engine))
    assert message in told.value.message and hint in told.value.hint


def test_a_path_without_a_model_is_told_at_once(plan: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        open_backend(config(model=str(tmp_path / "nowhere")))
    assert "nowhere" in told.value.message and "Hub name" in told.value.hint
    ask(config(model=str(tmp_path)))
    assert plan.started[0].model == str(tmp_path)


def test_the_chat_template_and_its_words(plan: SimpleNamespace) -> None:
    engine = {"chat_template": "{{ messages }}", "chat_template_kwargs": {"enable_thinking": False, "style": 1}}
    ask(config(engine=engine, reasoning_effort="low", extra_body={"chat_template_kwargs": {"style": 2}}))
    (words,) = plan.tokenizer.seen
    assert words["chat_template"] == "{{ messages }}" and words["add_generation_prompt"] is True
    assert (words["enable_thinking"], words["style"], words["reasoning_effort"]) == (False, 2, "low")


def test_a_tokenizer_without_a_template_is_told_at_the_start(plan: SimpleNamespace) -> None:
    plan.tokenizer.chat_template = None
    with pytest.raises(UsageError) as told:
        ask()
    assert "no chat template" in told.value.message and "engine.chat_template" in told.value.hint
    assert plan.closed == 1
    ask(config(engine={"chat_template": "{{ messages }}"}))


def test_messages_that_the_template_refuses_are_that_rows_alone(plan: SimpleNamespace) -> None:
    with pytest.raises(BadRequest, match="roles must alternate"):
        ask(text="refuse")


def test_a_prompt_that_fills_the_context(plan: SimpleNamespace) -> None:
    with pytest.raises(ContextTooLong, match="64 tokens, and the model takes 64"):
        ask(text="a " * 64)
    ask(text="a " * 63)


def test_logprobs_leave_out_the_end(plan: SimpleNamespace) -> None:
    plan.answer = [3, 4, fake_vllm.END]
    (choice,) = ask(logprobs=1).choices
    assert choice.logprobs is not None
    assert [(told.token, told.logprob, told.top) for told in choice.logprobs] == [
        ("yes", -0.5, ((" is", -0.25),)),
        (" no", -0.5, ((" is", -0.25),)),
    ]
    (bare,) = ask(logprobs=0).choices
    assert bare.logprobs is not None and all(told.top == () for told in bare.logprobs)
    assert ask().choices[0].logprobs is None


@pytest.mark.parametrize("opens", [False, True])
def test_reasoning_is_kept_apart(plan: SimpleNamespace, opens: bool) -> None:
    plan.tokenizer.opens = opens
    plan.answer = [7, 8, 2, 3, 4, fake_vllm.END] if opens else [1, 7, 8, 2, 3, 4, fake_vllm.END]
    response = ask(logprobs=1)
    (choice,) = response.choices
    assert (choice.text, choice.reasoning) == ("yes no", "so it")
    assert choice.logprobs is not None and [told.token for told in choice.logprobs] == ["yes", " no"]
    assert 0 < response.usage.reasoning_tokens < response.usage.completion_tokens


def test_reasoning_that_never_ends_leaves_no_answer(plan: SimpleNamespace) -> None:
    plan.tokenizer.opens, plan.answer, plan.finish = True, [7, 8, 9], "length"
    (choice,) = ask().choices
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("", "so it is", "length")


@pytest.mark.parametrize(
    ("error", "fault", "words"),
    [
        (ValueError("This model's maximum context length is 64 tokens"), ContextTooLong, "64 tokens"),
        (fake_vllm.VLLMClientError("Requested sample logprobs of 30"), BadRequest, "logprobs of 30"),
        (ValueError("The grammar does not compile"), BadRequest, "`structured: prompt`"),
        (fake_vllm.EngineGenerateError("this one failed"), ServerFault, "this one failed"),
        (RuntimeError("something else"), ServerFault, "RuntimeError: something else"),
        (fake_vllm.EngineDeadError("see above"), Incomplete, "died"),
    ],
)
def test_what_a_failed_request_means(plan: Any, error: Exception, fault: type[Exception], words: str) -> None:
    plan.request_error = error
    with pytest.raises(fault, match=words):
        ask()


@pytest.mark.parametrize(("finish", "fault"), [("abort", ConnectionLost), ("error", ServerFault)])
def test_an_answer_that_was_cut_short_is_none(plan: Any, finish: str, fault: type[Exception]) -> None:
    plan.finish = finish
    with pytest.raises(fault):
        ask()


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "`max_model_len`"),
        (ValueError("No available memory for the cache blocks."), "`gpu_memory_utilization`"),
        (ValueError("Free memory on device (3/80 GiB) is less than desired GPU memory utilization"), "`quantization`"),
        (RuntimeError("Available memory (7/10 GiB) is less than requested memory for kv (100 GiB)"), "`max_num_seqs`"),
        (OSError("nowhere is not a local folder and is not a valid model identifier"), "a folder or a Hub name"),
        (ValueError("LoRA rank 64 is greater than max_lora_rank 16"), "`max_lora_rank`"),
        (RuntimeError("before the current process has finished its bootstrapping phase"), "__main__"),
        (ValueError("max_num_seqs must be positive"), "vLLM's own options"),
    ],
)
def test_what_keeps_an_engine_from_starting_is_told(plan: Any, error: Exception, hint: str) -> None:
    plan.start_error = error
    with pytest.raises(UsageError) as told:
        ask()
    assert "vllm/some/model could not be started" in told.value.message and str(error)[:40] in told.value.message
    assert hint in told.value.hint


def test_a_start_that_failed_fails_for_all_and_once(plan: SimpleNamespace) -> None:
    plan.start_error = ValueError("no")
    model = config()

    async def all_of_them() -> list[Any]:
        backend = open_backend(model)
        try:
            calls: list[Awaitable[Response]] = [backend.generate(request_of(model, seed=k)) for k in range(5)]
            return await asyncio.gather(*calls, return_exceptions=True)
        finally:
            await backend.close()

    assert [type(error) for error in asyncio.run(all_of_them())] == [UsageError] * 5
    assert len(plan.started) == 1


def test_roles_of_one_model_share_an_engine(plan: SimpleNamespace) -> None:
    writer, judge, other = config(temperature=1), config(temperature=0), config(engine={"dtype": "float16"})

    async def together() -> list[int]:
        backends = [open_backend(model) for model in (writer, judge, other)]
        models = (writer, judge, other)
        await asyncio.gather(*(b.generate(request_of(m)) for b, m in zip(backends, models, strict=True)))
        closed = []
        for backend in backends:
            await backend.close()
            closed.append(plan.closed)
        return closed

    assert asyncio.run(together()) == [0, 1, 2]
    assert len(plan.started) == 2


def test_closing_while_it_starts(plan: SimpleNamespace) -> None:
    async def once() -> None:
        backend = open_backend(config())
        asked = asyncio.create_task(backend.generate(request_of(config())))
        await asyncio.sleep(0)
        asked.cancel()
        await backend.close()

    asyncio.run(once())
    assert plan.closed == len(plan.started)


def test_the_cause_is_found_in_a_log() -> None:
    log = """(EngineCore pid=1) INFO 11-22 [core.py:1] starting
(EngineCore pid=1) ERROR 11-22 [core.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB.
(EngineCore pid=1) Process EngineCore:
(EngineCore pid=1) AssertionError: half of it is gone
RuntimeError: Engine core initialization failed. See root cause above."""
    assert root_cause(log) == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB."
    assert (
        root_cause(log.replace("OutOfMemoryError: CUDA out of memory", "CudaError: it is busy"))
        == "AssertionError: half of it is gone"
    )
    assert root_cause("all is well") == ""


CHILD = """
import multiprocessing, os, sys, time
from factory.backends.vllm.children import Children

def work(pipe):
    print("on stdout")
    print("on stderr", file=sys.stderr)
    sys.stdout.flush()
    pipe.send((os.getpid(), os.getpgrp()))
    pipe.recv()

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    children = Children()
    with children.launching():
        process = context.Process(target=work, args=(there,))
        process.start()
    pid, group = here.recv()
    print(pid, group, os.getpgrp(), children.log.parent, flush=True)
    sys.stdin.readline()
    here.send("end")
    process.join()
    print("on stdout" in children.tail() and "on stderr" in children.tail(), flush=True)
    children.release()
"""


def start_child(tmp_path: Path) -> tuple[subprocess.Popen[str], int, Path]:
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    environment = {name: value for name, value in os.environ.items() if name != "VLLM_LOGGING_LEVEL"}
    environment |= {"PYTHONPATH": str(Path(__file__).parent.parent), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    pid, group, ours, folder = process.stdout.readline().split()
    assert pid == group != ours, "a group of its own, out of the reach of Ctrl-C"
    return process, int(pid), Path(folder)


def test_what_children_write_goes_to_a_log_that_ends_with_them(tmp_path: Path) -> None:
    process, _, folder = start_child(tmp_path)
    out, _ = process.communicate("go\n", timeout=60)
    assert (out, process.returncode) == ("True\n", 0)
    assert not folder.exists()


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    process, pid, folder = start_child(tmp_path)
    child = psutil.Process(pid)
    watchers = child.children()
    process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs([child, *watchers], timeout=30)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    assert not folder.exists()


def test_children_that_are_not_wanted_any_more_are_stopped() -> None:
    children = Children()
    context = multiprocessing.get_context("spawn")
    try:
        with children.launching():
            process = context.Process(target=_wait_for_ever)
            process.start()
        children.stop()
        process.join(30)
        assert process.exitcode is not None and process.exitcode < 0
    finally:
        children.release()


def _wait_for_ever() -> None:
    never: Callable[[], bool] = multiprocessing.Event().wait
    never()
