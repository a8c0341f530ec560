"""Real servers that measure: vLLM and llama.cpp against the same models in this process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the checkpoints are made with torch")
transformers = pytest.importorskip("transformers", reason="the checkpoints are made with transformers")

from real_servers import CHECKPOINT, free_port, serving, stored_answers  # noqa: E402
from support import ROOT, factory_json, write_recipe  # noqa: E402

from factory.backends import Backend  # noqa: E402
from factory.errors import CallFault, ContextTooLong, ModelMissing, Refused  # noqa: E402
from factory.recipe import ModelConfig  # noqa: E402
from factory.registry import lookup  # noqa: E402
from factory.requesting import build_request  # noqa: E402
from factory.types import Message, Response, Task  # noqa: E402
from factory.vectors import cosine, decode  # noqa: E402

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
NAME = "measured"
PROMPT = Message("user", "Write a word problem about apples.")
ANSWERS = [
    "Tom has 3 apples. How many?",
    "A",
    "  spaces first",
    "Чай и 茶",
    '{"score": 10} <|end|> score: 10',
    "8\n\n8",
]


def exchange(answer: str) -> tuple[Message, ...]:
    return (PROMPT, Message("assistant", answer))


def ask_all(config: ModelConfig, chats: Sequence[Sequence[Message]], task: Task) -> list[Response | CallFault]:
    """The answers of a model's backend to all chats at once, opened for them alone."""

    async def ask(backend: Backend, chat: Sequence[Message]) -> Response | CallFault:
        request = build_request(config, chat, seed=1, row=0, step="main", purpose="score", task=task)
        try:
            return await backend.generate(request)
        except CallFault as fault:
            return fault

    async def ask_each() -> list[Response | CallFault]:
        backend: Backend = lookup("backend", config.backend)(config)
        try:
            return await asyncio.gather(*(ask(backend, chat) for chat in chats))
        finally:
            await backend.close()

    return asyncio.run(ask_each())


def measured(config: ModelConfig, chats: Sequence[Sequence[Message]], task: Task) -> list[Response]:
    found = ask_all(config, chats, task)
    assert not [one for one in found if isinstance(one, CallFault)], found
    return [one for one in found if isinstance(one, Response)]


def refusal(config: ModelConfig, task: Task, kind: type[CallFault] = Refused) -> str:
    [found] = ask_all(config, [exchange("Hello.")], task)
    assert type(found) is kind, found
    return found.message


def values(response: Response) -> list[float]:
    return [one.logprob for one in response.choices[0].logprobs or ()]


def remote(url: str, **changes: Any) -> ModelConfig:
    return ModelConfig(backend="openai", model=NAME, base_url=url, **changes)


@contextmanager
def vllm(python: str, model: Path, folder: Path, *arguments: str) -> Iterator[str]:
    port = free_port()
    command = ["nice", "-n", "5", python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", NAME, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", *arguments]
    with serving(command, port, folder / "server.log") as url:
        yield url


def save_llama(directory: Path, labels: int, **names: Any) -> Path:
    """A random sequence classification model with the embedded tokenizer and its chat template."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2, num_labels=labels,
        pad_token_id=tokenizer.pad_token_id or 0, **names,
    )  # fmt: skip
    transformers.LlamaForSequenceClassification(config).float().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def save_bert(directory: Path) -> Path:
    """A random cross-encoder: no chat template, so that prompt and answer are a pair of texts."""
    from tokenizers import Tokenizer, processors

    known = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    begin, end = known.convert_ids_to_tokens([1, 2])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=f"{begin} $A {end} $B:1 {end}:1", special_tokens=[(begin, 1), (end, 2)]
    )
    torch.manual_seed(5)
    config = transformers.BertConfig(
        vocab_size=len(known), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, initializer_range=0.2, num_labels=1, pad_token_id=0,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).float().save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": known.convert_ids_to_tokens(0)}
    settings |= {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"], "sep_token": end}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def classified(config: ModelConfig, chats: Sequence[Sequence[Message]]) -> list[list[float]]:
    return [list(json.loads(one.choices[0].text).values()) for one in measured(config, chats, "classify")]


def agree(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], tolerance: float = 1e-3) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert mine == pytest.approx(theirs, abs=tolerance)


def test_likelihoods_are_those_of_the_model_in_process(vllm_python: str, tmp_path: Path) -> None:
    chats: list[Sequence[Message]] = [exchange(answer) for answer in ANSWERS]
    chats.append((Message("system", "Be brief."), PROMPT, Message("assistant", "Yes."), PROMPT, *exchange("No.")[1:]))
    own = measured(ModelConfig(backend="embedded", model="tiny"), chats, "likelihood")
    with vllm(vllm_python, CHECKPOINT, tmp_path, "--no-enable-chunked-prefill") as url:
        found = measured(remote(url), chats, "likelihood")
        agree([values(one) for one in found], [values(one) for one in own])
        assert [one.usage.prompt_tokens for one in found] == [one.usage.prompt_tokens for one in own]
        assert {one.usage.completion_tokens for one in found} == {1}
        _check_answers_alone(url)
        [long] = ask_all(remote(url), [exchange("apples " * 700)], "likelihood")
        assert isinstance(long, ContextTooLong) and "512" in long.message
        assert "--runner pooling --convert classify" in refusal(remote(url), "classify")
        assert "--runner pooling" in refusal(remote(url), "embed")
        unknown = refusal(ModelConfig(backend="openai", model="mesured", base_url=url), "likelihood", ModelMissing)
        assert f"`{NAME}`" in unknown
        _check_run(url, tmp_path)


def _check_answers_alone(url: str) -> None:
    """This tokenizer puts nothing before a text, so that the first token has no likelihood."""
    alone = [Message("assistant", "Tom has 3 apples.")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    model = transformers.AutoModelForCausalLM.from_pretrained(CHECKPOINT).float().eval()
    tokens = torch.tensor([tokenizer.encode(alone[0].content, add_special_tokens=False)])
    with torch.no_grad():
        logits = torch.log_softmax(model(tokens).logits[0, :-1], dim=-1)
    expected = logits.gather(-1, tokens[0, 1:, None])[:, 0].tolist()
    [found] = measured(remote(url), [alone], "likelihood")
    agree([values(found)], [expected])


def _check_run(url: str, tmp_path: Path) -> None:
    models = {"writer": {"backend": "embedded", "model": "tiny", "temperature": 0.8, "max_tokens": 60},
              "reader": {"backend": "openai", "model": NAME, "base_url": url}}  # fmt: skip
    score = [{"perplexity": {"model": "reader", "weight": 1}}, {"ifd": {"model": "reader"}}]
    recipe = write_recipe(
        tmp_path, rows=4, models=models, score=score, generate={"model": "writer", "candidates": 2}, keep={"top_k": 1},
        prompt="Write a word problem about {{ animal }}s, number {{ number }}.",
    )  # fmt: skip
    done = factory_json("run", recipe, "--out", tmp_path / "run")
    assert (done["status"], done["rows"]) == ("complete", 4)
    lines = [line for line in stored_answers(tmp_path / "run") if line["purpose"] == "score"]
    assert len(lines) >= 2 * 4 and {line["outcome"] for line in lines} == {"ok"}
    again = factory_json("run", recipe, "--out", tmp_path / "run")
    assert again["calls"] == 0 and again["replayed"] > 0


def test_a_reward_model_scores_as_it_does_in_process(vllm_python: str, tmp_path: Path) -> None:
    model = save_llama(tmp_path / "reward", 1)
    chats = [exchange(answer) for answer in ANSWERS]
    own = classified(ModelConfig(backend="classifier", model=str(model)), chats)
    assert len({round(one[0], 3) for one in own}) > 3 and max(abs(one[0]) for one in own) > 1, "raw, no probabilities"
    with vllm(vllm_python, model, tmp_path, "--runner", "pooling") as url:
        agree(classified(remote(url), chats), own)
        assert "not by OpenAI" in refusal(remote(url), "likelihood")
        [long] = ask_all(remote(url), [exchange("apples " * 700)], "classify")
        assert isinstance(long, ContextTooLong)
        cut = remote(url, extra_body={"truncate_prompt_tokens": 200})
        assert classified(cut, [exchange("apples " * 700)])


def test_a_classifiers_probabilities_are_those_in_process(vllm_python: str, tmp_path: Path) -> None:
    model = save_llama(tmp_path / "classes", 3, id2label={0: "bad", 1: "fair", 2: "good"})
    chats = [exchange(answer) for answer in ANSWERS]
    own = classified(ModelConfig(backend="classifier", model=str(model)), chats)
    with vllm(vllm_python, model, tmp_path, "--runner", "pooling", "--convert", "classify") as url:
        found = measured(remote(url), chats, "classify")
    labels = [json.loads(one.choices[0].text) for one in found]
    assert all(list(one) == ["LABEL_0", "LABEL_1", "LABEL_2"] for one in labels)
    agree([list(one.values()) for one in labels], own)


def test_a_model_without_a_template_is_given_pairs(vllm_python: str, tmp_path: Path) -> None:
    model = save_bert(tmp_path / "pairs")
    chats: list[Sequence[Message]] = [exchange(answer) for answer in ANSWERS]
    chats += [(Message("assistant", answer),) for answer in ANSWERS]
    own = classified(ModelConfig(backend="classifier", model=str(model)), chats)
    with vllm(vllm_python, model, tmp_path, "--runner", "pooling") as url:
        agree(classified(remote(url), chats), own)


def hidden_states(text: str) -> Any:
    """The embedded model's last states of a text [tokens, hidden], by the Hugging Face library."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    model = transformers.AutoModel.from_pretrained(CHECKPOINT).float().eval()
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state[0]


def embeddings(config: ModelConfig, texts: Sequence[str]) -> list[Any]:
    found = measured(config, [(Message("user", text),) for text in texts], "embed")
    assert all(one.usage.prompt_tokens > 0 and one.usage.completion_tokens == 0 for one in found)
    return [decode(one.choices[0].text) for one in found]


TEXTS = ["Tom has 3 apples.", "A train leaves at 8.", "x"]


def test_embeddings_of_vllm(vllm_python: str, tmp_path: Path) -> None:
    with vllm(vllm_python, CHECKPOINT, tmp_path, "--runner", "pooling", "--convert", "embed") as url:
        for text, found in zip(TEXTS, embeddings(remote(url), TEXTS), strict=True):
            assert cosine(found, hidden_states(text)[-1]) > 0.9999
        as_text = embeddings(remote(url, extra_body={"encoding_format": "base64"}), TEXTS[:1])
        assert cosine(as_text[0], hidden_states(TEXTS[0])[-1]) > 0.9999
        assert "--convert classify" in refusal(remote(url), "classify")


@contextmanager
def llama(program: str, folder: Path, *arguments: str) -> Iterator[str]:
    script = str(ROOT / "scripts" / "gguf_checkpoint.py")
    python = next(
        (
            one
            for one in (sys.executable, os.environ.get("FACTORY_VLLM_PYTHON", ""))
            if one and subprocess.run([one, "-c", "import gguf"], capture_output=True).returncode == 0
        ),
        None,
    )
    if python is None:
        pytest.skip("no interpreter with the package `gguf`: pip install gguf, or set FACTORY_VLLM_PYTHON")
    subprocess.run([python, script, str(CHECKPOINT), str(folder / "tiny.gguf")], check=True, timeout=120)
    port = free_port()
    command = ["nice", "-n", "5", program, "--model", "tiny.gguf", "--alias", NAME, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--ctx-size", "512", "--parallel", "1", "--threads", "2", *arguments]
    with serving(command, port, folder / "server.log") as url:
        yield url


def test_embeddings_of_llama_cpp(llama_program: str, tmp_path: Path) -> None:
    with llama(llama_program, tmp_path, "--embeddings", "--pooling", "mean") as url:
        found = embeddings(remote(url), TEXTS)
        for text, vector in zip(TEXTS, found, strict=True):
            assert cosine(vector, hidden_states(text).mean(0)) > 0.9999
        assert cosine(found[0], found[0]) == pytest.approx(1) and cosine(found[0], found[1]) < 0.999
        [long] = ask_all(remote(url), [(Message("user", "apples " * 700),)], "embed")
        assert isinstance(long, ContextTooLong)


def test_what_llama_cpp_cannot_do_is_told(llama_program: str, tmp_path: Path) -> None:
    with llama(llama_program, tmp_path, "--jinja") as url:
        assert "llama-server --embeddings" in refusal(remote(url), "embed")
        assert "vllm serve" in refusal(remote(url), "likelihood")
        assert "vllm serve" in refusal(remote(url), "classify")
        [alone] = ask_all(remote(url), [(Message("assistant", "Tom has 3 apples."),)], "likelihood")
        assert type(alone) is Refused and "echo" in alone.message
