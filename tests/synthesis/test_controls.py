"""Controls: the method's pairs exchanged, pairs that tell languages apart, and pairs of translations alone."""

from __future__ import annotations

import pytest

from lidr.compose import compose_run
from lidr.config import EnRejected, PairControl, identity, identity_values
from lidr.errors import ConfigError
from lidr.synthesis.filters import Filters, Reason
from lidr.synthesis.strategies import candidates
from lidr.training.pairs import pair_type
from tests.synthesis.make import config, group


def pairs(
    control: PairControl | None, asks: bool = False, **changes: object
) -> list[tuple[str, str, str, str, str]]:
    settings, made = config(control=control, **changes), group(control=control)
    found = [c.kept(control).pair() for c in candidates(made, settings.pairs, settings.languages, 0, asks)]
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
        for found in candidates(group(control=control), settings.pairs, settings.languages, 0, False):
            assert pair_type(found.kept(control).pair(), "en") is found.type
            if control in (None, PairControl.ROUND_TRIP):
                assert pair_type(found.pair()) is found.type, "by the route of the chosen answer alone"


def test_both_sides_of_a_round_trip_pair_are_translations() -> None:
    assert pairs(PairControl.ROUND_TRIP) == [
        ("en", "en->de->en", "An apple from de.", "de->en", "One pear."),
        ("es", "en->es", "Una manzana.", "es->en->es", "Una pera de vuelta."),
        ("de", "en->de", "Ein Apfel.", "de->en->de", "Eine Birne zurück."),
    ]


@pytest.mark.parametrize("choice", EnRejected)
def test_the_chosen_en_answer_was_where_the_rejected_one_is_from(choice: EnRejected) -> None:
    english = [p for p in pairs(PairControl.ROUND_TRIP, en_rejected=choice) if p[0] == "en"]
    assert len(english) == (2 if choice is EnRejected.ALL else 1)
    for _, chosen, _, rejected, _ in english:
        assert chosen == f"en->{rejected.removesuffix('->en')}->en"


def test_a_translation_request_takes_the_dominant_answer_as_it_came_back() -> None:
    assert pairs(PairControl.ROUND_TRIP, asks=True)[1] == (
        "es", "en->es->en", "An apple from es.", "es->en->es", "Una pera de vuelta.",
    )  # fmt: skip


@pytest.mark.parametrize("failed", [("en", "es"), ("es", "en"), ("en", "es", "en"), ("es", "en", "es")])
def test_any_leg_that_failed_drops_both_types_and_without_the_filter_what_lacks_a_text(
    failed: tuple[str, ...],
) -> None:
    control = PairControl.ROUND_TRIP
    made = group(translations={failed: None}, control=control)

    def dropped(**filters: bool) -> list[Reason | None]:
        settings = config(control=control, en_rejected=EnRejected.ALL, **filters)
        judge = Filters(settings.pairs.filters, settings.languages).judge
        return [judge(c).dropped for c in candidates(made, settings.pairs, settings.languages, 0, False)]

    error = Reason.TRANSLATION_ERROR
    assert dropped(translation_error=True) == [error, None, error, None]  # en with es, en with de, es, de
    english = failed in (("en", "es", "en"), ("es", "en"))
    assert dropped() == [error if english else None, None, None if english else error, None]


def test_a_round_trip_needs_a_translator() -> None:
    nobody = ["translator=none", "pairs.filters.off_target_chosen=false"]
    with pytest.raises(ConfigError, match=r"round_trip needs a translator.*type translator=self"):
        compose_run(["experiment=lab", "pairs=round_trip", *nobody])


@pytest.mark.parametrize("control", list(PairControl))
def test_a_control_is_another_run_and_no_control_the_old_one(control: PairControl) -> None:
    plain, other = compose_run(["experiment=lab"]), compose_run(["experiment=lab", f"pairs={control}"])
    assert other.pairs.control is control
    assert identity(other) != identity(plain)
    assert "pairs.control" not in identity_values(plain)
    assert identity(plain) == "333620f6", "the demo's name in README.md"
