"""The functions of the output-length experiments, by their own names.

Example:
    >>> from latentext.compat.length_prediction import generate_prompt
    >>> generate_prompt("hello", 2)
    'Print exactly 2 repetitions of the following word: "hello".'
"""

from latentext.export.saving import save_dataset
from latentext.studies.length.extract import apply_chat_template, extract_hidden_states, generate_prompt, load_model

__all__ = ["apply_chat_template", "extract_hidden_states", "generate_prompt", "load_model", "save_dataset"]
