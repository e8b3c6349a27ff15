"""A tiny random Llama, a byte tokenizer with a chat template, pairs in three languages, and jobs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lidr.chat import ChatFormat
from lidr.config import RunConfig
from lidr.training import TrainingJob
from lidr.training.pairs import TokenPairs, read_pairs, tokenise
from tests.changed import placed

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m['role'][0] }}>{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)
SAMPLING = {"max_new_tokens": 8, "repetition_penalty": 1.0, "temperature": 0.0, "top_p": 1.0}
MAPPING: dict[str, Any] = {
    "name": "test",
    "seed": 0,
    "iterations": 2,
    "prompt_schedule": "fresh",
    "reference": "previous",
    "processes": "inline",
    "model": {"name": "tiny", "path": "tiny", "revision": None, "precision": "fp32", "system_prompt": None},
    "languages": {"dominant": "en", "non_dominant": ["es", "de"], "unseen": []},
    "prompts": {
        "name": "test",
        "format": "lab",
        "root": None,
        "files": [],
        "id_key": None,
        "prompt_key": "prompt",
        "answer_key": None,
        "strip_language_prefix": False,
        "instruction": None,
        "limit": 4,
        "shuffle": False,
        "on_incomplete": "error",
    },
    "engine": {
        "name": "transformers",
        "kind": "transformers",
        "batch_size": 4,
        "token_budget": None,
        "processes": 1,
        "sampling": SAMPLING,
    },
    "translator": {
        "kind": "self",
        "name": "self",
        "template": "{source} {target_language}",
        "open_tag": "<t>",
        "close_tag": "</t>",
        "sampling": SAMPLING,
    },
    "pairs": {
        "types": ["nl", "en"],
        "en_rejected": "last",
        "translation_requests": True,
        "filters": {
            "translation_error": True,
            "translation_incomplete_group": True,
            "empty": True,
            "truncated": True,
            "repetition": True,
            "repetition_max_share": 0.5,
            "identical": True,
            "off_target_chosen": False,
        },
    },
    "objective": {
        "name": "dpo",
        "beta": 0.1,
        "beta_end": None,
        "alpha": 1.0,
        "nll_norm": "sequence",
        "label_smoothing": 0.0,
        "target_margin": 0.0,
        "divergence": "reverse_kl",
        "divergence_alpha": 0.0,
    },
    "training": {
        "lr": 1e-3,
        "global_batch": 4,
        "token_budget": 160,
        "layout": "auto",
        "logits": "auto",
        "checkpointing": "auto",
        "compile": False,
        "epochs": 2,
        "max_length": 128,
        "too_long": "truncate",
        "schedule": "cosine",
        "warmup_ratio": 0.2,
        "weight_decay": 0.01,
        "adam_betas": [0.9, 0.999],
        "max_grad_norm": 1.0,
        "checkpoint_steps": 2,
    },
    "lora": {"rank": 0, "alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "trainer": {
        "accelerator": "cpu",
        "threads": 1,
        "precision": "fp32",
        "strategy": "none",
        "devices": 1,
        "nodes": 1,
    },
    "tracking": {
        "mode": "none",
        "project": "lidr",
        "entity": None,
        "group": None,
        "tags": [],
        "sample_pairs": 0,
    },
    "paths": {"outputs": "outputs", "data": None},
    "evaluation": {},
}
LORA = {"lora.rank": 2}

MakeConfig = Callable[..., RunConfig]
MakeJob = Callable[..., TrainingJob]


def pair_records(count: int = 11) -> list[dict[str, str]]:
    """Pairs of unlike lengths; every third is a dominant-language one."""
    records = []
    for i in range(count):
        language = ("en", "es", "de")[i % 3]
        nl = language != "en"
        records.append(
            {
                "id": f"p{i}",
                "language": language,
                "prompt": f"How many {'x' * (i % 5)} are {i}?",
                "chosen": f"They are {i * 7} {'yes ' * (i % 4)}.",
                "rejected": f"{'no ' * (1 + i % 6)}{i}",
                "chosen_origin": f"en->{language}" if nl else "en",
                "rejected_origin": language if nl else "es->en",
            }
        )
    return records


def write_records(path: Path, records: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    special = ["<bos>", "<end>", "<pad>", "<u>", "<a>", "<s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(special + alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<bos>", eos_token="<end>", pad_token="<pad>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special[3:]})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _build(folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int) -> str:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        attention_dropout=0.3,  # must not act
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def m_0(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> str:
    return _build(tmp_path_factory.mktemp("m_0"), tokenizer, seed=0)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> str:
    """Another model with the same tokenizer."""
    return _build(tmp_path_factory.mktemp("stranger"), tokenizer, seed=1)


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", pair_records())


@pytest.fixture(scope="session")
def chat(tokenizer: PreTrainedTokenizerFast) -> ChatFormat:
    return ChatFormat(tokenizer, None)


@pytest.fixture(scope="session")
def token_pairs(pairs_file: Path, chat: ChatFormat) -> TokenPairs:
    config = _config({})
    training = config.training
    return tokenise(read_pairs(pairs_file), chat, training.max_length, training.too_long, with_rejected=True)


def _config(overrides: dict[str, Any]) -> RunConfig:
    return placed(copy.deepcopy(MAPPING), overrides)


@pytest.fixture(scope="session")
def make_config() -> MakeConfig:
    """A configuration with dotted keys changed."""
    return lambda overrides=None: _config(overrides or {})


@pytest.fixture(scope="session")
def make_job(pairs_file: Path, m_0: str) -> MakeJob:
    """A job that writes into `root`."""

    def make(root: Path, overrides: dict[str, Any] | None = None, **fields: Any) -> TrainingJob:
        policy = fields.pop("policy", m_0)
        defaults: dict[str, Any] = {
            "config": _config({"model.path": m_0, **(overrides or {})}),
            "iteration": 1,
            "policy": policy,
            "reference": policy,
            "pairs": pairs_file,
            "build_pairs": None,
            "output": root / "model",
            "folder": root / "training",
        }
        return TrainingJob(**{**defaults, **fields})

    return make
