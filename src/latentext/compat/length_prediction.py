"""The functions of the output-length experiments, by their own names.

Example:
    >>> from latentext.compat.length_prediction import generate_prompt, load_model
    >>> model, tokenizer = load_model()                                                 # doctest: +SKIP
    >>> prompt = generate_prompt(tokenizer, 'Say "{word}" twice.', word="hi")           # doctest: +SKIP
"""

from latentext.export.saving import save_dataset
from latentext.studies.length.extract import apply_chat_template, extract_hidden_states, generate_prompt, load_model

__all__ = ["apply_chat_template", "extract_hidden_states", "generate_prompt", "load_model", "save_dataset"]
