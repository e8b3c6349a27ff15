"""Words of the world: names, objects and the agreement rules that counting them needs."""

from __future__ import annotations

from typing import NamedTuple

NAMES = ("Anna", "Tom", "Maria", "Peter", "Lena", "David", "Clara", "Max")
RUSSIAN_NAMES = (
    ("Анна", "Анны"),
    ("Том", "Тома"),
    ("Мария", "Марии"),
    ("Пётр", "Петра"),
    ("Лена", "Лены"),
    ("Давид", "Давида"),
    ("Клара", "Клары"),
    ("Макс", "Макса"),
)
CHINESE_NAMES = ("安娜", "汤姆", "玛丽亚", "彼得", "莱娜", "大卫", "克拉拉", "马克斯")

OBJECTS = ("apples", "books", "coins", "pencils", "flowers", "cards", "balls", "buttons")
PLURALS = {
    "en": OBJECTS,
    "es": ("manzanas", "libros", "monedas", "lápices", "flores", "tarjetas", "pelotas", "botones"),
    "de": ("Äpfel", "Bücher", "Münzen", "Stifte", "Blumen", "Karten", "Bälle", "Knöpfe"),
    "fr": ("pommes", "livres", "pièces", "crayons", "fleurs", "cartes", "balles", "boutons"),
}
SPANISH_MASCULINE = frozenset({"libros", "lápices", "botones"})


class RussianNoun(NamedTuple):
    """Forms after a numeral: nominative singular, accusative singular, paucal (2 to 4), genitive plural."""

    one: str
    one_accusative: str
    few: str
    many: str


RUSSIAN_OBJECTS = (
    RussianNoun("яблоко", "яблоко", "яблока", "яблок"),
    RussianNoun("книга", "книгу", "книги", "книг"),
    RussianNoun("монета", "монету", "монеты", "монет"),
    RussianNoun("карандаш", "карандаш", "карандаша", "карандашей"),
    RussianNoun("цветок", "цветок", "цветка", "цветков"),
    RussianNoun("карточка", "карточку", "карточки", "карточек"),
    RussianNoun("мяч", "мяч", "мяча", "мячей"),
    RussianNoun("пуговица", "пуговицу", "пуговицы", "пуговиц"),
)
RUSSIAN_BAG = RussianNoun("пакет", "пакет", "пакета", "пакетов")
RUSSIAN_DAY = RussianNoun("день", "день", "дня", "дней")
RUSSIAN_SHELF = RussianNoun("полка", "полку", "полки", "полок")
RUSSIAN_FRIEND = RussianNoun("друг", "друга", "друга", "друзей")

CHINESE_OBJECTS = (
    ("个", "苹果"),
    ("本", "书"),
    ("枚", "硬币"),
    ("支", "铅笔"),
    ("朵", "花"),
    ("张", "卡片"),
    ("个", "球"),
    ("颗", "纽扣"),
)


def object_words() -> list[str]:
    """Every form of every object, as it stands after a number."""
    latin = [f" {word}" for words in PLURALS.values() for word in words]
    russian = [f" {form}" for noun in RUSSIAN_OBJECTS for form in noun]
    return [*latin, *russian, *(measure + noun for measure, noun in CHINESE_OBJECTS)]


HOW_MANY = {"en": "how many {}", "de": "wie viele {}", "fr": "combien de {}", "ru": "сколько {}"}


def russian_count(number: int, noun: RussianNoun, accusative: bool = False) -> str:
    """`number` with `noun` in the form Russian asks for, e.g. `21 книга`, `22 книги`, `25 книг`."""
    if number % 10 == 1 and number % 100 != 11:
        form = noun.one_accusative if accusative else noun.one
    elif number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14):
        form = noun.few
    else:
        form = noun.many
    return f"{number} {form}"


def count(number: int, thing: int, language: str, accusative: bool = False) -> str:
    """`number` of the object with index `thing`; numbers are 2 or more, so other languages use the plural."""
    if language == "ru":
        return russian_count(number, RUSSIAN_OBJECTS[thing], accusative)
    if language == "zh":
        return f"{number}{''.join(CHINESE_OBJECTS[thing])}"
    return f"{number} {PLURALS[language][thing]}"


def how_many(thing: int, language: str) -> str:
    """The question word with its object, in lower case."""
    if language == "zh":
        return f"多少{''.join(CHINESE_OBJECTS[thing])}"
    if language == "ru":
        return HOW_MANY["ru"].format(RUSSIAN_OBJECTS[thing].many)
    plural = PLURALS[language][thing]
    if language == "es":
        return f"{'cuántos' if plural in SPANISH_MASCULINE else 'cuántas'} {plural}"
    return HOW_MANY[language].format(plural)


def name_fields(name: int, language: str) -> dict[str, str]:
    """`name`, and in Russian `of`, the genitive."""
    if language == "ru":
        nominative, genitive = RUSSIAN_NAMES[name]
        return {"name": nominative, "of": genitive}
    return {"name": CHINESE_NAMES[name] if language == "zh" else NAMES[name]}


def counter_fields(number: int, thing: int, language: str) -> dict[str, str]:
    """Counted containers (Russian) and the bare measure word (Chinese) that some templates use."""
    if language == "ru":
        return {
            "bags": russian_count(number, RUSSIAN_BAG),
            "days": russian_count(number, RUSSIAN_DAY, accusative=True),
            "shelves": russian_count(number, RUSSIAN_SHELF),
            "friends": russian_count(number, RUSSIAN_FRIEND),
        }
    return {"measure": CHINESE_OBJECTS[thing][0]} if language == "zh" else {}
