"""Tokenizer files from the Hugging Face hub, into a cache that can be written to.

Only the few small files of a tokenizer are fetched, never weights. Shared machines often have a home directory that
cannot be written to, so an unwritable cache is replaced by one in the project, and the log says so.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

from latentext.errors import DiskFullError, LatentextError
from latentext.models.door import loading_error
from latentext.models.resolve import hub_token

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.model",
)
"""All that a tokenizer may consist of; nothing else is downloaded."""

PROJECT_CACHE = Path(".cache") / "huggingface"
"""The cache that is used when the usual one cannot be written to, below the current directory."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_logger = logging.getLogger(__name__)


def download_tokenizer(repository: str, *, cache_dir: Path | None = None) -> Path:
    """Fetch a tokenizer's files, or find them in the cache; return their folder.

    Args:
        repository: ``owner/name`` on the hub.
        cache_dir: default is the Hugging Face cache (HF_HUB_CACHE, HF_HOME).

    Raises:
        CredentialsError: the tokenizer is gated, and access or the token is missing.
        SpecError: no such repository, or no network and nothing in the cache.
        DiskFullError: the cache's disk is full.
    """
    from huggingface_hub import constants, snapshot_download

    usual = (cache_dir or Path(constants.HF_HUB_CACHE)).expanduser()
    cache = writable_cache(usual)
    if cache != usual and (folder := _find(repository, usual)):
        return folder  # A shared cache that only its owner writes to.
    try:
        return Path(
            snapshot_download(repository, cache_dir=cache, allow_patterns=list(TOKENIZER_FILES), token=hub_token())
        )
    except Exception as error:  # See `latentext.models.door`.
        raise _explained(error, repository, cache) from error


def writable_cache(cache: Path) -> Path:
    """The cache itself when files can be written there, else `PROJECT_CACHE`, with one line in the log.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> writable_cache(folder / "hub") == folder / "hub"
        True
    """
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return cache
    _logger.warning("the cache %s cannot be written to; using %s instead", cache, PROJECT_CACHE)
    return PROJECT_CACHE


def _find(repository: str, cache: Path) -> Path | None:
    """The files in a cache that is only read."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = list(TOKENIZER_FILES)
    try:
        return Path(snapshot_download(repository, cache_dir=cache, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def _explained(error: Exception, repository: str, cache: Path) -> LatentextError:
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return DiskFullError(
            "the disk is full", where=str(cache), remedy="free some space or pass --cache-dir", heading="Disk full"
        )
    found = loading_error(error, repository, kind="tokenizer")
    advice = (found.remedy or "").removesuffix(", or use local files")
    remedy = f"{advice}, or pass local ones: --tokenizer name=DIR"
    return type(found)(found.what, where=found.where, remedy=remedy, heading=found.heading or "Caches")
