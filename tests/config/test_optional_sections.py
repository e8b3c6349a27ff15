"""Keys of sections that may be null are known as any other."""

from __future__ import annotations

import pytest

from lidr.compose import compose_run
from lidr.config.load import knows, suggest
from lidr.errors import ConfigError


def test_keys_of_a_section_that_may_be_null_are_known() -> None:
    for key in (
        "engine.endpoint.model",
        "engine.vllm.eager",
        "translator.engine.sampling.top_p",
        "translator.model.path",
    ):
        assert knows(key)
    assert not knows("engine.endpoint.modell")
    assert suggest("engine.endpoint.modell") == "did you mean 'model'?"


def test_a_wrong_type_there_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r'engine.endpoint.timeout: "soon" has the wrong type -> it must be a number'
    ):
        compose_run(
            ["engine=openai", "engine.endpoint.model='m-{iteration}'", "engine.endpoint.timeout=soon"]
        )
