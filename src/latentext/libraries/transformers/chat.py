"""Chat templates: the function behind ``apply_chat_template``, which renders without a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import TemplateError, TemplateRuntimeError

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
        jinja2.exceptions.TemplateError: the template refuses the conversation, or fails at it in any other way.
        EngineError: transformers renders in another way now.
    """
    conversation = [dict(message) for message in messages]
    try:
        rendered = render_jinja_template(
            [conversation], chat_template=template, add_generation_prompt=add_generation_prompt, **variables
        )
    except TemplateError:
        raise
    except Exception as error:  # What the template's own code raises: it may do anything with the messages.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise changed("transformers", f"render_jinja_template: {error}") from error
        raise TemplateRuntimeError(f"{type(error).__name__}: {error}") from error
    match rendered:
        case ([str(text)], *_):
            return text
    raise changed("transformers", "render_jinja_template returns no text per conversation")
