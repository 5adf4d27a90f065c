"""The training loop: resumable, seeded by step, its learning rate decayed over a budget of wall-clock time.

The budget is time and not steps because the machine is shared: whatever its speed, the learning rate reaches zero at
the planned end and the last weights are the annealed ones. The price is that two runs take different numbers of steps,
so weights are reproducible in kind and not to the bit; the texts of a given step are the same in every run.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tiny.batches import MicroBatch, micro_batches
from tiny.gradients import GradientWorkers
from tiny.model import build_model


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides a run, recorded in the checkpoint. A longer time budget continues a run at a higher rate."""

    seed: int = 0
    hours: float = 1.5
    texts_per_step: int = 64
    longest_text: int = 640
    matrix_learning_rate: float = 1e-2
    vector_learning_rate: float = 4e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    gradient_norm: float = 1.0


@dataclass(slots=True)
class Progress:
    """How far a run is: steps done, seconds trained, tokens seen (padding excluded)."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0


class Trainer:
    """A model, its two optimisers and their progress.

    Weight matrices get Muon, which on models this small needs fewer steps than Adam for the same loss; embeddings and
    norms, where orthogonalised updates make no sense, get AdamW.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, settings: Settings, folder: Path, workers: int) -> None:
        self.tokenizer, self.settings, self.folder = tokenizer, settings, folder
        self.model: LlamaForCausalLM = build_model(tokenizer, settings.seed)
        self.workers = GradientWorkers(self.model, workers)
        self.progress = Progress()
        embedding = self.model.get_input_embeddings().weight
        matrices = [p for p in self.model.parameters() if p.ndim == 2 and p is not embedding]
        vectors = [p for p in self.model.parameters() if p.ndim != 2 or p is embedding]
        self.optimisers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                matrices,
                lr=settings.matrix_learning_rate,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(vectors, lr=settings.vector_learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        )
        self.base_rates = (settings.matrix_learning_rate, settings.vector_learning_rate)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def record(self) -> dict[str, Any]:
        """What decided the run and how far it went, as plain data."""
        return {"settings": asdict(self.settings), "progress": asdict(self.progress)}

    def resume(self) -> None:
        """Continue from the checkpoint if there is one; of its settings, only the time budget may differ."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        if state["settings"] | {"hours": self.settings.hours} != asdict(self.settings):
            raise SystemExit(f"{self.checkpoint} was made with {state['settings']}; pass these, or remove it")
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.progress = Progress(**state["progress"])

    def save(self) -> None:
        """Write beside, then rename: a kill leaves the old checkpoint or the new one, never half of one."""
        state = self.record() | {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        beside = self.checkpoint.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self.checkpoint)

    def rate_factor(self) -> float:
        """Linear warm-up by steps, then linear decay to zero by time."""
        warmup = min(1.0, (self.progress.step + 1) / self.settings.warmup_steps)
        return warmup * max(0.0, 1.0 - self.progress.seconds / (self.settings.hours * 3600))

    def train(self, save_every_seconds: float = 240.0) -> None:
        """Run until the time budget is spent."""
        log = (self.folder / "log.jsonl").open("a", encoding="utf-8")
        saved_at = self.progress.seconds
        while self.progress.seconds < self.settings.hours * 3600:
            started = time.monotonic()
            loss, norm = self.one_step()
            self.progress.seconds += time.monotonic() - started
            if self.progress.step % 20 == 0:
                line = asdict(self.progress) | {"loss": round(loss, 4), "gradient_norm": round(norm, 3)}
                log.write(json.dumps(line) + "\n")
                log.flush()
            if self.progress.seconds - saved_at > save_every_seconds:
                self.save()
                saved_at = self.progress.seconds
        self.save()

    def one_step(self) -> tuple[float, float]:
        """Accumulate the gradient of one step's micro-batches, clip it, update."""
        batches = self._batches()
        loss = self.workers.accumulate(batches)
        self.progress.tokens += sum(int((ids != self.tokenizer.pad_token_id).sum()) for ids, _ in batches)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_norm))
        factor = self.rate_factor()
        for optimiser, rate in zip(self.optimisers, self.base_rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.progress.step += 1
        return loss, norm

    def _batches(self) -> list[MicroBatch]:
        settings = self.settings
        return micro_batches(
            self.tokenizer,
            settings.seed,
            self.progress.step,
            settings.texts_per_step,
            settings.longest_text,
        )
