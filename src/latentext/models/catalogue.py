"""Models by name with their number of parameters: enough to say, before anything is downloaded, what would fit.

Any Hugging Face id or folder can be run; the list here only spares a newcomer the search. Parameters are counted from
the headers of weight files where they are on this machine, and are the published numbers where they are not.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from latentext.errors import SpecError
from latentext.models.door import guarded
from latentext.models.faults import pointer_in
from latentext.models.registry import Quantisation, registered_models
from latentext.models.resolve import hub_token, resolve_model
from latentext.spec import TINY

BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2, "8-bit": 1, "4-bit": 0.5}
"""What one parameter takes in memory; float16 is as bfloat16. Quantised weights take a little more: scales, and the
embeddings and norms that stay as they were."""

_LONGEST_HEADER = 100_000_000
"""The limit that the safetensors format itself sets, in bytes."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that can be named in a spec.

    Attributes:
        name: as a spec or ``--model`` takes it.
        source: where its files come from, in words.
        parameters: how many numbers its weights hold; None where that cannot be told without loading them.
        quantisation: how its weights are stored, where that is the only way to have them.
    """

    name: str
    source: str
    parameters: int | None
    quantisation: Quantisation | None = None

    def memory(self) -> dict[str, int]:
        """Bytes of the weights by dtype; of quantised weights only as they are stored. Empty if not known."""
        if self.parameters is None:
            return {}
        dtypes = BYTES_PER_PARAMETER if self.quantisation is None else ["4-bit"]
        return {dtype: int(self.parameters * BYTES_PER_PARAMETER[dtype]) for dtype in dtypes}


# The models that the shipped recipes are meant for. Source of the counts: the safetensors metadata of each repository.
_PUBLISHED = (
    ModelInfo("meta-llama/Llama-3.2-1B-Instruct", "Hugging Face, gated", 1_235_814_400),
    ModelInfo("meta-llama/Llama-3.2-3B-Instruct", "Hugging Face, gated", 3_212_749_824),
    ModelInfo("meta-llama/Llama-3.1-8B-Instruct", "Hugging Face, gated", 8_030_261_248),
    ModelInfo("Qwen/Qwen2.5-0.5B-Instruct", "Hugging Face", 494_032_768),
    ModelInfo("Qwen/Qwen2-7B", "Hugging Face", 7_615_616_512),
    ModelInfo("upstage/SOLAR-10.7B-v1.0", "Hugging Face", 10_731_524_096),
)


def suggested_models() -> list[ModelInfo]:
    """The built-in model, the short names of the registry, and ids that the recipes name."""
    return [describe_model(TINY), *map(_registered, registered_models()), *_PUBLISHED]


def _registered(name: str) -> ModelInfo:
    """An entry of the registry; a folder's weights are counted, the hub is not asked."""
    entry = registered_models()[name]
    if entry.path is not None:
        folder = Path(entry.path)
        counted = entry.parameters or (count_parameters(folder) if folder.is_dir() else None)
        return ModelInfo(name, entry.place, counted, entry.quantisation)
    source = f"{entry.place}, gated" if entry.gated else entry.place
    return ModelInfo(name, source, entry.parameters, entry.quantisation)


def describe_model(name: str) -> ModelInfo:
    """Look one model up: from its files, from the list above, or by one question to Hugging Face.

    Raises:
        SpecError, CredentialsError: there is no such model, or Hugging Face does not tell.

    Example:
        >>> describe_model("meta-llama/Llama-3.2-3B-Instruct").parameters
        3212749824
    """
    if (entry := registered_models().get(name)) is not None and not Path(name).is_dir():
        if entry.path is not None or entry.parameters is not None:
            return _registered(name)
        return replace(_ask_hub(entry.place), name=name, quantisation=entry.quantisation)
    source = resolve_model(name)
    if source.local:
        where = "built in" if name == TINY else "local folder"
        return ModelInfo(name, where, count_parameters(Path(source.path_or_id)))
    published = [info for info in _PUBLISHED if info.name == name]
    return published[0] if published else _ask_hub(name)


def count_parameters(folder: Path) -> int | None:
    """Add up the shapes in the headers of a folder's safetensors files; None if it holds none.

    Raises:
        SpecError: a header is damaged, or Git LFS has not fetched a file.
    """
    if (fault := pointer_in(folder, "*.safetensors")) is not None:
        raise SpecError(fault.what, where=f"model {folder.name}", remedy=fault.remedy)
    files = sorted(folder.glob("*.safetensors"))
    return sum(_count_in_file(path) for path in files) if files else None


def _count_in_file(path: Path) -> int:
    """The format: eight bytes with the length of the header, then JSON with the shape of each tensor."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError("not a safetensors file", where=str(path), remedy="fetch the model again") from error


def _ask_hub(name: str) -> ModelInfo:
    from huggingface_hub import HfApi

    client = HfApi(token=hub_token())
    with guarded(name):
        found = client.model_info(name)
    source = "Hugging Face, gated" if found.gated else "Hugging Face"
    return ModelInfo(name, source, found.safetensors.total if found.safetensors else None)
