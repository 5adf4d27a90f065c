"""``latentext models``: what can be named as a model, how large it is, and whether it fits here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latentext.cli.wording import columns, size

if TYPE_CHECKING:
    from latentext.models.catalogue import ModelInfo
    from latentext.models.memory import Memory


def models(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Models to look up instead of the usual ones.")
    ] = None,
) -> None:
    """List models by short name, their size in memory by dtype, and which fit here.

    Any other Hugging Face id or folder of a causal language model can be used in the same way. Names of your own go
    into latentext.yaml: see docs/complete.md.
    """
    from latentext.models.catalogue import BYTES_PER_PARAMETER, describe_model, suggested_models
    from latentext.models.memory import memory_here

    found = [describe_model(name) for name in names] if names else suggested_models()
    memory = memory_here()
    rows = [("model", "parameters", *BYTES_PER_PARAMETER, "fits here", "source")]
    rows += [_row(model, memory) for model in found]
    for line in columns(rows):
        typer.echo(line)
    typer.echo(f"Sizes are of the weights; {memory.owner} has {size(memory.total_bytes)} of memory.")


def _row(model: ModelInfo, memory: Memory) -> tuple[str, ...]:
    from latentext.models.catalogue import BYTES_PER_PARAMETER

    if model.parameters is None:
        return (model.name, "unknown", *("unknown" for _ in BYTES_PER_PARAMETER), "unknown", model.source)
    weights = model.memory()
    fitting = next((f"in {dtype}" for dtype, weight_bytes in weights.items() if memory.holds(weight_bytes)), "no")
    if model.quantisation is not None and not memory.of_gpu:
        fitting = "no, needs a GPU"
    sizes = (size(weights[dtype]) if dtype in weights else "-" for dtype in BYTES_PER_PARAMETER)
    return (model.name, _parameters(model.parameters), *sizes, fitting, model.source)


def _parameters(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"
