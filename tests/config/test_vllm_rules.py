"""What vLLM would refuse is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lidr.compose import compose_run
from lidr.config.engine_rules import violations
from lidr.errors import ConfigError

OTHER = ["translator=engine", "translator.model.path=models/other"]


@pytest.mark.parametrize(
    ("overrides", "what", "instead"),
    [
        (
            ["engine.token_budget=100"],
            "engine.token_budget: 100 tokens a forward pass are too few for 256 requests",
            "type engine.token_budget=256 or more, or null",
        ),
        (
            ["trainer=gpu", "processes=inline"],
            "processes: vLLM gives a GPU's memory back only when its process ends",
            "type processes=separate",
        ),
        (
            ["engine.sampling.temperature=2.5"],
            "engine.sampling.temperature: 2.5 is more than vLLM takes",
            "type at most 2, or engine=transformers",
        ),
        (
            ["translator.sampling.temperature=2.5"],
            "translator.sampling.temperature: 2.5 is more than vLLM takes",
            "type at most 2, or engine=transformers",
        ),
        (
            [*OTHER, "engine.token_budget=100"],
            "engine.token_budget: 100 tokens a forward pass are too few for 256 requests",
            "type engine.token_budget=256 or more, or null",
        ),
    ],
)
def test_a_mistake_is_a_line(overrides: list[str], what: str, instead: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose_run(["engine=vllm", *overrides])
    assert str(error.value) == f"{what} -> {instead}"


def test_an_engine_of_the_translators_own() -> None:
    config = compose_run(["engine=vllm", *OTHER])
    translator = replace(config.translator, engine=replace(config.engine, token_budget=1))
    [problem] = violations(replace(config, translator=translator))
    assert problem.where == "translator.engine.token_budget"


@pytest.mark.parametrize(
    "overrides",
    [
        ["engine=vllm", "engine.token_budget=256", "engine.sampling.temperature=2"],
        ["engine=vllm", "trainer=gpu"],
        ["engine=vllm", "processes=inline"],
        ["engine=transformers", "trainer=gpu", "processes=inline", "engine.sampling.temperature=2.5"],
        ["engine=transformers", "translator.sampling.temperature=2.5", "engine.token_budget=8"],
    ],
)
def test_nothing_else_is(overrides: list[str]) -> None:
    compose_run(overrides)
