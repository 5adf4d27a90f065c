"""Whether a server's model read the prompt that `model.local` reads: else its states belong to another prompt.

A server renders the messages by a template of its own, and does not say what came of it. But it counts: where its
`usage.prompt_tokens` is not the number of tokens of the local prompt, another prompt was read, whatever the reason (a
date, a default system text, another template or tokenizer, a second BOS). The numbers must be equal. A difference that
is the same for all texts is no excuse, since that is what another template gives. Prompts of equal length that differ
are not found. A text whose tokens the server did not count cannot be checked, and the run says how many there are.

The first answers are compared as they come, before all are paid for, if the spec asks for states; and all texts are
before their states are read. `model.api.compare_prompt_tokens: false` is for servers that count in a way of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from latentext.engines.opening import local_model
from latentext.errors import SpecError
from latentext.request import Completion, Request
from latentext.spec import ApiOptions, Spec

_HEADING = "The server counts other prompt tokens"


def is_compared(spec: Spec) -> bool:
    """Whether the prompts of a run are compared: a server wrote the texts, and a local model has their ids."""
    return spec.model.remote and spec.model.local is not None and _api(spec).compare_prompt_tokens


def refuse_other_prompt(spec: Spec, request: Request, completion: Completion) -> None:
    """Refuse a text whose prompt the server counted otherwise than the local model has it.

    Raises:
        SpecError: with both numbers, the likely reason and what to do.
    """
    usage, here = completion.usage, len(request.prompt_token_ids)
    if not is_compared(spec) or usage is None or not here or usage.prompt_tokens == here:
        return
    there = usage.prompt_tokens
    raise SpecError(
        f"the server counted {there:,} tokens in the prompt of request {request.index}, and {spec.model.local} has "
        f"{here:,}: the states would belong to another prompt ({_likely_reason(spec, there, here)})",
        where="model.local",
        remedy="make both prompts equal, or do without states (--set states=null); texts that are there are kept",
        heading=_HEADING,
    )


def refuse_other_prompts(spec: Spec, texts: Iterable[tuple[Request, Completion]]) -> None:
    """See `refuse_other_prompt`, for texts that exist."""
    if is_compared(spec):
        for request, completion in texts:
            refuse_other_prompt(spec, request, completion)


def not_compared(spec: Spec, uncounted: int, texts: int) -> str | None:
    """What to say of texts whose states were read without knowing that the prompts are equal; None if all were.

    Args:
        uncounted: how many of the texts the server did not count.
    """
    if not spec.model.remote or local_model(spec.model) is None:
        return None
    if not _api(spec).compare_prompt_tokens:
        return "the server's prompt tokens are not compared with model.local (model.api.compare_prompt_tokens: false)"
    if not uncounted:
        return None
    return (
        f"the server did not count the tokens of {uncounted:,} of {texts:,} texts: for them it cannot be checked that "
        f"{spec.model.local} reads the same prompt"
    )


def _likely_reason(spec: Spec, there: int, here: int) -> str:
    """What makes the numbers differ most often, given what the spec says."""
    prompts = spec.prompts
    if not prompts.use_chat_template or prompts.chat_format not in ("auto", "if-any", "template"):
        return "the server uses a chat template, and the spec another format"
    if not prompts.add_generation_prompt:
        return "the server adds the header of the answer, prompts.add_generation_prompt: false does not"
    if there == here + 1:
        return "perhaps the server puts a second BOS before the prompt"
    if there > here:
        dates = (
            " or the date, which prompts.remove_date_lines: false keeps here too" if prompts.remove_date_lines else ""
        )
        return f"perhaps the server's template adds a system text{dates}"
    if there == here - 1:
        return "perhaps the server puts no BOS before the prompt"
    return "perhaps the server has another template, or leaves out tokens that it had in its cache"


def _api(spec: Spec) -> ApiOptions:
    return spec.model.api or ApiOptions()
