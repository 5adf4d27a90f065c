"""Pairs inside a model's chat template: what the model reads when the prompt is a user's turn.

A template may trim its messages, and the text around them changes how they are cut into tokens, so a pair that holds
by itself is checked again here. Templates are rendered by `latentext.prompts.chat`, by the same rules as in every run.
This needs transformers and is imported only when asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from latentext.errors import SpecError
from latentext.models.pretrained import read_tokenizer
from latentext.models.resolve import ModelSource
from latentext.prompts.chat import ChatFormat
from latentext.request import Message
from latentext.studies.pairs.tokenizer import PairTokenizer
from latentext.studies.pairs.validation import Render

_logger = logging.getLogger(__name__)


def chat_renderers(
    tokenizers: Sequence[PairTokenizer], templates: Mapping[str, Path] | None = None
) -> dict[str, Render]:
    """What puts a text into the chat template of each tokenizer that has one, by the tokenizer's name.

    Args:
        tokenizers: their folders hold the templates.
        templates: files with templates to use instead, by the tokenizer's name.

    Raises:
        SpecError: a template file is unreadable or meant for none of the tokenizers.
    """
    templates = templates or {}
    if unknown := sorted(set(templates) - {tokenizer.name for tokenizer in tokenizers}):
        names = ", ".join(tokenizer.name for tokenizer in tokenizers)
        raise SpecError(f"no tokenizer is named {unknown[0]!r}", where="chat template", remedy=f"there are: {names}")
    found = {}
    for tokenizer in tokenizers:
        render = _renderer(tokenizer, templates.get(tokenizer.name))
        if render is None:
            _logger.warning("%s has no chat template; its pairs are checked without one", tokenizer.name)
        else:
            found[tokenizer.name] = render
    return found


def _renderer(tokenizer: PairTokenizer, template: Path | None) -> Render | None:
    folder = str(tokenizer.folder)
    full = read_tokenizer(ModelSource(folder, folder, None, local=True), kind="tokenizer")
    if template is not None:
        full.chat_template = _read(template)
    if not full.chat_template:
        return None
    return partial(_as_user_turn, ChatFormat().renderer(full))


def _as_user_turn(render: Callable[[Sequence[Message]], str], text: str) -> str:
    return render([{"role": "user", "content": text}])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read ({error})", where=str(path), remedy="give a file of the template") from error
