"""Benchmarks of two kinds of sections: each has its own keys, and a mistake in either names its place."""

from __future__ import annotations

import pytest

from lidr.compose import compose_run, config_folder
from lidr.config import from_mapping, identity, to_mapping
from lidr.config.load import knows, suggest
from lidr.errors import ConfigError

LM_EVAL = ("mmlu", "hellaswag", "arc", "truthfulqa", "global_mmlu")
ALL = sorted(  # others change one of these
    p.stem
    for p in (config_folder("conf") / "evaluation").glob("*.yaml")
    if f"@package evaluation.{p.stem}\n" in p.read_text(encoding="utf-8")
)


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        compose_run(["evaluation=[mmlu]", *overrides])
    return str(error.value).splitlines()


def test_every_benchmark_composes() -> None:
    config = compose_run([f"evaluation=[{','.join(ALL)}]", "paths.data=/data", "prompts.root=/data"])
    assert sorted(config.evaluation) == ALL
    assert sorted(config.lm_eval_benchmarks) == sorted(LM_EVAL)
    assert sorted(config.asked_benchmarks) == sorted(set(ALL) - set(LM_EVAL))
    assert from_mapping(to_mapping(config)) == config


def test_a_task_has_the_languages_code_or_a_name_of_its_own() -> None:
    truthfulqa = compose_run(["evaluation=[truthfulqa]"]).lm_eval_benchmarks["truthfulqa"]
    assert truthfulqa.tasks("de") == {
        "truthfulqa_de_mc1": {"mc1": "acc"},
        "truthfulqa_de_mc2": {"mc2": "acc"},
    }
    assert list(truthfulqa.tasks("en")) == ["truthfulqa_mc1", "truthfulqa_mc2"]
    arc = compose_run(["evaluation=[arc]"]).lm_eval_benchmarks["arc"]
    assert arc.tasks("ru") == {"arc_ru": {"accuracy": "acc", "accuracy_norm": "acc_norm"}}


def test_where_tasks_lie_and_how_many_rows_at_a_time_is_the_same_run() -> None:
    one = compose_run(["evaluation=[mmlu]"])
    same = compose_run(
        ["evaluation=[mmlu]", "evaluation.mmlu.batch_size=2", "evaluation.mmlu.include_path=/tasks"]
    )
    other = compose_run(["evaluation=[mmlu]", "evaluation.mmlu.num_fewshot=0"])
    assert identity(one) == identity(same)
    assert identity(one) != identity(other)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("evaluation.mmlu.num_fewshots=1", "unknown key -> did you mean 'num_fewshot'?"),
        ("evaluation.mmlu.kind=lm_evl", ".kind: \"lm_evl\" is not a choice -> did you mean 'lm_eval'?"),
        ("~evaluation.mmlu.kind", "evaluation.mmlu.kind: has no value -> type evaluation.mmlu.kind=<value>"),
        ("evaluation.mmlu.limit=0", "evaluation.mmlu.limit: 0 is out of range -> it must be greater than 0"),
        ("evaluation.mmlu.limit=all", 'limit: "all" has the wrong type -> it must be a whole number or null'),
        ("evaluation.mmlu.num_fewshot=-1", "num_fewshot: -1 is out of range -> it must be 0 or greater"),
        ("evaluation.mmlu.batch_size=0", "batch_size: 0 is out of range"),
        (
            "~evaluation.mmlu.metrics.accuracy",
            "evaluation.mmlu.metrics: is empty -> type +evaluation.mmlu.metrics.accuracy=",
        ),
        ("evaluation.mmlu.metrics.accuracy.task=mmlu", "'mmlu' lacks {language} -> put {language} where"),
        ("+evaluation.mmlu.metrics.id={task: 'm_{language}', metric: acc}", "'id' can be no metric's name"),
        ("evaluation.mmlu.languages=[ja]", "'ja' is no language of this run"),
        (
            "evaluation.mmlu.max_new_tokens=5",
            "is no key of a chosen benchmark -> choose mmlu with evaluation=[...]",
        ),
        ("+evaluation.mmlu.max_new_tokens=5", "unknown key -> remove it, only another kind has it"),
    ],
)
def test_a_mistake_is_a_line_with_place_and_remedy(override: str, line: str) -> None:
    lines = problems(override)
    assert any(line in found for found in lines), lines


def test_keys_of_both_kinds_are_known() -> None:
    for key in ("evaluation.x.item_keys", "evaluation.x.prompts.root", "evaluation.x.metrics.accuracy.task"):
        assert knows(key), key
    assert not knows("evaluation.x.itemkeys")
    assert suggest("evaluation.x.itemkeys") == "did you mean 'item_keys'?"
