"""What the openai engine may use, in tokens and money: never more, and nothing is forgotten."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr.config import EndpointApi
from lidr.engines.base import Completion
from lidr.engines.endpoint_budget import Budget, Hold
from lidr.engines.endpoint_target import Target
from lidr.engines.endpoint_usage import Ledger, Usage
from lidr.errors import LidrError
from tests.engines.endpoints import answers, collect, endpoint, engine, ledger, requests
from tests.engines.fault_server import Reply, Script, Seen, completion, error, message, serving

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("short_waits")]

PROMPT = 14  # tokens of "<s><u>word 0<end><a>", where every byte is one and <s> and <end> are one each
WORST = PROMPT + 20  # with max_new_tokens
CHAT = {"api": EndpointApi.CHAT}


def taking(answer: int, prompt: int = PROMPT) -> Script:
    """Every answer takes as much."""
    return lambda seen: Reply(body=completion("yes", usage=(prompt, answer)))


def test_every_answer_has_a_line_without_texts(tmp_path: Path, tokenizer: str) -> None:
    """10 prompt tokens at 2.5 a million and 5 of the answer at 10 cost 0.000025 + 0.00005."""
    with serving(taking(5, prompt=10)) as server:
        answers(engine(server.url, tmp_path, tokenizer, price_input=2.5, price_output=10.0), requests(1))
    assert (tmp_path / "usage.jsonl").read_text() == (
        '{"key": "k0", "model": "M", "prompt_tokens": 10, "completion_tokens": 5, "cost": 7.5e-05}\n'
    )


@pytest.mark.parametrize("prices", [{}, {"price_input": 1.0}, {"price_output": 1.0}])
def test_an_unknown_price_is_not_0(tmp_path: Path, tokenizer: str, prices: dict[str, float]) -> None:
    with serving(taking(5)) as server:
        answers(engine(server.url, tmp_path, tokenizer, **prices), requests(2))
    assert [line["cost"] for line in ledger(tmp_path)] == [None, None]


@pytest.mark.parametrize("concurrency", [1, 4, 16])
@pytest.mark.parametrize(
    ("answer", "budget", "count"), [(20, 5 * WORST, 5), (6, 100, 4), (6, 114, 5), (0, 33, 0)]
)
def test_the_budget_is_used_up_and_never_exceeded(
    tmp_path: Path, tokenizer: str, concurrency: int, answer: int, budget: int, count: int
) -> None:
    """An answer of 6 takes 20 tokens with its prompt: of 100, a fifth one might take the used 80 to 114."""
    used = count * (PROMPT + answer)
    found: dict[str, Completion] = {}
    with serving(taking(answer)) as server:
        asked = engine(server.url, tmp_path, tokenizer, concurrency=concurrency, budget_tokens=budget)
        with pytest.raises(LidrError) as raised:
            collect(asked, requests(9), found)
    assert len(found) == len(server.seen) == len(ledger(tmp_path)) == count
    assert f"has used {used} of {budget} tokens, and the next answer may take it to {used + WORST}" in str(
        raised.value
    )
    assert f"-> type engine.endpoint.budget_tokens=<{used + WORST} or more>, or null" in str(raised.value)


def test_an_earlier_attempt_counts(tmp_path: Path, tokenizer: str) -> None:
    found: dict[str, Completion] = {}
    with serving(taking(20)) as server:
        for budget, stands in ((3 * WORST, 3), (3 * WORST, 3), (4 * WORST - 1, 3), (5 * WORST, 5)):
            asked = engine(server.url, tmp_path, tokenizer, budget_tokens=budget)
            with pytest.raises(LidrError, match="budget_tokens"):
                collect(asked, requests(9), found, done=frozenset(found))
            assert len(found) == len(server.seen) == stands
        found |= answers(engine(server.url, tmp_path, tokenizer), requests(9), done=frozenset(found))
    assert len(found) == len(ledger(tmp_path)) == 9


def test_money_is_limited_too(tmp_path: Path, tokenizer: str) -> None:
    """An answer takes 14 + 20 tokens at 1 and 3 a million: 0.000074; two are 0.000148."""
    prices = {"price_input": 1.0, "price_output": 3.0}
    found: dict[str, Completion] = {}
    with serving(taking(20)) as server:
        asked = engine(server.url, tmp_path, tokenizer, budget_cost=0.000148, **prices)
        with pytest.raises(LidrError, match=r"used 0\.000148 of 0\.000148, .* to 0\.000222; ") as raised:
            collect(asked, requests(9), found)
    assert raised.value.where == "engine.endpoint.budget_cost"
    assert len(found) == len(server.seen) == 2


def test_the_key_to_type_is_that_of_the_section(tmp_path: Path, tokenizer: str) -> None:
    asked = engine("http://127.0.0.1:1/v1", tmp_path, tokenizer, section="translator.engine", budget_tokens=0)
    with pytest.raises(LidrError, match=r"type translator\.engine\.endpoint\.budget_tokens=<34 or more>"):
        answers(asked, requests(1))


def test_money_is_not_limited_where_a_cost_is_unknown(tmp_path: Path, tokenizer: str) -> None:
    prices = {"price_input": 1.0, "price_output": 3.0}
    with serving(taking(20)) as server:
        answers(engine(server.url, tmp_path, tokenizer), requests(2))
        asked = engine(server.url, tmp_path, tokenizer, budget_cost=1.0, **prices)
        with pytest.raises(LidrError, match="what 2 of its answers cost is unknown"):
            answers(asked, requests(3))
        text = (tmp_path / "usage.jsonl").read_text()
        (tmp_path / "usage.jsonl").write_text(text.replace('"cost": null', '"cost": 0.000074'))
        assert len(answers(asked, requests(3))) == 3


def test_an_answer_that_cannot_be_read_is_paid_for(tmp_path: Path, tokenizer: str) -> None:
    def script(seen: Seen) -> Reply:
        if seen.attempt == 1:
            return Reply(body={"choices": [], "usage": {"prompt_tokens": 14, "completion_tokens": 20}})
        return Reply(body=completion("yes", usage=(14, 3)))

    with serving(script) as server:
        answers(engine(server.url, tmp_path, tokenizer), requests(2))
    taken = sorted((line["key"], line["completion_tokens"]) for line in ledger(tmp_path))
    assert taken == [("k0", 3), ("k0", 20), ("k1", 3), ("k1", 20)]


def test_another_attempt_must_fit_too(tmp_path: Path, tokenizer: str) -> None:
    broken = {"choices": [], "usage": {"prompt_tokens": 14, "completion_tokens": 20}}
    with serving(lambda seen: Reply(body=broken)) as server:
        asked = engine(server.url, tmp_path, tokenizer, budget_tokens=2 * WORST - 1)
        with pytest.raises(
            LidrError, match=f"used 34 of 67 tokens, and the next answer may take it to {2 * WORST}"
        ):
            answers(asked, requests(1))
    assert len(server.seen) == 1


def test_what_is_not_answered_takes_nothing(tmp_path: Path, tokenizer: str) -> None:
    def script(seen: Seen) -> Reply:
        return (
            Reply(500, error("no")) if seen.attempt < 3 else Reply(body=completion("yes", usage=(PROMPT, 20)))
        )

    with serving(script) as server:
        assert (
            len(answers(engine(server.url, tmp_path, tokenizer, budget_tokens=3 * WORST), requests(3))) == 3
        )


@pytest.mark.parametrize("usage", [None, (-1, 5), ("10", 5), (10, 2.5), (True, 1)])
def test_usage_is_counted_where_the_server_does_not_say(
    tmp_path: Path, tokenizer: str, usage: object
) -> None:
    """A completion by the tokenizer: "yes" are 3 tokens, its end a fourth. A chat by its bytes, at most."""
    reported = (
        {}
        if usage is None
        else {"usage": dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))}
    )  # type: ignore[call-overload]

    def script(seen: Seen) -> Reply:
        make = message if "messages" in seen.fields else completion
        return Reply(body=make("yes", usage=None) | reported)

    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, tokenizer), requests(1))
        answers(engine(server.url, tmp_path, **CHAT, system_prompt="Zürich"), requests(1))
    taken = [(line["prompt_tokens"], line["completion_tokens"]) for line in ledger(tmp_path)]
    assert taken == [(PROMPT, 4), (64 + 7 + 64 + 6, 4)]
    assert found["k0"].tokens == 4


def test_a_server_that_counts_more_is_believed(tmp_path: Path) -> None:
    """A hidden system prompt of 500 tokens: the first answer takes 416 more than was set aside, 90 at most.

    So each further one has 416 more set aside: used 506, 1012 and 1518 of 2030, and 2024 before the last.
    """
    with serving(lambda seen: Reply(body=message("yes", usage=(486, 20)))) as server:
        asked = engine(server.url, tmp_path, concurrency=1, budget_tokens=2030, **CHAT)
        with pytest.raises(
            LidrError, match="used 2024 of 2030 tokens, and the next answer may take it to 2530"
        ):
            answers(asked, requests(9))
    assert len(server.seen) == 4


def test_a_torn_line_is_cut_off(tmp_path: Path, tokenizer: str) -> None:
    whole = '{"key": "a", "model": "M", "prompt_tokens": 1, "completion_tokens": 2, "cost": null}\n'
    (tmp_path / "usage.jsonl").write_text(whole + whole[:40])
    with serving(taking(5)) as server:
        answers(engine(server.url, tmp_path, tokenizer), requests(1))
    assert [line["key"] for line in ledger(tmp_path)] == ["a", "k0"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"key": "a"}', r"usage\.jsonl:2: the line is no record of usage \(model: Field required\)"),
        (
            '{"key": "a", "model": "M", "prompt_tokens": -1, "completion_tokens": 2, "cost": null}',
            "prompt_tokens",
        ),
        ('{"key": "a", "model": "M", "prompt_tokens": 1, "completion_tokens": 2, "cost": NaN}', "cost"),
        ("[]", r"usage\.jsonl:2: the line is a JSON list"),
    ],
)
def test_a_ledger_of_another_form_is_not_passed_over(tmp_path: Path, line: str, words: str) -> None:
    whole = '{"key": "a", "model": "M", "prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5}'
    (tmp_path / "usage.jsonl").write_text(f"{whole}\n{line}\n")
    with pytest.raises(LidrError, match=words):
        answers(engine("http://127.0.0.1:1/v1", tmp_path, **CHAT), requests(1))


COUNTS = st.integers(0, 60)


@st.composite
def orders(draw: st.DrawFn) -> list[tuple[int, int, float]]:
    """Requests: tokens of the prompt, tokens of an answer at most, and the share of these it takes."""
    return draw(st.lists(st.tuples(COUNTS, COUNTS, st.floats(0, 1)), max_size=25))


@settings(max_examples=60, deadline=None)
@given(
    orders(), st.integers(0, 900), st.integers(1, 900), st.integers(0, 400), st.integers(0, 400), st.randoms()
)
def test_used_and_set_aside_stay_below_the_limits(
    wanted: list[tuple[int, int, float]],
    tokens: int,
    cost: int,
    price_in: int,
    price_out: int,
    random: Random,
) -> None:
    """Prices are hundredths of a millionth; requests land in any order, each at most as large as feared."""
    price = [Fraction(p, 100 * 10**6) for p in (price_in, price_out)]
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "usage.jsonl") as kept:
        limits = endpoint("http://x/v1", budget_tokens=tokens, budget_cost=cost / 10**6,
                          price_input=price_in / 100, price_output=price_out / 100)  # fmt: skip
        budget = Budget(Target(limits, "M", "engine"), kept)
        flying: list[tuple[Hold, int, int]] = []
        aside, used, paid = 0, 0, Fraction(0)
        for prompt, answer, share in wanted:
            hold = budget.hold("k", Usage(prompt_tokens=prompt, completion_tokens=answer))
            feared = sum(h[1] * price[0] + h[2] * price[1] for h in [*flying, (None, prompt, answer)])
            fits = used + aside + prompt + answer <= tokens and paid + feared <= Fraction(cost, 10**6)
            assert (hold is not None) == fits
            if hold is not None:
                flying.append((hold, prompt, answer))
                aside += prompt + answer
            while flying and random.random() < 0.5:
                hold, prompt, answer = flying.pop(random.randrange(len(flying)))
                taken = int(answer * share)
                with hold:
                    hold.charge(Usage(prompt_tokens=prompt, completion_tokens=taken))
                aside -= prompt + answer
                used += prompt + taken
                paid += prompt * price[0] + taken * price[1]
        assert kept.tokens == used <= tokens
        assert Fraction(kept.cost) == paid <= Fraction(cost, 10**6)
        with Ledger(Path(folder) / "usage.jsonl") as again:
            assert (again.tokens, again.cost) == (kept.tokens, kept.cost)
