"""What decides a model's outputs beside its configuration and weights: end tokens, custom code, an adapter.

These facts are part of a run's identity and not of its request keys: the keys of 0.1.0 hash configuration and weights
alone, and draws that changed with them would orphan every dataset that exists. Each is there only where it decides
something, so the identity of a plain model has its end tokens and no more.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from latentext.errors import SpecError
from latentext.models.door import guarded
from latentext.models.pretrained import read_config, read_generation_config
from latentext.models.resolve import ModelSource, content_sha256, model_folder

_logger = logging.getLogger(__name__)

END_TOKENS = "model.end_tokens"
FURTHER_FACTS = (END_TOKENS, "model.code", "model.adapter", "tokenizer.files")
"""The names of all facts; identities of 0.1.0 have none of them."""

_ADAPTER = "adapter_config.json"
_CODE_IN = ("config.json", "tokenizer_config.json")


def further_facts(
    source: ModelSource, tokenizer: PreTrainedTokenizerBase, *, trust_remote_code: bool = False
) -> dict[str, Any]:
    """The facts by their names in the identity, as JSON values.

    Raises:
        SpecError: a file of them is damaged, or an adapter lies there that cannot be applied.

    Example:
        >>> from latentext.models import resolve_model
        >>> from latentext.prompts.tokenizer import load_tokenizer
        >>> further_facts(resolve_model("tiny"), load_tokenizer("tiny"))
        {'model.end_tokens': [1, 4]}
    """
    patterns = [*_CODE_IN, _ADAPTER, "adapter_model.*", *(["*.py"] if trust_remote_code else [])]
    folder = model_folder(source, patterns)
    found = {
        END_TOKENS: sorted(end_tokens_of(source, tokenizer, trust_remote_code)),
        "model.code": _code(folder) if trust_remote_code else None,
        "model.adapter": _adapter(folder, source),
        "tokenizer.files": _slow_tokenizer(tokenizer),
    }
    return {name: value for name, value in found.items() if value is not None}


def end_token_ids(generation_config: Any, text_config: Any, tokenizer: Any) -> frozenset[int]:
    """All tokens that end a text: the generation config's list and the tokenizer's own end token.

    Numbers that are no token of the model are left out: it never writes them, and its logits have no place for them.
    """
    return _of_the_vocabulary(_named_end_tokens(generation_config, text_config, tokenizer), text_config)


def _of_the_vocabulary(ids: frozenset[int], text_config: Any) -> frozenset[int]:
    size = getattr(text_config, "vocab_size", None)
    return ids if size is None else frozenset(token for token in ids if 0 <= token < size)


def _named_end_tokens(generation_config: Any, text_config: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(generation_config, "eos_token_id", None)
    if configured is None:
        configured = getattr(text_config, "eos_token_id", None)
    ids = set(configured) if isinstance(configured, list | tuple) else {configured}
    ids.add(tokenizer.eos_token_id)
    return frozenset(int(i) for i in ids if i is not None)


def end_tokens_of(source: ModelSource, tokenizer: Any, trust_remote_code: bool = False) -> frozenset[int]:
    """The same of a model's files, as they are once it is loaded. Says which numbers are no tokens.

    Raises:
        SpecError: they are no token ids.
    """
    config = read_config(source, trust_remote_code=trust_remote_code)
    generation, text_config = read_generation_config(source, config), config.get_text_config()
    with guarded(source.name):
        named = _named_end_tokens(generation, text_config, tokenizer)
    kept = _of_the_vocabulary(named, text_config)
    if unknown := sorted(named - kept):
        _logger.warning(
            "model %s: end token %s is ignored: the vocabulary has %d tokens",
            source.name,
            ", ".join(map(str, unknown)),
            text_config.vocab_size,
        )
    return kept


def _code(folder: Path) -> str | None:
    """Hash of the Python files that the model or its tokenizer bring along; None where neither names any."""
    named = {place for name in _CODE_IN for place in _named_code(folder / name)}
    if not named:
        return None
    total = hashlib.sha256()
    folders = {"": folder}
    for place in sorted(named):
        other, mark, _ = place.partition("--")
        if mark and other not in folders:  # ``owner/name--module.Class``: code of another repository.
            local = Path(other).is_dir()
            folders[other] = model_folder(ModelSource(other, other, None, local), ["*.py"])
    for other, code in sorted(folders.items()):
        for path in sorted(code.rglob("*.py")):
            total.update(f"{other} {path.relative_to(code).as_posix()} {content_sha256(path)}\n".encode())
    return total.hexdigest()


def _named_code(path: Path) -> Iterator[str]:
    for value in _json(path).get("auto_map", {}).values():
        yield from (part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str))


def _adapter(folder: Path, source: ModelSource) -> str | None:
    """Hash of the adapter that transformers puts onto the weights in the folder; None where there is none.

    Raises:
        SpecError: peft is not installed: transformers would leave the adapter out without a word.
    """
    path = folder / _ADAPTER
    if not path.is_file():
        return None
    if find_spec("peft") is None:
        raise SpecError(
            f"an adapter is beside the weights ({_ADAPTER}), and peft is not installed",
            where=f"model {source.name}",
            remedy="pip install peft, or move the adapter's files elsewhere",
        )
    total = hashlib.sha256()
    for file in (path, *sorted(folder.glob("adapter_model.*"))):
        total.update(f"{file.name} {content_sha256(file)}\n".encode())
    return total.hexdigest()


def _slow_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Hash of a tokenizer without a fast backend: the files that it reads, and what it does with its added tokens.

    The fingerprint of one (`latentext.prompts.tokenizer`) has its vocabulary alone.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is not None:
        return None
    added = tokenizer.added_tokens_decoder.items()
    facts = [[number, *(getattr(token, name) for name in _OF_ADDED_TOKENS)] for number, token in added]
    files = [
        Path(str(found)) for name in sorted(tokenizer.vocab_files_names) if (found := getattr(tokenizer, name, None))
    ]
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in files:
        total.update(f"{file.name} {content_sha256(file) if file.is_file() else None}\n".encode())
    return total.hexdigest()


_OF_ADDED_TOKENS = ("content", "special", "normalized", "lstrip", "rstrip", "single_word")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"not JSON: {error}", where=str(path), remedy="fetch the model again") from None
    return found if isinstance(found, dict) else {}
