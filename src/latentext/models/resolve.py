"""From the name of a model to its files, and from its files to an identity.

A model is what its configuration and weights are, not where they lie: the identity is a hash of contents, so a copied
folder, another path or a hub cache on another disk resume the same run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values, find_dotenv

from latentext.errors import CredentialsError, SpecError
from latentext.libraries.huggingface_hub import known_sha256
from latentext.models.door import guarded
from latentext.models.registry import registered_models
from latentext.phases import preparing
from latentext.spec import TINY, ModelSpec

TINY_FOLDER = Path(__file__).resolve().parent / "tiny"

_HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
_LOOKS_LIKE_A_PATH = re.compile(r"[.~/\\]|.*[/\\].*[/\\]|.*\\")
_WEIGHTS = ("*.safetensors", "*.bin")
_HASH_BLOCK = 1 << 22


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model is loaded from.

    Attributes:
        name: the name as the user gave it.
        path_or_id: a folder or a Hugging Face id, as `from_pretrained` takes it.
        revision: a branch, tag or commit of the hub; None for the newest, and for folders.
        local: whether `path_or_id` is a folder.
    """

    name: str
    path_or_id: str
    revision: str | None
    local: bool


def resolve_model(name: str, revision: str | None = None) -> ModelSource:
    """Find what `name` means: ``tiny`` is the packaged model, then come existing folders, short names of the registry
    (`latentext.models.registry`), and Hugging Face ids.

    Raises:
        SpecError: the name is neither of these, nor shaped like a hub id; or its folder holds no config.json.

    Example:
        >>> resolve_model("tiny").local, resolve_model("meta-llama/Llama-3.2-1B").local
        (True, False)
    """
    if name == TINY:
        return ModelSource(name, str(TINY_FOLDER), None, local=True)
    folder = Path(name).expanduser()
    entry = registered_models().get(name) if not (name and folder.is_dir()) else None
    if entry is not None and entry.path is not None:
        folder = Path(entry.path)
        if not folder.is_dir():
            raise SpecError(f"no folder {folder}", where=f"model {name}", remedy="correct its path in the registry")
    if name and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise SpecError("the folder holds no config.json", where=f"model {name}", remedy="name a folder of a model")
        return ModelSource(name, str(folder), None, local=True)
    if entry is not None:
        return ModelSource(name, entry.place, revision or entry.revision, local=False)
    if _LOOKS_LIKE_A_PATH.match(name) or not _HUB_ID.fullmatch(name):
        raise SpecError("no such folder", where=f"model {name}", remedy="give a folder, a Hugging Face id, or tiny")
    return ModelSource(name, name, revision, local=False)


def model_identity(model: ModelSpec) -> str:
    """What stands for the model in request keys: the hash of its files.

    A model behind a server is known by its name alone, and by what every request asks of it: the same server may answer
    under another address tomorrow.
    """
    if model.remote:
        asked = model.api.request if model.api is not None else {}
        facts = json.dumps([model.name, asked], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(f"latentext remote model 1\n{facts}\n".encode()).hexdigest()
    return model_fingerprint(resolve_model(model.name, model.revision))


def model_fingerprint(source: ModelSource) -> str:
    """Sha256 (64 hex digits) over config.json and all weight files, by content; hub files are fetched where absent.

    Raises:
        SpecError, CredentialsError: the hub has no such model, or does not give it out, or cannot be reached.
    """
    folder = model_folder(source, ["config.json", "*.safetensors"])
    if not source.local and not any(folder.glob("*.safetensors")):
        folder = model_folder(source, ["config.json", "*.bin"])
    total = hashlib.sha256(b"latentext model 1\n")
    with preparing("hashing the model's files"):
        for path in _identifying_files(folder):
            total.update(f"{path.relative_to(folder).as_posix()} {content_sha256(path)}\n".encode())
    return total.hexdigest()


def model_folder(source: ModelSource, patterns: list[str]) -> Path:
    """The folder with a model's files: its own, or that of the hub's cache, with those that match fetched.

    Raises:
        SpecError, CredentialsError: the hub has no such model, or does not give it out, or cannot be reached.
    """
    if source.local:
        return Path(source.path_or_id)
    from huggingface_hub import snapshot_download

    token = hub_token()
    with guarded(source.name):
        return Path(
            snapshot_download(source.path_or_id, revision=source.revision, allow_patterns=patterns, token=token)
        )


def hub_token() -> str | None:
    """The Hugging Face token: HF_TOKEN of the environment, else of a `.env` file here or in a folder above.

    Raises:
        CredentialsError: HTTP has no form for it; the message does not show it.
    """
    found = os.environ.get("HF_TOKEN") or dotenv_values(find_dotenv(usecwd=True)).get("HF_TOKEN")
    token = (found or "").strip()
    if not (token.isascii() and token.isprintable()):
        what = "it holds a line break or another character that HTTP cannot send"
        raise CredentialsError(what, where="HF_TOKEN", remedy="copy the token again, as one line")
    return token or None


def _identifying_files(folder: Path) -> list[Path]:
    """config.json and the weights: of a folder with safetensors those alone, as loaders prefer them."""
    weights = next((found for pattern in _WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
    if not weights:
        raise SpecError("the folder holds no weights", where=f"model {folder.name}", remedy="*.safetensors is expected")
    return [folder / "config.json", *weights]


def content_sha256(path: Path) -> str:
    """Hash of a file; of a large one in the hub's cache without reading it."""
    if (known := known_sha256(path)) is not None:
        return known
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            total.update(block)
    return total.hexdigest()
