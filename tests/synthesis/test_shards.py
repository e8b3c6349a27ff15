"""Files that several processes fill: whatever dies, and however many go on, they end with the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr import jsonl
from lidr.errors import LidrError
from lidr.synthesis import generate
from lidr.synthesis.generate import response_jobs
from lidr.synthesis.index import Share
from lidr.synthesis.resume import complete_all, complete_share, prepare, settle
from tests.synthesis.make import SAMPLING, FakeEngine, KilledError, answer, folder_bytes, prompts


def shards(folder: Path, of: int) -> list[Path]:
    return [folder.parent / "shards" / f"{number}-of-{of}" for number in range(of)]


def share_out(count: int, folder: Path, of: int, engines: list[FakeEngine]) -> bool:
    """One attempt of `of` shards; False where one of them died, and nothing was put together then."""
    left_over = sorted((folder.parent / "shards").glob("*-of-*"))
    jobs = response_jobs(prompts(count), SAMPLING, folder)
    for job in jobs:
        prepare(job, [old / job.path.name for old in left_over])
    shutil.rmtree(folder.parent / "shards", ignore_errors=True)
    for number, (engine, own) in enumerate(zip(engines, shards(folder, of), strict=True)):
        try:
            for job in jobs:
                complete_share(job, own / job.path.name, Share(number, of), engine)
        except KilledError:
            return False
    for job in jobs:
        settle(job, [own / job.path.name for own in shards(folder, of)])
    shutil.rmtree(folder.parent / "shards")
    return True


def torn(folder: Path, cut: int) -> None:
    for path in folder.rglob("*.jsonl"):
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - cut)])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "stage" / "out"


@pytest.mark.parametrize("of", [1, 2, 3, 12])
def test_shards_give_the_bytes_of_one_process(tmp_path: Path, out: Path, of: int) -> None:
    generate(prompts(10), FakeEngine(answer), SAMPLING, tmp_path / "whole")
    engines = [FakeEngine(answer) for _ in range(of)]
    assert share_out(10, out, of, engines)
    assert folder_bytes(out) == folder_bytes(tmp_path / "whole")
    for number, engine in enumerate(engines):
        assert {r.key for r in engine.seen} == {f"p{i}" for i in range(number, 10, of)}


ATTEMPTS = st.lists(
    st.tuples(st.integers(1, 4), st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(0, 60)),
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 11), attempts=ATTEMPTS)
def test_attempts_of_any_number_of_shards_end_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, count: int, attempts: list[tuple[int, list[int], int]]
) -> None:
    whole, out = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("run") / "out"
    generate(prompts(count), FakeEngine(answer), SAMPLING, whole)
    for of, deaths, cut in attempts:
        if not share_out(count, out, of, [FakeEngine(answer, dies_after=d) for d in deaths[:of]]):
            torn(out.parent / "shards", cut)
    left_over = sorted((out.parent / "shards").glob("*-of-*"))
    jobs = response_jobs(prompts(count), SAMPLING, out)
    for job in jobs:
        prepare(job, [old / job.path.name for old in left_over])
    assert complete_all(jobs, FakeEngine(answer), "out") == 2 * count
    assert folder_bytes(out) == folder_bytes(whole)


def test_what_stands_is_not_asked_for_again(out: Path) -> None:
    with pytest.raises(KilledError):
        generate(prompts(9), FakeEngine(answer, dies_after=1), SAMPLING, out)
    assert not share_out(9, out, 2, [FakeEngine(answer, 1), FakeEngine(answer, 1, dies_after=2)])
    kept = {r["id"] for r in jsonl.read(out / "en.jsonl")}
    asked = [FakeEngine(answer) for _ in range(3)]
    assert share_out(9, out, 3, asked)
    seen = [r.key for engine in asked for r in engine.seen if r.user.startswith("en")]
    # Before, the file held p0 to p2, the first shard p4, p6 and p8, and the second p3 and p5.
    assert kept == {"p0", "p1", "p2"}
    assert seen == ["p7"]


def test_a_shard_that_starts_again_goes_on_with_its_own_file(out: Path) -> None:
    (job,) = response_jobs({"en": prompts(8)["en"]}, SAMPLING, out)
    own, again = shards(out, 2)[1] / "en.jsonl", FakeEngine(answer)
    with pytest.raises(KilledError):
        complete_share(job, own, Share(1, 2), FakeEngine(answer, 1, dies_after=3))
    torn(own.parent, 5)
    complete_share(job, own, Share(1, 2), again)
    assert {r.key for r in again.seen} == {"p5", "p7"}
    assert sorted(r["id"] for r in jsonl.read(own)) == ["p1", "p3", "p5", "p7"]


def test_prompts_that_are_too_long_for_a_shard_fail_the_stage_at_its_end(out: Path) -> None:
    def too_long(number: int) -> FakeEngine:
        return FakeEngine(lambda r: ("", "too_long") if r.key in ("p3", "p4") else answer(r), number)

    for _ in range(2):
        with pytest.raises(LidrError, match=r"en.jsonl: the prompt 'p3' and 1 more leave no room"):
            share_out(6, out, 2, [too_long(1), too_long(2)])
        assert [r["id"] for r in jsonl.read(out / "en.jsonl")] == ["p0", "p1", "p2", "p5"]
    assert share_out(6, out, 1, [FakeEngine(answer)])


def test_a_shard_of_other_prompts_is_refused(out: Path) -> None:
    (job,) = response_jobs({"en": prompts(4)["en"]}, SAMPLING, out)
    own = shards(out, 2)[0] / "en.jsonl"
    complete_share(job, own, Share(0, 2), FakeEngine(answer))
    own.write_text(own.read_text().replace('"prompt": "en xxxx"', '"prompt": "en other"'))
    with pytest.raises(LidrError, match=r"0-of-2/en.jsonl:1: the record 'p2' is not of this stage's inputs"):
        settle(job, [own])
