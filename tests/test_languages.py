import subprocess
import sys

import pytest

from lidr import languages
from lidr.errors import LidrError

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
FIVE = ("en", "es", "ru", "de", "fr")


def test_every_known_language_has_a_sentence_here():
    assert set(SENTENCES) == languages.codes()


def test_every_known_language_is_identified_among_all():
    found = {code: languages.identify(text, languages.codes()) for code, text in SENTENCES.items()}
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
    assert languages.identify(text, FIVE) is None


def test_prices_are_no_formula():
    assert languages.identify("She paid $2 for the eggs and he paid $3 for the milk", FIVE) == "en"


def test_a_script_of_no_given_language_is_undetermined():
    assert languages.identify(SENTENCES["zh"], FIVE) is None
    assert languages.identify(SENTENCES["th"], FIVE) is None


def test_only_given_languages_are_named():
    assert languages.identify(SENTENCES["pt"], FIVE) in {*FIVE, None}


def test_on_target():
    assert languages.is_on_target(SENTENCES["de"], "de", FIVE) is True
    assert languages.is_on_target(SENTENCES["de"], "es", FIVE) is False
    assert languages.is_on_target("42", "es", FIVE) is None


def test_order_of_languages_does_not_matter_and_the_detector_is_shared():
    languages._detector.cache_clear()
    assert {languages.identify(SENTENCES["fr"], order) for order in (FIVE, FIVE[::-1], [*FIVE, "fr"])} == {
        "fr"
    }
    assert languages._detector.cache_info().currsize == 1


def test_detector_name_holds_package_and_version():
    package, version = languages.detector_name().split()
    assert package == "lingua-language-detector"
    assert version[0].isdigit()


def test_unsupported_language_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(languages.NAMES, "xx", "Elvish")
    with pytest.raises(LidrError, match=r"languages: lingua-language-detector .* cannot identify 'xx'"):
        languages.identify("some text to identify", ["en", "xx"])


@pytest.mark.parametrize("among", [[], ["en"], ["en", "en"]])
def test_one_language_is_no_choice(among):
    with pytest.raises(LidrError, match="at least two"):
        languages.identify("some text to identify", among)


def test_importing_the_module_does_not_import_the_detector():
    code = "import sys, lidr.languages; sys.exit('lingua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
