"""Tokenizers for pairs, by name, without torch.

Pairs are often made on a laptop for models that live on a cluster, so nothing here needs a model library: a
`tokenizer.json` is read by the `tokenizers` package alone, and so is Qwen2, which was published as `vocab.json` and
`merges.txt`. Other folders without a `tokenizer.json` are converted through transformers, imported then and not before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from latentext.errors import SpecError
from latentext.models.faults import pointer_in
from latentext.models.pretrained import read_tokenizer
from latentext.models.resolve import TINY_FOLDER, ModelSource
from latentext.spec import TINY
from latentext.studies.pairs.hub import TOKENIZER_FILES, download_tokenizer
from latentext.studies.pairs.qwen2_files import read_qwen2

DEFAULT_TOKENIZERS = ("Qwen/Qwen2-7B", "meta-llama/Meta-Llama-3-8B", "upstage/SOLAR-10.7B-v1.0")
"""What pairs are checked against when nothing else is asked for."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_ADD_FILE = "add its tokenizer.json"
_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<place>.+)")
_PARALLEL = "TOKENIZERS_PARALLELISM"


@dataclass(frozen=True, slots=True)
class PairTokenizer:
    """A tokenizer under the name that results are reported by.

    Attributes:
        name: short name, e.g. ``Qwen2-7B``.
        backend: the tokenizer of the `tokenizers` package; truncation and padding are off.
        folder: where its files lie (the chat template among them).

    Example:
        >>> qwen = load_tokenizer("qwen=Qwen/Qwen2-7B")                                     # doctest: +SKIP
        >>> qwen.name, qwen.encode(["make a cake"])                                         # doctest: +SKIP
        ('qwen', [[6927, 264, 19145]])
    """

    name: str
    backend: Tokenizer = field(repr=False, compare=False)
    folder: Path

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, no special tokens added."""
        return [encoding.ids for encoding in self.encodings(texts)]

    def encodings(self, texts: Sequence[str]) -> list[Encoding]:
        """The same before the ids are fetched into Python: all of this runs outside of it, on all cores."""
        # The fast one gives the same ids without character offsets, which nobody reads here.
        return self.backend.encode_batch_fast(texts, add_special_tokens=False)

    def token_text(self, token_id: int) -> str:
        """What the token stands for inside a text, its leading space included.

        Decoders of sentencepiece vocabularies drop the space that opens a text; behind another token it stays.
        """
        anchor = self.backend.encode("a", add_special_tokens=False).ids
        opening = self.backend.decode(anchor, skip_special_tokens=False)
        return self.backend.decode([*anchor, token_id], skip_special_tokens=False)[len(opening) :]


@contextmanager
def one_core_a_call() -> Iterator[None]:
    """Keep each call of a tokenizer on the core of its caller, for callers with a thread for every core.

    Tokenizers read this variable at every call, and have no other way to be told.
    """
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_PARALLEL, None)
        else:
            os.environ[_PARALLEL] = before


def load_tokenizers(
    sources: Sequence[str] = DEFAULT_TOKENIZERS, *, cache_dir: Path | None = None
) -> tuple[PairTokenizer, ...]:
    """Load several tokenizers; see `load_tokenizer`.

    Raises:
        SpecError: none is given, or two share a name.
    """
    if not sources:
        raise SpecError("no tokenizer is given", remedy="pass at least one --tokenizer name=DIR")
    loaded = tuple(load_tokenizer(source, cache_dir=cache_dir) for source in sources)
    names = [tokenizer.name for tokenizer in loaded]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two tokenizers are named {name!r}", remedy="name them: --tokenizer first=… second=…")
    return loaded


def load_tokenizer(source: str, *, cache_dir: Path | None = None) -> PairTokenizer:
    """Load a tokenizer from a local folder, a `tokenizer.json`, or a Hugging Face id, optionally as ``name=place``.

    Args:
        source: ``Qwen/Qwen2-7B``, ``models/mine``, ``mine=models/tokenizer.json``, …; without a name the last part
            of the place is the name.
        cache_dir: where downloads go; default is the Hugging Face cache (HF_HOME).

    Raises:
        SpecError: there is no such place, it holds no usable tokenizer, or it cannot be downloaded.
        CredentialsError: the tokenizer is gated and access is missing.
    """
    named = None if Path(source).exists() else _NAMED.fullmatch(source)
    place = named["place"] if named else source
    found = _locate(place, cache_dir)
    folder = found.parent if found.is_file() else found
    backend = _read_file(found) if found.is_file() else _read_folder(folder, place)
    backend.no_truncation()
    backend.no_padding()
    if named:
        return PairTokenizer(named["name"], backend, folder)
    return PairTokenizer((folder if found.is_file() else Path(place)).resolve().name, backend, folder)


def _locate(place: str, cache_dir: Path | None) -> Path:
    path = Path(place).expanduser()
    if place == TINY:
        return TINY_FOLDER
    if path.exists():
        return path
    if _HUB_ID.fullmatch(place):
        return download_tokenizer(place, cache_dir=cache_dir)
    raise SpecError(f"no tokenizer at {place!r}", remedy="give a folder, a tokenizer.json or a Hugging Face id")


def _read_folder(folder: Path, place: str) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return _read_file(folder / "tokenizer.json")
    present = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    if "vocab.json" in present and "merges.txt" in present:
        return read_qwen2(folder) or _convert(folder, place)
    if "tokenizer.model" in present:
        # transformers 5 builds a tokenizer from a bare sentencepiece file that gives other ids for many texts.
        raise SpecError(
            "has only tokenizer.model, which cannot be read faithfully",
            where=place,
            remedy="add the model's tokenizer.json beside it",
        )
    raise SpecError("holds no tokenizer", where=place, remedy="it needs tokenizer.json, or vocab.json and merges.txt")


def _read_file(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        # The package raises bare Exception for whatever is wrong with the file.
        if (fault := pointer_in(path.parent, path.name)) is not None:
            raise SpecError(fault.what, where=str(path.parent), remedy=fault.remedy) from None
        raise SpecError(f"is not a tokenizer ({error})", where=str(path), remedy="download it again") from error


def _convert(folder: Path, place: str) -> Tokenizer:
    tokenizer = read_tokenizer(ModelSource(place, str(folder), None, local=True), kind="tokenizer")
    if not tokenizer.is_fast:
        raise SpecError("has no fast tokenizer", where=place, remedy=_ADD_FILE)
    backend: Tokenizer = tokenizer.backend_tokenizer
    return backend
