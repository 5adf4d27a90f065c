"""Running many specs so that each model is loaded once, and one that fails does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

from latentext.engines.opening import EngineKeeper
from latentext.engines.server.budget import refuse_unpriced
from latentext.engines.server.journal import read_spend
from latentext.engines.server.prices import price_of
from latentext.engines.server.spend import Spend, dollars
from latentext.errors import DiskFullError, LatentextError, SpecError
from latentext.models.registry import registered_models
from latentext.run.estimate import Estimate
from latentext.run.progress import Progress
from latentext.run.runner import RunSummary, make_dataset
from latentext.run.workspace import JOURNAL
from latentext.spec import ModelSpec, Spec
from latentext.spec.limits import Limits

VLLM_INSTALL = "pip install 'latentext[vllm]'"


@dataclass(frozen=True)
class Finished:
    """What became of one spec of a sweep: a summary, or the error that ended it."""

    spec: Spec
    summary: RunSummary | None
    error: LatentextError | None = None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.summary is None else self.summary.exit_code


def run_sweep(
    specs: Iterable[Spec],
    *,
    retry_failed: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
    on_plan: Callable[[Spec, Estimate], None] | None = None,
    limits: Limits | None = None,
) -> Iterator[Finished]:
    """Make or continue the dataset of each spec in turn; specs of one model should follow each other.

    A spec that cannot be made is reported and the next is taken, for a gated or missing model says nothing of the
    others. A full disk ends the sweep. `limits` are of all datasets together.

    Raises:
        DiskFullError: see above; what is finished stays finished.
    """
    keeper, specs = EngineKeeper(), list(specs)
    try:
        _refuse_unpriced(specs, limits)
        for spec in specs:
            say = None if on_plan is None else _for(spec, on_plan)
            try:
                refuse_without_means(spec.model)
                summary = make_dataset(
                    spec,
                    retry_failed=retry_failed,
                    fresh=fresh,
                    progress=progress,
                    on_plan=say,
                    keeper=keeper,
                    limits=_left(limits, spec, specs, progress),
                )
            except DiskFullError:
                raise
            except LatentextError as error:
                yield Finished(spec, None, error)
            else:
                yield Finished(spec, summary)
    finally:
        keeper.close()


def _refuse_unpriced(specs: Sequence[Spec], limits: Limits | None) -> None:
    """Refuse a cap on money for models of which one has no price, before the first is paid."""
    for spec in specs:
        if limits is not None and spec.model.remote:
            refuse_unpriced(limits, price_of(spec.model), spec.model.name)


def _left(limits: Limits | None, spec: Spec, specs: Sequence[Spec], progress: Progress | None) -> Limits | None:
    """What of the caps is left for one dataset, after what all others have cost so far."""
    if limits is None or not spec.model.remote:
        return limits
    journals = {Path(other.output) / JOURNAL for other in specs if other.output} - {Path(spec.output or "") / JOURNAL}
    spent = sum(filter(None, map(read_spend, sorted(journals))), Spend())
    if spent == Spend():
        return limits
    if progress is not None:
        progress.note(f"the other datasets cost {spent}; the caps hold for all together")
    cost, tokens = limits.max_cost, limits.max_tokens_total
    return Limits(
        None if cost is None else max(Decimal(0), cost - dollars(spent.picodollars) - spent.uncertain_cost),
        None if tokens is None else max(0, tokens - spent.tokens - spent.uncertain_tokens),
    )


def refuse_without_means(model: ModelSpec) -> None:
    """See that the engine is installed, and that there is a GPU where the weights need one, before anything is fetched.

    Raises:
        SpecError: not; says what to install or to choose instead.
    """
    if model.engine == "vllm" and find_spec("vllm") is None:
        raise SpecError(
            "vLLM is not installed",
            where="--engine vllm",
            remedy=f"{VLLM_INSTALL} (it needs a GPU), or give -hf to run the model with transformers",
        )
    entry = registered_models().get(model.name)
    if entry is None or entry.quantisation is None or Path(model.name).is_dir():
        return
    import torch

    if not torch.cuda.is_available():
        raise SpecError(
            f"its weights are stored as {entry.quantisation}, which is read on a GPU only, and there is none here",
            where=f"model {model.name}",
            remedy="choose a model that `latentext models` says fits here",
        )


def _for(spec: Spec, on_plan: Callable[[Spec, Estimate], None]) -> Callable[[Estimate], None]:
    return lambda plan: on_plan(spec, plan)
