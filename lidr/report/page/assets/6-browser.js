// The browser of records: filters, a page of cards, and the way to the next page.

const PAGE = 20;
const WAIT_MS = 150;

function startBrowser() {
  const choices = filterChoices();
  const names = { kind: "all kinds", run: "all runs", iteration: "all iterations", language: "all languages", outcome: "any outcome", target: "on or off target" };
  for (const name of FILTERS) fill(byId(`filter-${name}`), choices[name], names[name]);
  byId("filter-run").closest("label").hidden = DATA.runs.length < 2;

  let state = readState(location.hash, choices);
  const change = (changed, keepPage = false) => {
    state = { ...state, ...(keepPage ? {} : { page: 1 }), ...changed };
    writeState(state);
    show();
  };
  const show = () => render(state, (id) => change({ ...initialState(), kind: ALL, id }), (page) => turn(page));
  const turn = (page) => {
    change({ page }, true);
    byId("count").scrollIntoView({ block: "start" });
  };

  for (const name of FILTERS) byId(`filter-${name}`).addEventListener("change", (event) => change(withKind(name, event.target.value)));
  byId("filter-q").addEventListener("input", later((event) => change({ q: event.target.value })));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").addEventListener("click", () => change(initialState()));
  byId("one-prompt").addEventListener("click", () => change({ id: "" }));
  window.addEventListener("hashchange", () => {
    if (!isState(location.hash)) return;
    state = readState(location.hash, choices);
    show();
    byId("browse").scrollIntoView({ block: "start" });
  });

  byId("filters").hidden = false;
  show();
  if (isState(location.hash)) byId("browse").scrollIntoView({ block: "start" });
}

/** An outcome belongs to a kind: to choose another kind lets go of it. */
function withKind(name, chosen) {
  return name === "kind" ? { kind: chosen, outcome: ALL } : { [name]: chosen };
}

/** Calls once, when nothing has happened for a moment. */
function later(call) {
  let timer = 0;
  return (event) => {
    clearTimeout(timer);
    timer = setTimeout(call, WAIT_MS, event);
  };
}

function fill(select, choices, all) {
  select.append(el("option", { value: ALL }, all));
  let group = select;
  let kind = "";
  for (const [key, { name, rows }] of choices) {
    if (select.id === "filter-outcome" && key.slice(0, key.indexOf(":")) !== kind) {
      kind = key.slice(0, key.indexOf(":"));
      group = document.createElement("optgroup");
      group.label = KINDS.get(kind);
      select.append(group);
    }
    group.append(el("option", { value: key }, `${name} (${rows.toLocaleString("en")})`));
  }
}

function render(state, showPrompt, turn) {
  const pattern = searchPattern(state.q);
  const rows = matching(state, pattern);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const page = Math.min(state.page, pages);
  for (const name of FILTERS) byId(`filter-${name}`).value = state[name];
  if (document.activeElement !== byId("filter-q")) byId("filter-q").value = state.q;
  byId("one-prompt").hidden = !state.id;
  byId("one-prompt").textContent = `only prompt ${state.id} ×`;
  byId("count").textContent = summary(rows.length, page, pages);
  const shown = rows.slice((page - 1) * PAGE, page * PAGE);
  byId("records").replaceChildren(...shown.map((row) => card(row, pattern, showPrompt)));
  for (const place of ["above", "below"]) byId(`pager-${place}`).replaceChildren(...pager(page, pages, turn));
}

function summary(found, page, pages) {
  if (found === 0) return "No record matches. Take a filter away, or search for less.";
  const of = `${plural(found, "record", "records")} of ${ROWS.length.toLocaleString("en")}`;
  return pages > 1 ? `${of}, page ${page} of ${pages.toLocaleString("en")}` : of;
}

function pager(page, pages, turn) {
  if (pages < 2) return [];
  const button = (label, to) => {
    const made = el("button", { type: "button", click: () => turn(to) }, label);
    made.disabled = to < 1 || to > pages || to === page;
    return made;
  };
  return [button("first", 1), button("previous", page - 1), button("next", page + 1), button("last", pages)];
}
