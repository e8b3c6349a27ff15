import contextlib
import json
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import EnRejected, PairControl, PairType
from lidr.errors import LidrError
from lidr.prompts.align import align
from lidr.prompts.rows import Item
from lidr.synthesis import audit_table, build_pairs, generate, translate
from tests.synthesis.make import SAMPLING, SWITCHES, FakeEngine, config, group, write
from tests.synthesis.test_filters import LONG, LONG_TRANSLATIONS

ALL_ON = dict.fromkeys(SWITCHES, True) | {"translation_incomplete_group": False}


def build(folder, groups, **changes):
    return build_pairs(*write(folder, groups), folder / "pairs", config(**changes))


def read(folder):
    return list(jsonl.read(folder / "pairs" / "pairs.jsonl"))


def test_pairs_stand_in_prompt_order_then_language_order(tmp_path):
    build(tmp_path, [group("b"), group("a")])
    assert [(p["id"], p["language"]) for p in read(tmp_path)] == [
        (i, code) for i in ("b", "a") for code in ("en", "es", "de")
    ]
    assert read(tmp_path)[1] == {
        "id": "b",
        "language": "es",
        "prompt": "es: Name a fruit.",
        "chosen": "Una manzana.",
        "rejected": "Una pera.",
        "chosen_origin": "en->es",
        "rejected_origin": "es",
    }


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    made = [group(f"p{i}", answers=LONG, translations=LONG_TRANSLATIONS) for i in range(5)]
    for name in ("one", "two"):
        build(tmp_path / name, made, en_rejected=EnRejected.RANDOM, **ALL_ON)
    for file in ("pairs.jsonl", "audit.json"):
        assert (tmp_path / "one/pairs" / file).read_bytes() == (tmp_path / "two/pairs" / file).read_bytes()


def test_audit_by_hand(tmp_path):
    failed = group(
        "p1", answers={**LONG, "es": "muy " * 40}, translations={**LONG_TRANSLATIONS, ("en", "de"): None}
    )
    found = build(
        tmp_path,
        [
            group("p0", answers={**LONG, "es": LONG["en"]}, translations=LONG_TRANSLATIONS),
            failed,
            group(
                "p2", "Translate this into French: I am happy.", answers=LONG, translations=LONG_TRANSLATIONS
            ),
        ],
        **ALL_ON,
    )
    assert json.loads((tmp_path / "pairs/audit.json").read_text()) == found
    assert (found["prompts"], found["candidates"], found["kept"]) == (3, 9, 7)
    assert {k: v for k, v in found["dropped"].items() if v} == {"translation_error": 2}
    spanish = next(c for c in found["pairs"] if (c["type"], c["language"]) == ("nl", "es"))
    assert spanish["on_target"] == {
        "chosen": {"rate": 1.0, "on": 2, "off": 0, "undetermined": 0},
        "rejected": {"rate": 0.5, "on": 1, "off": 1, "undetermined": 0},
    }
    chosen = len(LONG_TRANSLATIONS["en", "es"])
    ratios = [chosen / len(LONG["en"]), chosen / 160, len(LONG["en"]) / len(LONG["es"])]
    assert spanish["mean_length_ratio"] == pytest.approx(sum(ratios) / 3)
    assert spanish["kept_by_origin"] == {"en over es": 1, "en->es over es": 2}
    to_german = next(t for t in found["translations"] if (t["source"], t["target"]) == ("en", "de"))
    assert (to_german["total"], to_german["failed"], to_german["errors"]) == (3, 1, {"no closing tag": 1})
    assert to_german["error_rate"] == pytest.approx(1 / 3)
    assert to_german["mean_source_length"] == {"failed": len(LONG["en"]), "ok": len(LONG["en"])}
    assert found["translation_requests"] == {"answered_untranslated": True, "found": 1, "ids": ["p2"]}
    assert found["detector"]["name"].startswith("majority of lingua-language-detector ")
    assert found["detector"]["languages"] == ["en", "es", "de"]
    examples = found["examples"]["translation_error"]
    assert [(e["id"], e["type"], e["language"]) for e in examples] == [("p1", "en", "en"), ("p1", "nl", "de")]
    assert examples[0]["translation_errors"] == {"en->de": "no closing tag"}


def test_a_limit_keeps_the_first_pairs_of_each_type_and_language(tmp_path):
    made = [group(f"p{i}", answers={"de": "" if i == 0 else "Eine Birne."}) for i in range(4)]
    found = build(tmp_path, made, limit=2, empty=True)
    kept = [(p["id"], p["language"]) for p in read(tmp_path)]
    assert [i for i, code in kept if code == "es"] == ["p0", "p1"]
    assert [i for i, code in kept if code == "de"] == ["p1", "p2"], "what a filter drops takes nobody's place"
    assert [i for i, code in kept if code == "en"] == ["p1", "p2"]
    assert (found["candidates"], found["kept"]) == (12, 6)
    assert (found["dropped"]["empty"], found["dropped"]["surplus"]) == (2, 4)
    again = build(tmp_path / "all", made, limit=4, empty=True)
    assert again["dropped"]["surplus"] == 0
    assert again["kept"] == 10


def test_a_limit_is_a_number_above_zero():
    with pytest.raises(LidrError, match=r"pairs.limit: 0 is out of range -> it must be greater than 0"):
        compose_run(["pairs.limit=0"])


def test_examples_are_three_and_short(tmp_path):
    made = [group(f"p{i}", answers={"es": "x" * 5000}, cut=("es",)) for i in range(5)]
    examples = build(tmp_path, made, truncated=True)["examples"]["truncated"]
    assert [e["id"] for e in examples] == ["p0", "p1", "p2"]
    assert len(examples[0]["rejected"]) < 500


def test_translation_requests_can_be_switched_off(tmp_path):
    made = [group("p0", "Translate this into French: I am happy.")]
    found = build(tmp_path, made, translation_requests=False)
    assert found["translation_requests"] == {"answered_untranslated": False, "found": 1, "ids": ["p0"]}
    assert [p["chosen_origin"] for p in read(tmp_path)] == ["en", "en->es", "en->de"]


def test_table(tmp_path):
    found = build(tmp_path, [group("p0", cut=("es",)), group("p1")], truncated=True)
    header, rows = audit_table(found)
    assert header[:5] == ("pairs", "language", "candidates", "kept", "truncated")
    assert [row[:5] for row in rows] == [
        ("nl", "es", "2", "1", "1"),
        ("nl", "de", "2", "2", "0"),
        ("en", "en", "2", "2", "0"),
        ("all", "", "6", "5", "1"),
    ]
    assert {len(row) for row in rows} == {len(header)}


def test_no_pair_left_is_an_error_after_the_audit_is_written(tmp_path):
    with pytest.raises(LidrError, match=r"audit.json: none of 3 pairs passed the filters"):
        build(tmp_path, [group(cut=("en",))], truncated=True)
    assert json.loads((tmp_path / "pairs/audit.json").read_text())["dropped"]["truncated"] == 3


TEXTS = st.sampled_from(["", "An apple.", "A pear.", LONG["en"], LONG["es"], LONG["de"], "no no no no " * 5])
_DIRECTIONS = [("en", "es"), ("es", "en"), ("en", "de"), ("de", "en")]
GROUPS = st.builds(
    lambda prompt, answers, turned, cut: group(
        prompt=prompt,
        answers=dict(zip(("en", "es", "de"), answers, strict=True)),
        translations={k: v or None for k, v in zip(_DIRECTIONS, turned, strict=True)},
        cut=tuple(cut),
    ),
    st.sampled_from(["Name a fruit.", "Translate 'pear' into Thai."]),
    st.tuples(TEXTS, TEXTS, TEXTS),
    st.tuples(TEXTS, TEXTS, TEXTS, TEXTS),
    st.sets(st.sampled_from(["en", "es", "de"])),
)


@settings(max_examples=60, deadline=None)
@given(
    made=st.lists(GROUPS, min_size=1, max_size=4),
    filters=st.fixed_dictionaries({name: st.booleans() for name in SWITCHES}),
    en_rejected=st.sampled_from(EnRejected),
    types=st.sampled_from([(PairType.NL,), (PairType.EN,), (PairType.NL, PairType.EN)]),
    requests=st.booleans(),
)
def test_counts_add_up(made, filters, en_rejected, types, requests):
    changes = dict(en_rejected=en_rejected, types=types, translation_requests=requests, **filters)
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(LidrError):  # none of the pairs passed
            build(Path(folder), made, **changes)
        pairs = read(Path(folder))
        found = json.loads((Path(folder) / "pairs" / "audit.json").read_text())
    expected = {PairType.NL: 2, PairType.EN: 2 if en_rejected is EnRejected.ALL else 1}
    assert found["candidates"] == len(made) * sum(expected[t] for t in types)
    assert found["candidates"] == found["kept"] + sum(found["dropped"].values())
    assert found["kept"] == len(pairs)
    for cell in found["pairs"]:
        assert cell["candidates"] == cell["kept"] + sum(cell["dropped"].values())
        kept = [p for p in pairs if p["language"] == cell["language"]]
        assert cell["kept"] == len(kept) == sum(cell["kept_by_origin"].values())
    assert not any(
        found["dropped"][name] for name, on in filters.items() if not on and name != "translation_error"
    )


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda p: p[1].joinpath("de.jsonl").unlink(), "responses/de.jsonl: cannot be read"),
        (
            lambda p: _drop_line(p[1] / "es.jsonl"),
            "responses/es.jsonl:1: holds 'p1' where .*en.jsonl holds 'p0'",
        ),
        (
            lambda p: _drop_line(p[2] / "en-de.jsonl", -1),
            "en-de.jsonl:2: holds nothing more where .* holds 'p1'",
        ),
        (lambda p: (p[0] / "es.jsonl").replace(p[0] / "de.jsonl"), "es.jsonl: cannot be read"),
        (
            lambda p: _swap(p[1] / "es.jsonl", '"es"', '"fr"'),
            "es.jsonl:1: is in 'fr', the file's name says 'es'",
        ),
        (lambda p: _swap(p[1] / "es.jsonl", '"response"', '"reply"'), "has no text under 'response'"),
        (
            lambda p: _swap(p[2] / "en-es.jsonl", '"error": null', '"error": "x"'),
            "either a translation or an error",
        ),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, break_it, says):
    places = write(tmp_path, [group("p0"), group("p1")])
    break_it(places)
    with pytest.raises(LidrError, match=says):
        build_pairs(*places, tmp_path / "pairs", config())
    assert not (tmp_path / "pairs" / "pairs.jsonl").exists()


def _drop_line(path, place=0):
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[place]
    path.write_bytes(b"".join(lines))


def _swap(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_from_prompts_to_pairs(tmp_path):
    items = {c: [Item(f"p{i}", f"{c} question {i}", None, "") for i in range(5)] for c in ("en", "es", "de")}
    prompts = align(items).by_language
    settings_ = config(types=(PairType.NL, PairType.EN))
    (tmp_path / "prompts").mkdir()
    for code, rows in prompts.items():
        jsonl.write(
            tmp_path / f"prompts/{code}.jsonl",
            ({"id": p.id, "language": code, "prompt": p.prompt} for p in rows),
        )
    generate(prompts, FakeEngine(lambda r: (f"answer to {r.user}", "stop")), SAMPLING, tmp_path / "responses")
    engine = FakeEngine(
        lambda r: (f"T({r.user[-31:-11]})</translated>" if "3" not in r.key else "open", "stop")
    )
    translate(
        tmp_path / "responses", settings_.languages, engine, settings_.translator, tmp_path / "translations"
    )
    folders = [tmp_path / name for name in ("prompts", "responses", "translations", "pairs")]
    found = build_pairs(*folders, settings_)
    assert (found["candidates"], found["kept"], found["dropped"]["translation_error"]) == (15, 12, 3)
    assert [p["id"] for p in read(tmp_path)] == [i for i in ("p0", "p1", "p2", "p4") for _ in range(3)]


def test_the_audit_tells_a_way_back_from_a_way_there(tmp_path):
    control = PairControl.ROUND_TRIP
    failed = {("en", "de"): None, ("en", "de", "en"): None}
    made = [group("p0", control=control), group("p1", translations=failed, control=control)]
    found = build(tmp_path, made, control=control, translation_error=True)
    assert (found["kept"], found["dropped"]["translation_error"]) == (4, 2)
    assert [(t["source"], t["target"], t["failed"]) for t in found["translations"]] == [
        ("en", "es", 0), ("es", "en", 0), ("en", "de", 1), ("de", "en", 0),
        ("en-es", "en", 0), ("es-en", "es", 0), ("en-de", "en", 1), ("de-en", "de", 0),
    ]  # fmt: skip
    english = next(c for c in found["pairs"] if c["language"] == "en")
    assert english["kept_by_origin"] == {"en->de->en over de->en": 1}
    errors = found["examples"]["translation_error"][0]["translation_errors"]
    assert errors == {"en->de": "no closing tag", "en->de->en": "no closing tag"}


def test_datasets_reads_the_pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    build(tmp_path, [group("p0"), group("p1", answers={"es": 'línea\u2028 "quoted" \\ 🍐\n'})])
    path = str(tmp_path / "pairs" / "pairs.jsonl")
    loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == read(tmp_path)


PRESETS = {
    "lidr": ((PairType.NL, PairType.EN), EnRejected.LAST, None),
    "paper": ((PairType.NL, PairType.EN), EnRejected.LAST, None),
    "nl_only": ((PairType.NL,), EnRejected.LAST, None),
    "en_only": ((PairType.EN,), EnRejected.LAST, None),
    "all_rejected": ((PairType.NL, PairType.EN), EnRejected.ALL, None),
    "random_rejected": ((PairType.NL, PairType.EN), EnRejected.RANDOM, None),
    "worst_rejected": ((PairType.NL, PairType.EN), EnRejected.WORST, None),
    "swapped": ((PairType.NL, PairType.EN), EnRejected.LAST, PairControl.SWAPPED),
    "fidelity": ((PairType.NL, PairType.EN), EnRejected.LAST, PairControl.FIDELITY),
    "round_trip": ((PairType.NL, PairType.EN), EnRejected.LAST, PairControl.ROUND_TRIP),
    "mapo": ((PairType.NL,), EnRejected.LAST, None),
    "mapo_lab": ((PairType.NL,), EnRejected.LAST, None),
}


def test_every_preset_has_a_row_here():
    folder = Path(__file__).parents[2] / "conf" / "pairs"
    assert {p.stem for p in folder.iterdir()} == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    pairs = compose_run([f"pairs={name}"]).pairs
    assert (pairs.types, pairs.en_rejected, pairs.control) == PRESETS[name]
    assert pairs.filters.translation_error
    assert not pairs.filters.translation_incomplete_group


def test_memory_does_not_grow_with_the_number_of_prompts(tmp_path):
    def peak(count):
        places = write(
            tmp_path / str(count), [group(f"p{i}", answers={"en": "x" * 2000}) for i in range(count)]
        )
        tracemalloc.start()
        build_pairs(*places, tmp_path / str(count) / "pairs", config())
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1)  # loads the detector
    assert peak(220) < peak(20) + 200_000  # bytes; the 200 further answers alone hold 400,000
