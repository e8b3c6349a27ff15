from __future__ import annotations

from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.compose import compose_judging, compose_run
from lidr.errors import ConfigError

NAMES = sorted(p.stem for p in Path("conf/judge").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_judge_composes(name: str) -> None:
    given = {
        "openai": "engine.endpoint.model",
        "openai_logprobs": "engine.endpoint.model",
        "openai_scores": "engine.endpoint.model",
        "local": "model.path",
    }
    overrides = [f"judges.{name}.{given[name]}=x"] if name in given else []
    own = compose_judging([f"judge=[{name}]", *overrides])
    assert list(own.judges) == [name]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"judge: names no judge -> type judge=\[oracle\]"),
        (["judge=[orcale]"], "'orcale' is no choice of judge -> did you mean 'oracle'"),
        (["judge=[oracle]", "task=[pairs]"], "unknown key -> did you mean 'tasks'"),
        (["judge=[oracle]", "tasks=[pair]"], r"tasks\.0: \"pair\" is not a choice -> did you mean 'pairs'"),
        (["judge=[oracle]", "tasks=[]"], "tasks: is empty"),
        (["judge=[oracle]", "limit=0"], "limit: 0 is out of range"),
        (["judge=[oracle]", "gates.alpha=0.5"], r"gates\.alpha: is the agreement of several judges"),
        (["judge=[oracle]", "gates.swap_consistency=0.5", "both_orders=false"], "needs both orders"),
        (
            ["judge=[oracle]", "judges.oracle.lab.noise=2"],
            r"judges\.oracle\.lab\.noise: 2\.0 is out of range",
        ),
        (["judge=[oracle]", "judges.oracle.kind=engine"], r"judges\.oracle\.engine: is null"),
        (["judge=[oracle]", "judges.oracle.wording.rating=x"], r"wording\.rating: lacks \{prompt\}"),
        (["judge=[oracle]", "judges.oracle.wording.rating_pattern='('"], "is no regular expression"),
        (["judge=[oracle]", "judges.oracle.verdict=scores"], "has 1 groups, not 2"),
        (["judge=[oracle]", "judges.oracle.wording.labels.second='1'"], "are not different texts"),
        (["judge=[openai]"], r"judges\.openai\.engine\.endpoint\.model: has no value"),
        (
            ["judge=[local]", "judges.local.model.path=x", "judges.local.verdict=logprobs"],
            "from a server only",
        ),
        (["judge=[oracle]", "limit=3,4"], "several values"),
        (["judge=[oracle]", "model=lab"], "unknown key"),
    ],
)
def test_mistakes_say_what_to_type(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_judging(overrides)


def test_a_run_has_no_judge() -> None:
    with pytest.raises(ConfigError, match=r"judge=\[oracle\]: is no part of a run -> lidr judge RUN judge="):
        compose_run(["judge=[oracle]"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["judge"], "names no run"),
        (["judge", "nowhere", "judge=[oracle]"], "nowhere: no run at or below this folder"),
        (["judge", "nowhere", "--fast"], "--fast: unknown option"),
        (["calibrate", "judge=[oracle]", "nowhere"], "nowhere: unknown option"),
        (["calibrate", "judge=[oracle]", "--content", "nowhere/{language}.jsonl"], "cannot be read"),
        (["outputs", "nowhere"], "nowhere: is no run"),
    ],
)
def test_mistakes_on_the_command_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) != 0
    assert message in capsys.readouterr().err


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", "--help"]) == 0
    assert "usage: lidr judge" in capsys.readouterr().out
