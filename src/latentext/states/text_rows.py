"""The rows of one text from the states of a whole pass over it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from latentext.request import StateRows
from latentext.spec import StatesSpec
from latentext.states.host import HostCopies
from latentext.states.pooling import pool_rows
from latentext.states.replay import WrittenText
from latentext.states.rows import label_rows, row_positions


def rows_of_text(
    text: WrittenText, states: StatesSpec, hidden: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> StateRows:
    """What a capture keeps of a text, on the host.

    Args:
        hidden: by site, [tokens, width] from position 0 on; what stands behind the text's last position is padding.
        dtype: of the rows handed out.
    """
    lengths = len(text.prompt_token_ids), len(text.token_ids)
    pooled = states.pool != ("none",)
    where = row_positions("generated" if pooled else states.positions, *lengths)
    entropies = None if text.entropies is None else torch.tensor(text.entropies)
    tensors, copies = {}, HostCopies()
    for site, all_rows in hidden.items():
        rows = all_rows[where.start : where.stop]
        if pooled:
            for pool in states.pool:
                tensors[f"{site}:{pool}"] = copies.take(pool_rows(pool, rows, entropies), dtype)
        else:
            tensors[site] = copies.take(rows, dtype)
    copies.wait()
    kept = row_positions("last", *lengths) if pooled else where
    return label_rows(text.index, text.sample, kept, text.prompt_token_ids, text.token_ids, tensors)
