"""The tokens of a dataset as text: by the tokenizer of the model that made it, or of the local one beside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentext.dataset.reader import Dataset


def token_decoder(dataset: Dataset) -> Callable[[int], str]:
    """Load the tokenizer; what comes back gives the text of one token id.

    Raises:
        SpecError, CredentialsError: the tokenizer is not on this machine and cannot be fetched.
    """
    from latentext.engines.opening import local_model
    from latentext.prompts.token_text import token_text
    from latentext.prompts.tokenizer import load_tokenizer
    from latentext.spec.files import resolve_inputs

    # A folder of a model is written relative to the dataset directory, so that both can be moved together.
    model = local_model(resolve_inputs(dataset.spec, dataset.directory).model)
    if model is None:  # Texts of a server without a local model have no token ids to be decoded.
        return str
    tokenizer = load_tokenizer(model.name, model.revision, model.trust_remote_code)
    return cache(lambda token_id: token_text(tokenizer, token_id))
