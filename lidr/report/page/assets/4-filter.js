// Which rows a state shows.

/** Values a filter can take, each with its name and the number of rows it has. */
function filterChoices() {
  const counted = (keyOf, nameOf) => new Map([...count(keyOf)].map(([key, rows]) => [key, { name: nameOf(key), rows }]));
  const outcomes = counted((row) => [outcomeKey(row)], (key) => key.slice(key.indexOf(":") + 1).replaceAll("_", " "));
  return {
    kind: counted((row) => [value(row, "kind")], (kind) => KINDS.get(kind)),
    run: counted((row) => [String(row[FIELD.run] + 1)], (number) => DATA.runs[Number(number) - 1]),
    iteration: sorted(counted((row) => [String(row[FIELD.iteration])], (t) => `iteration ${t}`)),
    language: counted(languagesOf, languageName),
    outcome: new Map([...outcomes].sort(([a], [b]) => kindOrder(a) - kindOrder(b))),
    target: new Map([...TARGETS].map(([key, name]) => [key, { name, rows: ROWS.filter(targetTest(key)).length }])),
  };
}

function sorted(choices) {
  return new Map([...choices].sort(([a], [b]) => Number(a) - Number(b)));
}

function outcomeKey(row) {
  return `${value(row, "kind")}:${value(row, "outcome")}`;
}

function kindOrder(key) {
  return [...KINDS.keys()].indexOf(key.slice(0, key.indexOf(":")));
}

/** A pair's language; both of a translation's. */
function languagesOf(row) {
  return new Set([value(row, "leftLanguage"), value(row, "rightLanguage") ?? value(row, "leftLanguage")]);
}

function targetTest(wanted) {
  const left = (row) => value(row, "leftTarget") ?? "";
  const right = (row) => value(row, "rightTarget") ?? "";
  const isOff = (target) => target.startsWith("off");
  const tests = {
    on: (row) => left(row) === "on" && (right(row) === "on" || row[FIELD.right] < 0),
    off: (row) => isOff(left(row)) || isOff(right(row)),
    "left-off": (row) => isOff(left(row)),
    "right-off": (row) => isOff(right(row)),
    unknown: (row) => left(row) === "unknown" || right(row) === "unknown",
  };
  return tests[wanted];
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

/** The rows a state shows, in the data's order. */
function matching(state, pattern) {
  const tests = [];
  const same = (field, wanted) => tests.push((row) => row[FIELD[field]] === wanted);
  if (state.kind !== ALL) same("kind", placeOf(state.kind));
  if (state.run !== ALL) same("run", Number(state.run) - 1);
  if (state.iteration !== ALL) same("iteration", Number(state.iteration));
  if (state.language !== ALL) {
    const code = placeOf(state.language);
    tests.push((row) => row[FIELD.leftLanguage] === code || row[FIELD.rightLanguage] === code);
  }
  if (state.outcome !== ALL) {
    const cut = state.outcome.indexOf(":");
    same("kind", placeOf(state.outcome.slice(0, cut)));
    same("outcome", placeOf(state.outcome.slice(cut + 1)));
  }
  if (state.target !== ALL) tests.push(targetTest(state.target));
  if (state.id) same("id", placeOf(state.id));
  if (pattern) tests.push(searchTest(pattern));
  return ROWS.filter((row) => tests.every((test) => test(row)));
}
