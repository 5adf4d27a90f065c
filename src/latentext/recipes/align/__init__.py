"""Value-aligned sampling as people run it: `TextGeneration` and the functions behind ``latentext align``.

`generation` makes a bank as an ordinary dataset directory and draws from it, `text_bank` opens one, `texts` turns
weights into texts, `pictures` and `reporting` show what a λ does. The arithmetic is `latentext.align`; the guide is
docs/align.md.
"""

from latentext.recipes.align.generation import BASE_MODELS, Sampled, TextGeneration
from latentext.recipes.align.text_bank import TextBank, open_bank
from latentext.recipes.align.texts import candidate_rows, chosen_texts

__all__ = [
    "BASE_MODELS",
    "Sampled",
    "TextBank",
    "TextGeneration",
    "candidate_rows",
    "chosen_texts",
    "open_bank",
]
