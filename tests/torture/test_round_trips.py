"""What is written into a run comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr import jsonl
from lidr import records as stored
from lidr.config import from_mapping, read_config, to_mapping, to_yaml
from lidr.engines.endpoint_usage import Ledger, Usage
from lidr.evaluation import outcomes
from lidr.evaluation.outcomes import Outcome
from lidr.evaluation.results import read_results, write_results, write_scores
from lidr.evaluation.scores import Score
from lidr.evaluation.statistics import Estimate
from lidr.records import Pair, Prompt, Response, Translation, to_json
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import read
from tests.torture.strategies import REPEATABLE, TEXT, config, nested

EN, ES = st.just("en"), st.just("es")
ENDS, TOKENS = st.sampled_from(["stop", "length"]), st.integers(0, 2**40)
FINITE = st.floats(-1e9, 1e9)
MAYBE = st.none() | FINITE
METRIC = TEXT.filter(lambda name: name not in ("id", "language"))
NAME = st.text().filter(str.isprintable)
SCORE = st.builds(
    Score.of,
    NAME,
    NAME,
    st.integers(0, 9),
    NAME,
    st.builds(Estimate, MAYBE, MAYBE, MAYBE, st.integers(0, 10**6)),
)
USAGE = st.builds(Usage, prompt_tokens=TOKENS, completion_tokens=TOKENS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples of a test."""
    return tmp_path_factory.mktemp("round")


@REPEATABLE
@given(records=st.lists(st.builds(Prompt, TEXT, EN, TEXT, st.none() | TEXT), max_size=4))
def test_prompts(place: Path, records: list[Prompt]) -> None:
    jsonl.write(place / "en.jsonl", map(to_json, records))
    assert list(read.prompts(place / "en.jsonl", "en")) == records


@REPEATABLE
@given(records=st.lists(st.builds(Response, TEXT, EN, TEXT, TEXT, ENDS, TOKENS), max_size=4))
def test_responses(place: Path, records: list[Response]) -> None:
    jsonl.write(place / "en.jsonl", map(to_json, records))
    assert list(read.responses(place / "en.jsonl", "en")) == records


@REPEATABLE
@given(
    good=st.lists(st.builds(Translation, TEXT, EN, ES, TEXT, TEXT, st.none()), max_size=3),
    failed=st.lists(st.builds(Translation, TEXT, EN, ES, TEXT, st.none(), TEXT), max_size=3),
)
def test_translations(place: Path, good: list[Translation], failed: list[Translation]) -> None:
    jsonl.write(place / "en-es.jsonl", map(to_json, [*good, *failed]))
    assert list(read.translations(place / "en-es.jsonl", "en", "es")) == [*good, *failed]


@REPEATABLE
@given(
    good=st.lists(st.builds(stored.Score, TEXT, ES, st.just(1), TEXT, FINITE, TOKENS, st.none()), max_size=3),
    failed=st.lists(st.builds(stored.Score, TEXT, ES, st.just(1), TEXT, st.none(), TOKENS, TEXT), max_size=3),
)
def test_scores_of_samples(place: Path, good: list[stored.Score], failed: list[stored.Score]) -> None:
    jsonl.write(place / "es-1.jsonl", map(to_json, [*good, *failed]))
    assert list(read.scores(place / "es-1.jsonl", "es", 1)) == [*good, *failed]


@REPEATABLE
@given(records=st.lists(st.builds(Pair, *[TEXT] * 7), max_size=4))
def test_pairs(place: Path, records: list[Pair]) -> None:
    jsonl.write(place / "pairs.jsonl", map(to_json, records))
    assert list(read.pairs(place / "pairs.jsonl")) == records


@REPEATABLE
@given(
    records=st.lists(st.builds(Outcome, TEXT, TEXT, st.dictionaries(METRIC, FINITE, max_size=3)), max_size=4)
)
def test_outcomes(place: Path, records: list[Outcome]) -> None:
    outcomes.write(place, records)
    assert outcomes.read(place) == records


@REPEATABLE
@given(scores=st.lists(SCORE, max_size=4))
def test_scores(place: Path, scores: list[Score]) -> None:
    expected = tuple(sorted(scores, key=lambda s: (s.iteration, s.benchmark)))
    write_results(place / "results.json", scores, config())
    write_scores(place / "scores", scores)
    assert read_results(place / "results.json").scores == expected
    assert read_results(place / "scores" / "scores.json").scores == expected


def test_a_manifest(tmp_path: Path) -> None:
    run, stage = RunDirectory(tmp_path), Stage(StageKind.PAIRS, 1)
    run.folder(stage).mkdir(parents=True)
    path = run.folder(stage) / "ü \u202e.jsonl"
    path.write_text("x")
    made = run.finish(stage, {"a.b": [1, None]}, {"x": "y"}, [path], {"kept": 1}, 0.5)
    assert run.manifest(stage) == made
    run.check_outputs(made)


@REPEATABLE
@given(prompt=TEXT)
def test_a_configuration(place: Path, prompt: str) -> None:
    made = from_mapping(nested(to_mapping(config()), ("model", "system_prompt"), prompt))
    (place / "config.yaml").write_text(to_yaml(made), encoding="utf-8", newline="\n")
    assert read_config(place / "config.yaml") == made


@REPEATABLE
@given(used=st.lists(USAGE, max_size=3))
def test_a_ledger(place: Path, used: list[Usage]) -> None:
    path = place / "usage.jsonl"
    path.unlink(missing_ok=True)
    with Ledger(path) as ledger:
        for usage in used:
            ledger.add("k", "M", usage, None)
    with Ledger(path) as again:
        assert again.tokens == ledger.tokens == sum(u.tokens for u in used)
