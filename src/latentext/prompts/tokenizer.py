"""Loading a model's tokenizer, and a hash that tells whether two tokenizers and their chat templates are the same."""

from __future__ import annotations

import hashlib
import json

from transformers import PreTrainedTokenizerBase

from latentext.libraries.tokenizers import rules_of
from latentext.models.pretrained import read_tokenizer
from latentext.models.resolve import ModelSource, resolve_model


def load_tokenizer(
    source: str | ModelSource, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model: a name as in a spec, or what `resolve_model` made of it.

    Raises:
        SpecError: no such model, unreadable files, or no network and nothing in the cache.
        CredentialsError: the model is gated.

    Example:
        >>> load_tokenizer("tiny").bos_token
        '<|begin_of_text|>'
    """
    if isinstance(source, str):
        source = resolve_model(source, revision)
    return read_tokenizer(source, trust_remote_code=trust_remote_code, revision=revision)


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Sha256 (64 hex digits) of what turns messages into token ids: vocabulary, rules, special tokens, chat template.

    The same in every process, and for a copy in another folder.
    """
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    total = hashlib.sha256(b"latentext tokenizer 1\n")
    for part in (_rules(tokenizer), json.dumps([special, tokenizer.chat_template], sort_keys=True)):
        total.update(f"{len(part)}\n{part}".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def _rules(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokenizer does to text: the fast tokenizers' own JSON, or else the vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())])
    return rules_of(backend)
