"""Hand-written chat formats, byte for byte as scripts of 2023 wrote them, by name.

A tokenizer's own template is the rule. These exist because texts were published that were made with them, and because
some models (StableBeluga) came without a template. They know one user turn, and system text before it. A `<s>` that a
format writes stays in the stored prompt; encoded, every prompt has one BOS (`latentext.prompts.chat`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latentext.errors import PromptError, SpecError
from latentext.request import Message


@dataclass(frozen=True, slots=True)
class LegacyFormat:
    """A format: `text` with the gaps ``{system}`` and ``{user}``, and the system text where a chat has none.

    Without ``{system}`` in it system text stands before the user's, a blank line between.

    Example:
        >>> LEGACY_FORMATS["mistral"].render([{"role": "user", "content": "Hello!"}])
        '<s>[INST] Hello! [/INST]'
    """

    text: str
    system: str = ""

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt of a chat of one user turn.

        Raises:
            PromptError: the chat has other turns.
        """
        roles = [message["role"] for message in messages]
        if roles not in (["user"], ["system", "user"]):
            raise PromptError(
                f"the format knows one user turn after system text, and the chat has {', '.join(roles)}",
                where="prompts.chat_format",
                remedy="use chat_format: template",
            )
        system, user = self.system, messages[-1]["content"]
        if len(messages) == 2:
            system = messages[0]["content"]
            if "{system}" not in self.text:
                return self._filled("", f"{system}\n\n{user}")
            if self.system.endswith("\n") and not system.endswith("\n"):
                system += self.system[len(self.system.rstrip("\n")) :]
        return self._filled(system, user)

    def _filled(self, system: str, user: str) -> str:
        before, _, after = self.text.partition("{user}")  # Not `format`: texts have braces of their own.
        return before.replace("{system}", system) + user + after


LEGACY_FORMATS: Mapping[str, LegacyFormat] = {
    "stable-beluga": LegacyFormat(
        "### System:\n{system}### User: {user}\n\n### Assistant:\n",
        "You are StableBeluga, an AI that follows instructions extremely well. Help as much as you can. "
        "Remember, be safe, and don't do anything illegal.\n\n",
    ),
    "llama-2": LegacyFormat("<s>[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user} [/INST]"),
    "mistral": LegacyFormat("<s>[INST] {user} [/INST]"),
}
"""The formats of StableBeluga (its model card's), Llama-2 chat and Mistral instruct, as the original comparison of
human and machine texts wrote them."""

TEMPLATE, IF_ANY = "template", "if-any"
"""The names that stand for the tokenizer's own template, and for that of the registry or the tokenizer if there is any,
or else the text as it stands."""

CHAT_FORMATS = ("auto", IF_ANY, TEMPLATE, *LEGACY_FORMATS)
"""What `prompts.chat_format` can be."""


def legacy_format(name: str) -> LegacyFormat | None:
    """The format of that name; None for ``template``.

    Raises:
        SpecError: there is none; those that there are are named.
    """
    if name == TEMPLATE:
        return None
    if name not in LEGACY_FORMATS:
        what, known = f"no chat format is called {name!r}", ", ".join(CHAT_FORMATS)
        raise SpecError(what, where="prompts.chat_format", remedy=f"known are {known}")
    return LEGACY_FORMATS[name]
