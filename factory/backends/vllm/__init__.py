"""`vllm/MODEL`: vLLM's asynchronous engine, without a server: continuous batching, prefix caching, N in one request."""

from factory.backends.vllm.backend import VllmBackend, open_backend

__all__ = ["VllmBackend", "open_backend"]
