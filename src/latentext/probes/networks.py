"""Probes trained by gradient descent: a linear map or one hidden layer, for a length or for bins.

The settings are those of the original experiment: Adam at 1e-3, 50 epochs, batches of 64, 512 hidden units with dropout
0.1; lengths leave through a softplus, and the loss is the squared error of log(1 + y). A length comes out in units of
the mean training length: Adam moves a weight by at most its rate a step, and a linear probe of texts of 100 tokens
would not get there in 50 epochs of a small dataset. The weights kept are a copy of those of the best epoch on the
validation rows: the last epoch has usually overfitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

Doubles = npt.NDArray[np.float64]
Head = Literal["length", "bins"]


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
        hidden: units of the hidden layer; 0 for a linear probe.
        max_rows: rows that are held in memory; of more, whole texts are drawn at random.
    """

    hidden: int = 0
    dropout: float = 0.1
    epochs: int = 50
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    max_rows: int = 200_000


@dataclass(frozen=True)
class Network:
    """A trained probe and the scaling of its input.

    Attributes:
        mean, scale: float32 [width], of the training rows.
        unit: the mean training length; 1 for bins.
        body: standardised states [n, width] → [n, 1] (before the softplus) or [n, bins] (logits).
        head: what the output is.
        hidden: units of the hidden layer; 0 for a linear probe.
        best_epoch: the epoch, from 1, whose weights these are.
        losses: validation loss after each epoch.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    unit: float
    body: nn.Sequential
    head: Head
    hidden: int
    best_epoch: int
    losses: tuple[float, ...]

    @torch.inference_mode()
    def predict(self, states: npt.NDArray[np.floating]) -> Doubles:
        """Lengths [n, 1], or probabilities of bins [n, bins], for states [n, width]."""
        self.body.eval()
        output = self.body((torch.from_numpy(np.asarray(states, np.float32)) - self.mean) / self.scale)
        found = self.unit * functional.softplus(output) if self.head == "length" else output.softmax(dim=1)
        return np.asarray(found.double().numpy(), np.float64)


def build_body(width: int, outputs: int, hidden: int, dropout: float = 0.0) -> nn.Sequential:
    """The layers of a probe, untrained."""
    if hidden == 0:
        return nn.Sequential(nn.Linear(width, outputs))
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs))


def train(
    states: npt.NDArray[np.float32],
    targets: Doubles,
    validation_states: npt.NDArray[np.float32],
    validation_targets: Doubles,
    training: Training,
    *,
    bins: int = 0,
) -> Network:
    """Train a probe, and return it as it was after its best epoch on the validation rows.

    Args:
        states, validation_states: [n, width].
        targets, validation_targets: [n], lengths of at least 0, or numbers of bins.
        bins: how many bins there are; 0 for a length.
    """
    head: Head = "bins" if bins else "length"
    mean = torch.from_numpy(states.mean(axis=0, dtype=np.float64).astype(np.float32))
    deviation = torch.from_numpy(states.std(axis=0, dtype=np.float64).astype(np.float32))
    scale = torch.where(deviation > 0, deviation, 1.0)
    unit = float(targets.mean()) if head == "length" else 1.0
    inputs, labels = (torch.from_numpy(states) - mean) / scale, _labels(targets, head)
    held_inputs, held_labels = (torch.from_numpy(validation_states) - mean) / scale, _labels(validation_targets, head)
    with _seeded(training.seed):
        body = build_body(states.shape[1], bins or 1, training.hidden, training.dropout)
        optimiser = torch.optim.Adam(body.parameters(), lr=training.learning_rate)
        best, best_state, losses = math.inf, body.state_dict(), list[float]()
        best_epoch = 0
        for epoch in range(1, training.epochs + 1):
            body.train()
            for rows in torch.split(torch.randperm(len(inputs)), training.batch_size):
                optimiser.zero_grad()
                _loss(body(inputs[rows]), labels[rows], head, unit).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            body.eval()
            with torch.inference_mode():
                losses.append(float(_loss(body(held_inputs), held_labels, head, unit)))
            if losses[-1] < best:
                # A copy: state_dict() hands out the very tensors that the next step changes.
                best_state = {name: tensor.clone() for name, tensor in body.state_dict().items()}
                best, best_epoch = losses[-1], epoch
    body.load_state_dict(best_state)
    body.eval()
    return Network(mean, scale, unit, body, head, training.hidden, best_epoch, tuple(losses))


def _loss(output: torch.Tensor, labels: torch.Tensor, head: Head, unit: float) -> torch.Tensor:
    if head == "bins":
        return functional.cross_entropy(output, labels)
    return functional.mse_loss(torch.log1p(unit * functional.softplus(output[:, 0])), labels)


def _labels(targets: Doubles, head: Head) -> torch.Tensor:
    """Numbers of bins as they are; lengths as log(1 + y), which is what the loss compares."""
    return torch.from_numpy(targets.astype(np.int64) if head == "bins" else np.log1p(targets).astype(np.float32))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's own generator at `seed` inside the block (dropout knows no other), and as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
