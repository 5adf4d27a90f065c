"""Counterfactual pairs: prompts that differ in exactly one token under several tokenizers at once.

No part of this needs torch, except for tokenizers that exist only in an old format and for chat templates, which
transformers reads.
"""

from latentext.studies.pairs.answers import AnswerCheck, check_answers
from latentext.studies.pairs.bank import Slot, WordBank, WordCandidate, load_bank
from latentext.studies.pairs.checks import FormCheck, PairCheck, Reason
from latentext.studies.pairs.files import check_place, read_columns, read_scenarios, write_scenarios
from latentext.studies.pairs.forms import BARE, Form, with_terminal_mark
from latentext.studies.pairs.scenario import Scenario, in_forms
from latentext.studies.pairs.splits import split_scenarios
from latentext.studies.pairs.substitution import choose, screen, substitute
from latentext.studies.pairs.tally import ReasonTally
from latentext.studies.pairs.task import PairTask, failing_examples, load_task
from latentext.studies.pairs.tokenizer import DEFAULT_TOKENIZERS, PairTokenizer, load_tokenizer, load_tokenizers
from latentext.studies.pairs.validation import validate_pairs, validate_texts

__all__ = [
    "BARE",
    "DEFAULT_TOKENIZERS",
    "AnswerCheck",
    "Form",
    "FormCheck",
    "PairCheck",
    "PairTask",
    "PairTokenizer",
    "Reason",
    "ReasonTally",
    "Scenario",
    "Slot",
    "WordBank",
    "WordCandidate",
    "check_answers",
    "check_place",
    "choose",
    "failing_examples",
    "in_forms",
    "load_bank",
    "load_task",
    "load_tokenizer",
    "load_tokenizers",
    "read_columns",
    "read_scenarios",
    "screen",
    "split_scenarios",
    "substitute",
    "validate_pairs",
    "validate_texts",
    "with_terminal_mark",
    "write_scenarios",
]
