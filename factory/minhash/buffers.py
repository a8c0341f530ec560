"""Many texts as one buffer of UTF-8 bytes and the places where each begins: Arrow's own layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.errors import UsageError
from factory.minhash.scheme import Ints


@dataclass(frozen=True, slots=True)
class Buffer:
    """Texts one after another: text i is data[offsets[i] : offsets[i + 1]]."""

    data: NDArray[np.uint8]
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1


def buffer_of(texts: Sequence[str] | Any) -> Buffer:
    """The texts of a sequence of strings, or of an Arrow array of strings (not copied; a null is the empty text).

    Raises UsageError for what is no text.
    """
    if hasattr(texts, "type") and hasattr(texts, "cast"):
        return _of_arrow(texts)
    if isinstance(texts, str) or not all(issubclass(kind, str) for kind in set(map(type, texts))):
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        told = "one string" if isinstance(texts, str) else f"a {type(wrong).__name__} among the texts"
        raise UsageError(f"texts to fingerprint must be a sequence of strings, not {told}", "make strings of them")
    joined = "".join(texts)
    sizes: Any = map(len, texts)
    if joined.isascii():
        whole = joined.encode()
    else:
        parts = _encode(texts)
        whole, sizes = b"".join(parts), map(len, parts)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(sizes, dtype=np.int64, count=len(texts)), out=offsets[1:])
    return Buffer(np.frombuffer(whole, dtype=np.uint8), offsets)


def _encode(texts: Sequence[str]) -> list[bytes]:
    """Each text as UTF-8; lone surrogates, which it has no bytes for, as what they would be."""
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return [text.encode("utf-8", "surrogatepass") for text in texts]


def _of_arrow(array: Any) -> Buffer:
    import pyarrow as pa

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)) or hasattr(array, "chunks"):
        try:
            array = array.cast(pa.large_string())
        except pa.ArrowException as error:
            told = f"texts to fingerprint must be strings, and this column is of type {array.type}"
            raise UsageError(told, "name a text column") from error
    if hasattr(array, "chunks"):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.large_string())
    if array.null_count:
        array = array.fill_null("")
    _, places, values = array.buffers()
    kind = np.int64 if pa.types.is_large_string(array.type) else np.int32
    if places is None or not len(array):
        return Buffer(np.empty(0, dtype=np.uint8), np.zeros(len(array) + 1, dtype=np.int64))
    offsets = np.frombuffer(places, dtype=kind, count=len(array) + 1, offset=array.offset * np.dtype(kind).itemsize)
    data = np.frombuffer(values, dtype=np.uint8) if values is not None else np.empty(0, dtype=np.uint8)
    first = int(offsets[0])
    return Buffer(data[first : int(offsets[-1])], offsets.astype(np.int64) - first)
