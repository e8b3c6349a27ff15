// Elements from text. Children are elements or strings, and strings become text nodes.

const PROPERTIES = ["lang", "dir", "type", "value"];

/** An element with properties and children; null ones are left out. */
function el(name, properties, ...children) {
  const element = document.createElement(name);
  for (const [key, given] of Object.entries(properties ?? {})) {
    if (given === null || given === undefined) continue;
    if (key === "class") element.className = given;
    else if (PROPERTIES.includes(key)) element[key] = given;
    else if (key === "click") element.addEventListener("click", given);
    else throw new Error(`el does not set ${key}`);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

/** A text with what the search found in it marked. */
function marked(text, pattern) {
  if (!pattern) return [text];
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    parts.push(el("mark", null, match[0]));
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}
