"""Hidden states that vLLM extracted: from the file it wrote for a text to the rows of a capture.

vLLM keeps one row a token that went through the model: positions 0 … P+T-2, which are the rows that `positions: all`
means. The file also holds the token ids of those positions; they are compared before a row is believed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from latentext.engines.engine import Capture
from latentext.errors import EngineError
from latentext.libraries.vllm import extraction_example
from latentext.request import Request, StateRows
from latentext.states.pooling import pool_rows
from latentext.states.rows import label_rows, row_positions


def read_extracted(
    path: str | None,
    request: Request,
    sample: int,
    token_ids: Sequence[int],
    capture: Capture,
    dtype: torch.dtype,
) -> StateRows:
    """The rows of one text; the file is removed.

    Args:
        path: what vLLM said; the file may still be in the making, and is waited for.
        dtype: of the rows.

    Raises:
        EngineError: there is no file, or it is of another text.
    """
    example = extraction_example()
    where = f"states of request {request.index}, sample {sample}"
    if path is None:
        raise EngineError("vLLM extracted no hidden states", where=where, remedy="use model.vllm.capture: replay")
    try:
        content = example.load_hidden_states(path)
    except OSError as error:
        raise EngineError(f"vLLM's file cannot be read: {error}", where=where) from error
    example.cleanup_hidden_states(path)
    states = content["hidden_states"]
    if content["token_ids"].tolist() != [*request.prompt_token_ids, *token_ids][:-1] or len(states) != len(
        content["token_ids"]
    ):
        raise EngineError("vLLM's rows do not agree with the token ids", where=where, remedy="please report this")
    return _rows(states, request, sample, token_ids, capture, dtype)


def _rows(
    states: torch.Tensor,
    request: Request,
    sample: int,
    token_ids: Sequence[int],
    capture: Capture,
    dtype: torch.dtype,
) -> StateRows:
    """Cut or pool states [positions, sites, width]."""
    lengths = len(request.prompt_token_ids), len(token_ids)
    pools = capture.states.pool
    if pools == ("none",):
        kept = row_positions(capture.states.positions, *lengths)
        tensors = {
            site: states[kept.start : kept.stop, number].to(dtype).contiguous()
            for number, site in enumerate(capture.sites)
        }
    else:
        generated, kept = row_positions("generated", *lengths), row_positions("last", *lengths)
        tensors = {
            f"{site}:{pool}": pool_rows(pool, states[generated.start : generated.stop, number], None).to(dtype)
            for number, site in enumerate(capture.sites)
            for pool in pools
        }
    return label_rows(request.index, sample, kept, request.prompt_token_ids, token_ids, tensors)
