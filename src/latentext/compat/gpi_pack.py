"""The extraction function of gpi-pack, by its own name: one vector for each text of a table.

Example:
    >>> from latentext.compat.gpi_pack import extract_and_save_hidden_states            # doctest: +SKIP
    >>> extract_and_save_hidden_states(prompts=["A review."], output_hidden_dir="out")  # doctest: +SKIP
"""

from latentext.studies.represent.extract import extract_and_save_hidden_states

__all__ = ["extract_and_save_hidden_states"]
