"""Judges behind a server: a local one that answers as the oracle does, through the whole of the protocol."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lidr.compose import compose_judging
from lidr.config import EndpointApi, SamplingConfig
from lidr.config.judge_schema import JudgeConfig, JudgingConfig
from lidr.engines.base import Request
from lidr.engines.endpoint_answers import read_answer
from lidr.errors import LidrError
from lidr.judging.lab_judge import LabJudge
from lidr.judging.run import judge_run
from tests.engines.fault_server import Reply, Seen, error, message, serving
from tests.judging.test_run import find

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def config(url: str, *overrides: str, name: str = "openai") -> JudgingConfig:
    endpoint = f"judges.{name}.engine.endpoint"
    return compose_judging(
        [f"judge=[{name}]", f"{endpoint}.url={url}", f"{endpoint}.model=M", "limit=12", *overrides]
    )


def oracle(verdict: str = "text", wording: str = "words") -> JudgeConfig:
    return compose_judging(
        ["judge=[oracle]", f"judges.oracle.verdict={verdict}", f"wording@judges.oracle.wording={wording}"]
    ).judges["oracle"]


class Served:
    """Replies of the oracle as a chat's; counts requests, fails every so many."""

    def __init__(self, own: JudgeConfig, fails_every: int = 0) -> None:
        self.judge, self.fails_every, self.count = LabJudge(own, 0), fails_every, 0

    def __call__(self, seen: Seen) -> Reply:
        self.count += 1
        if self.fails_every and self.count % self.fails_every == 0:
            return Reply(500, error("busy"))
        request = Request("q", seen.fields["messages"][0]["content"], labels=("1", "2"))
        ((said,),) = self.judge.stream([request], SamplingConfig(1, 1.0))
        body: dict[str, Any] = message(said.text, usage=(500, 100))
        if said.log_probs is not None:
            top = [{"token": f" {t}", "logprob": p, "bytes": None} for t, p in said.log_probs.items()]
            body["choices"][0]["logprobs"] = {
                "content": [{"token": said.text, "logprob": 0.0, "top_logprobs": top}]
            }
        return Reply(body=body)


@pytest.fixture
def run(lab_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(lab_run, tmp_path / lab_run.name)


def test_a_server_says_what_the_oracle_says(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lidr.engines.endpoint_asking.FIRST_WAIT", 0.002)
    served = Served(oracle(), fails_every=7)
    with serving(served) as server:
        scores = judge_run(run, config(server.url, f"cache={tmp_path}/c.sqlite"))
    direct = judge_run(run, compose_judging(["judge=[oracle]", "limit=12"]))
    for code in ("en", "es", "zh"):
        ours = find(scores, "lab vs initial@openai", code, "win_rate")
        theirs = find(direct, "lab vs initial@oracle", code, "win_rate")
        assert (ours.value, ours.low, ours.high, ours.p) == (theirs.value, theirs.low, theirs.high, theirs.p)
    usage = (run / "judging" / "openai" / "usage.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(usage) >= served.count - served.count // 7


def test_a_repeated_evaluation_costs_nothing(run: Path, tmp_path: Path) -> None:
    served, cache = Served(oracle()), f"cache={tmp_path}/c.sqlite"
    with serving(served) as server:
        first = judge_run(run, config(server.url, cache))
        asked = served.count
        shutil.rmtree(run / "judging")
        assert judge_run(run, config(server.url, cache)) == first
    assert served.count == asked > 0


def test_log_probs_are_asked_for_and_read(run: Path) -> None:
    served = Served(oracle("logprobs", "label"))
    with serving(served) as server:
        scores = judge_run(run, config(server.url, "cache=null", name="openai_logprobs"))
        fields = server.seen[0].fields
    assert (fields["logprobs"], fields["top_logprobs"], fields["max_tokens"]) == (True, 20, 1)
    win = find(scores, "lab vs initial@openai_logprobs", "es", "win_rate")
    direct = judge_run(run, compose_judging(["judge=[oracle]", "limit=12"]))
    assert win.value == find(direct, "lab vs initial@oracle", "es", "win_rate").value


def test_a_budget_stops_a_judge_and_what_was_answered_stands(run: Path) -> None:
    served = Served(oracle())
    with serving(served) as server:
        own = "judges.openai.engine.endpoint"
        tight = config(server.url, "cache=null", f"{own}.budget_tokens=20000", f"{own}.concurrency=1")
        with pytest.raises(LidrError, match=r"judges\.openai\.engine\.endpoint\.budget_tokens"):
            judge_run(run, tight)
        asked = served.count
        judge_run(run, config(server.url, "cache=null"))
    replies = sum(
        len(p.read_text().splitlines()) for p in (run / "judging/openai").rglob("*/comparisons/??.jsonl")
    )
    assert 0 < asked < served.count
    assert served.count == replies


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"content": [{"top_logprobs": [{"token": "1", "logprob": -0.5}]}]}, (("1", -0.5),)),
        ({"top_logprobs": [{" 2": -0.25, "1": -3.0}]}, ((" 2", -0.25), ("1", -3.0))),
        ({"content": [{"top_logprobs": [{"token": "1", "logprob": 4.0}]}]}, ()),
        ({"content": []}, ()),
        ({"content": [{"top_logprobs": "many"}]}, ()),
        ("none", ()),
        (None, ()),
    ],
)
def test_reported_log_probs(reported: object, expected: tuple[tuple[str, float], ...]) -> None:
    body = message("1")
    body["choices"][0]["logprobs"] = reported
    assert read_answer(json.dumps(body).encode(), EndpointApi.CHAT).first_tokens == expected


def test_spellings_of_a_label_are_added_up() -> None:
    body = message("1")
    top = [{"token": t, "logprob": -1.0} for t in ("1", " 1", "2", "3")]
    body["choices"][0]["logprobs"] = {"content": [{"top_logprobs": top}]}
    found = read_answer(json.dumps(body).encode(), EndpointApi.CHAT).label_log_probs(("1", "2"))
    assert found == pytest.approx({"1": -1 + 0.6931471805599453, "2": -1.0})
