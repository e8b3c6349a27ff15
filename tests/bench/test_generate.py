"""What `make bench-generate` counts and compares, by numbers worked out by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.bench import generate, generate_profile
from experiments.bench import generate_table as table
from experiments.bench.contestants import RunFailed
from experiments.bench.generate_cases import answers, balanced, from_lab, translations
from experiments.bench.generate_contestants import BATCHES, BEST, defaults, execute, parse
from experiments.bench.generate_memory import Counted, Growth, lines
from experiments.bench.generate_plain import PlainGenerate, completion, neutral_padding
from experiments.bench.generate_spec import (
    GenerateSpec,
    Measured,
    Timed,
    Workload,
    missing,
    read_measured,
    read_spec,
    write_measured,
    write_spec,
)
from lidr.chat import ChatFormat
from lidr.compose import compose_run
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.paths import BUILTIN_LAB, resolve_model
from tests import tiny

STOP, LENGTH = FinishReason.STOP, FinishReason.LENGTH
EOS = frozenset([2])
PIECES = {2: "<end>", 10: "hola ", 11: "</", 12: "t>\n", 13: "adiós"}
GREEDY = SamplingConfig(max_new_tokens=12, repetition_penalty=1.3)


def decode(ids: list[int]) -> str:
    return "".join(PIECES[i] for i in ids)


def ran(answer_tokens: int, seconds: float, peak: int = 100, text: str = "a") -> Measured:
    """Two answers of equal length in `seconds`, two translations of 50 tokens each in 10 s."""
    answered = [Completion(key, text, STOP, answer_tokens // 2) for key in ("en/1", "es/1")]
    translated = [Completion(key, "b", LENGTH, 50) for key in ("en-es/1", "es-en/1")]
    return Measured({"answers": Timed(seconds, answered), "translations": Timed(10, translated)}, 1.0, peak)


# Answers 20, 10, 8, 25 tok/s; translations 10 tok/s each; together lidr (200 + 100) / (10 + 10) = 15.
ROUND = {
    "lidr": ran(200, 10, peak=300),
    "generate-8": ran(200, 20, peak=200),
    "generate-16": ran(160, 20, peak=400),
    "vllm": ran(200, 8, peak=900),
}
WITHOUT_8 = {"lidr": ran(300, 10), "generate-16": ran(100, 20)}


@pytest.mark.parametrize(
    ("ids", "text", "reason", "tokens"),
    [
        ([10, 13, 2, 2, 2], "hola adiós", STOP, 3),  # the end of turn counts once, padding never
        ([2, 2, 2], "", STOP, 1),
        ([10, 13, 10], "hola adióshola ", LENGTH, 3),
        ([10, 11, 12, 2, 2], "hola </t>", STOP, 3),  # what follows a stop text is padding: no end of turn
        ([10, 11, 12], "hola </t>", STOP, 3),  # a stop text as the last token allowed
        ([10, 11, 12, 13, 13], "hola </t>", STOP, 3),
        ([10, 11, 2], "hola </", STOP, 3),
    ],
)
def test_a_row_is_cut_where_its_answer_ends(
    ids: list[int], text: str, reason: FinishReason, tokens: int
) -> None:
    found = completion(Request("k", "x", stop=("</t>",)), ids, EOS, decode)
    assert found == Completion("k", text, reason, tokens)


def test_padding_is_a_token_of_every_prompt() -> None:
    assert neutral_padding([[5, 2, 7], [5, 9, 2]], preferred=2) == 2
    assert neutral_padding([[5, 2, 7], [9, 5]], preferred=2) == 5
    with pytest.raises(SystemExit, match="share no token"):
        neutral_padding([[5], [9]], preferred=2)


def test_batches_of_plain_generate_do_not_change_its_answers() -> None:
    torch.set_num_threads(1)
    chat = ChatFormat(tiny.tokenizer(), None)
    requests = [Request(str(i), "ab" * i, stop=("q",)) for i in range(1, 6)]

    def answered(batch: int) -> list[list[Completion]]:
        return list(PlainGenerate(tiny.model(), chat, batch).stream(requests, GREEDY, done={"3"}))

    by_two = answered(2)
    assert [[c.key for c in few] for few in by_two] == [["1", "2"], ["4", "5"]]
    assert [[c] for few in by_two for c in few] == answered(1)
    assert any(c.tokens == GREEDY.max_new_tokens for few in by_two for c in few)


def test_together_is_all_tokens_by_all_seconds() -> None:
    found = table.peer(ROUND, "lidr", table.TOGETHER)
    assert found is not None
    assert table.speed(found) == 15.0


def test_ratios_are_against_the_fastest_batch_of_a_round() -> None:
    rounds = [ROUND, WITHOUT_8]
    assert table.ratios(rounds, "lidr", table.FASTEST, "answers") == [20 / 10, 30 / 5]
    # Together: 300 tokens in 20 s against 300 in 30 s; 400 in 20 s against 200 in 30 s.
    assert table.ratios(rounds, "lidr", table.FASTEST) == pytest.approx([1.5, 3.0])
    assert table.ratios(rounds, "lidr", "vllm", "answers") == [20 / 25]


def test_each_workload_has_its_own_fastest_batch() -> None:
    done = ran(200, 50).timed
    quick = Timed(2, done["translations"].completions)
    slow_answers = Measured({"answers": done["answers"], "translations": quick}, 1.0, 50)
    measured = {"lidr": ROUND["lidr"], "generate-8": ROUND["generate-8"], "generate-64": slow_answers}
    assert table.fastest(measured, "answers") == "generate-8"
    assert table.fastest(measured, "translations") == "generate-64"
    # 200 answer tokens in 20 s and 100 translation tokens in 2 s.
    assert table.ratios([measured], "lidr", table.FASTEST) == pytest.approx([15 / (300 / 22)])
    assert table.memory_ratios([measured], "lidr", table.FASTEST) == [300 / 50]


def test_the_last_line() -> None:
    """vLLM: 300 tokens in 20 s against 300 in 18 s."""
    assert (
        table.last_line({"bf16": [ROUND, WITHOUT_8], "fp32": [ROUND]})
        == "bench-generate: speedup=2.25 vllm=0.90"
    )
    assert table.last_line({"bf16": [WITHOUT_8]}) == "bench-generate: speedup=3.00 vllm=nan"
    assert table.last_line({"fp32": [ROUND]}) == "bench-generate: speedup=nan vllm=nan"


def test_agreement_counts_texts_and_tokens() -> None:
    other = ran(180, 10)
    other.timed["answers"].completions[0] = Completion("en/1", "z", STOP, 100)
    rounds = [{"lidr": ran(200, 10), "generate-8": other}, {"lidr": ran(200, 10)}]
    # es/1 has the same text, but 100 tokens against 90.
    assert table.agreement(rounds, "lidr", "generate-8", "answers") == table.Agreement(2, 1, 0)
    assert table.agreement(rounds, "lidr", "generate-8", "translations") == table.Agreement(2, 2, 2)


def test_rows_that_are_done_wait_for_the_longest_of_their_batch() -> None:
    """Batches of 2: 10 and 30 tokens, 20 alone: 60 of 2 * 30 + 20 row steps."""
    found = [Completion(str(i), "", STOP, n) for i, n in enumerate((10, 30, 20))]
    rounds = [{"generate-2": Measured({"answers": Timed(1.0, found)}, 1.0)}, {"lidr": ran(2, 1)}]
    assert table.filled(rounds, "generate-2", "answers") == 60 / 80


def test_the_table_shows_every_number() -> None:
    found = table.case_table("bf16", [ROUND, WITHOUT_8])
    assert found[0] == "bf16: 2 answers, 2 translations a round"
    lidr = next(line for line in found if line.startswith("lidr  ")).split()
    rates = "lidr 25.0 (20.0..30.0) 10.0 (10.0..10.0) 17.5 (15.0..20.0)"
    assert " ".join(lidr) == f"{rates} 350 20.0 1.0 0.00 2"
    text = [" ".join(line.split()) for line in found]
    for line in (
        "lidr / fastest generate, together 2.25 (1.50..3.00, quartiles 1.88 2.62)",
        "memory, lidr / fastest generate 1.25 (1.00..1.50, quartiles 1.12 1.38)",
        "fastest generate, answers generate-8 in 1, generate-16 in 1 of 2 rounds",
        "row steps of generate-8 before the row ends answers 100%, translations 100%",
        "same text, lidr and vllm, answers 2 of 2",
    ):
        assert line in text


def test_requests_answered_twice_or_never_are_missing() -> None:
    requests = [Request(key, "x") for key in "abc"]
    found = [Completion(key, "", STOP, 1) for key in "aabz"]
    assert missing(requests, found) == ["a", "c", "z"]


def test_files_give_back_what_was_written(tmp_path: Path) -> None:
    workload = Workload("answers", (Request("k", "¿?", "<t>", ("</t>",)),), GREEDY)
    spec = GenerateSpec(["seed=1"], None, 2, [workload])
    write_spec(tmp_path / "run" / "spec.json", spec)
    write_measured(tmp_path / "measured.json", ROUND["lidr"])
    assert read_spec(tmp_path / "run" / "spec.json") == spec
    assert read_measured(tmp_path / "measured.json") == ROUND["lidr"]


def test_answers_are_the_same_ids_in_every_language() -> None:
    prompts = {code: [(str(i), f"{code} {i}") for i in range(50)] for code in ("en", "es")}
    config = compose_run(["engine.sampling.max_new_tokens=7"])
    found = answers(config, prompts, 6, np.random.default_rng(3))
    keys = [r.key.split("/") for r in found.requests]
    assert [language for language, _ in keys] == ["en"] * 3 + ["es"] * 3
    assert [i for _, i in keys[:3]] == [i for _, i in keys[3:]]
    assert found.sampling == SamplingConfig(7, 1.1)
    assert answers(config, prompts, 6, np.random.default_rng(4)) != found


def test_translations_go_both_ways_and_leave_out_what_the_loop_does() -> None:
    config = compose_run(["languages.non_dominant=[es,de]", "languages.unseen=[]"])
    stored = [
        Completion("en/1", "one", STOP, 3),
        Completion("en/2", "two", LENGTH, 3),
        Completion("es/1", "uno", STOP, 3),
        Completion("de/1", " ", STOP, 3),
    ]
    found = translations(config, stored, 4, np.random.default_rng(0))
    assert [r.key for r in found.requests] == ["en-es/1", "es-en/1", "en-de/1"]
    assert all(r.prefill == "<translated>" and r.stop == ("</translated>",) for r in found.requests)
    assert "<sentence>uno</sentence>" in found.requests[1].user
    assert found.sampling.repetition_penalty == 1.0


@pytest.mark.parametrize(("first", "second", "of_first"), [(9, 9, 3), (2, 9, 2), (9, 1, 5), (1, 1, 1)])
def test_halves_fill_up_from_the_other(first: int, second: int, of_first: int) -> None:
    found = balanced(range(first), range(10, 10 + second), 6, np.random.default_rng(0))
    assert sum(i < 10 for i in found) == of_first
    assert len(set(found)) == min(6, first + second)


def test_contestants_are_parsed() -> None:
    assert parse("generate-16").batch == 16
    assert parse("lidr:a=1+b=2").overrides == ("a=1", "b=2")
    assert parse("vllm:a=1").overrides == ("engine=vllm", "a=1")
    assert parse("vllm").python != sys.executable == parse("lidr").python
    for text in ("generate-0", "generate-x", "generate-8:a=1", "tgi"):
        with pytest.raises(SystemExit, match="contestants are"):
            parse(text)


@pytest.mark.parametrize("precision", generate.PRECISIONS)
def test_the_best_batches_run_in_every_round_their_neighbours_in_the_first(precision: str) -> None:
    found = {c.batch: c.rounds for c in defaults(precision) if c.batch}
    best = set(BEST[precision].values())
    assert {size for size, rounds in found.items() if rounds is None} == best
    for size in best:
        place = BATCHES.index(size)
        assert set(BATCHES[max(place - 1, 0) : place + 2]) <= set(found)


def test_a_failed_run_shows_how_it_ended(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="no_such_key"):
        execute(GenerateSpec(["no_such_key=1"], None, 1, []), parse("lidr"), tmp_path / "run")


def test_prompts_of_the_lab_have_the_official_lengths() -> None:
    tokenizer = tiny.tokenizer()
    made = from_lab(["es"], tokenizer)["es"]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for _, text in made]
    assert np.quantile(lengths, 0.45) == pytest.approx(22, abs=1)


def test_requests_of_the_memory_test_are_made_as_they_are_read() -> None:
    requests = Counted(1_000_000)
    stream = iter(requests)
    taken = [next(stream) for _ in range(3)]
    assert requests.read == 3
    assert [r.key for r in taken] == ["0", "1", "2"]
    assert taken == [r for r, _ in zip(Counted(10), range(3), strict=False)]


def test_the_memory_table() -> None:
    found = lines([Growth(1000, 2**28, 2**20, 70, 1.5), Growth(10_000, 2**28, 3 * 2**19, 71, 15.0)])
    assert found[1].split() == ["1000", "256.0", "1.0", "70", "1.5"]
    assert found[-1] == "bench-generate-memory: 1000=1.0 10000=1.5"


def test_a_profile_lists_the_operators_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = f"model.path='{resolve_model(BUILTIN_LAB)}'"
    overrides = ["experiment=lab", model, "trainer=cpu", "tracking=none"]
    workload = Workload("answers", (Request("en/1", "Tom has 2 apples."),), GREEDY)
    write_spec(tmp_path / "spec.json", GenerateSpec(overrides, None, 1, [workload]))
    assert generate_profile.main([str(tmp_path), "--tokens", "4", "--lines", "3"]) == 0
    heading, columns, *operators = capsys.readouterr().out.splitlines()
    assert heading.startswith("answers: ")
    assert columns.split() == ["operator", "s", "%", "calls", "us"]
    assert len(operators) == 3
    assert any("mkldnn::_linear_pointwise" in line for line in operators)


def test_a_profile_of_no_run_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"spec\.json is not there: python -m experiments\.bench\.generate"):
        generate_profile.main([str(tmp_path)])
