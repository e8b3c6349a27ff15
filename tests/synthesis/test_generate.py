import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lidr import jsonl
from lidr.errors import LidrError
from lidr.records import Prompt
from lidr.synthesis import generate
from tests.synthesis.make import SAMPLING, FakeEngine, KilledError, folder_bytes


def prompts(count, languages=("en", "es")):
    return {c: [Prompt(f"p{i}", c, f"{c} {'x' * (i * 7 % 5)}") for i in range(count)] for c in languages}


def answer(request):
    return f"answer to {request.key} {request.user}", "length" if request.key.endswith("3") else "stop"


def test_files_stand_in_prompt_order(tmp_path):
    generate(prompts(7), FakeEngine(answer), SAMPLING, tmp_path)
    for code in ("en", "es"):
        records = list(jsonl.read(tmp_path / f"{code}.jsonl"))
        assert [r["id"] for r in records] == [f"p{i}" for i in range(7)]
        assert records[3] == {
            "id": "p3",
            "language": code,
            "prompt": f"{code} x",
            "response": f"answer to p3 {code} x",
            "finish_reason": "length",
            "tokens": 1,
        }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 9), deaths=st.lists(st.integers(0, 3), max_size=3), torn=st.integers(0, 40))
def test_a_killed_stage_ends_with_the_same_bytes(tmp_path_factory, count, deaths, torn):
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    generate(prompts(count), FakeEngine(answer), SAMPLING, whole)
    for batches in deaths:
        try:
            generate(prompts(count), FakeEngine(answer, dies_after=batches), SAMPLING, broken)
        except KilledError:
            for file in broken.iterdir():
                content = file.read_bytes()
                file.write_bytes(content[: max(0, len(content) - torn)])
    generate(prompts(count), FakeEngine(answer), SAMPLING, broken)
    assert folder_bytes(broken) == folder_bytes(whole)


def test_only_missing_records_are_asked_for(tmp_path):
    with pytest.raises(KilledError):
        generate(prompts(9), FakeEngine(answer, dies_after=2), SAMPLING, tmp_path)
    assert len(list(jsonl.read(tmp_path / "en.jsonl"))) == 6
    engine = FakeEngine(answer)
    generate(prompts(9), engine, SAMPLING, tmp_path)
    assert engine.batches == 1 + 3


def test_a_finished_stage_asks_nothing_and_changes_nothing(tmp_path):
    generate(prompts(4), FakeEngine(answer), SAMPLING, tmp_path)
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.iterdir()}
    generate(prompts(4), FakeEngine(answer, dies_after=0), SAMPLING, tmp_path)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.iterdir()} == before


def test_equal_prompt_texts_keep_their_own_answers(tmp_path):
    same = {"en": [Prompt("a", "en", "same"), Prompt("b", "en", "same")]}
    generate(same, FakeEngine(lambda r: (f"answer {r.key}", "stop")), SAMPLING, tmp_path)
    assert [r["response"] for r in jsonl.read(tmp_path / "en.jsonl")] == ["answer a", "answer b"]


def test_equal_ids_are_refused(tmp_path):
    with pytest.raises(LidrError, match="the id 'a' stands twice"):
        generate(
            {"en": [Prompt("a", "en", "x"), Prompt("a", "en", "y")]}, FakeEngine(answer), SAMPLING, tmp_path
        )


@pytest.mark.parametrize(
    "other", [prompts(3, ("en",)), {"en": [Prompt(f"p{i}", "en", "other") for i in range(5)]}]
)
def test_answers_to_other_prompts_are_refused(tmp_path, other):
    generate(prompts(5, ("en",)), FakeEngine(answer), SAMPLING, tmp_path)
    with pytest.raises(
        LidrError, match=r"en.jsonl:\d+: the record 'p\d' is not of this stage's inputs -> delete"
    ):
        generate(other, FakeEngine(answer), SAMPLING, tmp_path)


def test_an_engine_that_leaves_a_request_out_is_found(tmp_path):
    class Forgetful(FakeEngine):
        def stream(self, requests, sampling, done=frozenset()):
            yield from super().stream(requests[1:], sampling, done)

    with pytest.raises(LidrError, match="the engine answered 2 of 3 requests; 'p0' has no answer"):
        generate(prompts(3, ("en",)), Forgetful(answer), SAMPLING, tmp_path)
