"""The probe, on real engines: the lab's, and a server."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import pytest

from lidr.compose import compose_run
from lidr.config import RunConfig, SamplingConfig
from lidr.engines import load
from lidr.engines.base import Completion, FinishReason, Request
from lidr.estimate import Range, estimate
from lidr.estimate.measure import Prober
from lidr.estimate.need import Need
from lidr.estimate.probe import NEW_TOKENS, _per_token, _Time
from lidr.estimate.speed import AnswerSpeed
from lidr.stages import StageKind
from lidr.store import RunDirectory
from tests.estimate.conftest import Make
from tests.estimate.test_numbers import PAID

pytestmark = pytest.mark.xdist_group("estimate")
LAB = ["experiment=lab", "iterations=1", "prompts.limit=40", "languages.non_dominant=[es]", "languages.unseen=[]",
       "evaluation=[]", "tracking=none"]  # fmt: skip

SHORT = "engine.sampling.max_new_tokens=70"


class Server:
    """Answers everything with as many characters, and writes into its ledger as a paid engine does."""

    def __init__(self, ledger: Path, text: str) -> None:
        self.ledger, self.text = ledger, text
        self.asked: list[tuple[Request, int]] = []

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        for request in requests:
            self.asked.append((request, sampling.max_new_tokens))
            line = {
                "key": request.key,
                "model": "m",
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "cost": 0.25,
            }
            with self.ledger.open("a") as file:
                file.write(json.dumps(line) + "\n")
            yield [Completion(request.key, self.text, FinishReason.STOP, min(sampling.max_new_tokens, 20))]


def test_the_lab_is_measured_and_leaves_nothing_behind(tmp_path: Path) -> None:
    config = compose_run([*LAB, f"paths.outputs={tmp_path}/outputs"])
    found = estimate(config, Prober())
    assert found.measured is not None
    assert found.answers == "the lab's solutions"
    assert found.measured.answers.answer_token > 0
    assert found.measured.training is not None
    seconds = {e.stage.kind: e.need.seconds for e in found.stages}
    for kind in (StageKind.RESPONSES, StageKind.TRANSLATIONS, StageKind.TRAINING):
        time = seconds[kind]
        assert time is not None
        assert 0 < time.low <= time.expected <= time.high < 300
    assert seconds[StageKind.PAIRS] == Range.exact(0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    started: list[Server] = []

    def start(config: RunConfig, model: str, iteration: int, ledger: Path) -> Server:
        started.append(Server(ledger, "x" * 30))
        return started[-1]

    monkeypatch.setattr(load, "load_engine", start)
    return started


def test_a_server_that_is_paid_for_is_asked_little_and_says_what_it_took(
    tiny_run: Make, servers: list[Server]
) -> None:
    config = tiny_run(*PAID, SHORT)
    ledger = RunDirectory.of(config).ledger
    ledger.parent.mkdir(parents=True)
    line = {"key": "a", "model": "m", "prompt_tokens": 4, "completion_tokens": 6, "cost": 0.5}
    ledger.write_text(json.dumps(line) + "\n")
    before = ledger.read_bytes()
    found = estimate(config, Prober())
    assert found.measured is not None
    asked = len(servers[0].asked)
    # two prompts in two languages, half briefly, half at length; 8 translations of both kinds
    assert asked == 4 + 16
    assert {limit for _, limit in servers[0].asked} == {1, NEW_TOKENS}
    assert found.measured.used is not None
    assert (found.measured.used.tokens, found.measured.used.cost) == (5 * asked, 0.25 * asked)
    assert servers[0].ledger != ledger
    assert not servers[0].ledger.exists()
    assert ledger.read_bytes() == before
    assert list(ledger.parent.iterdir()) == [ledger]
    assert found.answers == "the probe's answers"
    # the probe's answers have 30 characters, whatever the language's proportion
    need = next(e.need for e in found.stages if e.stage.kind is StageKind.RESPONSES)
    assert need.answer_tokens.expected < 4 * 60


def test_jobs_that_share_engine_and_training_are_measured_once(tiny_run: Make, servers: list[Server]) -> None:
    prober = Prober()
    estimate(tiny_run(*PAID, SHORT, "objective.beta=0.1"), prober)
    estimate(tiny_run(*PAID, SHORT, "objective.beta=0.5", "training.lr=1e-5"), prober)
    assert len(servers) == 1
    estimate(tiny_run(*PAID, SHORT, "engine.endpoint.concurrency=3"), prober)
    assert len(servers) == 2


def test_the_training_of_an_adapter_is_measured(tiny_run: Make, servers: list[Server]) -> None:
    found = estimate(tiny_run(*PAID, SHORT, "lora=r16"), Prober())
    assert found.measured is not None
    assert found.measured.training is not None
    assert found.measured.training.settings.lora_rank == 16
    assert found.total.seconds is not None


def test_a_run_that_is_done_is_not_measured(tiny_run: Make, servers: list[Server]) -> None:
    config = dataclasses.replace(tiny_run(*PAID), iterations=0)
    assert estimate(config, Prober()).measured is None
    assert servers == []


def test_two_measurements_tell_prompt_and_answer_apart() -> None:
    # 0.01 s a prompt token, 0.1 s an answer token
    short, long = _Time(100 * 0.01 + 8 * 0.1, 100, 8), _Time(120 * 0.01 + 500 * 0.1, 120, 500)
    assert _per_token(short, long) == pytest.approx((0.01, 0.1))


@pytest.mark.parametrize("short", [_Time(1.0, 100, 8), _Time(99.0, 100, 8)])
def test_measurements_that_do_not_give_one_rate_for_both(short: _Time) -> None:
    each = 2.0 / (100 + 8)
    assert _per_token(short, _Time(2.0, 100, 8)) == (each, each)


def test_time_follows_from_tokens() -> None:
    speed = AnswerSpeed(load=2.0, prompt_token=0.001, answer_token=0.01, requests=8)
    need = Need(
        requests=Range.exact(5), prompt_tokens=Range(1000, 1000, 2000), answer_tokens=Range(100, 200, 400)
    )
    assert speed.seconds(need, 1) == Range(2 + 1 + 1, 2 + 1 + 2, 2 + 2 + 4)
    assert speed.seconds(need, 2) == Range(2 + 1, 2 + 1.5, 2 + 3)
    assert speed.seconds(Need(), 1) == Range.exact(0)


def test_processes_that_share_cores_are_not_guessed_at(tmp_path: Path) -> None:
    config = compose_run([*LAB, f"paths.outputs={tmp_path}", "engine.processes=2"])
    found = estimate(config, Prober())
    responses = next(e.need for e in found.stages if e.stage.kind is StageKind.RESPONSES)
    assert responses.seconds is None


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("training.compile=true", "compiling"),
        ("trainer=ddp", "2 devices"),
        ("training.max_length=1", "no pair fits"),
    ],
)
def test_a_training_that_cannot_be_measured_says_why(
    tiny_run: Make, servers: list[Server], override: str, why: str
) -> None:
    accelerator = [] if override != "trainer=ddp" else ["trainer.accelerator=cpu"]
    found = estimate(tiny_run(*PAID, SHORT, override, *accelerator), Prober())
    assert found.measured is not None
    assert found.measured.training is None
    assert any(why in note for note in found.measured.notes)
    training = next(e.need for e in found.stages if e.stage.kind is StageKind.TRAINING)
    assert training.seconds is None
    assert found.total.seconds is None
