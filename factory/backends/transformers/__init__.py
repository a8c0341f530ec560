"""`transformers/MODEL`: any causal language model of the Hugging Face library, in this process, on CPU or GPU."""

from factory.backends.transformers.backend import TransformersBackend, open_backend

__all__ = ["TransformersBackend", "open_backend"]
