"""Which fields of a request a user may set, and which of them a cap understands.

A cap knows the price of a token and how many tokens a request can take at most. A field that changes either of them in
a way that the price table does not say would make the cap a wish. There is no end of such fields, so a cap on money
takes the fields named here, which are known to change neither, and refuses all others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from latentext.errors import SpecError
from latentext.spec import TEMPLATE_VARIABLES
from latentext.spec.limits import Limits

WHERE = "model.api.request"
OWN_FIELDS = ("model", "messages", "n", "stream")
"""Fields that the engine alone decides."""


def _functions_alone(tools: object) -> bool:
    """Tools that the server only writes calls for; its own, such as a search, are billed by the call."""
    return isinstance(tools, list) and all(
        isinstance(tool, Mapping) and tool.get("type") == "function" for tool in tools
    )


_SAMPLING = """temperature top_p top_k min_p typical_p tfs_z top_a epsilon_cutoff eta_cutoff seed stop stop_token_ids
    presence_penalty frequency_penalty repetition_penalty repeat_penalty repeat_last_n length_penalty
    no_repeat_ngram_size dry_multiplier dry_base dry_allowed_length dry_penalty_last_n xtc_probability xtc_threshold
    mirostat mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent samplers logit_bias bad_words allowed_token_ids
    min_tokens ignore_eos n_probs logprobs top_logprobs prompt_logprobs"""
_FORM = """max_tokens max_completion_tokens response_format functions function_call tool_choice parallel_tool_calls
    guided_json guided_regex guided_choice guided_grammar guided_decoding_backend structured_outputs grammar json_schema
    skip_special_tokens spaces_between_special_tokens include_stop_str_in_output add_generation_prompt
    continue_final_message verbosity reasoning_effort"""
_LABELS = "user metadata store safety_identifier prompt_cache_key cache_prompt cache_salt request_id priority"
FREE_FIELDS = frozenset(f"{_SAMPLING} {_FORM} {_LABELS}".split())
"""Fields that change neither the price of a token nor what a request can take at most."""

_FREE_VALUES: Mapping[str, Callable[[object], bool]] = {
    "tools": _functions_alone,
    "service_tier": lambda value: value == "default",
    "modalities": lambda value: value == ["text"],
}
_MORE_TOKENS = ("best_of", "prediction", "web_search_options", "audio", "use_beam_search", "num_beams")
"""Fields by which a server counts more tokens than the limit on the output says: a cap on tokens refuses them too."""


_OF_THE_PROMPT: Mapping[str, object] = {
    "chat_template": None, "documents": [], "tools": [], "functions": [], "reasoning_effort": None,
    "add_generation_prompt": True, "continue_final_message": False, "add_special_tokens": False,
    "truncate_prompt_tokens": None, "enable_thinking": None, "thinking": None,
}  # fmt: skip
"""Fields that change the prompt that the server makes of the messages, with the values that change nothing."""


def refuse_unrendered(fields: Mapping[str, Any]) -> None:
    """Refuse fields that change the server's prompt and not the one that a local model reads.

    Variables of the chat template (``chat_template_kwargs``) reach both.

    Raises:
        SpecError: the field is named.
    """
    for name, harmless in _OF_THE_PROMPT.items():
        value = fields.get(name)
        if value is None or value == harmless:
            continue
        raise SpecError(
            "changes the prompt at the server and not the one that model.local reads, whose states would be others",
            where=f"{WHERE}.{name}",
            remedy=f"give a variable of the chat template in {TEMPLATE_VARIABLES}, or do without states "
            "(--set states=null)",
        )


def refuse_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields that are the engine's own, that no JSON can hold, or that leave the output without a bound.

    Raises:
        SpecError: the field is named.
    """
    for name, value in fields.items():
        where = f"{WHERE}.{name}"
        if name in OWN_FIELDS:
            decided = {"model": "model.name", "n": "decoding.n"}.get(name)
            raise SpecError(
                "cannot be set here", where=where, remedy=f"it is decided by {decided}" if decided else "leave it out"
            )
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, TypeError, RecursionError):
            what = f"is {value!r}" if isinstance(value, float) else "holds something that JSON cannot hold"
            raise SpecError(what, where=where, remedy="give finite numbers, texts, lists and objects") from None


def refuse_uncovered(fields: Mapping[str, Any], limits: Limits, where: str = WHERE) -> None:
    """Refuse fields that cost what a cap cannot know.

    Args:
        fields: those that the user set, or a whole request body of a file.

    Raises:
        SpecError: there is a cap, and a field that may break it.
    """
    for name, value in fields.items():
        if value is None or name in OWN_FIELDS:
            continue
        free = _FREE_VALUES[name](value) if name in _FREE_VALUES else name in FREE_FIELDS
        if limits.max_cost is not None and not free:
            remedy = "leave it out, or cap tokens instead: --max-tokens-total"
            if name in _MORE_TOKENS:
                remedy = "leave it out, or set no cap"
            raise SpecError(
                "may change what a request costs, and the price table does not say how, so --max-cost cannot be kept",
                where=f"{where}.{name}",
                remedy=remedy,
                heading="Quota and budgets",
            )
        tools = name == "tools" and not free
        if limits.max_tokens_total is not None and (name in _MORE_TOKENS or tools):
            raise SpecError(
                "may take more tokens than the limit on the output, so --max-tokens-total cannot be kept",
                where=f"{where}.{name}",
                remedy="leave it out, or set no cap",
                heading="Quota and budgets",
            )
