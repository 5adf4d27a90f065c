"""The functions of the output-length experiments, by their own names.

Example:
    >>> from latentext.compat.length_prediction import generate_prompt
    >>> generate_prompt("Say {word} {count} times.", word="hi", count=2)
    'Say hi 2 times.'
"""

from latentext.export.saving import save_dataset
from latentext.studies.length.extract import apply_chat_template, extract_hidden_states, generate_prompt, load_model

__all__ = ["apply_chat_template", "extract_hidden_states", "generate_prompt", "load_model", "save_dataset"]
