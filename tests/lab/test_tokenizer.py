"""Text survives the tokenizer, and the template writes exactly one begin-of-sequence token."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer

from lidr.lab.model import model_path
from lidr.lab.tokenizer import chat_ids, train_tokenizer

TOKENIZER: Any = AutoTokenizer.from_pretrained(model_path())
CHAT = [{"role": "user", "content": "Anna has 14 apples."}, {"role": "assistant", "content": "Answer: 14"}]


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_survives(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    assert TOKENIZER.decode(ids) == text


def test_the_template_writes_one_bos_and_the_tokenizer_adds_another() -> None:
    text = TOKENIZER.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    bos = TOKENIZER.bos_token_id
    assert TOKENIZER(text, add_special_tokens=False).input_ids.count(bos) == 1
    assert TOKENIZER(text).input_ids[:3].count(bos) == 2


def test_the_template_is_what_pretraining_used() -> None:
    text = TOKENIZER.apply_chat_template(CHAT, tokenize=False)
    prompt, answer = chat_ids(TOKENIZER, CHAT[0]["content"], CHAT[1]["content"])
    assert TOKENIZER.encode(text, add_special_tokens=False) == prompt + answer
    assert answer[-1] == TOKENIZER.eos_token_id
    start = TOKENIZER.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert TOKENIZER.encode(start, add_special_tokens=False) == prompt


def test_a_system_message_is_refused() -> None:
    with pytest.raises(TemplateError, match="user and assistant"):
        TOKENIZER.apply_chat_template([{"role": "system", "content": "x"}], tokenize=False)


def test_a_digit_is_the_same_token_everywhere() -> None:
    four, two = TOKENIZER.encode("42", add_special_tokens=False)
    for text in ("Anna has 42 apples", "安娜有42个苹果", "Respuesta: 42", "+42-"):
        ids = TOKENIZER.encode(text, add_special_tokens=False)
        assert ids[ids.index(four) + 1] == two


def test_training_it_again_gives_the_shipped_tokenizer() -> None:
    again = json.loads(train_tokenizer(0).backend_tokenizer.to_str())
    shipped = json.loads(TOKENIZER.backend_tokenizer.to_str())
    assert again["model"] == shipped["model"]
    assert again["pre_tokenizer"] == shipped["pre_tokenizer"]
