"""Embedding models, by the sentence-transformers library: texts read in passes, a vector each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from factory.backends.transformers.loading import Place, choose_dtype, find_place, meter_for, pass_tokens, quiet
from factory.backends.transformers.options import EMBEDDING_FILES, EmbeddingOptions, library
from factory.backends.transformers.passes import Passes, PassLimits
from factory.backends.transformers.problems import not_finite
from factory.errors import CallFault, UsageError, nearest
from factory.vectors import encode

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class LoadedEmbedder:
    """An embedding model ready to measure. `limit`: tokens that it reads of a text, None where it does not say.

    `count(text)`: its tokens, and whether they were counted, not estimated.
    """

    runner: Passes[str, str]
    count: Callable[[str], tuple[int, bool]]
    limit: int | None


def load_embedder(name: str, options: EmbeddingOptions, stopped: Callable[[], bool]) -> LoadedEmbedder:
    """Load `name`. Raises a FactoryError that says what is wrong and what to do."""
    with find_place(name, options, kind="embedding model", files=EMBEDDING_FILES) as place:
        with quiet():
            model = _fetch(place, options)
        limit = _set_limit(model, options, name)
        words = _prompt_words(model, options, name)
        device = torch.device(place.device)
        limits = PassLimits(options.batch_size, pass_tokens(options, device))
        runner = Passes(Embedder(model, words, name), limits, meter_for(model), place.device)
        return LoadedEmbedder(runner, _Counter(model, words), limit)


def _fetch(place: Place, options: EmbeddingOptions) -> Any:
    settings: dict[str, Any] = {"dtype": choose_dtype(options.dtype, place.device)}
    if options.attn_implementation is not None:
        settings["attn_implementation"] = options.attn_implementation
    model = library("sentence_transformers").SentenceTransformer(
        place.source, device=place.device, model_kwargs=settings, truncate_dim=options.truncate_dim, **place.common
    )
    return model.eval()


def _set_limit(model: Any, options: EmbeddingOptions, name: str) -> int | None:
    """Tokens read of a text. Raises UsageError when more are asked for than the model has positions."""
    wanted, known = options.max_model_len, getattr(model, "max_seq_length", None)
    if wanted is None:
        return None if known is None else int(known)
    config = getattr(getattr(model[0], "auto_model", None), "config", None)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and wanted > positions:
        raise UsageError(
            f"`engine.max_model_len` is {wanted}, and {name} has {positions} positions", f"give at most {positions}"
        )
    model.max_seq_length = wanted
    return wanted


def _prompt_words(model: Any, options: EmbeddingOptions, name: str) -> str:
    """What is put before every text. Raises UsageError for a name that the checkpoint does not know."""
    prompts = {str(key): str(value) for key, value in (getattr(model, "prompts", None) or {}).items()}
    if options.prompt_name is not None and options.prompt_name not in prompts:
        hint = nearest(options.prompt_name, prompts) or "it has none: give the words with `engine.prompt`"
        raise UsageError(f"{name} knows no prompt called `{options.prompt_name}`", hint)
    if options.prompt is not None:
        return options.prompt
    chosen = options.prompt_name or getattr(model, "default_prompt_name", None)
    return prompts.get(chosen, "") if chosen is not None else ""


class _Counter:
    """Tokens of a text with the words before it; a quarter of its bytes where the model's tokenizer cannot count."""

    def __init__(self, model: Any, words: str):
        self._words = words
        self._tokenizer: Any = getattr(model, "tokenizer", None)

    def __call__(self, text: str) -> tuple[int, bool]:
        whole = self._words + text
        if callable(self._tokenizer):
            return len(self._tokenizer(whole, verbose=False)["input_ids"]), True
        if hasattr(self._tokenizer, "encode"):  # of the package tokenizers
            return len(self._tokenizer.encode(whole).ids), True
        return len(whole.encode()) // _BYTES_PER_TOKEN + 1, False


class Embedder:
    """A model behind one operation: texts → embeddings, as `factory.vectors` writes them."""

    def __init__(self, model: Any, words: str, name: str):
        self._model, self._words, self._name = model, words, name

    def __call__(self, texts: Sequence[str]) -> list[str | CallFault]:
        """The embedding of each text; a fault where it is no numbers."""
        vectors = self._model.encode(
            list(texts), prompt=self._words, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
        )
        found: list[str | CallFault] = []
        for vector in vectors:
            try:
                found.append(encode(vector))
            except ValueError:
                found.append(not_finite(self._name))
        return found
