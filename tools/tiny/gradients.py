"""Gradients of one step, computed by several single-threaded workers that take micro-batches from one queue.

On a machine shared with other work, one of its cores is always the slow one. A matrix product split over both waits
for it at every layer; workers that each take whole micro-batches wait once a step. The workers are threads: torch
releases the interpreter lock inside its operators, and all replicas share one set of weights.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from tiny.batches import MicroBatch


def weighted_loss(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the cross-entropies; the vocabulary's logits are computed only where a weight is."""
    states = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    targets, weights = ids[:, 1:], weights[:, 1:]
    chosen = weights > 0
    logits = model.lm_head(states[chosen])
    losses = nn.functional.cross_entropy(logits, targets[chosen], reduction="none")
    return (losses * weights[chosen]).sum()


class GradientWorkers:
    """The model and its replicas; ``accumulate`` leaves the step's summed gradient in the model's parameters."""

    def __init__(self, model: LlamaForCausalLM, workers: int) -> None:
        torch.set_num_threads(1)
        self.replicas = [model, *(_replica(model) for _ in range(workers - 1))]
        self.pool = ThreadPoolExecutor(workers)

    def accumulate(self, batches: list[MicroBatch]) -> float:
        """Gradient and value of the mean weighted loss over all micro-batches, the largest taken first."""
        total = sum(float(weights.sum()) for _, weights in batches)
        queue: SimpleQueue[MicroBatch] = SimpleQueue()
        for batch in sorted(batches, key=lambda batch: -batch[0].numel()):
            queue.put(batch)
        losses = self.pool.map(lambda replica: _work(replica, queue, total), self.replicas)
        loss = sum(losses)
        for replica in self.replicas[1:]:
            for parameter, twin in zip(self.replicas[0].parameters(), replica.parameters(), strict=True):
                if twin.grad is not None:
                    parameter.grad = twin.grad if parameter.grad is None else parameter.grad.add_(twin.grad)
                    twin.grad = None
        return loss


def _replica(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The same weights (one storage), gradients of its own."""
    replica = copy.deepcopy(model)
    for parameter, twin in zip(model.parameters(), replica.parameters(), strict=True):
        twin.data = parameter.data
    return replica


def _work(model: LlamaForCausalLM, queue: "SimpleQueue[MicroBatch]", total: float) -> float:
    """Take micro-batches until none is left; the sum of their losses."""
    loss = 0.0
    while True:
        try:
            ids, weights = queue.get_nowait()
        except Empty:
            return loss
        part = weighted_loss(model, ids, weights) / total
        part.backward()
        loss += float(part.detach())
