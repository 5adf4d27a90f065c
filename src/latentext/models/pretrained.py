"""What transformers reads of a model: configuration, end tokens, tokenizer, weights. All of it passes `door.guarded`.

Code that a repository brings along is run only if the caller says so: transformers would ask on the terminal if it were
told nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentext.errors import SpecError
from latentext.models.door import guarded
from latentext.models.faults import ModelFault, json_object, pointer_in
from latentext.models.resolve import ModelSource, hub_token
from latentext.phases import preparing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_READ_WITHOUT_A_LOOK = ("chat_template.jinja", "merges.txt", "*.model")
"""Files of a tokenizer in which a Git LFS pointer would be read as content."""


def read_config(source: ModelSource, *, trust_remote_code: bool = False, kind: str = "model") -> Any:
    """A model's configuration; that of its text part is ``config.get_text_config()``, which exists.

    Raises:
        SpecError, CredentialsError: there is none, or it cannot be read.

    Example:
        >>> from latentext.models.resolve import resolve_model
        >>> read_config(resolve_model("tiny")).model_type
        'llama'
    """
    from transformers import AutoConfig

    with guarded(source.name, kind, folder_of(source)):
        config = AutoConfig.from_pretrained(source.path_or_id, **_place(source, trust_remote_code))
        config.get_text_config()
        return config


def read_generation_config(source: ModelSource, config: Any) -> Any:
    """A model's generation configuration; made from its configuration where it has no file of it.

    Raises:
        SpecError: the file is damaged: transformers would pass over it, and with it over its end tokens.
    """
    from transformers import GenerationConfig

    folder, name = folder_of(source), "generation_config.json"
    if folder is not None and (folder / name).is_file() and isinstance(read := json_object(folder / name), ModelFault):
        fault = pointer_in(folder, name) or read
        raise SpecError(fault.what, where=f"model {source.name}", remedy=fault.remedy)
    with guarded(source.name, folder=folder):
        try:
            place = _place(source, trust_remote_code=False)
            del place["trust_remote_code"]
            return GenerationConfig.from_pretrained(source.path_or_id, **place)
        except OSError:  # The model has none of its own.
            return GenerationConfig.from_model_config(config)


def read_tokenizer(
    source: ModelSource, *, trust_remote_code: bool = False, revision: str | None = None, kind: str = "model"
) -> PreTrainedTokenizerBase:
    """A model's tokenizer.

    Raises:
        SpecError, CredentialsError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    folder = folder_of(source)
    if folder is not None and (fault := pointer_in(folder, *_unless_whole(folder))) is not None:
        raise SpecError(f"cannot be loaded: {fault.what}", where=f"{kind} {source.name}", remedy=fault.remedy)
    place = _place(source, trust_remote_code)
    place["revision"] = revision or place["revision"]
    with guarded(source.name, kind, folder):
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source.path_or_id, **place)
        return found


def read_weights(
    auto_class: Any, source: ModelSource, *, trust_remote_code: bool = False, kind: str = "model", **options: Any
) -> tuple[Any, dict[str, Any]]:
    """A model in memory, and transformers' report on what was in the files.

    Args:
        auto_class: one of transformers' Auto classes.
        options: of its ``from_pretrained``.

    Raises:
        SpecError, CredentialsError: the files are not those of such a model, or cannot be read.
        torch.OutOfMemoryError: the weights do not fit.
    """
    with preparing(f"reading the weights of {source.name}"), guarded(source.name, kind, folder_of(source)):
        model, report = auto_class.from_pretrained(
            source.path_or_id, **_place(source, trust_remote_code), output_loading_info=True, **options
        )
        return model, report


def untrained_model(auto_class: Any, source: ModelSource, config: Any, **options: Any) -> Any:
    """A model as its configuration describes it, with random weights.

    Raises:
        SpecError: no such model can be made of the configuration.
    """
    with preparing("making a model with random weights"), guarded(source.name, folder=folder_of(source)):
        return auto_class.from_config(config, **options)


def folder_of(source: ModelSource) -> Path | None:
    """The folder of a local model; None for one of the hub."""
    return Path(source.path_or_id) if source.local else None


def _place(source: ModelSource, trust_remote_code: bool) -> dict[str, Any]:
    return {
        "revision": source.revision or "main",
        "token": None if source.local else hub_token(),
        "trust_remote_code": trust_remote_code,
    }


def _unless_whole(folder: Path) -> tuple[str, ...]:
    """The files to look at: where ``tokenizer.json`` is, nothing else of the vocabulary is read."""
    return _READ_WITHOUT_A_LOOK[:1] if (folder / "tokenizer.json").is_file() else _READ_WITHOUT_A_LOOK
