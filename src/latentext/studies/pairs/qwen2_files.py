"""Qwen2's tokenizer from the files it was first published as: `vocab.json`, `merges.txt`, `tokenizer_config.json`.

transformers converts them too, but importing it costs more time than making 1,500 pairs. The parts are those that
Qwen2's own `tokenizer.json` names: byte-level BPE, text normalised to NFC, one digit a piece. A test compares the ids
with those of transformers on published texts.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

_CLASSES = ("Qwen2Tokenizer", "Qwen2TokenizerFast")
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def read_qwen2(folder: Path) -> Tokenizer | None:
    """The tokenizer of a folder, or None if its files are of another kind or damaged.

    Example:
        >>> read_qwen2(Path("models/qwen2")).encode("make a cake").ids                      # doctest: +SKIP
        [6927, 264, 19145]
    """
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if config.get("tokenizer_class") not in _CLASSES or config.get("add_prefix_space"):
            return None
        added = [_added(token) for _, token in sorted(config["added_tokens_decoder"].items(), key=_number)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # transformers then says what is wrong with it.
        return None
    try:
        model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception:  # All that the package raises; transformers then says what is wrong with the files.
        return None
    backend = Tokenizer(model)
    backend.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated", invert=False)
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens(added)
    return backend if all(backend.token_to_id(token.content) is not None for token in added) else None


def _number(entry: tuple[str, object]) -> int:
    return int(entry[0])


def _added(token: dict[str, object]) -> AddedToken:
    return AddedToken(
        str(token["content"]),
        single_word=bool(token["single_word"]),
        lstrip=bool(token["lstrip"]),
        rstrip=bool(token["rstrip"]),
        normalized=bool(token["normalized"]),
        special=bool(token["special"]),
    )
