"""From a `ModelSpec` to a running vLLM engine, and back to the memory it took.

vLLM runs in this process unless ``VLLM_ENABLE_V1_MULTIPROCESSING=1`` is in the environment: then nothing is left behind
when a run is killed, and a script needs no ``__main__`` guard. All settings of the environment are defaults here; what
the user set stays.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from latentext.engines.transformers.loading import choose_device, choose_dtype, kv_bytes_per_token
from latentext.engines.vllm import connector
from latentext.engines.vllm.support import INSTALL, layer_id
from latentext.engines.vllm.wider_heads import widening, write_widened
from latentext.errors import EngineError, SpecError
from latentext.libraries import vllm as library
from latentext.models.memory import host_memory
from latentext.models.pretrained import read_config
from latentext.models.resolve import ModelSource, hub_token, resolve_model
from latentext.spec import ModelSpec, VllmOptions

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",  # No telemetry.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}


_PLACES_ON_CPU, _PLACES = 128, 512
"""Texts in flight on a CPU and elsewhere: the size of a shard. Of the two shards that are handed in, one then fills the
places that the other's finished texts leave; with places for both they would run out together."""


def prepare_environment() -> None:
    """Set what vLLM reads when it is imported, and find out whether it can compute here.

    Raises:
        SpecError: it is not installed, or has no device that it was built for.
        EngineError: it is installed and cannot be imported.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with _quiet():
            current_platform = library.platform()
    except ModuleNotFoundError as error:
        if error.name == "vllm":
            raise SpecError("vLLM is not installed", where="model.engine", remedy=INSTALL, heading="vLLM") from error
        raise _not_importable(error) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise _not_importable(error) from error
    if current_platform.is_unspecified():
        raise SpecError(
            "vLLM finds no GPU here",
            where="model.engine",
            remedy="use engine: transformers, or a CPU build of vLLM",
            heading="vLLM",
        )


def start(model: ModelSpec, sites: tuple[str, ...] = (), storage: Path | None = None) -> Any:
    """Load the model into a vLLM ``LLMEngine``; arguments and errors as `engine_settings`."""
    settings = engine_settings(model, sites, storage)
    with _quiet(), _own_threads():
        try:
            return library.start_engine(settings)
        except BaseException:
            _clean_up()
            raise


def engine_settings(model: ModelSpec, sites: tuple[str, ...] = (), storage: Path | None = None) -> dict[str, Any]:
    """What vLLM is started with: the fields of its ``EngineArgs``.

    Args:
        sites: whose states are extracted while texts are written; they must have a layer id (see `support.layer_id`).
        storage: an empty folder for vLLM's files: extracted states, and weights that had to be rewritten.

    Raises:
        SpecError, EngineError: vLLM cannot compute this model here.
    """
    prepare_environment()
    options = model.vllm or VllmOptions()
    source = resolve_model(model.name, model.revision)
    config = read_config(source, trust_remote_code=model.trust_remote_code).get_text_config()
    device = _device(model)
    settings: dict[str, Any] = {
        "model": source.path_or_id,
        "revision": source.revision,
        "hf_token": None if source.local else hub_token(),
        "dtype": str(choose_dtype(model, source, device)).removeprefix("torch."),
        "trust_remote_code": model.trust_remote_code,
        "tensor_parallel_size": options.tensor_parallel_size,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "max_model_len": options.max_model_len,
        "enforce_eager": options.enforce_eager,
        "quantization": options.quantization,
        # Texts come and go as token ids, and every option of the decoding is given: nothing else may decide.
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "max_num_seqs": _PLACES_ON_CPU if device.type == "cpu" else _PLACES,
        # States of a prompt that is taken from the cache would never be computed.
        "enable_prefix_caching": not sites,
    }
    if device.type == "cpu":
        settings |= _on_a_cpu(model, source, config, storage)
    if sites:
        settings |= _extraction(sites, int(config.num_hidden_layers), storage)
    return settings


def stop(engine: Any) -> None:
    """Shut an engine down and give its memory back."""
    library.shut_down(engine)
    del engine
    _clean_up()


def _clean_up() -> None:
    """Give back what vLLM keeps for the whole process."""
    gc.unfreeze()
    library.give_back_memory()


def _device(model: ModelSpec) -> torch.device:
    """The device that the spec means, which must be the one that vLLM was built for."""
    device, here = choose_device(model.device), str(library.platform().device_type)
    if device.type != here:
        raise SpecError(
            f"this vLLM computes on {here}, not on {device.type}", where="model.device", remedy=f"use device: {here}"
        )
    return device


def _on_a_cpu(model: ModelSpec, source: ModelSource, config: Any, storage: Path | None) -> dict[str, Any]:
    """What a CPU needs: heads of a size that has a kernel, and a cache of a size that leaves room for others."""
    settings: dict[str, Any] = {}
    factor = widening(config, library.cpu_head_sizes())
    if factor > 1:
        if storage is None:
            raise EngineError("there is no folder for rewritten weights", where=f"model {model.name}")
        write_widened(_folder(source), storage / "model", factor)
        settings |= {"model": str(storage / "model"), "revision": None}
    if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        # Its own default is nine tenths of all memory, which is meant for GPUs.
        asked = model.vllm.max_model_len if model.vllm is not None else None
        length = int(asked or getattr(config, "max_position_embeddings", None) or 4096)
        wanted = _PLACES_ON_CPU * length * factor * kv_bytes_per_token(config, torch.float32)
        settings["kv_cache_memory_bytes"] = max(1 << 28, min(host_memory() // 4, wanted))
    return settings


def _folder(source: ModelSource) -> Path:
    if source.local:
        return Path(source.path_or_id)
    from huggingface_hub import snapshot_download

    # The weights were fetched when the model was identified.
    return Path(snapshot_download(source.path_or_id, revision=source.revision, local_files_only=True))


def _extraction(sites: tuple[str, ...], num_blocks: int, storage: Path | None) -> dict[str, Any]:
    """vLLM's settings to keep the states at these sites; see its documentation of hidden-state extraction."""
    layer_ids = [layer_id(site, num_blocks) for site in sites]
    if storage is None or None in layer_ids:
        raise EngineError(f"vLLM cannot extract {', '.join(sites)}", where="states.sites")
    return {
        "enable_chunked_prefill": False,
        "speculative_config": {
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": layer_ids}},
        },
        "kv_transfer_config": library.transfer_config(
            kv_connector=connector.NAME,
            kv_connector_module_path=connector.__name__,
            kv_role="kv_producer",
            kv_connector_extra_config={"shared_storage_path": str(storage)},
        ),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """vLLM's own imports warn of each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _own_threads() -> Iterator[None]:
    """vLLM's CPU worker takes ``torch.set_num_threads`` away from the whole process; it is given back."""
    before = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = before


def _not_importable(error: Exception) -> EngineError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return EngineError(f"vLLM cannot be imported: {first}", where="model.engine", heading="vLLM")
