"""Text as treatment: for each text one vector from inside the model that wrote it (or repeated it).

`extract` makes the texts and the files, `fidelity` tells how faithful the repeats are, `segments` cuts states at
sentence ends for dynamic designs, `components` shortens the vectors. The guide is docs/represent.md.
"""

from latentext.recipes.represent.components import Components, principal_components
from latentext.recipes.represent.extract import Representation, extract_and_save_hidden_states
from latentext.recipes.represent.fidelity import Fidelity, fidelity_table
from latentext.recipes.represent.segments import Segments, segment_states, sentence_ends

__all__ = [
    "Components",
    "Fidelity",
    "Representation",
    "Segments",
    "extract_and_save_hidden_states",
    "fidelity_table",
    "principal_components",
    "segment_states",
    "sentence_ends",
]
