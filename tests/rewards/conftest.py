"""Reward models of the published architectures, with random weights and small tokenizers made here.

The published weights are hundreds of megabytes; what can go wrong without them (input format, padding, the place of
the logit) shows on any weights. Weights are drawn wide, so that no two texts score nearly alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Tokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2Tokenizer,
)

from latentext.rewards import Candidate

CORPUS = [
    "What are some pranks with a pen i can do? The school is so chill.",
    "How much alcohol can I drink per day? How many people are allowed to have lunch?",
    "Human: tell me a joke Assistant: a man walks into a bar, and it was not very funny.",
    "The film was wonderful, the actors were great, and I would see it again and again!",
    "It was the most boring hour and a half of my life; do not waste your money on it.",
]


@pytest.fixture(scope="session")
def candidates() -> list[Candidate]:
    """Prompts and continuations of very different lengths, an empty one, one with odd white space."""
    return [
        Candidate("What are some pranks", " with a pen i can do? The school is so chill, and it was great fun."),
        Candidate("How much alcohol can I drink per day?", " A lot."),
        Candidate("Tell me a joke {prompt}", "\n\nA man walks into a bar.\n "),
        Candidate("The film was", ""),
        Candidate("It was", " the most boring hour and a half of my life; do not waste your money on it." * 3),
        Candidate("The film was", " wonderful!"),
    ]


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Ray2333/gpt2-large-helpful-reward_model: GPT-2, one label, a tokenizer without a padding token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(tokenizer, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]))
    backend = tokenizer.to_str()
    end = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=4, n_positions=128, num_labels=1, **end)
    wrapped = GPT2Tokenizer(vocab=_model_part(backend)["vocab"], merges=_merges(backend), model_max_length=128)
    return _save(tmp_path_factory, GPT2ForSequenceClassification(config), wrapped)


@pytest.fixture(scope="session")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As lvwerra/distilbert-imdb: DistilBERT, two labels."""
    wrapped = _bert_tokenizer()
    config = DistilBertConfig(
        vocab_size=len(wrapped), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64, num_labels=2
    )
    return _save(tmp_path_factory, DistilBertForSequenceClassification(config), wrapped)


@pytest.fixture(scope="session")
def simcse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As princeton-nlp/sup-simcse-bert-base-uncased: BERT with its pooler."""
    wrapped = _bert_tokenizer()
    config = BertConfig(
        vocab_size=len(wrapped),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    return _save(tmp_path_factory, BertModel(config), wrapped)


@pytest.fixture(scope="session")
def deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As OpenAssistant/reward-model-deberta-v3-large-v2: DeBERTa-v3 (relative positions in buckets), one label."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    _train(tokenizer, trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="[UNK]"))
    pieces = [tuple(piece) for piece in _model_part(tokenizer.to_str())["vocab"]]
    wrapped = DebertaV2Tokenizer(vocab=pieces, model_max_length=64)
    config = DebertaV2Config(
        vocab_size=len(wrapped),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        num_labels=1,
        pooler_hidden_size=32,
    )
    return _save(tmp_path_factory, DebertaV2ForSequenceClassification(config), wrapped)


def _bert_tokenizer() -> BertTokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    return BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=64)


def _train(tokenizer: Tokenizer, trainer: Any) -> None:
    trainer.show_progress = False
    tokenizer.train_from_iterator(CORPUS, trainer)


def _model_part(backend: str) -> dict[str, Any]:
    return json.loads(backend)["model"]


def _merges(backend: str) -> Iterable[tuple[str, str]]:
    return [tuple(merge) for merge in _model_part(backend)["merges"]]


def _save(tmp_path_factory: pytest.TempPathFactory, model: Any, tokenizer: Any) -> Path:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
    folder = tmp_path_factory.mktemp(type(model).__name__)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
