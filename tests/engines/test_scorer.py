"""Log-probs of given texts, beside transformers' own loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.scorer import Scorer
from lidr.errors import LidrError
from tests import tiny

SAMPLING = SamplingConfig(max_new_tokens=8, repetition_penalty=1.0)
TEXTS = ("One.</t>", "a much longer text, with more to it</t>", "ñ", "\u4e2d\u6587</t>")
REQUESTS = [Request(f"k{i}", f"Say {i}.", "<t>", labels=(text,)) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(tiny.model(), ChatFormat(tiny.tokenizer(), None))


def scored(
    scorer: Scorer, requests: list[Request], done: frozenset[str] = frozenset()
) -> dict[str, Completion]:
    return {c.key: c for batch in scorer.stream(requests, SAMPLING, done) for c in batch}


def test_a_score_is_transformers_loss_times_the_tokens(scorer: Scorer) -> None:
    found = scored(scorer, REQUESTS)
    assert found.keys() == {"k0", "k1", "k2", "k3"}
    for request in REQUESTS:
        (text,) = request.labels
        prompt = scorer.chat.prompt_ids(request.user, request.prefill)
        answer = scorer.chat.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*prompt, *answer]])
        labels = torch.tensor([[-100] * len(prompt) + answer])
        loss = scorer.model(input_ids=ids, labels=labels).loss.item()
        completion = found[request.key]
        assert completion.tokens == len(answer)
        assert completion.log_probs is not None
        assert completion.log_probs[text] == pytest.approx(-loss * len(answer), rel=1e-5)
        assert (completion.text, completion.finish_reason) == ("", FinishReason.STOP)


def test_a_score_does_not_depend_on_what_else_is_scored(scorer: Scorer) -> None:
    whole = scored(scorer, REQUESTS)
    assert scored(scorer, REQUESTS[::-1]) == whole
    assert scored(scorer, REQUESTS, frozenset({"k0", "k2"})) == {k: whole[k] for k in ("k1", "k3")}


def test_every_label_is_scored_by_itself(scorer: Scorer) -> None:
    alone = scored(scorer, [Request(t, "Say it.", labels=(t,)) for t in TEXTS])
    together = scored(scorer, [Request("k", "Say it.", labels=TEXTS)])["k"]
    assert together.tokens == sum(c.tokens for c in alone.values())
    assert together.log_probs == {t: (alone[t].log_probs or {})[t] for t in TEXTS}


def test_a_text_beyond_the_context_has_no_score(scorer: Scorer) -> None:
    prompt = len(scorer.chat.prompt_ids("x"))
    fits, too_long = (Request(str(n), "x", labels=("y" * (256 - prompt + n),)) for n in (0, 1))
    found = scored(scorer, [too_long, fits])
    assert found["1"] == Completion("1", "", FinishReason.TOO_LONG, 0)
    assert found["0"].tokens == 256 - prompt


def test_completions_are_handed_on_as_they_come(scorer: Scorer) -> None:
    read = []

    def requests() -> Iterator[Request]:
        for n in range(100):
            read.append(n)
            yield Request(str(n), "x", labels=("y",))

    first = next(iter(scorer.stream(requests(), SAMPLING)))
    assert len(first) == len(read) == 32


def test_where_memory_runs_out_the_error_says_so(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(scorer.model, "forward", full)
    with pytest.raises(
        LidrError, match=r"request 'k0': memory ran out while a text of \d+ tokens was scored"
    ):
        scored(scorer, REQUESTS)


def test_other_errors_stay_what_they_are(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(scorer.model, "forward", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        scored(scorer, REQUESTS)


def test_a_model_that_cannot_leave_logits_out_is_scored_the_same(scorer: Scorer) -> None:
    other = Scorer(scorer.model, scorer.chat)
    other._keeps_logits = False
    for key, completion in scored(other, REQUESTS).items():
        theirs = scored(scorer, REQUESTS)[key].log_probs
        assert completion.log_probs == pytest.approx(theirs, rel=1e-5)


def test_a_folder_is_loaded_and_scored(folder: Path) -> None:
    from lidr.config import Accelerator
    from lidr.engines.load import Place, _loaded
    from tests.estimate import make

    config = make.config(folder.parent, folder.parent)
    model, chat = _loaded(Place(Accelerator.CPU, None, 0), config.model, str(folder))
    assert scored(Scorer(model, chat), REQUESTS[:1])["k0"].tokens == len(TEXTS[0])
