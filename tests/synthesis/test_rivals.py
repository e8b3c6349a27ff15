"""Another method's pairs: scores of several answers, and the best over the worst of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import PairsConfig, PairType, RivalConfig, RivalName, RunConfig, identity, identity_values
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import ConfigError, LidrError
from lidr.records import Response, Score, to_json
from lidr.synthesis import build_pairs, read
from lidr.synthesis.filters import Filters, Reason
from lidr.synthesis.generate import sample_jobs
from lidr.synthesis.read import Group
from lidr.synthesis.resume import complete_all
from lidr.synthesis.scores import score_jobs
from lidr.synthesis.strategies import Candidate, candidates
from tests.synthesis.make import (
    SAMPLING,
    FakeEngine,
    KilledError,
    config,
    folder_bytes,
    group,
    prompts,
    write,
)

RIVAL = RivalConfig(RivalName.MAPO, samples=2, temperature=0.8, top_p=1.0)


def rival_config(**changes: object) -> RunConfig:
    return config(types=(PairType.NL,), rival=RIVAL, **changes)


LANGUAGES = rival_config().languages


def score(code: str, sample: int, value: float | None, text: str | None = None) -> Score:
    own = f"{code} {sample}" if text is None else text
    return Score(
        "p0", code, sample, own, value, 3 if value is not None else 0, None if value is not None else "empty"
    )


def ranked(
    es: list[float | None], de: list[float | None] | None = None, **changes: object
) -> list[Candidate]:
    lists = {"es": es, "de": de or [-1.0, -2.0, -3.0]}
    scores = {code: [score(code, i, v) for i, v in enumerate(values)] for code, values in lists.items()}
    made = replace(group(**changes), translations={}, scores=scores)  # type: ignore[arg-type]
    settings = rival_config()
    return list(candidates(made, settings.pairs, settings.languages, 0, False))


# --- which answers


def test_the_best_answer_is_chosen_over_the_worst() -> None:
    spanish, german = ranked([-2.0, -0.5, -3.0])
    assert (spanish.chosen, spanish.chosen_origin) == ("es 1", "es#1")
    assert (spanish.rejected, spanish.rejected_origin) == ("es 2", "es#2")
    assert (german.chosen, german.chosen_origin) == ("de 0", "de")
    assert (german.type, german.language, german.other) == (PairType.NL, "de", "de")
    pair = german.pair()
    assert (pair.prompt, pair.chosen, pair.rejected) == ("de: Name a fruit.", "de 0", "de 2")


def test_of_equal_scores_the_first_is_chosen_and_the_last_rejected() -> None:
    assert [(c.chosen, c.rejected) for c in ranked([-1.0, -1.0, -1.0], [None, -2.0, -2.0])] == [
        ("es 0", "es 2"),
        ("de 1", "de 2"),
    ]


def test_an_answer_without_a_score_takes_no_part() -> None:
    assert next((c.chosen, c.rejected) for c in ranked([None, -2.0, -1.0])) == ("es 2", "es 1")


@pytest.mark.parametrize("values", [[None, None, None], [None, -1.0, None]])
def test_fewer_than_two_scores_make_no_pair(values: list[float | None]) -> None:
    spanish, german = ranked(values)
    assert (spanish.chosen, spanish.rejected) == (None, None)
    judge = Filters(rival_config().pairs.filters, LANGUAGES).judge
    assert judge(spanish).dropped is Reason.UNSCORED
    assert judge(german).dropped is None


VALUES = st.lists(st.none() | st.floats(-9, 0), min_size=3, max_size=3)


@given(VALUES)
def test_no_answer_is_better_than_the_chosen_or_worse_than_the_rejected(values: list[float | None]) -> None:
    spanish = ranked(values)[0]
    there = [v for v in values if v is not None]
    if len(there) < 2:
        assert spanish.chosen is spanish.rejected is None
        return
    by_text = {f"es {i}": v for i, v in enumerate(values)}
    assert spanish.chosen is not None
    assert spanish.rejected is not None
    assert spanish.chosen != spanish.rejected
    assert by_text[spanish.chosen] == max(there)
    assert by_text[spanish.rejected] == min(there)


def test_the_filters_look_at_the_pair_and_the_dominant_answer() -> None:
    everything = replace(rival_config().pairs.filters, empty=True, truncated=True, identical=True)
    judge = Filters(everything, LANGUAGES).judge
    cut = ranked([-1.0, -2.0, -3.0], answers={"es": " "}, cut=("es",))
    assert judge(cut[0]).dropped is None, "the own answer is one of three"
    assert judge(ranked([-1.0, -2.0, -3.0], cut=("en",))[0]).dropped is Reason.TRUNCATED
    assert judge(ranked([-1.0, -2.0, -3.0], answers={"en": ""})[0]).dropped is Reason.EMPTY
    same = replace(ranked([-1.0, -2.0, -3.0])[0], chosen="x", rejected="x ")
    assert judge(same).dropped is Reason.IDENTICAL


# --- samples and scores on disk


def sampled(request: Request) -> tuple[str, str]:
    reason = "length" if (request.key, request.draw) == ("p3", 1) else "stop"
    return ("" if (request.key, request.draw) == ("p2", 2) else f"{request.user} draw {request.draw}"), reason


def answers(folder: Path, count: int = 5) -> None:
    """Own answers and two draws of each in es and de; some blank, some cut off."""
    asked = prompts(count, ("en", "es", "de"))
    for code in asked:
        own = [
            Response(p.id, code, p.prompt, "" if (code, p.id) == ("en", "p1") else f"{code} own", "stop", 2)
            for p in asked[code]
        ]
        (folder / "responses").mkdir(parents=True, exist_ok=True)
        jsonl.write(folder / "responses" / f"{code}.jsonl", map(to_json, own))
    jobs = sample_jobs({c: asked[c] for c in ("es", "de")}, SAMPLING, folder / "samples", 2)
    complete_all(jobs, FakeEngine(sampled), "samples")


class FakeScorer:
    """The score of a label is its length less that of the request, over as many tokens as the label has words."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.seen: list[Request] = []
        self.dies_after = dies_after

    def stream(self, requests, sampling, done=frozenset()):  # type: ignore[no-untyped-def]
        for request in requests:
            if request.key in done:
                continue
            if len(self.seen) == self.dies_after:
                raise KilledError
            self.seen.append(request)
            if request.key == "p4" and "de" in request.user and "draw 1" in request.user:
                yield [Completion(request.key, "", FinishReason.TOO_LONG, 0)]
                continue
            (label,) = request.labels
            value = (
                float("nan")
                if request.key == "p0" and "draw 2" in request.user
                else float(-len(request.user))
            )
            yield [Completion(request.key, "", FinishReason.STOP, len(label.split()), {label: value})]


def scoring(folder: Path, engine: FakeScorer, pairs: PairsConfig | None = None) -> int:
    settings = rival_config()
    jobs = score_jobs(
        folder / "responses", folder / "samples", LANGUAGES, pairs or settings.pairs, settings.translator,
        folder / "scores",
    )  # fmt: skip
    return complete_all(jobs, engine, "scores")


def test_every_answer_is_scored_as_the_source_of_the_dominant_one(tmp_path: Path) -> None:
    answers(tmp_path)
    engine = FakeScorer()
    assert scoring(tmp_path, engine) == 5 * 2 * 3
    assert sorted(p.name for p in (tmp_path / "scores").iterdir()) == [
        f"{code}-{sample}.jsonl" for code in ("de", "es") for sample in range(3)
    ]
    first = engine.seen[0]
    assert "into English" in first.user
    assert "<sentence>es own</sentence>" in first.user
    assert (first.prefill, first.labels) == ("<translated>", ("en own</translated>",))
    assert [s.id for s in read.scores(tmp_path / "scores/es-1.jsonl", "es", 1)] == [
        "p0",
        "p1",
        "p2",
        "p3",
        "p4",
    ]
    own = next(read.scores(tmp_path / "scores/es-0.jsonl", "es", 0))
    assert own == Score("p0", "es", 0, "es own", -len(first.user) / 2, 2, None)


def test_an_answer_without_a_score_says_why(tmp_path: Path) -> None:
    answers(tmp_path)
    scoring(tmp_path, FakeScorer())
    found = {
        (s.id, s.language, s.sample): s.error
        for code in ("es", "de")
        for sample in range(3)
        for s in read.scores(tmp_path / "scores" / f"{code}-{sample}.jsonl", code, sample)
        if s.error
    }
    assert found == {
        **{("p1", code, sample): "dominant answer empty" for code in ("es", "de") for sample in range(3)},
        **{("p2", code, 2): "empty" for code in ("es", "de")},
        **{("p3", code, 1): "truncated" for code in ("es", "de")},
        **{("p0", code, 2): "not a number" for code in ("es", "de")},
        ("p4", "de", 1): "too long",
    }


def test_tags_in_an_answer_cannot_end_the_translation(tmp_path: Path) -> None:
    answers(tmp_path, 1)
    path = tmp_path / "responses" / "en.jsonl"
    jsonl.write(path, [{**r, "response": "a</translated>b"} for r in jsonl.read(path)])
    engine = FakeScorer()
    scoring(tmp_path, engine)
    assert engine.seen[0].labels == ("a<_/translated>b</translated>",)


def test_scores_that_were_killed_end_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        answers(tmp_path / name)
    scoring(tmp_path / "whole", FakeScorer())
    with pytest.raises(KilledError):
        scoring(tmp_path / "broken", FakeScorer(dies_after=9))
    rest = FakeScorer()
    scoring(tmp_path / "broken", rest)
    assert folder_bytes(tmp_path / "broken/scores") == folder_bytes(tmp_path / "whole/scores")
    whole = FakeScorer()
    assert scoring(tmp_path / "whole", whole) == 30
    assert whole.seen == [], "all is there"
    assert len(rest.seen) == 20 - 9, "of 30 answers 20 are whole, beside a whole dominant one"


def test_draws_of_one_prompt_differ_and_are_asked_by_their_number(tmp_path: Path) -> None:
    answers(tmp_path)
    drawn = [next(iter(jsonl.read(tmp_path / "samples" / f"es-{n}.jsonl")))["response"] for n in (1, 2)]
    assert drawn == ["es  draw 1", "es  draw 2"]


BROKEN = [
    ({"score": None}, "needs either a score or an error"),
    ({"error": "empty"}, "needs either a score or an error"),
    ({"score": "much"}, "has no number under 'score'"),
    ({"score": True}, "has no number under 'score'"),
    ({"sample": 2}, "is of another sample than the file's name says, 1"),
    ({"sample": -1}, "is no number"),
    ({"language": "de"}, "the file's name says 'es'"),
    ({"source": 3}, "has no text under 'source'"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_broken_score_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "es-1.jsonl"
    jsonl.write(path, [to_json(score("es", 1, -1.0)), {**to_json(score("es", 1, -1.0)), **change}])
    with pytest.raises(LidrError, match=message) as raised:
        list(read.scores(path, "es", 1))
    assert raised.value.where == f"{path}:2"


def test_a_score_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "es-1.jsonl"
    written = [score("es", 1, -0.1234567890123), score("es", 1, None)]
    jsonl.write(path, map(to_json, written))
    assert list(read.scores(path, "es", 1)) == written


# --- pairs and their audit


def test_pairs_are_built_from_scores(tmp_path: Path) -> None:
    values: list[list[float | None]] = [[-1.0, -2.0, -3.0], [-3.0, -1.0, None], [None, None, -1.0]]
    made: list[Group] = []
    for number, own in enumerate(values):
        identity = f"p{number}"
        scores = {
            code: [replace(score(code, i, v), id=identity) for i, v in enumerate(own)]
            for code in ("es", "de")
        }
        made.append(replace(group(identity), translations={}, scores=scores))
    prompts_dir, responses_dir, _ = write(tmp_path, made)
    folder = tmp_path / "scores"
    folder.mkdir()
    for code in ("es", "de"):
        for sample in range(3):
            jsonl.write(folder / f"{code}-{sample}.jsonl", (to_json(g.scores[code][sample]) for g in made))
    audit = build_pairs(prompts_dir, responses_dir, folder, tmp_path / "pairs", rival_config())
    assert (audit["candidates"], audit["kept"], audit["dropped"]["unscored"]) == (6, 4, 2)
    assert audit["strategy"] == {"types": ["nl"], "en_rejected": "last", "rival": "mapo"}
    assert audit["translations"] == []
    assert audit["pairs"][0]["kept_by_origin"] == {"es over es#2": 1, "es#1 over es": 1}
    assert json.loads((tmp_path / "pairs/audit.json").read_text()) == audit
    found = [
        (p["id"], p["language"], p["chosen"], p["rejected"])
        for p in jsonl.read(tmp_path / "pairs/pairs.jsonl")
    ]
    assert found == [
        ("p0", "es", "es 0", "es 2"),
        ("p0", "de", "de 0", "de 2"),
        ("p1", "es", "es 1", "es 0"),
        ("p1", "de", "de 1", "de 0"),
    ]


# --- the configuration

SERVER = ["engine=openai", "engine.endpoint.model='m-{iteration}'"]
WRONG = [
    (["pairs.types=[nl,en]"], r"mapo has no pairs in the dominant language.*type pairs.types=\[nl\]"),
    (["pairs.control=swapped"], "swapped is a control of the paper's pairs, not of mapo"),
    (["translator=none", "pairs.filters.off_target_chosen=false"], "mapo scores answers by a translator"),
    (SERVER, "mapo scores texts that are given.*type engine=transformers"),
    (["pairs.rival.samples=0"], "pairs.rival.samples: 0 is out of range"),
    (["pairs.rival.samples=65"], "pairs.rival.samples: 65 is out of range"),
    (["pairs.rival.temperature=0"], "pairs.rival.temperature: 0.* is out of range"),
    (["pairs.rival.top_p=1.5"], "pairs.rival.top_p: 1.5 is out of range"),
    (["pairs.rival.name=mapp"], "mapo"),
]


@pytest.mark.parametrize(("overrides", "message"), WRONG)
def test_a_rivals_rules(overrides: list[str], message: str) -> None:
    with pytest.raises((ConfigError, LidrError), match=message):
        compose_run(["experiment=lab", "pairs=mapo", *overrides])


def test_a_rival_is_another_run_and_no_rival_the_old_one() -> None:
    plain, other = compose_run(["experiment=lab"]), compose_run(["experiment=lab", "pairs=mapo"])
    assert identity(plain) == "333620f6", "the demo's name in README.md"
    assert not [key for key in identity_values(plain) if key.startswith("pairs.rival")]
    assert identity_values(other)["pairs.rival.samples"] == 4
    assert identity(other) != identity(plain)
