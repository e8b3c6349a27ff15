"""Chat templates: one begin-of-sequence token, the right end of turn, a system turn only where there is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.chat import ChatFormat
from lidr.errors import LidrError
from lidr.records import Turn
from tests import tiny

BOS, END = 1, 2
WITHOUT_BOS = tiny.TEMPLATE.replace("{{ bos_token }}", "")
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + tiny.TEMPLATE
)


@pytest.mark.parametrize("template", [tiny.TEMPLATE, WITHOUT_BOS])
def test_exactly_one_begin_of_sequence_token(template: str) -> None:
    """The template's own text plus the tokenizer's own token would be two: the released code's bug."""
    chat = ChatFormat(tiny.tokenizer(template), None)
    ids = chat.prompt_ids("hello", "<t>")
    assert ids.count(BOS) == 1
    assert ids[0] == BOS


def test_a_tokenizer_without_one_gets_none() -> None:
    assert BOS not in ChatFormat(tiny.tokenizer(WITHOUT_BOS, adds_bos=False), None).prompt_ids("hello")


def test_a_response_ends_in_the_templates_end_of_turn() -> None:
    chat = ChatFormat(tiny.tokenizer(), None)
    assert chat.response_ids("ab")[-1] == END
    assert chat.response_ids("ab").count(END) == 1
    template = tiny.TEMPLATE.replace("<end>", "</turn>")
    assert ChatFormat(tiny.tokenizer(template), None).end_of_turn_id == END


def test_the_system_prompt_is_used_where_the_template_has_a_place() -> None:
    assert "be kind" in ChatFormat(tiny.tokenizer(), "be kind").prompt_text("hello")
    assert "be kind" not in ChatFormat(tiny.tokenizer(REFUSES_SYSTEM), "be kind").prompt_text("hello")


def test_a_tokenizer_without_template_is_refused() -> None:
    bare = tiny.tokenizer()
    bare.chat_template = None
    with pytest.raises(LidrError, match="no chat template"):
        ChatFormat(bare, None)


@given(st.text(max_size=40), st.text(max_size=10))
def test_prompt_and_response_ids_decode_to_their_texts(user: str, response: str) -> None:
    chat = ChatFormat(tiny.tokenizer(), None)
    assert chat.batch_prompt_ids([Turn(user)]) == [chat.prompt_ids(user)]
    clean = not any(special in response for special in tiny.SPECIAL)
    assert not clean or chat.decode(chat.response_ids(response)) == response
