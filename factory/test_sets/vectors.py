"""Vectors of test sets' questions: kept in the cache, one folder for each index of rows and each model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.errors import UsageError
from factory.test_sets.cache import cache_dir, rows_sha, slug, store_index
from factory.test_sets.reading import Spec, locate, read_located

if TYPE_CHECKING:
    from factory.decontamination.embedding import QuestionVectors

Embed = Callable[[Sequence[str], str], Any]
"""`embed(texts, what) -> float [n, d]`; `what` says for people what is embedded."""


def vectors_of(
    spec: Spec, base: Path, model: str, *, embed: Embed | None = None, notice: Callable[[str], None] = lambda told: None
) -> QuestionVectors:
    """The vectors of a test set's questions (and later turns) under `model` (BACKEND/MODEL).

    Out of the cache when the rows are unchanged, else built with `embed` and kept. Raises UsageError as
    `read_test_set`, and where they are not here and there is no `embed`.
    """
    import numpy as np

    from factory.decontamination.embedding import build_vectors, open_vectors
    from factory.decontamination.neutral import texts as neutral_texts

    located = locate(spec, base)
    test_set = read_located(located, notice)
    sha = rows_sha(test_set)
    key = hashlib.sha256(f"{sha} {model}".encode()).hexdigest()
    path = cache_dir() / "vectors" / f"{slug(located.name)}-{key[:16]}"
    if (path / "vectors.json").is_file():
        return open_vectors(path)
    if embed is None:
        named = located.files[0] if located.files else located.name
        told = f"the questions of `{located.name}` are not embedded by `{model}` here"
        raise UsageError(told, f"factory benchmarks index {named} --model {model}")
    said = [(row.row, text) for row in test_set.rows for text in (row.question, *row.turns) if text.strip()]
    rows = np.array([row for row, _ in said], dtype=np.int64)
    vectors = np.asarray(embed([text for _, text in said], f"questions of {located.name}"), dtype=np.float32)
    neutral = _neutral(model, embed, neutral_texts())
    made = build_vectors(located.name, model, rows, vectors, neutral)
    store_index(path, made.save, {"name": located.name, "model": model, "sha": sha}, replace=False)
    return open_vectors(path)


def _neutral(model: str, embed: Embed, texts: Sequence[str]) -> Any:
    """The neutral corpus under a model; kept, for it is the same for every test set."""
    import numpy as np

    digest = hashlib.sha256("\0".join([model, *texts]).encode()).hexdigest()
    path = cache_dir() / "vectors" / f"neutral-{digest[:16]}"
    if not (path / "neutral.npy").is_file():
        vectors = np.asarray(embed(texts, "neutral texts"), dtype=np.float32)

        def save(folder: Path) -> None:
            folder.mkdir(parents=True)
            np.save(folder / "neutral.npy", vectors)

        store_index(path, save, {"name": "neutral", "model": model}, replace=False)
    return np.load(path / "neutral.npy")
