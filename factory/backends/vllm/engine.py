"""A running engine: started at the first request, shared by all roles that ask for the same model."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import os
import re
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from importlib import import_module
from types import ModuleType
from typing import Any

from factory.backends.gpu_time import ShareMeter
from factory.backends.vllm.children import Children
from factory.backends.vllm.options import EngineOptions, engine_arguments
from factory.errors import BadRequest, ConnectionLost, ContextTooLong, Incomplete, ServerFault, UsageError

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "CRITICAL",  # what matters is raised; the engine's processes keep a whole log
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork would carry our threads' locks and the run's lock file along
}
"""Set before vllm is imported, where the environment does not say otherwise."""

LESS_MEMORY = (
    "under `engine:` lower `max_model_len` or `max_num_seqs`, take a quantised model (`quantization`), spread it over "
    "more GPUs (`tensor_parallel_size`), or give it another share of the memory (`gpu_memory_utilization`, 0.9 if not "
    "given: less where others use the GPU, more where the KV cache does not fit)"
)
_MEMORY = re.compile(
    r"out of memory|OutOfMemory|No available memory for the cache|available KV cache memory|KV cache is needed"
    r"|desired GPU memory utilization|requested memory for kv|not enough memory"
    r"|Cannot allocate memory|Failed to allocate",
    re.I,
)
_MISSING = re.compile(
    r"not a valid model identifier|Repository Not Found|RepositoryNotFound|Invalid repository ID|is not a local folder"
    r"|LocalEntryNotFound|HFValidationError"
    r"|couldn't connect to|can't load the configuration|No such file|Can't find a config",
    re.I,
)
_LORA = re.compile(r"\blora\b|adapter", re.I)
_UNGUARDED = re.compile(r"before the\s+current process has finished its bootstrapping", re.I)
_CAUSE = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt): .+)$")
_NOT_THE_CAUSE = re.compile(r"Engine core initialization failed|See root cause|EngineDeadError|cancelled")
_CONTEXT = re.compile(r"maximum (context|model) length|longer than the maximum|max_model_len", re.I)
_GRAMMAR = re.compile(r"grammar|schema|structured|guided|xgrammar|guidance", re.I)


class Engine:
    """vLLM's AsyncLLM and what belongs to it. One event loop owns it; `users` count the backends that hold it."""

    def __init__(self, model: str, options: EngineOptions):
        self.model = model
        self.users = 0
        self.meter = ShareMeter()
        self.tokenizer: Any = None
        self.defaults: Mapping[str, Any] = {}
        self.max_model_len = 0
        self.params_module: ModuleType | None = None
        self._options = options
        self._engine: Any = None
        self._lora: Any = None
        self._children: Children | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ids = itertools.count()

    async def ready(self) -> None:
        """Start the engine, once, whoever asks first. Raises UsageError with what to change when it cannot be."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        self._children = Children()
        try:
            self._engine = await asyncio.to_thread(self._launch, self._children)
            tokenizer = self._engine.get_tokenizer()
            self.tokenizer = await tokenizer if inspect.isawaitable(tokenizer) else tokenizer
            if self._options.chat_template is None and getattr(self.tokenizer, "chat_template", "its own") is None:
                hint = "give `engine.chat_template` its text, or take the model's chat variant"
                raise UsageError(f"the tokenizer of {self.model} has no chat template", hint)
        except BaseException:
            await self._shut_down(keep_log=True)
            raise

    def _launch(self, children: Children) -> Any:
        """In a thread, for it takes from half a minute to many."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            arguments = import_module("vllm.engine.arg_utils").AsyncEngineArgs
            engine_type = import_module("vllm.v1.engine.async_llm").AsyncLLM
            self.params_module = import_module("vllm.sampling_params")
        except ImportError as error:
            hint = "an engine in process needs vllm 0.8 or newer; `python -c 'import vllm'` shows what is wrong"
            raise UsageError(f"vllm cannot be imported: {error}", hint) from error
        _keep_stdout_clean()
        on_cpu = bool(import_module("vllm.platforms").current_platform.is_cpu())
        known = tuple(inspect.signature(arguments).parameters)
        given = engine_arguments(self.model, self._options, known, on_cpu=on_cpu)
        try:
            with children.launching():
                engine = engine_type.from_engine_args(arguments(**given))
                self.max_model_len = int(engine.model_config.max_model_len)
                self.defaults = engine.model_config.get_diff_sampling_param()
                self.meter = ShareMeter(_accelerators(engine))
                if self._options.lora is not None:
                    self._lora = import_module("vllm.lora.request").LoRARequest("adapter", 1, self._options.lora)
        except Exception as error:  # whatever vLLM, torch or the Hub raise: told as one clear error
            raise start_error(self.model, error, children) from error
        return engine

    async def generate(self, prompt: Sequence[int], params: Any) -> tuple[Any, float]:
        """vLLM's final RequestOutput, and its accelerator seconds. Raises a CallFault; Incomplete once it died."""
        request_id = f"factory-{next(self._ids)}"
        tokens = {"type": "token", "prompt_token_ids": list(prompt)}
        final: Any = None
        spent = 0.0
        self.meter.start(request_id)
        try:
            async with aclosing(self._engine.generate(tokens, params, request_id, lora_request=self._lora)) as outputs:
                async for output in outputs:
                    final = output
        except Exception as error:
            raise self._fault(error) from error
        finally:
            spent = self.meter.stop(request_id)
        if final is None:
            raise ConnectionLost("the engine ended a request without an answer")
        return final, spent

    def _fault(self, error: Exception) -> Exception:
        """What an exception of `generate` means. Versions differ in classes, so names and words decide."""
        names = {kind.__name__ for kind in type(error).__mro__}
        told = " ".join(str(error).split())[:500]
        if "EngineDeadError" in names:
            return self._death()
        if names & {"VLLMServerError", "EngineGenerateError"}:
            cause = error.__cause__
            return ServerFault(
                f"the engine failed at a request: {type(cause or error).__name__}: {cause or told}"[:600]
            )
        if names & {"VLLMClientError", "ValueError", "TypeError"}:
            if _CONTEXT.search(told):
                return ContextTooLong(told)
            if _GRAMMAR.search(told):
                told += " (`structured: prompt` asks for JSON without a grammar)"
            return BadRequest(told)
        return ServerFault(f"the engine failed at a request: {type(error).__name__}: {told}")

    def _death(self) -> Incomplete:
        cause = root_cause(self._children.tail() if self._children else "")
        hint = "the same command starts it anew and goes on"
        if cause and _MEMORY.search(cause):
            hint = f"{LESS_MEMORY}; the same command goes on"
        told = f": {cause}" if cause else ""
        return Incomplete(f"the engine of vllm/{self.model} died{told}", hint, code="engine")

    async def close(self) -> None:
        """Shut the engine down, also one that is still starting."""
        starting = self._starting
        if starting is not None and not starting.done():
            if self._children is not None:
                self._children.stop()
            await asyncio.wait({starting})
            if not starting.cancelled():
                starting.exception()  # it was cut short: what it says of that is of no interest
        await self._shut_down()

    async def _shut_down(self, *, keep_log: bool = False) -> None:
        engine, self._engine = self._engine, None
        children, self._children = self._children, None
        if engine is not None:
            handler = getattr(engine, "output_handler", None)
            if isinstance(handler, asyncio.Task):  # first, or it logs the end of the processes as a failure
                handler.cancel()
                await asyncio.wait({handler})
            await asyncio.to_thread(engine.shutdown)
            engine.shutdown = _nothing  # it calls that once more at the interpreter's exit, which fails by then
        if children is not None:
            children.release(keep_log=keep_log and children.log.is_file())


_live: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Engine]] = weakref.WeakKeyDictionary()


def borrow(key: str, model: str, options: EngineOptions) -> Engine:
    """The engine of this model and these options in the running loop: one, however many roles ask for it."""
    engines = _live.setdefault(asyncio.get_running_loop(), {})
    engine = engines.setdefault(key, Engine(model, options))
    engine.users += 1
    return engine


async def give_back(key: str, engine: Engine) -> None:
    """One user less; the last one closes it."""
    engine.users -= 1
    if engine.users == 0:
        _live.get(asyncio.get_running_loop(), {}).pop(key, None)
        await engine.close()


def start_error(model: str, error: Exception, children: Children) -> UsageError:
    """Why an engine did not start, from its exception and its processes' log, and what to change."""
    if isinstance(error, UsageError):
        return error
    log = children.tail()
    told = " ".join(str(error).split())
    cause = f"{type(error).__name__}: {told}"
    if _NOT_THE_CAUSE.search(told):
        cause = root_cause(log) or cause
    both = f"{cause}\n{log}"
    if _UNGUARDED.search(both):
        hint = 'a script that calls factory.run needs `if __name__ == "__main__":` around it: vLLM starts processes'
    elif _MEMORY.search(cause) or (_MEMORY.search(log) and _NOT_THE_CAUSE.search(told)):
        hint = LESS_MEMORY
    elif _LORA.search(cause):
        hint = "`engine.lora` is an adapter's folder or Hub name; `max_lora_rank` must reach its rank"
    elif _MISSING.search(cause):
        hint = "`model` is a folder or a Hub name; offline it has to be in the cache"
    else:
        hint = "`engine:` takes vLLM's own options"
    if log:
        hint += f"; vLLM's log: {children.log}"
    return UsageError(f"vllm/{model} could not be started: {cause[:700]}", hint, code="engine")


def root_cause(log: str) -> str:
    """The exception that a log of vLLM's processes ends in, memory before all else; empty where it holds none."""
    found = [match.group(1).strip() for line in log.splitlines() if (match := _CAUSE.search(line))]
    found = [line for line in found if not _NOT_THE_CAUSE.search(line)]
    memory = [line for line in found if _MEMORY.search(line)]
    return (memory or found or [""])[-1][:500]


def _accelerators(engine: Any) -> int:
    parallel = engine.vllm_config.parallel_config
    return max(1, int(parallel.world_size) * int(getattr(parallel, "data_parallel_size", 1) or 1))


def _nothing(*_: object, **__: object) -> None:
    """Does nothing."""


def _keep_stdout_clean() -> None:
    """This process's own messages of vLLM go to stderr; older versions know only stdout."""
    for handler in logging.getLogger("vllm").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
