// What the tests ask of a page that is open in a browser.
({
  cards() {
    return [...document.querySelectorAll("#records .card")].map((card) => card.textContent);
  },

  choose(name, value) {
    const select = document.getElementById(`filter-${name}`);
    select.value = value;
    select.dispatchEvent(new Event("change", { bubbles: true }));
  },

  /** What every filter offers, with the number beside it. */
  choices() {
    const number = (option) => Number(option.textContent.match(/\(([\d,]+)\)$/)[1].replaceAll(",", ""));
    const offered = (select) => [...select.options].slice(1).map((option) => [option.value, number(option)]);
    return Object.fromEntries(
      [...document.querySelectorAll("#filters select")].map((select) => [select.id.slice("filter-".length), offered(select)]),
    );
  },

  /** Milliseconds from a choice to a page that is laid out. */
  timeToChoose(name, value) {
    const start = performance.now();
    this.choose(name, value);
    document.body.offsetHeight;
    return performance.now() - start;
  },

  /** Milliseconds from a key to what it found, the wait for more keys included. */
  search(text) {
    const start = performance.now();
    const input = document.getElementById("filter-q");
    return new Promise((done) => {
      const seen = new MutationObserver(() => {
        seen.disconnect();
        done(performance.now() - start);
      });
      seen.observe(document.getElementById("count"), { childList: true });
      input.value = text;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    });
  },

  go(address) {
    return new Promise((done) => {
      if (location.hash === address) return done();
      window.addEventListener("hashchange", () => done(), { once: true });
      location.hash = address;
    });
  },

  /** The code units of every text of a kind, in hexadecimal: a lone surrogate would not survive the way out. */
  codeUnits(selector) {
    const units = (text) => Array.from({ length: text.length }, (_, i) => text.charCodeAt(i).toString(16));
    return [...document.querySelectorAll(selector)].map((node) => units(node.textContent).join(" "));
  },

  /** Touches all that could be wired to something. */
  provoke() {
    for (const node of document.querySelectorAll("#records *")) {
      if (node.tagName === "BUTTON") continue;
      for (const name of ["mouseover", "focus", "error", "load"]) node.dispatchEvent(new Event(name, { bubbles: true }));
      node.click();
    }
  },

  elementsUsed() {
    return [...new Set([...document.querySelectorAll("#records *")].map((node) => node.tagName))].sort();
  },

  writeMarkup() {
    try {
      document.body.innerHTML = "<b>x</b>";
      return "written";
    } catch (error) {
      return error.name;
    }
  },

  sidesAreSame() {
    const text = (card, side) => card.querySelector(`.${side} .text`).textContent;
    return [...document.querySelectorAll(".card")].every((card) => text(card, "chosen") === text(card, "rejected"));
  },

  /** Left edges and tops of the sides of every card. */
  sidePlaces() {
    const place = (side) => side.getBoundingClientRect();
    const places = (card) => [...card.querySelectorAll(".side")].map(place);
    return [...document.querySelectorAll(".card")].map((card) => places(card).map(({ left, top }) => ({ left, top })));
  },

  /** dir, lang and computed direction of texts, and whether they keep to the right. */
  directions(selector) {
    return [...document.querySelectorAll(selector)].map((node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      const [text, box] = [range.getBoundingClientRect(), node.getBoundingClientRect()];
      const keepsRight = box.right - text.right <= text.left - box.left;
      return { dir: node.dir, lang: node.lang, computed: getComputedStyle(node).direction, keepsRight };
    });
  },

  pressButton(place, label) {
    [...document.querySelectorAll(`${place} button`)].find((button) => button.textContent === label).click();
  },

  focusButton(place, label) {
    [...document.querySelectorAll(`${place} button`)].find((button) => button.textContent === label).focus();
  },

  auditLinks() {
    return [...document.querySelectorAll("td a")].map((a) => [a.getAttribute("href"), a.textContent]);
  },

  smallControls(least) {
    const controls = [...document.querySelectorAll("button, select, input")];
    return controls.filter((node) => node.offsetHeight && node.offsetHeight < least).length;
  },

  /** Controls, tables and charts that a screen reader has no name for. */
  unnamed() {
    const all = (selector) => [...document.querySelectorAll(selector)];
    return [
      ...all("select, input").filter((node) => !node.labels.length),
      ...all("table").filter((table) => !table.caption?.textContent),
      ...all("svg").filter((svg) => !svg.querySelector(":scope > title")?.textContent),
      ...all("button").filter((button) => !button.hidden && !button.textContent),
    ].map((node) => node.outerHTML.slice(0, 80));
  },

  repeatedIds() {
    const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
    return ids.filter((id, place) => ids.indexOf(id) !== place);
  },

  /** Texts whose contrast with the nearest opaque background is below a ratio, as WCAG defines it. */
  lowContrast(least) {
    const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const behind = (node) => {
      for (let up = node; up; up = up.parentElement) {
        const found = channels(getComputedStyle(up).backgroundColor);
        if (found.length < 4 || found[3] > 0) return found;
      }
      return [255, 255, 255];
    };
    const hasText = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const isShown = (node) => !node.closest("script, style, noscript, [hidden], title, desc");
    return [...document.querySelectorAll("body *")]
      .filter((node) => hasText(node) && isShown(node))
      .filter((node) => {
        const style = getComputedStyle(node);
        const ink = luminance(channels(node.closest("svg") ? style.fill : style.color));
        const paper = luminance(behind(node));
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05) < least;
      })
      .map((node) => `${node.tagName} ${node.textContent.slice(0, 40)}`);
  },
})
