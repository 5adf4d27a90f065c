"""Whether a model may be batched as this engine does it: four properties, seen on a few tokens when it is loaded.

The decode loop believes that later tokens change nothing before them, that padding on the left changes nothing, that a
step with cached keys and values gives what a whole pass gives, and that texts of one batch do not see each other. A
model without one of these would give wrong texts and states without a word: a BERT reads what follows, a BART counts
padding as positions. Each property is looked at with decoding's own cache, mask and positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from latentext.engines.transformers.attention import decoding_attention
from latentext.engines.transformers.cache import SlabCache
from latentext.engines.transformers.forward import last_logits, right_aligned
from latentext.engines.transformers.loaded import LoadedModel
from latentext.errors import EngineError

_ROUNDING = {torch.float32: (1e-4, 1e-3)}
_ROUNDING_OF_HALVES = (2e-2, 0.1)
"""Differences of logits that are rounding, relative to the largest: within a pass, and between passes of other shapes.

Measured in float32 on 18 families with random weights and on a trained model of 30 blocks: up to 2e-6; what these
properties forbid gives 1.6e-3 (an untrained RoBERTa) to 1.3."""


def check_soundness(loaded: LoadedModel) -> None:
    """Refuse a model that the decode loop would get wrong.

    Raises:
        EngineError: it attends to later tokens, or gives other logits in a padded batch or with cached keys.
    """
    long, short = _tokens(loaded, 9), _tokens(loaded, 13)[-4:]
    with torch.inference_mode(), loaded.layout.turn:
        _check_causality(loaded, long)
        _check_batch(loaded, long, short)


def _check_causality(loaded: LoadedModel, tokens: Sequence[int]) -> None:
    """Two texts that differ in their last token alone, in one pass: all logits before it are the same."""
    pair = torch.tensor([[*tokens[:-1], tokens[-1]], [*tokens[:-1], tokens[0]]], device=loaded.device)
    logits = loaded.model(input_ids=pair, use_cache=False).logits[:, :-1].float()
    if not _equal(logits[0], logits[1], _ROUNDING.get(loaded.dtype, _ROUNDING_OF_HALVES)[0]):
        raise EngineError(
            f"{type(loaded.model).__name__} attends to later tokens (it is bidirectional), so it cannot write texts",
            where=f"model {loaded.source.name}",
            remedy="use a causal (decoder-only) language model",
            heading="Models that are refused",
        )


def _check_batch(loaded: LoadedModel, *texts: Sequence[int]) -> None:
    """Prompts of unequal length in one batch, and a step after them: the logits of each text alone."""
    alone = [
        loaded.model(input_ids=torch.tensor([text], device=loaded.device), use_cache=False).logits[0, -2:].float()
        for text in texts
    ]
    prompts = [text[:-1] for text in texts]
    token_ids, mask = right_aligned(prompts, loaded.device)
    positions = (mask.cumsum(-1) - 1).clamp_(min=0)
    columns = token_ids.shape[1]
    cache = SlabCache(loaded.layout.num_blocks, len(texts), columns + 1)
    cache.window.row_stop = len(texts)
    prefilled = last_logits(loaded, cache, token_ids, mask, positions)
    cache.window.write = columns
    newest = torch.tensor([[text[-1]] for text in texts], device=loaded.device)
    with decoding_attention(loaded):
        stepped = last_logits(
            loaded, cache, newest, torch.nn.functional.pad(mask, (0, 1), value=1), positions[:, -1:] + 1
        )
    tolerance = _ROUNDING.get(loaded.dtype, _ROUNDING_OF_HALVES)[1]
    for found, place, what in ((prefilled, 0, "prompts of other lengths"), (stepped, 1, "cached keys and values")):
        if not all(_equal(row, text[place], tolerance) for row, text in zip(found, alone, strict=True)):
            raise EngineError(
                f"{type(loaded.model).__name__} gives other logits beside {what} than for a text alone",
                where=f"model {loaded.source.name}",
                remedy="use a decoder-only language model that takes padding on the left",
                heading="Models that are refused",
            )


def _tokens(loaded: LoadedModel, count: int) -> list[int]:
    """Different ordinary tokens from all over the vocabulary: some models count special ones otherwise."""
    special = set(loaded.tokenizer.all_special_ids)
    ordinary = [token for token in range(loaded.vocab_size) if token not in special] or list(range(loaded.vocab_size))
    return [ordinary[(place + 1) * len(ordinary) // (count + 2)] for place in range(count)]


def _equal(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """Whether these logits are the same but for rounding; those of a model that gives NaN are no business of this."""
    if not (one.isfinite().all() and other.isfinite().all()):
        return True
    return bool((one - other).abs().max() <= tolerance * max(1e-6, float(other.abs().max())))
