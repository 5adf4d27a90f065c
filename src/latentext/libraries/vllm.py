"""What latentext uses of vLLM: little of it is documented, and all of it may move with any release.

* *The engine.* ``LLMEngine`` in this process, stepped by hand, and its core's scheduler.
* *Arguments.* ``EngineArgs``, ``SamplingParams``, ``KVTransferConfig``, and how a prompt of token ids is written.
* *Head sizes* that the CPU backend has kernels for.
* *The connector* that extracts hidden states (engines/vllm/connector.py replaces one of its methods).

vLLM is imported inside these functions, so that nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from latentext.libraries.changed import changed

_CONNECTOR_PARTS = ("_submit_async_write", "_write_tensors", "_on_write_done")
"""Methods of the example connector that our own calls or replaces."""


@contextmanager
def _probing() -> Iterator[None]:
    """Turn a name that vLLM no longer has into one line."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise changed("vllm", error if isinstance(error, ImportError) else str(error)) from error


def platform() -> Any:
    """``current_platform``: what this vLLM was built for.

    Raises:
        ImportError, OSError, RuntimeError: vLLM is not installed, or cannot be imported.
    """
    from vllm.platforms import current_platform

    import vllm  # noqa: F401

    return current_platform


def start_engine(settings: dict[str, Any]) -> Any:
    """A started ``LLMEngine``.

    Args:
        settings: fields of ``EngineArgs``.

    Raises:
        EngineError: a field or the class is gone. Whatever vLLM raises when it cannot start.
    """
    with _probing():
        from vllm.v1.engine.llm_engine import LLMEngine

        from vllm import EngineArgs
    try:
        arguments = EngineArgs(**settings)
    except TypeError as error:  # A field has another name.
        raise changed("vllm", str(error)) from error
    return LLMEngine.from_engine_args(arguments)


def shut_down(engine: Any) -> None:
    """End an engine's workers."""
    with _probing():
        engine.engine_core.shutdown()


def give_back_memory() -> None:
    """Give back what vLLM keeps for the whole process."""
    with _probing():
        from vllm.distributed import cleanup_dist_env_and_memory
    cleanup_dist_env_and_memory()


def token_prompt(token_ids: list[int]) -> Any:
    """A prompt of token ids, as ``add_request`` takes it."""
    with _probing():
        from vllm.inputs import tokens_input
    return tokens_input(token_ids)


def has_requests(engine: Any) -> bool:
    """Whether the scheduler of an engine in this process has anything left to tell; False for one elsewhere."""
    core = getattr(engine.engine_core, "engine_core", None)
    if core is None:
        return False
    with _probing():
        return bool(core.scheduler.has_requests())


def sampling_params(**options: Any) -> Any:
    """A ``SamplingParams``; with `stream` its tokens come as they are written, else with the finished text.

    Raises:
        EngineError: an option has another name now.
    """
    with _probing():
        from vllm.sampling_params import RequestOutputKind

        from vllm import SamplingParams

        kind = RequestOutputKind.DELTA if options.pop("stream") else RequestOutputKind.FINAL_ONLY
    try:
        return SamplingParams(**options, output_kind=kind)
    except TypeError as error:
        raise changed("vllm", str(error)) from error


def cpu_head_sizes() -> list[int]:
    """The sizes of attention heads that the CPU backend computes."""
    with _probing():
        from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

        return list(CPUAttentionBackend.get_supported_head_sizes())


def transfer_config(**fields: Any) -> Any:
    """A ``KVTransferConfig``."""
    with _probing():
        from vllm.config.kv_transfer import KVTransferConfig
    return KVTransferConfig(**fields)


def extraction_example() -> Any:
    """The module of vLLM's example connector for hidden states, with all that latentext uses of it.

    Raises:
        EngineError: a part of it is gone.
    """
    with _probing():
        from vllm.distributed.kv_transfer.kv_connector.v1 import example_hidden_states_connector as example

        for name in ("extract_from_kv_cache", "load_hidden_states", "cleanup_hidden_states"):
            getattr(example, name)
        for name in _CONNECTOR_PARTS:
            getattr(example.ExampleHiddenStatesConnector, name)
    return example
