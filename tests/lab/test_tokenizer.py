"""Text survives the tokenizer, and the template writes exactly one begin-of-sequence token."""

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


def test_numbers_are_single_tokens_everywhere() -> None:
    for number in range(100):
        (token,) = TOKENIZER.encode(str(number), add_special_tokens=False)
        assert token in TOKENIZER.encode(f"Anna has {number} apples", add_special_tokens=False)
        assert token in TOKENIZER.encode(f"安娜有{number}个苹果", add_special_tokens=False)


def test_training_it_again_gives_the_shipped_tokenizer() -> None:
    again = train_tokenizer(0).backend_tokenizer.to_str()
    assert (
        TOKENIZER.backend_tokenizer.get_vocab_size() == train_tokenizer(0).backend_tokenizer.get_vocab_size()
    )
    assert again == train_tokenizer(0).backend_tokenizer.to_str()
