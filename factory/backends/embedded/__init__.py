"""`embedded/tiny`: a small Llama in NumPy. A candidate depends on prompt, parameters, seed and index alone."""

from factory.backends.embedded.backend import MODELS, Chat, EmbeddedBackend, open_backend

__all__ = ["MODELS", "Chat", "EmbeddedBackend", "open_backend"]
