"""Controls: the method's pairs exchanged, and pairs that tell languages apart and nothing else."""

from __future__ import annotations

import pytest

from lidr.compose import compose_run
from lidr.config import PairControl, identity, identity_values
from lidr.synthesis.strategies import candidates
from lidr.training.pairs import pair_type
from tests.synthesis.make import config, group


def pairs(control: PairControl | None) -> list[tuple[str, str, str, str, str]]:
    settings = config(control=control)
    found = [
        c.kept(control).pair() for c in candidates(group(), settings.pairs, settings.languages, 0, False)
    ]
    return [(p.language, p.chosen_origin, p.chosen, p.rejected_origin, p.rejected) for p in found]


def test_swapped_pairs_are_the_methods_with_both_answers_exchanged() -> None:
    assert pairs(PairControl.SWAPPED) == [
        (code, o_l, y_l, o_w, y_w) for code, o_w, y_w, o_l, y_l in pairs(None)
    ]


def test_fidelity_pairs_are_own_answers_in_both_languages() -> None:
    assert pairs(PairControl.FIDELITY) == [
        ("en", "en", "An apple.", "de", "Eine Birne."),
        ("es", "es", "Una pera.", "en", "An apple."),
        ("de", "de", "Eine Birne.", "en", "An apple."),
    ]


def test_the_type_of_a_pair_is_that_of_its_language_whatever_was_exchanged() -> None:
    for control in (None, *PairControl):
        settings = config(control=control)
        for found in candidates(group(), settings.pairs, settings.languages, 0, False):
            assert pair_type(found.kept(control).pair(), "en") is found.type


@pytest.mark.parametrize("control", list(PairControl))
def test_a_control_is_another_run_and_no_control_the_old_one(control: PairControl) -> None:
    plain, other = compose_run(["experiment=lab"]), compose_run(["experiment=lab", f"pairs={control}"])
    assert other.pairs.control is control
    assert identity(other) != identity(plain)
    assert "pairs.control" not in identity_values(plain)
    assert identity(plain) == "333620f6", "the demo's name in README.md"
