// A few words for building the lab's elements.

/** What arrow keys mean: right and down are positive. */
export const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** element("button", {type: "button", "aria-pressed": "true"}, "Play") */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(text, onClick, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", onClick);
  return made;
}

/** A canvas that says what it shows; `part` is its name for CSS and tests. */
export function picture(part, label, attributes = {}) {
  return element("canvas", { role: "img", "data-part": part, "aria-label": label, ...attributes });
}

/** A part of the lab under a heading. */
export function panel(name, heading, ...children) {
  return element(
    "div",
    { class: `snn-lab-panel snn-lab-${name}` },
    element("h3", {}, heading),
    ...children,
  );
}

/** A note in small print. */
export function note(text = "") {
  return element("p", { class: "snn-lab-note" }, text);
}

/** Set a text only where it changed, so that a screen reader is not told twice. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

let ids = 0;
const PAGE = Math.random().toString(36).slice(2, 8); // two bundles may share one document

/** An id that no other lab of the page has. */
export function freshId(name) {
  ids += 1;
  return `snn-lab-${PAGE}-${name}-${ids}`;
}
