"""Which rows of a text are kept and what they are labelled with: DESIGN's definitions, as arithmetic.

A text has P prompt tokens and T generated tokens. Row s (0 ≤ s < T) is the state at position P-1+s, which *predicts*
generated token s. Prompt rows stand at positions 0 … P-2 and predict the next prompt token; they have no remaining
length (-1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from latentext.request import StateRows
from latentext.spec import Positions


def row_positions(positions: Positions, prompt_length: int, generated_length: int) -> range:
    """The positions that are kept of a text with P prompt and T generated tokens.

    Example:
        >>> row_positions("generated", 4, 3), row_positions("prompt", 4, 3), row_positions("last", 4, 3)
        (range(3, 6), range(0, 3), range(5, 6))
    """
    first, last = prompt_length - 1, prompt_length + generated_length - 2
    if positions == "generated":
        return range(first, last + 1)
    if positions == "prompt":
        return range(first)
    if positions == "all":
        return range(last + 1)
    if positions == "first":
        return range(first, first + 1)
    if positions == "last":
        return range(last, last + 1)
    return range(prompt_length + generated_length)


def most_rows(positions: Positions, longest_prompt: int, max_new_tokens: int) -> int:
    """The most rows that a text can have; buffers are allocated for it once."""
    return max(1, len(row_positions(positions, longest_prompt, max_new_tokens)))


def label_rows(
    index: int,
    sample: int,
    positions: range,
    prompt_token_ids: Sequence[int],
    token_ids: Sequence[int],
    tensors: Mapping[str, torch.Tensor],
) -> StateRows:
    """Attach to each row the token it predicts and the number of tokens still to come after that token."""
    text = np.asarray([*prompt_token_ids, *token_ids], dtype=np.int32)
    position = np.asarray(positions, dtype=np.int32)
    # The last position of a given text predicts nothing that was written: it gets token_id -1.
    following = np.append(text, np.int32(-1))[position + 1]
    step = position - (len(prompt_token_ids) - 1)
    remaining = np.where((step >= 0) & (step < len(token_ids)), len(token_ids) - 1 - step, -1).astype(np.int32)
    return StateRows(index, sample, position, following, remaining, tensors)
