// What is looked at: kept in the address after #, so that a link shows the same records.

const FILTERS = ["kind", "run", "iteration", "language", "outcome", "target"];
const ALL = "all";
const TARGETS = new Map([
  ["on", "on target"],
  ["off", "any text off target"],
  ["left-off", "chosen or source off"],
  ["right-off", "rejected or translation off"],
  ["unknown", "language unclear"],
]);

/** What the page opens with: pairs, where there are any. */
function initialState() {
  const hasPairs = ROWS.some((row) => value(row, "kind") === "pair");
  return { kind: hasPairs ? "pair" : ALL, run: ALL, iteration: ALL, language: ALL, outcome: ALL, target: ALL, q: "", id: "", page: 1 };
}

/** Whether the address names records, and not a section of the page. */
function isState(hash) {
  return hash.includes("=");
}

/** The state an address names; a filter it does not name, or whose value the page does not have, takes all. */
function readState(hash, choices) {
  const state = initialState();
  if (!isState(hash)) return state;
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  for (const name of FILTERS) {
    const wanted = given.get(name);
    state[name] = wanted !== null && choices[name].has(wanted) ? wanted : ALL;
  }
  state.q = given.get("q") ?? "";
  state.id = given.get("id") ?? "";
  state.page = Math.max(1, Number.parseInt(given.get("page") ?? "1", 10) || 1);
  return state;
}

function writeState(state) {
  const given = new URLSearchParams();
  for (const name of FILTERS) if (state[name] !== ALL) given.set(name, state[name]);
  if (state.q) given.set("q", state.q);
  if (state.id) given.set("id", state.id);
  if (state.page > 1) given.set("page", String(state.page));
  if ([...given].length === 0) given.set("kind", ALL);
  history.replaceState(null, "", `#${given}`);
}
