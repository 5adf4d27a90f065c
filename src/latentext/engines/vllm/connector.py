"""vLLM's connector that keeps hidden states, made to work where the cache is in the memory of the host.

vLLM extracts hidden states with a small "draft model" that stores what the layers give in a cache of its own, and an
example connector that copies a finished text's states out of that cache into a file. The example copies on a CUDA
stream into pinned memory; a CPU build has neither. There is nothing to wait for here, so the copy is made at once.

vLLM finds the class by this module's name (``kv_connector_module_path``). It is made when it is asked for, so that this
file can be imported without vLLM.
"""

from __future__ import annotations

from typing import Any

from latentext.libraries.vllm import extraction_example

NAME = "HostHiddenStatesConnector"


class _Done:
    """Stands for the CUDA event of a copy that is finished."""

    def query(self) -> bool:
        """Whether the copy is finished."""
        return True

    def synchronize(self) -> None:
        """Wait for the copy."""


def __getattr__(name: str) -> Any:
    if name != NAME:
        raise AttributeError(name)
    return _connector()


def _connector() -> type:
    import torch

    example = extraction_example()
    base: type[Any] = example.ExampleHiddenStatesConnector

    class HostHiddenStatesConnector(base):  # type: ignore[misc]
        """The example connector with its copy to the host replaced; on a GPU it is the example itself."""

        def _submit_async_write(self, pending: Any) -> None:
            if self._kv_cache is None or self._kv_cache.is_cuda:
                super()._submit_async_write(pending)
                return
            if not self._is_tp_rank_zero:
                return
            blocks = torch.tensor(pending.block_ids, dtype=torch.long)
            slots = (torch.arange(self._block_size) + blocks[:, None] * self._block_size).flatten()
            states = example.extract_from_kv_cache(self._kv_cache, slots, len(pending.token_ids))
            # A copy: the blocks are given to other texts as soon as this one counts as sent.
            tensors = {"hidden_states": states.clone().contiguous(), "token_ids": pending.token_ids.clone()}
            future = self._executor.submit(
                self._write_tensors, tensors, _Done(), pending.filename, self._lock_fds.pop(pending.req_id, None)
            )
            self._req_copy_events[pending.req_id] = _Done()
            self._req_futures[pending.req_id] = future
            future.add_done_callback(lambda done: self._on_write_done(pending.req_id, done))

    return HostHiddenStatesConnector
