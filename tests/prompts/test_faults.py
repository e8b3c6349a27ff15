"""Every fault of a prompt file is one line that says where it is and what to type."""

import pytest

from lidr.config import PromptFormat
from lidr.errors import LidrError
from lidr.prompts import load
from tests.prompts.make import config, rows, write

GOOD = b'{"id": 1, "prompt": "a"}\n'


def fault(settings):
    with pytest.raises(LidrError) as caught:
        load(settings, ["en", "es"])
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (GOOD + b"{broken\n", "en.jsonl:2: is not JSON"),
        (GOOD + b'"text"\n', "en.jsonl:2: is a JSON str, not an object"),
        (GOOD + b"\xff\xfe\n", "en.jsonl:2: is not UTF-8 -> save the file as UTF-8"),
        (GOOD + b'{"id": 2, "promt": "a"}\n', "en.jsonl:2: has no key 'prompt' -> did you mean 'promt'?"),
        (b'{"text": "a"}\n', "en.jsonl:1: has no key 'id' -> choose from text (prompts.id_key=text)"),
        (b'{"id": null, "prompt": "a"}\n', "prompts.id_key=null"),
        (b'{"id": true, "prompt": "a"}\n', "prompts.id_key=null"),
        (
            b'{"id": 1, "prompt": {"a": 1}}\n',
            "en.jsonl:1: the prompt under 'prompt' is a JSON dict, not a text",
        ),
        (
            b'{"id": 1, "prompt": ["a", 2]}\n',
            "en.jsonl:1: the prompt under 'prompt' is a JSON int, not a text",
        ),
        (b'{"id": 1, "prompt": ["a", " "]}\n', "en.jsonl:1: the turns under 'prompt' are not all there"),
        (b'{"id": 1, "prompt": []}\n', "en.jsonl:1: the turns under 'prompt' are none"),
        (b'{"id": 1, "prompt": "\\ud83d"}\n', "en.jsonl:1: holds half a surrogate pair"),
        (b'{"id": ' + b"1" * 5000 + b', "prompt": "a"}\n', "en.jsonl:1: is not JSON"),
        (b"[" * 100_000 + b"\n", "en.jsonl:1"),
        (b'[\n{"id": 1, "prompt": "a"}\n]\n', "prompts.format=json_array"),
        (b'[{"id": 1, "prompt": "a"}]\n', "prompts.format=json_array"),
    ],
)
def test_broken_lines(tmp_path, content, says):
    write(tmp_path, es=rows("x"))
    (tmp_path / "en.jsonl").write_bytes(content)
    assert says in fault(config(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            '{"id": 1}\n{"id": 2}\n',
            "en.jsonl:1: is not one JSON array of objects -> type prompts.format=jsonl",
        ),
        ('[{"id": 1, "prompt": "a"},\n {"id": 2,\n  "prompt" "b"}]', "en.jsonl:3: is not JSON"),
        ('[{"id": 1, "prompt": "a"},\n 5]', "en.jsonl:2: is a JSON int, not an object"),
        ('[{"id": 1, "prompt": "a"}\n', "en.jsonl:2: is not one JSON array"),
        ('[{"id": 1, "prompt": "a"}]\n[]', "en.jsonl:2: is not one JSON array"),
        ('[\n\n {"id": 1, "prompt": 3}]', "en.jsonl:3: the prompt under 'prompt' is a JSON int"),
        ("", "en.jsonl:1: is not one JSON array"),
    ],
)
def test_broken_arrays(tmp_path, content, says):
    write(tmp_path, es=rows("x"))
    (tmp_path / "en.jsonl").write_text(content)
    assert says in fault(config(tmp_path, format=PromptFormat.JSON_ARRAY))


def test_a_wrong_answer(tmp_path):
    write(tmp_path, en=[{"id": 1, "prompt": "a", "answer": []}], es=rows("x"))
    assert "en.jsonl:1: the answer under 'answer' is a JSON list" in fault(
        config(tmp_path, answer_key="answer")
    )


def test_a_missing_root(tmp_path):
    missing = tmp_path / "nowhere"
    assert "prompts.root: there is no folder" in fault(config(missing))
    assert "type prompts.root=<the folder that holds {language}.jsonl>" in fault(config(missing))
    assert "prompts.root: has no value" in fault(config(None))


def test_no_files_and_unknown_placeholders(tmp_path):
    assert "prompts.files: is empty" in fault(config(tmp_path, files=()))
    assert "the one placeholder is {language}" in fault(config(tmp_path, files=("{lang}.jsonl",)))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{language}.jsonl", ["de.jsonl", "fr.jsonl", "notes.txt"]),
        ("gsm8k/test/{language}_gsm8k.jsonl", ["gsm8k/test/de_gsm8k.jsonl", "gsm8k/test/fr_gsm8k.jsonl"]),
        ("MGSM/mgsm_{language}.jsonl", ["MGSM/mgsm_de.jsonl", "MGSM/mgsm_fr.jsonl"]),
        ("{language}/train.jsonl", ["de/train.jsonl", "fr/train.jsonl"]),
        ("a/{language}/{language}.json", ["a/de/de.json", "a/fr/fr.json", "a/fr/de.json"]),
    ],
)
def test_a_missing_language_names_those_that_are_there(tmp_path, pattern, names):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    message = fault(config(tmp_path, files=(pattern,)))
    assert "has no prompts in 'en' (languages there: de, fr)" in message
    assert pattern.replace("{language}", "en") in message


def test_a_folder_without_any_fitting_file(tmp_path):
    assert f"nothing under {tmp_path} fits 'a/{{language}}.jsonl'" in fault(
        config(tmp_path, files=("a/{language}.jsonl",))
    )
    assert "nothing under" in fault(config(tmp_path, files=("fixed.jsonl",)))
