// The browser of records: filters, a page of cards, and the way to the next page.

const PAGE = 20;
const WAIT_MS = 150;
const ANY = {
  kind: "all kinds",
  run: "all runs",
  iteration: "all iterations",
  language: "all languages",
  outcome: "any outcome",
  target: "on or off target",
};

function startBrowser() {
  const choices = filterChoices();
  for (const name of FILTERS) fill(byId(`filter-${name}`), choices[name]);
  byId("filter-run").closest("label").hidden = DATA.runs.length < 2;

  let state = readState(location.hash, choices);
  const change = (changed, keepPage = false) => {
    state = { ...state, ...(keepPage ? {} : { page: 1 }), ...changed };
    writeState(state);
    show();
  };
  let pages = 1;
  const turn = (step) => {
    change({ page: step(Math.min(state.page, pages), pages) }, true);
    byId("count").scrollIntoView({ block: "start" });
  };
  const showPrompt = (id) => {
    change({ ...initialState(), kind: ALL, id });
    byId("one-prompt").focus();
    byId("browse").scrollIntoView({ block: "start" });
  };
  const pagers = ["pager-above", "pager-below"].map((place) => pager(byId(place), turn));
  const show = () => {
    pages = render(state, choices, showPrompt);
    for (const update of pagers) update(Math.min(state.page, pages), pages);
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

/** An outcome belongs to a kind: to choose it chooses the kind, and to choose another kind lets go of it. */
function withKind(name, chosen) {
  if (name === "kind") return { kind: chosen, outcome: ALL };
  if (name === "outcome" && chosen !== ALL) return { kind: kindOf(chosen), outcome: chosen };
  return { [name]: chosen };
}

/** Calls once, when nothing has happened for a moment. */
function later(call) {
  let timer = 0;
  return (event) => {
    clearTimeout(timer);
    timer = setTimeout(call, WAIT_MS, event);
  };
}

/** Makes a filter's options; those of outcomes stand in a group for each kind. */
function fill(select, choices) {
  select.append(el("option", { value: ALL }, ANY[select.id.slice("filter-".length)]));
  const isGrouped = select.id === "filter-outcome";
  let group = select;
  for (const key of choices.keys()) {
    if (isGrouped && group.label !== KINDS.get(kindOf(key))) {
      group = document.createElement("optgroup");
      group.label = KINDS.get(kindOf(key));
      select.append(group);
    }
    group.append(el("option", { value: key }));
  }
}

/** Says beside each choice how many records it would show. */
function label(select, choices, counts) {
  for (const option of select.options) {
    if (option.value === ALL) continue;
    option.textContent = `${choices.get(option.value)} (${(counts.get(option.value) ?? 0).toLocaleString("en")})`;
  }
}

/** Shows a page of what a state asks for; returns how many pages there are. */
function render(state, choices, showPrompt) {
  const pattern = searchPattern(state.q);
  const { rows, counts } = matching(state, pattern);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const page = Math.min(state.page, pages);
  for (const name of FILTERS) {
    byId(`filter-${name}`).value = state[name];
    label(byId(`filter-${name}`), choices[name], counts[name]);
  }
  if (document.activeElement !== byId("filter-q")) byId("filter-q").value = state.q;
  byId("one-prompt").hidden = !state.id;
  byId("one-prompt").textContent = `only prompt ${state.id} ×`;
  byId("count").textContent = summary(rows.length, page, pages);
  const shown = rows.slice((page - 1) * PAGE, page * PAGE);
  byId("records").replaceChildren(...shown.map((row) => card(row, pattern, showPrompt)));
  return pages;
}

function summary(found, page, pages) {
  if (found === 0) return "No record matches. Take a filter away, or search for less.";
  const of = `${plural(found, "record", "records")} of ${ROWS.length.toLocaleString("en")}`;
  return pages > 1 ? `${of}, page ${page} of ${pages.toLocaleString("en")}` : of;
}

/** Buttons that stay where they are, so that the focus stays with them; returns how to bring them up to date. */
function pager(place, turn) {
  const steps = [
    ["first", () => 1],
    ["previous", (page) => page - 1],
    ["next", (page) => page + 1],
    ["last", (_, pages) => pages],
  ];
  const buttons = steps.map(([label, step]) => {
    const click = (event) => {
      if (event.target.ariaDisabled !== "true") turn(step);
    };
    return { button: el("button", { type: "button", click }, label), step };
  });
  place.append(...buttons.map(({ button }) => button));
  return (page, pages) => {
    place.hidden = pages < 2;
    for (const { button, step } of buttons) {
      const to = step(page, pages);
      button.ariaDisabled = String(to < 1 || to > pages || to === page);
    }
  };
}
