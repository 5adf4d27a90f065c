"""Chat templates: the function behind ``apply_chat_template``, which renders without a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from latentext.libraries.changed import changed

try:
    from transformers.utils.chat_template_utils import render_jinja_template
except ImportError as error:
    raise changed("transformers", error) from error


def render_chat(
    template: str, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool, variables: Mapping[str, Any]
) -> str:
    """A conversation as a chat template writes it.

    Args:
        variables: what the template reads beside the messages, such as ``bos_token``.

    Raises:
        jinja2.exceptions.TemplateError: the template refuses the conversation.
        EngineError: transformers renders in another way now.
    """
    conversation = [dict(message) for message in messages]
    rendered = render_jinja_template(
        [conversation], chat_template=template, add_generation_prompt=add_generation_prompt, **variables
    )
    match rendered:
        case ([str(text)], *_):
            return text
    raise changed("transformers", "render_jinja_template returns no text per conversation")
