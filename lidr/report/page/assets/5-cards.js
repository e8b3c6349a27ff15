// One record as a reader sees it.

const SHOWN_LENGTH = 1500;
const TRANSLATED = ["translated", "translated back"];
const GOOD = ["kept", "right", "finished", ...TRANSLATED];
const BAD = ["wrong", "empty", "repetition", "off_target_chosen"];

const SIDES = {
  pair: ["chosen", "rejected"],
  answer: ["answer"],
  translation: ["source", "translation"],
  benchmark: ["answer"],
};

/** A record: its heading, its prompt, and its texts side by side. */
function card(row, pattern, showPrompt) {
  const kind = value(row, "kind");
  const sides = SIDES[kind].map((name, place) => side(row, place === 0 ? "left" : "right", name, pattern));
  return el("li", { class: `card ${kind}` }, heading(row, pattern, showPrompt), promptOf(row, pattern), el("div", { class: "sides" }, ...sides));
}

function heading(row, pattern, showPrompt) {
  const id = value(row, "id");
  const outcome = value(row, "outcome");
  const good = GOOD.includes(outcome) ? " good" : BAD.includes(outcome) ? " bad" : "";
  return el(
    "header",
    null,
    el("h3", null, title(row)),
    el("span", { class: `badge${good}` }, outcomeName(row, outcome)),
    DATA.runs.length > 1 ? el("span", { class: "run" }, DATA.runs[row[FIELD.run]]) : null,
    el("span", { class: "id" }, ...marked(id, pattern)),
    el("button", { type: "button", click: () => showPrompt(id) }, "same prompt"),
  );
}

function title(row) {
  const kind = value(row, "kind");
  const language = languageName(value(row, "language"));
  if (kind === "benchmark") return `${value(row, "benchmark")}, ${language}: M_${row[FIELD.model]}`;
  const where = `iteration ${row[FIELD.iteration]}`;
  if (kind === "pair") return `Pair, ${language}, ${where}`;
  const who = row[FIELD.model] < 0 ? "another model" : `M_${row[FIELD.model]}`;
  if (kind === "answer") return `Answer of ${who}, ${language}, ${where}`;
  const [from, to] = [value(row, "leftLanguage"), value(row, "rightLanguage")].map(languageName);
  return `Translation by ${who}, ${from} to ${to}, ${where}`;
}

function outcomeName(row, outcome) {
  const name = outcome.replaceAll("_", " ");
  const kind = value(row, "kind");
  if (kind === "pair" && outcome !== "kept") return `dropped: ${name}`;
  return kind === "translation" && !TRANSLATED.includes(outcome) ? `failed: ${name}` : name;
}

function promptOf(row, pattern) {
  const code = value(row, "language");
  // A translation is shown with the prompt that was answered.
  const language = value(row, "kind") === "translation" ? value(row, "leftOrigin").split("->")[0] : code;
  const text = value(row, "prompt");
  const reference = value(row, "reference");
  return el(
    "div",
    { class: "prompt" },
    el("h4", null, "prompt"),
    textBlock(row[FIELD.prompt], text, language, directionOf(language), pattern),
    reference === null ? null : el("p", { class: "reference" }, "right answer: ", el("bdi", null, reference)),
  );
}

function side(row, place, name, pattern) {
  const expected = value(row, `${place}Language`);
  const target = value(row, `${place}Target`);
  const text = value(row, place);
  const language = foundLanguage(expected, target);
  const direction = language === null ? "auto" : directionOf(language);
  const body =
    text === null || text === ""
      ? el("p", { class: "nothing" }, text === null ? "no text" : "an empty text")
      : textBlock(row[FIELD[place]], text, language, direction, pattern);
  return el(
    "div",
    { class: `side ${name}` },
    el("h4", null, name),
    el("p", { class: "origin" }, origin(value(row, `${place}Origin`)), targetBadge(target)),
    body,
  );
}

/** "answered in English, translated into Spanish, translated into English"; of "es#2" "answered in Spanish, draw 2" */
function origin(word) {
  const [[language, draw], ...rest] = word.split("->").map((part) => part.split("#"));
  const from = languageName(language) + (draw ? `, draw ${draw}` : "");
  const route = rest.map((part) => languageName(part.join("#")));
  return [`answered in ${from}`, ...route.map((to) => `translated into ${to}`)].join(", ");
}

function targetBadge(target) {
  if (!target) return null;
  if (target === "on") return el("span", { class: "badge good" }, "on target");
  if (target === "unknown") return el("span", { class: "badge" }, "language unclear");
  const code = target.slice("off:".length);
  const found = code ? `: ${languageName(code)}` : "";
  return el("span", { class: "badge bad" }, `off target${found}`);
}

/** A text as it is, lines and all; a long one is folded, and one that the page holds in part says so. */
function textBlock(place, text, language, direction, pattern) {
  const block = el("div", { class: "text", lang: language, dir: direction });
  const whole = () => block.replaceChildren(...marked(text, pattern), ...cutNote(place, text));
  const end = foldAt(text);
  if (text.length <= SHOWN_LENGTH || (pattern && text.slice(end).search(pattern) >= 0)) {
    whole();
    return block;
  }
  const more = el("button", { type: "button", click: whole }, `show all ${text.length.toLocaleString("en")} characters`);
  block.append(...marked(text.slice(0, end), pattern), "… ", more);
  return block;
}

/** Where a long text is folded: not inside a character of two code units. */
function foldAt(text) {
  return SHOWN_LENGTH - (/[\ud800-\udbff]/.test(text[SHOWN_LENGTH - 1]) ? 1 : 0);
}

function cutNote(place, text) {
  const length = DATA.cut[place];
  if (length === undefined) return [];
  const note = `… cut here: ${[...text].length.toLocaleString("en")} of ${length.toLocaleString("en")} characters are on this page`;
  return [el("span", { class: "cut", dir: "ltr" }, note)];
}
