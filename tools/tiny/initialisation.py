"""Initial weights that already hold the outline of a copying circuit.

Nearly every task of this model begins with copying: the word to repeat, the name in a biography, the text itself. From
random weights the circuit that copies (attend to what followed the last occurrence of the present token) appears only
after tens of millions of tokens, more than an hour on two cores allows. So its outline is laid here, in one head of the
first layer and two of the second, and training is free to use, move or undo it:

* all embeddings share a constant part, which gives position-only attention something to hold on to;
* one head of layer 0 attends to the previous token and writes its signature into a subspace of the residual stream;
* two heads of layer 1 match the present token with those signatures, in the slow rotary pairs that distance hardly
  turns, and add what they find to the prediction;
* tokens that differ by a leading space or by case start as near neighbours.

Everything else starts as transformers starts a Llama.
"""

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

EMBEDDING_SCALE, CONSTANT_SHARE = 0.08, 0.7
POSITION_GAIN, FAST_PAIRS = 0.8, 8
SIGNATURE_GAIN, MATCH_GAIN, COPY_GAIN = 0.25, 1.6, 0.5
MATCHING_HEADS = 2
SLOW = 0.005
"""Rotary pairs that turn less than this a token compare content over a few hundred tokens almost unturned."""


@torch.no_grad()
def lay_copying_circuit(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Overwrite the weights named in the module's text; uses torch's seeded generator."""
    table = model.get_input_embeddings().weight
    table.normal_(std=EMBEDDING_SCALE)
    _pair_spellings(table, tokenizer)
    constant = torch.randn(table.shape[1])
    table += CONSTANT_SHARE * EMBEDDING_SCALE * constant
    constant /= constant.norm()

    width, head = model.config.hidden_size, model.config.head_dim
    frequencies = model.model.rotary_emb.inv_freq
    content = _without(torch.eye(width), constant)
    read, written = _orthonormal(head, width) @ content, _orthonormal(head, width) @ content
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    _attend_to_previous(first, constant, frequencies)
    first.v_proj.weight[:head] = read
    first.o_proj.weight[:, :head] = SIGNATURE_GAIN * written.T
    for place in range(MATCHING_HEADS):
        rows = slice(place * head, (place + 1) * head)
        slow = _slow_rows(head, frequencies)
        second.q_proj.weight[rows] = MATCH_GAIN * slow @ read
        second.k_proj.weight[rows] = MATCH_GAIN * slow @ written
        carried = _orthonormal(head, width) @ content
        second.v_proj.weight[rows] = carried
        second.o_proj.weight[:, rows] = COPY_GAIN * carried.T


def _pair_spellings(table: Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    """Tokens that differ only by a leading space or by case share most of their embedding."""
    groups: dict[str, list[int]] = {}
    for token, index in sorted(tokenizer.get_vocab().items()):
        groups.setdefault(token.removeprefix("Ġ").lower(), []).append(index)
    for members in groups.values():
        if len(members) > 1:
            table[members] = 0.8 * table[members[0]].clone() + 0.6 * table[members]


def _attend_to_previous(attention: torch.nn.Module, constant: Tensor, frequencies: Tensor) -> None:
    """Head 0: the key is a constant; the query is the same constant turned back by one token."""
    half = len(frequencies)
    key, query = torch.zeros(2 * half), torch.zeros(2 * half)
    key[:FAST_PAIRS] = POSITION_GAIN
    query[:FAST_PAIRS] = POSITION_GAIN * frequencies[:FAST_PAIRS].cos()
    query[half : half + FAST_PAIRS] = -POSITION_GAIN * frequencies[:FAST_PAIRS].sin()
    attention.k_proj.weight[: 2 * half] = key[:, None] * constant
    attention.q_proj.weight[: 2 * half] = query[:, None] * constant


def _slow_rows(head: int, frequencies: Tensor) -> Tensor:
    """A random orthonormal map of a head's width onto its slow rotary pairs; zero elsewhere."""
    slow = (frequencies < SLOW).repeat(2)
    rows = torch.zeros(head, head)
    rows[slow] = _orthonormal(int(slow.sum()), head)
    return rows


def _orthonormal(rows: int, columns: int) -> Tensor:
    return torch.nn.init.orthogonal_(torch.empty(rows, columns))


def _without(matrix: Tensor, direction: Tensor) -> Tensor:
    return matrix - torch.outer(matrix @ direction, direction)
