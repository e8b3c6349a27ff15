"""Requests, tokens, disk and money of a run that can be worked out by hand."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lidr import jsonl
from lidr.config import RunConfig, TranslatorKind
from lidr.estimate import Need, Range, estimate
from lidr.records import Response, Translation, to_json
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.estimate.conftest import Make
from tests.estimate.make import CONTEXT, FRAME

PAID = [
    "engine=openai",
    "engine.endpoint.model='m-{iteration}'",
    "engine.endpoint.price_input=2.0",
    "engine.endpoint.price_output=10.0",
]


def need(config: RunConfig, kind: StageKind, iteration: int = 1) -> Need:
    (found,) = [e for e in estimate(config).stages if e.stage == Stage(kind, iteration)]
    return found.need


def test_prompts_are_counted_exactly_and_answers_are_assumed(tiny_run: Make) -> None:
    found = need(tiny_run(), StageKind.RESPONSES)
    assert found.requests == Range.exact(4)
    assert found.prompt_tokens == Range.exact(4 * FRAME + 4 + 2 + 6 + 4)
    # en: 300 and 1200 characters and the end of turn; es 5/3 as many; high: max_new_tokens
    low, expected = 2 * (301 + 501), 2 * (1201 + 2001)
    assert found.answer_tokens == Range(low, expected, 4 * 2400)


def test_translations_hold_the_expected_answers(tiny_run: Make) -> None:
    found = need(tiny_run(), StageKind.TRANSLATIONS)
    frame = FRAME + len("|Spanish") + len("<translated>")
    closing = len("</translated>")
    assert found.requests == Range.exact(4)
    assert found.prompt_tokens == Range(
        2 * (2 * frame + 300 + 500), 2 * (2 * frame + 1200 + 2000), 2 * (2 * frame + 2400 + 2400)
    )
    room = 2 * CONTEXT - (2 * frame + 1200 + 2000)
    assert found.answer_tokens == Range(
        2 * (300 + 500 + 2 * closing), 2 * (2000 + 1200 + 2 * closing), 2 * room
    )


def test_a_round_trip_asks_for_translations_of_those_that_succeed(tiny_run: Make) -> None:
    """0.1, 0.92 or all of the first four; en->es has 5/3 of an en answer's characters, es->en 3/5 of an es one's."""
    plain, both = (need(tiny_run(*more), StageKind.TRANSLATIONS) for more in ([], ["pairs=round_trip"]))
    assert both.requests == Range(4 + 0.4, 4 + 4 * 0.92, 8)
    frame = 2 * (FRAME + len("|Spanish") + len("<translated>"))
    assert both.prompt_tokens.low - plain.prompt_tokens.low == pytest.approx(0.1 * 2 * (frame + 500 + 300))
    more = both.prompt_tokens.expected - plain.prompt_tokens.expected
    assert more == pytest.approx(0.92 * 2 * (frame + 2000 + 1200))
    closing = 2 * len("</translated>")
    more = both.answer_tokens.expected - plain.answer_tokens.expected
    assert more == pytest.approx(0.92 * 2 * (1200 + 2000 + closing))


def test_translations_that_are_there_are_counted_exactly_on_their_way_back(tiny_run: Make) -> None:
    made = tiny_run("pairs=round_trip")
    folder = RunDirectory.of(made).folder(Stage(StageKind.TRANSLATIONS, 1))
    folder.mkdir(parents=True)
    for source, target, found in (("en", "es", ["abc", None]), ("es", "en", ["d", "ef"])):
        errors = [None if text else "truncated" for text in found]
        records = [
            Translation(f"p{i}", source, target, "x", text, error)
            for i, (text, error) in enumerate(zip(found, errors, strict=True))
        ]
        jsonl.write(folder / f"{source}-{target}.jsonl", map(to_json, records))
    jsonl.write(folder / "es-en-es.jsonl", [to_json(Translation("p0", "en", "es", "d", "y", None))])
    left = need(made, StageKind.TRANSLATIONS)
    frame = FRAME + len("|Spanish") + len("<translated>")
    assert left.requests == Range.exact(2)
    assert left.prompt_tokens == Range.exact(2 * frame + len("abc") + len("ef"))


def test_an_answer_as_long_as_it_may_be_is_perhaps_not_translated(tiny_run: Make) -> None:
    short = tiny_run("engine.sampling.max_new_tokens=100")
    assert need(short, StageKind.RESPONSES).answer_tokens == Range.exact(400)
    sent = need(short, StageKind.TRANSLATIONS).requests
    assert (sent.low, sent.high) == (0, 4)
    assert sent.expected == pytest.approx(2 * (2 - math.exp(-100 / 1201) - math.exp(-100 / 2001)))


def test_the_context_cuts_an_answer(tiny_run: Make) -> None:
    high = need(tiny_run("engine.sampling.max_new_tokens=9999"), StageKind.RESPONSES).answer_tokens.high
    assert high == 2 * (CONTEXT - FRAME - 3) + 2 * (CONTEXT - FRAME - 5)


def test_nobody_translates_for_nothing(tiny_run: Make) -> None:
    nobody = tiny_run("translator=none", "pairs.filters.off_target_chosen=false")
    assert need(nobody, StageKind.TRANSLATIONS).tokens == Range.exact(0)


def test_every_benchmark_is_answered_by_every_model(tiny_run: Make) -> None:
    two = tiny_run("evaluation=[lab]", "evaluation.lab.prompts.limit=3", "evaluation.lab.languages=[en]")
    found = {
        e.stage.name: e.need.requests for e in estimate(two).stages if e.stage.kind is StageKind.EVALUATION
    }
    assert found == {f"iteration-{t}/evaluation": Range.exact(3) for t in (0, 1)}


def test_training_is_at_most_the_candidates(tiny_run: Make) -> None:
    found = need(tiny_run("training.max_length=9999"), StageKind.TRAINING)
    assert found.pairs == Range(4 * 0.1, 4 * 0.92, 4)  # 2 prompts, nl in es and en
    answers = 2 * (1201 + 2001)
    prompts = 2 * (FRAME + 3 + FRAME + 5)
    assert found.training_tokens.expected == pytest.approx(0.92 * 2 * (prompts + answers))


def test_each_row_is_cut_to_the_longest_that_is_trained_on(tiny_run: Make) -> None:
    found = need(tiny_run("training.max_length=50", "training.epochs=3"), StageKind.TRAINING)
    assert found.training_tokens.high == 3 * 4 * 2 * 50
    dropped = need(tiny_run("training.max_length=50", "training.too_long=drop"), StageKind.TRAINING)
    assert dropped.training_tokens.expected == 0


def test_records_that_stand_are_not_asked_for_again(tiny_run: Make) -> None:
    made = tiny_run()
    folder = RunDirectory.of(made).folder(Stage(StageKind.RESPONSES, 1))
    record = Response("p0", "es", "abcdef", "x", "stop", 2)
    folder.mkdir(parents=True)
    jsonl.write(folder / "es.jsonl", [to_json(record)])
    with (folder / "es.jsonl").open("a") as file:
        file.write('{"id": "p1", "torn')
    shard = folder / "shards" / "1-of-2"
    shard.mkdir(parents=True)
    jsonl.write(shard / "en.jsonl", [to_json(Response("p1", "en", "ef", "x", "stop", 2))])
    left = need(made, StageKind.RESPONSES)
    assert left.requests == Range.exact(2)
    assert left.prompt_tokens == Range.exact(2 * FRAME + 4 + 4)
    assert left.answer_tokens.expected == 1201 + 2001


def test_without_a_tokenizer_bytes_are_counted_and_it_says_so(tiny_run: Make) -> None:
    found = estimate(tiny_run("model.path=nobody/nothing"))
    asked = found.stages[1].need.prompt_tokens
    assert "estimated by bytes" in found.counting
    # 16 bytes at 6, 3.5 and 1 a token, and 4, 16 and 40 tokens of template for each of four prompts
    assert asked.low == pytest.approx(16 / 6 + 4 * 4)
    assert asked.expected == pytest.approx(16 / 3.5 + 4 * 16)
    assert asked.high == 16 + 4 * 40
    assert found.total.bytes is None
    assert found.disk.fits is None


def test_disk_is_what_the_files_will_have(
    tiny_run: Make, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny_run("training.checkpoint_steps=1", "training.global_batch=1")
    saved = sum(p.stat().st_size for p in (world / "model").iterdir() if p.suffix != ".safetensors")
    parameters = (world / "model" / "model.safetensors").stat().st_size // 4
    found = estimate(made)
    training = next(e.need for e in found.stages if e.stage.kind is StageKind.TRAINING)
    assert training.bytes is not None
    assert training.bytes.expected == pytest.approx(saved + 4 * parameters, rel=0.1)
    assert training.passing_bytes == pytest.approx(2 * 3 * 4 * parameters, rel=0.1)
    assert found.disk.fits
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    full = estimate(made)
    assert full.disk.fits is False
    assert full.warnings[0].startswith("paths.outputs: ")
    assert "1 kB are free" in full.warnings[0]


def test_money_is_tokens_times_prices(tiny_run: Make) -> None:
    found = estimate(tiny_run(*PAID))
    tokens = found.total
    assert found.pays
    assert tokens.cost is not None
    for end in ("low", "expected", "high"):
        asked, answered = getattr(tokens.prompt_tokens, end), getattr(tokens.answer_tokens, end)
        assert getattr(tokens.cost, end) == pytest.approx((2 * asked + 10 * answered) / 1e6)


def test_an_unknown_price_is_an_unknown_cost(tiny_run: Make) -> None:
    found = estimate(tiny_run(*PAID, "engine.endpoint.price_output=null"))
    assert found.total.cost is None
    assert found.total.tokens.expected > 0


def test_time_is_unknown_where_nothing_was_measured(tiny_run: Make) -> None:
    found = estimate(tiny_run())
    assert found.total.seconds is None
    assert found.total.cost == Range.exact(0)


def test_a_budget_below_the_need_is_named(tiny_run: Make) -> None:
    total = estimate(tiny_run(*PAID)).total.tokens
    enough = estimate(tiny_run(*PAID, f"engine.endpoint.budget_tokens={round(total.expected)}"))
    assert enough.warnings == ()
    between = round((total.low + total.expected) / 2)
    (likely,) = estimate(tiny_run(*PAID, f"engine.endpoint.budget_tokens={between}")).warnings
    assert "likely to stop before its end" in likely
    (never,) = estimate(tiny_run(*PAID, "engine.endpoint.budget_tokens=10")).warnings
    assert never.startswith("engine.endpoint.budget_tokens=10: at least")
    assert "cannot end within it" in never
    (cost,) = estimate(tiny_run(*PAID, "engine.endpoint.budget_cost=0.0001")).warnings
    assert cost.startswith("engine.endpoint.budget_cost=0.0001")


def test_what_is_used_counts_against_the_budget(tiny_run: Make) -> None:
    total = estimate(tiny_run(*PAID)).total.tokens
    made = tiny_run(*PAID, f"engine.endpoint.budget_tokens={round(total.expected) + 5}")
    ledger = RunDirectory.of(made).ledger
    ledger.parent.mkdir(parents=True)
    line = {"key": "a", "model": "m-0", "prompt_tokens": 4, "completion_tokens": 6, "cost": 0.5}
    jsonl.write(ledger, [line])
    found = estimate(made)
    assert (found.used.tokens, found.used.cost) == (10, 0.5)
    assert "10 used and about" in found.warnings[0]
    assert list(ledger.parent.iterdir()) == [ledger]


def test_another_model_translates_with_its_own_tokenizer_and_prices(tiny_run: Make) -> None:
    free, paid = tiny_run(), tiny_run(*PAID)
    translator = replace(paid.translator, kind=TranslatorKind.ENGINE, engine=free.engine, model=free.model)
    found = {e.stage.kind: e.need for e in estimate(replace(paid, translator=translator)).stages}
    assert found[StageKind.TRANSLATIONS].cost == Range.exact(0)
    assert found[StageKind.RESPONSES].cost != Range.exact(0)
    unknown = replace(translator, model=replace(free.model, path="nobody/nothing"))
    by_bytes = {e.stage.kind: e.need for e in estimate(replace(paid, translator=unknown)).stages}
    assert by_bytes[StageKind.RESPONSES] == found[StageKind.RESPONSES]
    assert by_bytes[StageKind.TRANSLATIONS].prompt_tokens != found[StageKind.TRANSLATIONS].prompt_tokens
