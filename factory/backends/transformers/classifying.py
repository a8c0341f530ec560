"""Sequence classification models of the library: texts laid out, read in passes, numbers by label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from factory.backends.transformers.chat import Chat
from factory.backends.transformers.loading import Place, fetch_weights, find_place, meter_for, pass_tokens, quiet
from factory.backends.transformers.network import TOLERANCE
from factory.backends.transformers.options import EngineOptions, library
from factory.backends.transformers.passes import Passes, PassLimits
from factory.backends.transformers.problems import is_out_of_memory, not_finite
from factory.errors import BadRequest, CallFault, UsageError
from factory.types import Message

KIND = "sequence classification model"
_OFFSET_FAMILIES = frozenset(
    {"camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
     "xlm-roberta-xl", "xmod"}
)  # fmt: skip
"""Their positions are counted from the padding token's id + 1 on, so that so many fewer tokens fit."""
_SANE_LENGTH = 10**7


@dataclass(frozen=True, slots=True)
class Laid:
    """A text as the model reads it. `types`: which of two texts each token is of. `cut`: tokens that were left out."""

    tokens: tuple[int, ...]
    types: tuple[int, ...] | None = None
    cut: int = 0


@dataclass(frozen=True, slots=True)
class LoadedClassifier:
    """A classifier ready to measure. `limit`: tokens that it reads of a text. `batched` False: one text at a time."""

    runner: Passes[Laid, Mapping[str, float]]
    lay_out: Callable[[Sequence[Message]], Laid]
    limit: int
    batched: bool


def load_classifier(name: str, options: EngineOptions, stopped: Callable[[], bool]) -> LoadedClassifier:
    """Load `name`. Raises a FactoryError that says what is wrong and what to do."""
    with find_place(name, options, kind=KIND) as place:
        with quiet():
            tokenizer, model = _fetch(place, options)
        with torch.inference_mode():
            network = Classifier(model, name)
            limit = find_limit(model.config.get_text_config(), tokenizer.model_max_length, options, name)
            batched = _batches_well(network)
            limits = PassLimits(options.batch_size if batched else 1, pass_tokens(options, network.device))
            runner = Passes(network, limits, meter_for(model), str(network.device))
            return LoadedClassifier(runner, Layout(tokenizer, place.source, options, limit), limit, batched)


def _fetch(place: Place, options: EngineOptions) -> tuple[Any, Any]:
    transformers = library()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place.source, **place.common)
    model = fetch_weights(transformers.AutoModelForSequenceClassification, place, options, KIND)
    model.config.get_text_config().use_cache = False  # nothing is written, so nothing need be remembered
    return tokenizer, model


def find_limit(config: Any, tokenizer_limit: Any, options: EngineOptions, name: str) -> int:
    """Tokens that a model reads of a text: `max_model_len`, else the fewer of its positions and its tokenizer's limit.

    Raises UsageError when more are asked for than there are positions.
    """
    known = [int(value) for key in ("max_position_embeddings", "n_positions") if (value := getattr(config, key, None))]
    if known and getattr(config, "model_type", "") in _OFFSET_FAMILIES:
        known = [known[0] - (config.pad_token_id or 0) - 1]
    wanted = options.max_model_len
    if wanted is not None:
        if known and wanted > known[0]:
            raise UsageError(
                f"`engine.max_model_len` is {wanted}, and {name} has {known[0]} positions", f"give at most {known[0]}"
            )
        return wanted
    if isinstance(tokenizer_limit, int) and 0 < tokenizer_limit < _SANE_LENGTH:
        known.append(tokenizer_limit)
    return min(known, default=_SANE_LENGTH)


class Layout:
    """Messages → tokens: by the chat template where there is one, else prompt and answer as a pair of texts."""

    def __init__(self, tokenizer: Any, source: str, options: EngineOptions, limit: int):
        self._tokenizer, self._limit = tokenizer, limit
        self._chat: Chat | None = None
        if options.chat_template is not None or getattr(tokenizer, "chat_template", None):
            self._chat = Chat(tokenizer, source, options.chat_template, options.chat_template_kwargs)
        self._left = getattr(tokenizer, "truncation_side", "right") == "left"

    def __call__(self, messages: Sequence[Message]) -> Laid:
        """The tokens; a text that is too long is cut as the tokenizer does it. Raises BadRequest."""
        laid = self._lay_pair(messages) if self._chat is None else self._lay_chat(self._chat, messages)
        if not laid.tokens:
            raise BadRequest("the text has no token")
        return laid

    def _lay_chat(self, chat: Chat, messages: Sequence[Message]) -> Laid:
        tokens = chat.encode_whole(messages)
        cut = max(0, len(tokens) - self._limit)
        kept = tokens[cut:] if self._left else tokens[: self._limit]
        return Laid(tuple(kept), None, cut)

    def _lay_pair(self, messages: Sequence[Message]) -> Laid:
        answer = messages[-1].content if messages else ""
        prompt = "\n\n".join(message.content for message in messages[:-1])
        texts = (prompt, answer) if prompt else (answer,)
        whole = self._tokenizer(*texts, verbose=False)
        size = len(whole["input_ids"])
        if size > self._limit:
            whole = self._tokenizer(*texts, truncation="longest_first", max_length=self._limit, verbose=False)
        types = whole.get("token_type_ids")
        return Laid(tuple(whole["input_ids"]), None if types is None else tuple(types), max(0, size - self._limit))


class Classifier:
    """A model behind one operation: texts → numbers by label. Call it inside `torch.inference_mode()`.

    One label is a score as it is; several are probabilities: of all together, or each by itself where the checkpoint
    says that a text may have several.
    """

    def __init__(self, model: Any, name: str):
        self.model = model
        self.device: torch.device = model.get_input_embeddings().weight.device
        self.vocab = int(model.get_input_embeddings().weight.shape[0])
        self._name = name
        config = model.config
        self._pad = config.get_text_config().pad_token_id or 0
        self._labels = [str(config.id2label.get(place, place)) for place in range(config.num_labels)]
        self._several = getattr(config, "problem_type", None) == "multi_label_classification"

    def __call__(self, texts: Sequence[Laid]) -> list[Mapping[str, float] | CallFault]:
        """Numbers by label for each text; a fault where they are no numbers."""
        logits = self.read(texts)
        found: list[Mapping[str, float] | CallFault] = []
        for row in logits:
            if not bool(row.isfinite().all()):
                found.append(not_finite(self._name))
            elif len(self._labels) == 1:
                found.append({"score": float(row[0])})
            else:
                shares = torch.sigmoid(row) if self._several else torch.softmax(row, dim=-1)
                found.append(dict(zip(self._labels, shares.tolist(), strict=True)))
        return found

    def read(self, texts: Sequence[Laid]) -> Tensor:
        """Float32 logits [texts, labels]; shorter texts are padded on the right."""
        width = max(len(text.tokens) for text in texts)
        fed = {
            "input_ids": [[*text.tokens, *[self._pad] * (width - len(text.tokens))] for text in texts],
            "attention_mask": [[1] * len(text.tokens) + [0] * (width - len(text.tokens)) for text in texts],
        }
        if any(text.types is not None for text in texts):
            rows = [text.types or (0,) * len(text.tokens) for text in texts]
            fed["token_type_ids"] = [[*row, *[0] * (width - len(row))] for row in rows]
        tensors = {name: torch.tensor(rows, device=self.device) for name, rows in fed.items()}
        logits: Tensor = self.model(**tensors).logits
        return logits.float().cpu()


def _batches_well(network: Classifier) -> bool:
    """Whether a text says the same alone and padded in company: not where no token is known that fills up, say."""
    longer, shorter = (
        Laid(tuple((step * k + 3) % network.vocab for k in range(1, count))) for step, count in ((7, 10), (11, 5))
    )
    try:
        together = network.read([longer, shorter])
    except (IndexError, TypeError, ValueError):
        return False
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return False
    alone = torch.cat([network.read([text]) for text in (longer, shorter)])
    scale = float(alone.abs().max()) + 1e-6
    return bool(((together - alone).abs().max() <= TOLERANCE * scale).item())
