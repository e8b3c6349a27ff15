"""The openai engine: what it sends, and what it makes of answers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from lidr.chat import ChatFormat
from lidr.config import EndpointApi, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.endpoint_prompts import _Templated
from lidr.engines.seeds import request_seed
from lidr.errors import LidrError
from tests import tiny
from tests.engines.endpoints import GREEDY, SAMPLED, answers, engine, requests
from tests.engines.fault_server import Reply, Seen, completion, error, message, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHAT = {"api": EndpointApi.CHAT}
TAGGED = Request("t", "translate", "<t>", ("</t>",))


def one(seen: Seen) -> Reply:
    return Reply(body=completion("yes"))


def test_a_completion_is_asked_for_with_a_templated_text(tmp_path: Path, tokenizer: str) -> None:
    with serving(one) as server:
        found = answers(engine(server.url, tmp_path, tokenizer), [Request("k", "hello", "<t>")])
    assert found == {"k": Completion("k", "yes", FinishReason.STOP, 5)}
    assert [seen.path for seen in server.seen] == ["/v1/completions"]
    assert server.seen[0].fields == {
        "model": "M",
        "prompt": "<u>hello<end><a><t>",  # the server's tokenizer writes <s> before it
        "max_tokens": 20,
        "temperature": 0.0,
    }


def test_a_chat_is_asked_for_with_messages(tmp_path: Path) -> None:
    with serving(lambda seen: Reply(body=message("yes"))) as server:
        asked = engine(server.url, tmp_path, system_prompt="Be brief.", **CHAT)
        assert answers(asked, [Request("k", "hello", "<t>")])["k"].text == "yes"
    assert server.seen[0].path == "/v1/chat/completions"
    assert server.seen[0].fields["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
    ]


def test_earlier_turns_go_before_the_question(tmp_path: Path, tokenizer: str) -> None:
    wanted = [Request("k", "and now?", before=(("hello", "hi"),))]
    with serving(lambda seen: Reply(body=message("yes"))) as server:
        answers(engine(server.url, tmp_path, **CHAT), wanted)
        said = server.seen[0].fields["messages"]
    assert said == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": "and now?"},
    ]
    with serving(one) as server:
        answers(engine(server.url, tmp_path, tokenizer), wanted)
    assert server.seen[0].fields["prompt"] == "<u>hello<end><a>hi<end><u>and now?<end><a>"


@pytest.mark.parametrize(
    ("template", "adds_bos"),
    [
        (tiny.TEMPLATE, True),
        (tiny.TEMPLATE, False),
        (tiny.TEMPLATE.replace("{{ bos_token }}", ""), True),
        (tiny.TEMPLATE.replace("{{ bos_token }}", ""), False),
    ],
)
def test_the_server_reads_the_tokens_that_an_own_engine_reads(template: str, adds_bos: bool) -> None:
    made = tiny.tokenizer(template, adds_bos)
    chat = ChatFormat(made, None)
    prompt = _Templated(chat, None).prompt(Request("k", "hello <s> there", "<t>"))
    ids = made(prompt.fields["prompt"])["input_ids"]
    assert ids == chat.prompt_ids("hello <s> there", "<t>")
    assert prompt.tokens == len(ids)
    assert ids[:2].count(made.bos_token_id) == int(adds_bos or "bos_token" in template)


def test_tokens_are_sent_where_no_text_gives_them() -> None:
    """A tokenizer that also writes an end of sequence, which no prompt has."""

    class Ending(PreTrainedTokenizerFast):
        def __call__(self, *args: object, **kwargs: object) -> object:
            made = super().__call__(*args, **kwargs)  # type: ignore[arg-type]
            if kwargs.get("add_special_tokens", True) and isinstance(args[0], str):
                made["input_ids"] = [*made["input_ids"], 2]
            return made

    made = tiny.tokenizer()
    ending = Ending(tokenizer_object=made._tokenizer, bos_token="<s>", eos_token="<end>", pad_token="<pad>")
    ending.chat_template = tiny.TEMPLATE
    chat = ChatFormat(ending, None)
    assert _Templated(chat, None).prompt(Request("k", "hi")).fields == {"prompt": chat.prompt_ids("hi")}


def test_sampling_has_a_seed_for_every_request(tmp_path: Path, tokenizer: str) -> None:
    with serving(one) as server:
        asked = engine(server.url, tmp_path, tokenizer, seed=3)
        answers(asked, requests(5), SAMPLED)
        answers(asked, reversed(requests(5)), SAMPLED)
    seeds = {seen.prompt: set() for seen in server.seen}
    for seen in server.seen:
        assert (seen.fields["temperature"], seen.fields["top_p"]) == (0.7, 0.9)
        seeds[seen.prompt].add(seen.fields["seed"])
    assert seeds == {f"word {i}": {request_seed(3, f"k{i}")} for i in range(5)}


def test_the_iteration_stands_in_the_models_name(tmp_path: Path, tokenizer: str) -> None:
    with serving(one) as server:
        asked = engine(server.url, tmp_path, tokenizer, iteration=2, model="M{iteration}-{x}-{0}")
        answers(asked, requests(1))
    assert server.seen[0].fields["model"] == "M2-{x}-{0}"


def test_a_penalty_is_sent_and_a_server_that_does_not_know_it_is_named(
    tmp_path: Path, tokenizer: str
) -> None:
    def script(seen: Seen) -> Reply:
        text = "Unrecognized request argument supplied: repetition_penalty"
        return (
            Reply(400, error(text)) if "repetition_penalty" in seen.fields else Reply(body=completion("yes"))
        )

    with serving(script) as server:
        asked = engine(server.url, tmp_path, tokenizer)
        with pytest.raises(LidrError, match=r"type engine\.sampling\.repetition_penalty=1 "):
            answers(asked, requests(1), SamplingConfig(20, 1.1))
        assert len(answers(asked, requests(1), SamplingConfig(20, 1.0))) == 1
    assert [seen.fields.get("repetition_penalty") for seen in server.seen] == [1.1, None]


@pytest.mark.parametrize("order", [lambda i: i, lambda i: -i, lambda i: i * 7 % 5])
def test_answers_do_not_depend_on_the_order_in_which_they_come(
    tmp_path: Path, tokenizer: str, order: object
) -> None:
    def script(seen: Seen) -> Reply:
        number = int(seen.prompt.removeprefix("word "))
        late = (order(number) % 12) * 0.005  # type: ignore[operator]
        return Reply(body=completion(f"answer {number}", usage=(10, number)), after=late)

    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, tokenizer, concurrency=12), requests(12))
    assert found == {f"k{i}": Completion(f"k{i}", f"answer {i}", FinishReason.STOP, i) for i in range(12)}


def test_requests_are_read_as_they_are_sent(tmp_path: Path, tokenizer: str) -> None:
    read: list[str] = []

    def reading() -> Iterator[Request]:
        for request in requests(40):
            read.append(request.key)
            yield request

    together = threading.Barrier(4, timeout=30)

    def script(seen: Seen) -> Reply:
        if int(seen.prompt.removeprefix("word ")) < 4:
            together.wait()
        return Reply(body=completion("yes"))

    with serving(script) as server:
        landed = 0
        for batch in engine(server.url, tmp_path, tokenizer, concurrency=4).stream(reading(), GREEDY):
            landed += len(batch)
            assert len(read) <= landed + 4
    assert landed == len(server.seen) == 40
    assert server.most == 4


def test_what_is_done_is_not_asked_again(tmp_path: Path, tokenizer: str) -> None:
    with serving(one) as server:
        found = answers(engine(server.url, tmp_path, tokenizer), requests(6), done=frozenset({"k0", "k4"}))
        assert sorted(found) == ["k1", "k2", "k3", "k5"]
        assert (
            answers(
                engine(server.url, tmp_path, tokenizer), requests(6), done=frozenset(found) | {"k0", "k4"}
            )
            == {}
        )
    assert sorted(server.prompts) == ["word 1", "word 2", "word 3", "word 5"]


def test_a_text_is_cut_after_its_first_stop_text(tmp_path: Path, tokenizer: str) -> None:
    """Where a server does not say what ended an answer, it is not asked to stop: it might hide the stop text."""
    with serving(lambda seen: Reply(body=completion("hallo</t> and more</t>", "length", (10, 20)))) as server:
        asked = engine(server.url, tmp_path, tokenizer, concurrency=1)
        found = answers(asked, [TAGGED, Request("u", "again", "<t>", ("</t>",))])
    assert found["t"] == Completion("t", "hallo</t>", FinishReason.STOP, 20)
    assert not any("stop" in seen.fields for seen in server.seen)


def test_a_server_that_names_the_stop_text_is_asked_to_stop(tmp_path: Path, tokenizer: str) -> None:
    def script(seen: Seen) -> Reply:
        stopped = "stop" in seen.fields
        text = "hallo" if stopped else "hallo</t> and more"
        return Reply(body=completion(text, stop_reason="</t>" if stopped else None))

    wanted = [Request(f"k{i}", f"word {i}", "<t>", ("</t>",)) for i in range(3)]
    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, tokenizer, concurrency=1), wanted)
    assert {c.text for c in found.values()} == {"hallo</t>"}
    assert [seen.fields.get("stop") for seen in server.seen] == [None, ["</t>"], ["</t>"]]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<t>hallo</t>", "hallo</t>"),
        ("\n <t>hallo</t>", "hallo</t>"),
        ("hallo</t>", "hallo</t>"),
        ("Sure: <t>hallo</t>", "Sure: <t>hallo</t>"),
        (None, ""),
    ],
)
def test_a_chats_answer_does_not_repeat_the_prefill(tmp_path: Path, said: str | None, text: str) -> None:
    with serving(lambda seen: Reply(body=message(said))) as server:
        assert answers(engine(server.url, tmp_path, **CHAT), [TAGGED])["t"].text == text


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.LENGTH),
        ("tool_calls", FinishReason.STOP),
    ],
)
def test_finish_reasons(tmp_path: Path, tokenizer: str, reason: str, finish: FinishReason) -> None:
    with serving(lambda seen: Reply(body=completion("so", reason))) as server:
        assert answers(engine(server.url, tmp_path, tokenizer), requests(1))["k0"].finish_reason is finish


def test_a_prompt_the_server_will_not_answer_is_cut_off_at_once(tmp_path: Path) -> None:
    with serving(lambda seen: Reply(400, error("no", "content_filter"))) as server:
        found = answers(engine(server.url, tmp_path, **CHAT), requests(1))
    assert found["k0"] == Completion("k0", "", FinishReason.LENGTH, 0)


def test_a_prompt_that_fills_the_context_is_not_sent(tmp_path: Path, tokenizer: str) -> None:
    """The tiny model's context holds 256 tokens; the template takes 8 of them around the user's words."""
    wanted = [Request("full", "x" * 248), Request("tight", "x" * 240), Request("loose", "x" * 200)]
    with serving(one) as server:
        found = answers(engine(server.url, tmp_path, tokenizer), wanted)
    assert found["full"] == Completion("full", "", FinishReason.TOO_LONG, 0)
    assert {len(seen.prompt): seen.fields["max_tokens"] for seen in server.seen} == {240: 8, 200: 20}


def test_a_server_with_a_smaller_context_is_asked_for_less(tmp_path: Path, tokenizer: str) -> None:
    def script(seen: Seen) -> Reply:
        tokens = len(seen.prompt) + 8
        if tokens + seen.fields["max_tokens"] <= 100:
            return Reply(body=completion("yes"))
        return Reply(400, error(
            "This model's maximum context length is 100 tokens. However, you requested 20 output tokens and"
            f" your prompt contains at least {tokens} input tokens, for a total of at least {tokens + 20} tokens.",
            400,
        ))  # fmt: skip

    wanted = [Request(f"k{n}", "x" * n) for n in (90, 89, 100, 10, 91, 92)]
    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, tokenizer, concurrency=1), wanted)
    assert {k: c.finish_reason.value for k, c in found.items()} == {
        "k90": "stop", "k89": "stop", "k100": "too_long", "k10": "stop", "k91": "stop", "k92": "too_long"
    }  # fmt: skip
    sent = [(len(seen.prompt), seen.fields["max_tokens"]) for seen in server.seen]
    assert sent == [(90, 20), (90, 2), (89, 3), (10, 20), (91, 1)]  # only the first had to be refused


@pytest.mark.parametrize(
    ("refusal", "room"),
    [
        ("This model's maximum context length is 50 tokens. However, your messages resulted in 60 tokens.", None),
        ("This model's maximum context length is 50 tokens, however you requested 60 tokens (40 in your prompt;"
         " 20 for the completion). Please reduce your prompt; or completion length.", 10),
        ("'max_tokens' or 'max_completion_tokens' is too large: 20. This model's maximum context length is 50 tokens"
         " and your request has 45 input tokens (20 > 50 - 45).", 5),
        ("You passed 44 input tokens and requested 20 output tokens. However, the model's context length is only"
         " 50 tokens, resulting in a maximum input length of 30 tokens.", 6),
        ("max_tokens=20 cannot be greater than max_model_len=18. Please request fewer output tokens.", 18),
        ("This model's maximum context length is 50 tokens. However, you requested 20 output tokens and your prompt"
         " contains at least 31 input tokens, for a total of at least 51 tokens.", 10),
        ("the request exceeds the available context size, try increasing it", None),
        ("request (80 tokens) exceeds the available context size (64 tokens), try increasing it", None),
    ],
)  # fmt: skip
def test_refusals_of_long_prompts(tmp_path: Path, refusal: str, room: int | None) -> None:
    """Servers in use word it in these ways; `room` is what is asked for instead, None: the prompt is too long."""
    with serving(
        lambda s: Reply(400, error(refusal)) if s.attempt == 1 else Reply(body=message("yes"))
    ) as server:
        found = answers(engine(server.url, tmp_path, **CHAT), requests(1))["k0"]
    assert [seen.fields["max_tokens"] for seen in server.seen] == [20, *([room] if room else [])]
    assert found.finish_reason is (FinishReason.STOP if room else FinishReason.TOO_LONG)


def test_a_server_that_only_says_at_least_is_not_asked_for_ever(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        return Reply(
            400,
            error(
                f"maximum context length is 50, the prompt has at least {51 - seen.fields['max_tokens']} input tokens"
            ),
        )

    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, **CHAT), requests(1))["k0"]
    assert [seen.fields["max_tokens"] for seen in server.seen] == [20, 10, 5, 2, 1]
    assert found.finish_reason is FinishReason.TOO_LONG


def test_no_requests_no_batches(tmp_path: Path, tokenizer: str) -> None:
    assert answers(engine("http://127.0.0.1:1/v1", tmp_path, tokenizer), []) == {}


def test_nothing_is_left_running(tmp_path: Path, tokenizer: str) -> None:
    before = set(threading.enumerate())
    with serving(lambda seen: Reply(body=completion("yes"), after=0.2)) as server:
        stream = engine(server.url, tmp_path, tokenizer).stream(requests(9), GREEDY)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before
    assert len(server.seen) <= 8


def test_a_missing_package_names_the_command(
    tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(LidrError, match=r"install with: pip install 'lidr\[openai\]'"):
        engine("http://127.0.0.1:1/v1", tmp_path, tokenizer)


def test_defaults_that_a_server_would_add_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny.model()
    model.generation_config.repetition_penalty, model.generation_config.eos_token_id = 1.05, 0
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    engine("http://127.0.0.1:1/v1", tmp_path, str(tmp_path))
    assert "sets repetition_penalty=1.05, which a server applies too" in caplog.text
    assert "does not name '<end>' as an end of answers" in caplog.text
