// The embedded data: rows of numbers into lists of distinct words and texts. All of it is text and stays text:
// no file of this script writes markup, and the page's policy refuses it.

const DATA = JSON.parse(document.getElementById("data").textContent);
const ROWS = DATA.rows;
const FIELD = Object.fromEntries(DATA.fields.map((name, place) => [name, place]));
const TEXT_FIELDS = ["prompt", "left", "right"];
const NUMBER_FIELDS = ["run", "iteration", "model"];
const PLACE_OF_WORD = new Map(DATA.words.map((word, place) => [word, place]));

const KINDS = new Map([
  ["pair", "pairs"],
  ["answer", "answers"],
  ["translation", "translations"],
  ["benchmark", "benchmark answers"],
]);

/** A row's field: a number, a text or a word; null where there is none. */
function value(row, field) {
  const found = row[FIELD[field]];
  if (NUMBER_FIELDS.includes(field)) return found;
  if (found < 0) return null;
  return TEXT_FIELDS.includes(field) ? DATA.texts[found] : DATA.words[found];
}

/** A word's number, as rows hold it; one that no row has is -2. */
function placeOf(word) {
  return PLACE_OF_WORD.get(word) ?? -2;
}

function languageName(code) {
  return Object.hasOwn(DATA.languages, code) ? DATA.languages[code].name : code;
}

/** rtl or ltr; auto for a language that is not known. */
function directionOf(code) {
  return Object.hasOwn(DATA.languages, code) ? DATA.languages[code].dir : "auto";
}

/** The language a text is in, by what was found of it: null where it cannot be told. */
function foundLanguage(expected, target) {
  if (target === "on") return expected;
  return target?.startsWith("off:") ? target.slice("off:".length) : null;
}

function plural(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
