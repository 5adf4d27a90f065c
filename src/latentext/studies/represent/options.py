"""The two dictionaries of options that scripts of the field pass on to the tokenizer and to ``generate``.

Each option is either put into the words of a spec or refused by name: an option that is silently ignored gives numbers
that are not what their author thinks they are. The caller's dictionaries are only read.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from rapidfuzz.distance import OSA

from latentext.errors import ArgumentError

TOKENIZER_OPTIONS = ("add_generation_prompt", "remove_date_lines", "use_chat_template")
"""What `tokenizer_config` may hold, all true or false."""

MODEL_OPTIONS = {
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "min_new_tokens": "min_new_tokens",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop_strings": "stop",
    "stop": "stop",
}
"""What `model_config` may hold, and the field of `latentext.spec.Decoding` that it sets."""

_SAMPLING = "the vector must follow from the prompt alone, so decoding is always greedy"
_ARGUMENT = "it is an argument of its own"
_OURS = "the states are read and stored by latentext"
_REFUSED = {
    "num_beams": "a beam's states belong to several texts, and decoding is always greedy",
    "num_return_sequences": "there is one text a prompt",
    **dict.fromkeys(("do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "seed"), _SAMPLING),
    "max_new_tokens": _ARGUMENT,
    **dict.fromkeys(("output_hidden_states", "return_dict_in_generate", "pad_token_id", "use_cache"), _OURS),
}
_SAYS_GREEDY = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "use_cache": True}


def prompt_options(tokenizer_config: Mapping[str, Any] | None) -> dict[str, bool]:
    """The fields of `latentext.spec.PromptSpec` that `tokenizer_config` sets.

    Raises:
        ArgumentError: an option that there is not, or a value that is not true or false.

    Example:
        >>> prompt_options({"add_generation_prompt": False})
        {'add_generation_prompt': False}
    """
    options = _mapping(tokenizer_config, "tokenizer_config")
    for name, value in options.items():
        if name not in TOKENIZER_OPTIONS:
            raise ArgumentError(
                f"tokenizer_config has the option {name!r}, which is not supported",
                remedy=f"options are: {', '.join(TOKENIZER_OPTIONS)}",
            )
        if not isinstance(value, bool):
            raise ArgumentError(f"tokenizer_config[{name!r}] is {value!r}", remedy="give True or False")
    return options


def decoding_options(model_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of `latentext.spec.Decoding` that `model_config` sets; None is the same as leaving an option out.

    Raises:
        ArgumentError: an option that is refused, with the reason, or that there is not.

    Example:
        >>> decoding_options({"no_repeat_ngram_size": 3, "do_sample": False, "temperature": None})
        {'no_repeat_ngram_size': 3}
    """
    fields: dict[str, Any] = {}
    for name, value in _mapping(model_config, "model_config").items():
        if value is None or (name in _SAYS_GREEDY and value == _SAYS_GREEDY[name]):
            continue
        if name in _REFUSED:
            raise ArgumentError(f"model_config has {name}={value!r}: {_REFUSED[name]}", remedy="leave it out")
        if name not in MODEL_OPTIONS:
            raise ArgumentError(
                f"model_config has the option {name!r}, which is not supported",
                remedy=f"options are: {', '.join(MODEL_OPTIONS)}",
            )
        fields[MODEL_OPTIONS[name]] = value
    return fields


def _mapping(options: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise ArgumentError(f"{name} is a {type(options).__name__}", remedy="give a dictionary")
    return dict(options or {})


SYSTEM_TEXTS = {
    "create": "You write the text that the user asks for, and nothing else.",
    "repeat": "You are a text generator who always repeats the text of the user verbatim.",
}
"""The system text of each named task."""


def system_text(task_type: str) -> str:
    """What the model is told: the text of a named task; any other string is the system text itself.

    A string that is one slip of the keyboard away from a task's name is probably meant to be it: that warns.

    Raises:
        ArgumentError: no string, or nothing but white space.

    Example:
        >>> system_text("Answer in one sentence.")
        'Answer in one sentence.'
    """
    if not isinstance(task_type, str) or not task_type.strip():
        raise ArgumentError(f"task_type is {task_type!r}", remedy="use create, repeat, or a system text of your own")
    if task_type in SYSTEM_TEXTS:
        return SYSTEM_TEXTS[task_type]
    for name in SYSTEM_TEXTS:
        if OSA.distance(task_type.strip().lower(), name) <= 1:
            warnings.warn(
                f"task_type {task_type!r} is taken as a system text; for the task write {name!r}", stacklevel=3
            )
    return task_type
