import tracemalloc
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lidr import jsonl
from lidr.errors import LidrError
from lidr.records import Prompt, to_json
from lidr.synthesis import generate
from lidr.synthesis.read import PromptFile
from tests.synthesis.make import SAMPLING, FakeEngine, KilledError, answer, folder_bytes, prompts


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
            yield from super().stream(islice(requests, 1, None), sampling, done)

    with pytest.raises(LidrError, match="the engine answered 2 of 3 requests; 'p0' has no answer"):
        generate(prompts(3, ("en",)), Forgetful(answer), SAMPLING, tmp_path)


def too_long(request):
    return ("", "too_long") if len(request.user) > 5 else answer(request)


def test_prompts_that_are_too_long_fail_the_stage_when_all_others_are_answered(tmp_path):
    """Lengths are 3, 5, 7, 4, 6 and again: of nine prompts p2, p4 and p7 are too long."""
    whole, path = FakeEngine(answer), tmp_path / "iteration-1" / "prompts" / "en.jsonl"
    path.parent.mkdir(parents=True)
    jsonl.write(path, map(to_json, prompts(9)["en"]))
    files = {"en": PromptFile(path, "en")}
    for _ in range(2):
        with pytest.raises(
            LidrError,
            match=r"prompts/en.jsonl: the prompt 'p2' and 2 more leave no room .* delete .*/iteration-1, or .*"
            r"model.path=",
        ):
            generate(files, FakeEngine(too_long), SAMPLING, tmp_path / "out")
        kept = [r["id"] for r in jsonl.read(tmp_path / "out" / "en.jsonl")]
        assert kept == ["p0", "p1", "p3", "p5", "p6", "p8"]
    generate(files, whole, SAMPLING, tmp_path / "out")
    assert {r.key for r in whole.seen} == {"p2", "p4", "p7"}


def test_a_prompt_of_a_benchmark_that_is_too_long_is_named(tmp_path):
    with pytest.raises(LidrError, match=r"en.jsonl: the prompt 'p2' leaves no room .* of this benchmark"):
        generate({"en": prompts(3)["en"]}, FakeEngine(too_long), SAMPLING, tmp_path)


def test_prompts_are_read_as_the_engine_takes_requests(tmp_path):
    class Walked:
        """Prompts that count how many of the current walk were taken."""

        def __iter__(self) -> Iterator[Prompt]:
            self.taken = 0
            for prompt in prompts(20)["en"]:
                self.taken += 1
                yield prompt

        def __len__(self) -> int:
            return 20

    walked, ahead = Walked(), []
    engine = FakeEngine(lambda r: (ahead.append(walked.taken - len(engine.seen)), answer(r))[1], batch_size=4)
    generate({"en": walked}, engine, SAMPLING, tmp_path)
    assert len(ahead) == 20
    assert max(ahead) <= 1


def peak_bytes(count, folder):
    """Of memory, while so many prompts of 300 characters get answers of 300; the files are not counted."""
    folder.mkdir()
    path = folder / "en.jsonl"
    jsonl.write(path, (to_json(Prompt(f"prompt-{i}", "en", f"{i} " + "x" * 300)) for i in range(count)))
    engine = FakeEngine(lambda r: (engine.seen.clear(), (f"{r.key} " + "y" * 300, "stop"))[1], batch_size=16)
    tracemalloc.start()
    try:
        generate({"en": PromptFile(path, "en")}, engine, SAMPLING, folder / "out")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_grows_by_the_index_alone(tmp_path):
    """200 bytes a prompt, where prompt and answer are 1,400 in memory: 149 measured from 1,000 to 100,000."""
    few, many = peak_bytes(500, tmp_path / "few"), peak_bytes(8000, tmp_path / "many")
    assert many - few < 200 * 7500
