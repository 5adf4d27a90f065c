"""The model's own byte-level BPE tokenizer and its Llama-3-style chat template.

Numbers 0–100 and the words of the lists get one token with and one without a leading space: a count is then one token,
and one repetition is one token, whatever stands before it. Bytes are the base alphabet, so any text encodes.
"""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tiny import words
from tiny.corpus import sample_at
from tiny.dialogue import PlainText

BOS, END_OF_TEXT, EOT, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|pad|>"
START_HEADER, END_HEADER = "<|start_header_id|>", "<|end_header_id|>"
SPECIAL_TOKENS = [BOS, END_OF_TEXT, START_HEADER, END_HEADER, EOT, PAD]
VOCABULARY_SIZE = 5120
CONTEXT = 2048
TRAINING_TEXTS = 40_000
LATE_STEP = 1_000
"""A step at which texts have every length and every kind its full share."""
LIST_WORD_WEIGHT = 400
"""How often the tokenizer's text holds each list word: enough for a token, little enough to leave room for others."""

FAMILIES_OF_ODD_TEXT = ("copying", "marks")
"""Left out, as are the answers of counting: pieces of invented words would take the place of real ones."""

SPLIT = Regex(r"'(?:s|t|re|ve|m|d|ll)| ?\p{L}+| ?100(?!\d)| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]|\s*[\r\n]+|\s+(?!\S)|\s+")
CUTOFF_LINE = "Cutting Knowledge Date: November 2026"
FIXED_DATE = "21 Nov 2026"
CHAT_TEMPLATE = """\
{%- if date_string is not defined -%}
  {%- if strftime_now is defined -%}
    {%- set date_string = strftime_now("%d %b %Y") -%}
  {%- else -%}
    {%- set date_string = "{FIXED_DATE}" -%}
  {%- endif -%}
{%- endif -%}
{%- set instructions = "" -%}
{%- set turns = messages -%}
{%- if messages and messages[0]["role"] == "system" -%}
  {%- set instructions = messages[0]["content"] | trim -%}
  {%- set turns = messages[1:] -%}
{%- endif -%}
{{- bos_token + "<|start_header_id|>system<|end_header_id|>\\n\\n" -}}
{{- "{CUTOFF_LINE}\\n" -}}
{{- "Today Date: " + date_string + "\\n\\n" -}}
{{- instructions + "<|eot_id|>" -}}
{%- for turn in turns -%}
  {{- "<|start_header_id|>" + turn["role"] + "<|end_header_id|>\\n\\n" + turn["content"] | trim + "<|eot_id|>" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" -}}
{%- endif -%}
""".replace("{FIXED_DATE}", FIXED_DATE).replace("{CUTOFF_LINE}", CUTOFF_LINE)


def list_words() -> set[str]:
    """Every word of every list, names and places included."""
    lists = [value for name, value in vars(words).items() if isinstance(value, list) and name != "COMMON_WORDS"]
    return {word for entries in lists for word in entries}


def _training_texts(seed: int) -> Iterator[str]:
    """Made texts, then the list words and numbers often enough that each becomes one token in both forms."""
    for place in range(TRAINING_TEXTS):
        sample = sample_at(seed, LATE_STEP, place)
        if isinstance(sample, PlainText):
            yield sample.text
        elif sample.family not in FAMILIES_OF_ODD_TEXT:
            yield f"{sample.system}\n{sample.user}"
            yield sample.answer if sample.family != "repetition" else ""
    numbers = {str(number) for number in range(101)} | {f"{number:02d}" for number in range(10)}
    for unit in sorted(list_words() | numbers):
        yield "\n".join([unit] * LIST_WORD_WEIGHT + [f" {unit}" * LIST_WORD_WEIGHT])
    for unit in words.COMMON_WORDS:
        yield f" {unit}" * LIST_WORD_WEIGHT
    yield from ["\n\nx", "\n\n\nx"] * TRAINING_TEXTS


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A BPE vocabulary over the made text; the result depends on the seed and the word lists only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(SPLIT, behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(seed), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        additional_special_tokens=[END_OF_TEXT, START_HEADER, END_HEADER],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def load_or_train(folder: Path, seed: int) -> PreTrainedTokenizerFast:
    """The tokenizer kept in ``folder``, made there at the first call: a run never changes its vocabulary midway."""
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(seed).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)
