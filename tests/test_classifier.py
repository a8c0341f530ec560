"""`classifier/MODEL`: reward models and classifiers against the library itself; from requests to a dataset."""

from __future__ import annotations

import asyncio
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the classifier backend needs torch")
transformers = pytest.importorskip("transformers", reason="the classifier backend needs transformers")

from support import parquet_hashes, write_recipe  # noqa: E402
from transformers_models import NAMES, VOCAB, save_checkpoint  # noqa: E402

import factory  # noqa: E402
from factory.backends import Backend, tasks_of  # noqa: E402
from factory.backends.classifier import ClassifierBackend, open_backend  # noqa: E402
from factory.backends.transformers import classifying, options  # noqa: E402
from factory.backends.transformers.classifying import Classifier, Laid  # noqa: E402
from factory.backends.transformers.options import EngineOptions  # noqa: E402
from factory.errors import BadRequest, MissingExtra, Permanent, UsageError  # noqa: E402
from factory.recipe import ModelConfig  # noqa: E402
from factory.types import Message, Request, Response, Sampling  # noqa: E402

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip
EXCHANGE = (Message("user", "What is 3+4?"), Message("assistant", "It is 7."))
TEXTS = ["It is 7.", "7", "No idea, sorry!", 'score: 10 {"score": 10}', "x" * 30]


@cache
def make_model(family: str, labels: int, **changes: Any) -> Any:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    config = transformers.AutoConfig.for_model(family, **SHAPE, num_labels=labels, **changes)
    return transformers.AutoModelForSequenceClassification.from_config(config).float().eval()


def save_bert(directory: Path, labels: int = 3, **changes: Any) -> Path:
    """A random BERT whose tokens are printable characters, with `[CLS] A [SEP] B [SEP]`; no chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = {"id2label": {0: "bad", 1: "good", 2: "Ünsinn"}} if labels == 3 else {}
    model = make_model("bert", labels, pad_token_id=0, **changes)
    for key, value in names.items():
        setattr(model.config, key, value)
    model.save_pretrained(directory)
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(NAMES)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", pair="<|begin|> $A <|end|> $B:1 <|end|>:1",
        special_tokens=[("<|begin|>", 1), ("<|end|>", 2)],
    )  # fmt: skip
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<|pad|>", "model_max_length": 60}
    settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]  # type: ignore[assignment]
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def save_reward(directory: Path, *, pad: int | None = 0) -> Path:
    """A random Llama with one label and a chat template; `pad` None: it knows no padding token."""
    save_checkpoint(directory)
    (directory / "model.safetensors").unlink()
    make_model("llama", 1, num_key_value_heads=2, pad_token_id=pad, eos_token_id=2).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reward(tmp_path_factory.mktemp("reward"))


def ask(*messages: Message, task: Any = "classify") -> Request:
    return Request("m", "m", messages or EXCHANGE, Sampling(), 1, 7, 0, "s", "score", 0, task=task)


def exchange(text: str) -> Request:
    return ask(EXCHANGE[0], Message("assistant", text))


def classify(directory: Path, *requests: Request, **engine: Any) -> tuple[list[Any], tuple[str, ...]]:
    """The answers, or what was raised, all asked at once; and what is told at the end."""

    async def run() -> tuple[list[Any], tuple[str, ...]]:
        backend = ClassifierBackend(str(directory), EngineOptions(**engine))
        try:
            found = await asyncio.gather(*map(backend.generate, requests), return_exceptions=True)
            return found, backend.notes()
        finally:
            await backend.close()

    return asyncio.run(run())


def labels(response: Any) -> dict[str, float]:
    assert isinstance(response, Response), response
    found: dict[str, float] = json.loads(response.choices[0].text)
    return found


# --- against the library ----------------------------------------------------------------------------------------------


def test_a_reward_model_reads_the_whole_chat(llama: Path) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(llama).float().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama)
    found, notes = classify(llama, *map(exchange, TEXTS))
    assert not notes
    for text, response in zip(TEXTS, found, strict=True):
        chat = [{"role": "user", "content": "What is 3+4?"}, {"role": "assistant", "content": text}]
        ids = [*tokenizer.apply_chat_template(chat, return_dict=False)]
        ids = ids[: SHAPE["max_position_embeddings"]]
        with torch.inference_mode():
            [[score]] = model(torch.tensor([ids])).logits.tolist()
        assert labels(response) == {"score": pytest.approx(score, abs=1e-4)}
        assert response.usage.prompt_tokens == len(ids) and response.usage.completion_tokens == 0
    assert len({labels(one)["score"] for one in found}) == len(TEXTS)


def test_a_classifier_without_template_reads_prompt_and_answer_as_a_pair(bert: Path) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(bert).float().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    system = Message("system", "Be brief.")
    requests = [ask(system, EXCHANGE[0], Message("assistant", text)) for text in TEXTS] + [ask(EXCHANGE[1])]
    pairs = [("Be brief.\n\nWhat is 3+4?", text) for text in TEXTS] + [("It is 7.",)]
    found, notes = classify(bert, *requests)
    assert not notes
    for pair, response in zip(pairs, found, strict=True):
        fed = tokenizer(*pair, return_tensors="pt", truncation="longest_first", max_length=60)
        assert fed["token_type_ids"].sum() == (len(pair[1]) + 1 if len(pair) == 2 else 0)
        with torch.inference_mode():
            shares = torch.softmax(model(**fed).logits[0], dim=-1).tolist()
        assert labels(response) == pytest.approx(dict(zip(["bad", "good", "Ünsinn"], shares, strict=True)), abs=1e-5)
        assert sum(labels(response).values()) == pytest.approx(1)


def test_texts_of_several_labels_have_a_probability_for_each(tmp_path: Path) -> None:
    directory = save_bert(tmp_path, problem_type="multi_label_classification")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(directory).float().eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    [found], _ = classify(directory, ask())
    with torch.inference_mode():
        shares = model(**tokenizer("What is 3+4?", "It is 7.", return_tensors="pt")).logits[0].sigmoid().tolist()
    assert list(labels(found).values()) == pytest.approx(shares, abs=1e-5)
    assert sum(labels(found).values()) != pytest.approx(1, abs=1e-3)


# --- in company, and too long -----------------------------------------------------------------------------------------


def test_a_text_says_the_same_alone_and_in_company(bert: Path, llama: Path) -> None:
    for directory in (bert, llama):
        requests = [exchange(text[:size]) for text in TEXTS for size in (1, 5, 20)]
        together, _ = classify(directory, *requests, batch_size=16)
        alone = [classify(directory, one)[0][0] for one in requests]
        exact, _ = classify(directory, *requests, batch_size=1)
        assert exact == alone, "bit for bit, one at a time"
        for one, other in zip(together, alone, strict=True):
            assert labels(one) == pytest.approx(labels(other), abs=1e-4)


def test_without_a_padding_token_texts_are_read_one_by_one(tmp_path: Path, llama: Path) -> None:
    directory = save_reward(tmp_path, pad=None)
    found, notes = classify(directory, *map(exchange, TEXTS))
    padded, _ = classify(llama, *map(exchange, TEXTS))
    assert [labels(one) for one in found] == [pytest.approx(labels(one), abs=1e-4) for one in padded]
    assert len(notes) >= 1 and "one by one" in notes[0]


def test_what_is_too_long_is_cut_and_told(bert: Path, llama: Path) -> None:
    for directory, limit in ((bert, 60), (llama, 64)):
        [short, long, same], notes = classify(
            directory, ask(), exchange("y" * 500), exchange("y" * 501), max_model_len=None
        )
        assert long.usage.prompt_tokens == limit and labels(long) == labels(same) != labels(short)
        assert notes == (f"classifier/{directory} reads {limit} tokens of a text: 2 of 3 were longer and were cut",)
        [less], notes = classify(directory, ask(), max_model_len=9)
        assert less.usage.prompt_tokens == 9 and "1 of 1" in notes[0]
    [huge], _ = classify(bert, exchange("word " * 200_000))
    assert huge.usage.prompt_tokens == 60


def test_positions_of_some_families_begin_after_the_padding_token() -> None:
    config = transformers.AutoConfig.for_model("roberta", max_position_embeddings=514, pad_token_id=1)
    assert classifying.find_limit(config, 10**30, EngineOptions(), "m") == 512
    assert classifying.find_limit(config, 384, EngineOptions(), "m") == 384
    assert classifying.find_limit(config, 384, EngineOptions(max_model_len=512), "m") == 512
    with pytest.raises(UsageError, match="512 positions"):
        classifying.find_limit(config, 384, EngineOptions(max_model_len=513), "m")


def test_numbers_that_overflow_refuse_their_own_text_only(bert: Path) -> None:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(bert).float().eval()
    model.bert.embeddings.word_embeddings.weight.data[50] = float("nan")
    with torch.inference_mode():
        good, bad = Classifier(model, "m")([Laid((1, 9, 2)), Laid((1, 50, 2))])
    assert isinstance(good, dict) and isinstance(bad, Permanent)


# --- faults -----------------------------------------------------------------------------------------------------------


def test_what_it_cannot_do_is_refused(bert: Path, llama: Path, tmp_path: Path) -> None:
    [writing], _ = classify(bert, ask(task="generate"))
    assert isinstance(writing, BadRequest) and "writes nothing" in str(writing)
    [misplaced], _ = classify(llama, ask(EXCHANGE[0], Message("system", "late"), EXCHANGE[1]))
    assert isinstance(misplaced, BadRequest) and "system message comes first" in str(misplaced)
    writer = save_checkpoint(tmp_path / "writer")
    [unfit], _ = classify(writer, ask())
    assert isinstance(unfit, UsageError) and "no weights for score.weight" in unfit.message
    assert "sequence classification" in unfit.hint
    whisper = tmp_path / "whisper"
    shutil.copytree(writer, whisper)
    config = transformers.AutoConfig.for_model("clip")
    config.save_pretrained(whisper)
    [strange], _ = classify(whisper, ask())
    assert isinstance(strange, UsageError) and "no sequence classification model" in strange.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0.0}, "`temperature` would have no effect"),
        ({"max_tokens": 5, "logprobs": 0}, "`logprobs`, `max_tokens` would have no effect"),
        ({"engine": {"dtpye": "float16"}}, "no option of the classifier backend"),
        ({"model": "./nowhere"}, "no directory"),
    ],
)
def test_a_recipe_opens_it_or_is_told_why_not(bert: Path, changes: dict[str, Any], words: str) -> None:
    backend = open_backend(ModelConfig(backend="classifier", model=str(bert), engine={"device": "cpu"}))
    assert isinstance(backend, Backend) and backend.local and tasks_of(backend) == {"classify"}
    with pytest.raises(UsageError) as caught:
        open_backend(ModelConfig(**({"backend": "classifier", "model": str(bert)} | changes)))
    assert words in caught.value.message


def test_absent_packages_are_told(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "installed", lambda package: package != "torch")
    with pytest.raises(MissingExtra, match="the classifier backend"):
        open_backend(ModelConfig(backend="classifier", model=str(bert)))


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_keeps_the_best_by_reward(
    tmp_path: Path, llama: Path, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {
        "writer": {"backend": "embedded", "model": "tiny", "max_tokens": 80},
        "rewarder": {"backend": "classifier", "model": str(llama)},
        "filter": {"backend": "classifier", "model": str(bert)},
    }
    score = [
        {"reward": {"model": "rewarder", "weight": 1, "on": "text"}},
        {"reward": {"model": "filter", "label": "bad", "better": "lower", "prompt": "", "veto_above": 0.999}},
    ]
    recipe = write_recipe(
        tmp_path, rows=4, models=models, score=score, budget={"usd": 0.01},
        prompt="Write a word problem about a {{ animal }}.",
        generate={"model": "writer", "candidates": 4},
    )  # fmt: skip
    result = factory.run(factory.load_recipe(recipe), out=tmp_path / "run")
    lines = [line for line in result.ledger() if line["purpose"] == "score"]
    assert {line["model"] for line in lines} == {f"classifier/{llama}", f"classifier/{bert}"}
    assert all(line["completion_tokens"] == 0 and line["cost_usd"] == 0 for line in lines)
    told = [json.loads(row["meta"]["scores"]) for row in result.dataset()["train"]]
    assert all({"reward", "reward_2", "reward_2.bad", "reward_2.good"} <= set(one) for one in told)
    kept = {row["meta"]["row"]: one["reward"] for row, one in zip(result.dataset()["train"], told, strict=True)}
    beaten = [one for one in result.rejects() if one["stage"] == "select" and one["row"] in kept]
    assert beaten and all(one["total"] <= kept[one["row"]] for one in beaten)
    before = parquet_hashes(tmp_path / "run")
    monkeypatch.setattr(classifying, "load_classifier", lambda *args: pytest.fail("a finished run loads no model"))
    factory.run(factory.load_recipe(recipe), out=tmp_path / "run", replay=True)
    assert parquet_hashes(tmp_path / "run") == before


def test_a_label_that_is_not_there_stops_the_run(tmp_path: Path, bert: Path) -> None:
    models = {"writer": "echo", "filter": {"backend": "classifier", "model": str(bert)}}
    recipe = write_recipe(tmp_path, rows=2, models=models, score=[{"reward": {"model": "filter", "label": "godo"}}])
    with pytest.raises(UsageError) as caught:
        factory.run(factory.load_recipe(recipe), out=tmp_path / "run")
    assert "no label `godo`" in caught.value.message and "`good`" in caught.value.hint


def test_a_writer_cannot_be_a_classifier(tmp_path: Path, bert: Path) -> None:
    recipe = write_recipe(tmp_path, models={"writer": {"backend": "classifier", "model": str(bert)}})
    with pytest.raises(UsageError, match="cannot write text"):
        factory.run(factory.load_recipe(recipe), out=tmp_path / "run")
