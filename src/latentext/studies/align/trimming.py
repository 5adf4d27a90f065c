"""Cut a continuation back to its last full sentence, so that a length limit does not leave half of one."""

from __future__ import annotations

from latentext.sentences import SENTENCE_END


def trim_to_sentence(prompt: str, generated: str) -> str:
    """Cut `generated` (the prompt and its continuation) back to the end of its last full sentence.

    A sentence ends with ., !, ? or … (and closing quotes or brackets) before white space or the end of the text. A
    comma at the very end counts as a full stop, and becomes one. Where no sentence ends in the continuation, the prompt
    alone is left. Abbreviations ("Dr. ") pass for sentence ends.

    Example:
        >>> trim_to_sentence("Hello", "Hello there. How are")
        'Hello there.'
        >>> trim_to_sentence("A", "A,")
        'A.'
        >>> trim_to_sentence("What now?", "What now? I do not")
        'What now?'
    """
    text = generated.rstrip()
    if text.endswith(","):
        text = text[:-1] + "."
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    if not ends or ends[-1] <= len(prompt):
        return prompt
    return text[: ends[-1]]
