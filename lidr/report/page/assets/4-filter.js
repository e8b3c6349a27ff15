// Which rows a state shows, and how many rows every other choice of a filter would show.

/** The values of a filter that a row has. */
const KEYS = {
  kind: (row) => [value(row, "kind")],
  run: (row) => [String(row[FIELD.run] + 1)],
  iteration: (row) => [String(row[FIELD.iteration])],
  language: languagesOf,
  outcome: (row) => [`${value(row, "kind")}:${value(row, "outcome")}`],
  target: targetsOf,
};

const NAMES = {
  kind: (kind) => KINDS.get(kind),
  run: (number) => DATA.runs[Number(number) - 1],
  iteration: (t) => `iteration ${t}`,
  language: languageName,
  outcome: (key) => key.slice(key.indexOf(":") + 1).replaceAll("_", " "),
  target: (key) => TARGETS.get(key),
};

/** For each filter the values of every row, told once. */
const ROW_KEYS = Object.fromEntries(FILTERS.map((name) => [name, ROWS.map(KEYS[name])]));

/** A pair's language; both of a translation's. */
function languagesOf(row) {
  const [left, right] = [value(row, "leftLanguage"), value(row, "rightLanguage")];
  return right === null || right === left ? [left] : [left, right];
}

function targetsOf(row) {
  const [left, right] = [value(row, "leftTarget") ?? "", value(row, "rightTarget") ?? ""];
  const isOff = (target) => target.startsWith("off");
  const holds = {
    on: left === "on" && (right === "on" || row[FIELD.right] < 0),
    off: isOff(left) || isOff(right),
    "left-off": isOff(left),
    "right-off": isOff(right),
    unknown: left === "unknown" || right === "unknown",
  };
  return [...TARGETS.keys()].filter((key) => holds[key]);
}

/** The values each filter can take, with their names. */
function filterChoices() {
  const orders = { outcome: (key) => [...KINDS.keys()].indexOf(kindOf(key)), iteration: Number };
  const choices = {};
  for (const name of FILTERS) {
    const keys = [...new Set(ROW_KEYS[name].flat())];
    if (orders[name]) keys.sort((a, b) => orders[name](a) - orders[name](b));
    choices[name] = new Map((name === "target" ? [...TARGETS.keys()] : keys).map((key) => [key, NAMES[name](key)]));
  }
  return choices;
}

/** The kind that an outcome belongs to. */
function kindOf(outcome) {
  return outcome.slice(0, outcome.indexOf(":"));
}

/** What a search looks for, letters of either case; null where there is nothing to look for. */
function searchPattern(query) {
  const literal = query.trim().replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return literal ? new RegExp(literal, "giu") : null;
}

/** Each distinct text is searched once, however many rows it stands in. */
function searchTest(pattern) {
  const found = new Int8Array(DATA.texts.length);
  const has = (text) => text.search(pattern) >= 0;
  const inText = (place) => {
    if (place < 0) return false;
    if (found[place] === 0) found[place] = has(DATA.texts[place]) ? 1 : -1;
    return found[place] === 1;
  };
  return (row) => TEXT_FIELDS.some((field) => inText(row[FIELD[field]])) || has(value(row, "id"));
}

/**
 * The rows a state shows, in the data's order, and for each filter the rows that each of its values would show
 * with the other filters as they are.
 */
function matching(state, pattern) {
  const set = FILTERS.filter((name) => state[name] !== ALL);
  const id = placeOf(state.id);
  const isFound = pattern ? searchTest(pattern) : () => true;
  const rows = [];
  const counts = Object.fromEntries(FILTERS.map((name) => [name, new Map()]));
  ROWS.forEach((row, place) => {
    if ((state.id && row[FIELD.id] !== id) || !isFound(row)) return;
    const failed = set.filter((name) => !ROW_KEYS[name][place].includes(state[name]));
    if (failed.length === 0) rows.push(row);
    for (const name of FILTERS) {
      if (failed.every((other) => letsGo(name, other))) add(counts[name], ROW_KEYS[name][place]);
    }
  });
  return { rows, counts };
}

/** Whether to choose a filter's value lets go of what another one asks for: its own value, and a kind's outcome. */
function letsGo(chosen, other) {
  return chosen === other || (chosen === "kind" && other === "outcome") || (chosen === "outcome" && other === "kind");
}

function add(counts, keys) {
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
}
