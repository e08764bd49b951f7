// What a reader sets: the digit, the time that is shown, the numbers of the run.
//
// Each panel is {element, update(lab, changed)}; `update` runs after every change.

import { button, element, freshId, note, panel, picture, say } from "./dom.mjs";
import { pixelsOf } from "./drawing.mjs";
import { makePad } from "./pad.mjs";
import { paintMaps, ramp } from "./painting.mjs";

const FRAME = 110; // [ms] a step of the film
const WHITE = [255, 255, 255];
const BLACK = [0, 0, 0];
const PAPER = ramp(WHITE, BLACK); // ink on paper, in both themes

// ---- the digit

export function drawPanel(lab) {
  const canvas = element("canvas", {
    "data-part": "pad",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "drawing pad",
    "aria-label": "Drawing pad. Arrow keys move the pen, Space lowers or lifts it, Delete clears.",
  });
  const pad = makePad(canvas, (pixels) => lab.change({ digit: null, label: null, pixels }));
  const seen = picture("seen", "What the network sees");
  const samples = sampleButtons(lab);
  const made = panel(
    "draw",
    "Draw a digit",
    element("div", { class: "snn-lab-paper" }, canvas, element("span", { class: "snn-lab-pen" })),
    element("div", { class: "snn-lab-seen" }, seen, note("What the network sees: 28 × 28 pixels")),
    button("Clear", pad.clear),
    element(
      "div",
      { class: "snn-lab-samples", role: "group", "aria-label": "Samples" },
      ...samples,
    ),
  );
  const update = (_, changed) => {
    if (!changed.has("image")) return;
    paintMaps(seen, lab.pixels, lab.seenLayout, PAPER);
    samples.forEach((sample, k) => {
      sample.setAttribute("aria-pressed", `${lab.settings.digit === k}`);
    });
    if (!lab.drawing) pad.show(lab.image);
  };
  return { element: made, update };
}

function sampleButtons(lab) {
  return lab.samples.map(({ pixels }, k) => {
    const thumbnail = element("canvas", { "aria-hidden": "true" });
    paintMaps(thumbnail, pixelsOf(pixels), lab.seenLayout, PAPER);
    const choose = () => lab.change({ digit: k });
    const made = button("", choose, { "aria-label": `Sample ${lab.samples[k].label}` });
    made.append(thumbnail);
    return made;
  });
}

// ---- the time

export function timePanel(lab) {
  const play = button("Play", () => lab.play(!lab.playing), { class: "snn-lab-play" });
  const move = (by) => () => lab.change({ step: lab.settings.step + by });
  const slider = element("input", { type: "range", name: "step", min: "1", "aria-label": "Step" });
  slider.addEventListener("input", () => lab.change({ step: Number(slider.value) }));
  const shown = element("output", { class: "snn-lab-step" });
  const keys = element(
    "div",
    { class: "snn-lab-keys", role: "group", "aria-label": "Film" },
    iconButton("first", "Start again", () => lab.change({ step: 1 })),
    iconButton("back", "Step back", move(-1)),
    play,
    iconButton("next", "Step forward", move(1)),
  );
  const update = () => {
    const { step, steps } = lab.settings;
    Object.assign(slider, { max: steps, value: step });
    slider.setAttribute("aria-valuetext", `step ${step} of ${steps}`);
    say(shown, `step ${step} of ${steps}`);
    say(play, lab.playing ? "Pause" : "Play");
  };
  return { element: panel("time", "Time", keys, slider, shown), update };
}

/** CSS draws the icon: a font may lack it. */
function iconButton(icon, label, onClick) {
  const made = button("", onClick, { "aria-label": label, title: label });
  made.append(element("span", { class: "snn-lab-icon", "data-icon": icon, "aria-hidden": "true" }));
  return made;
}

/** Runs the film: a step every FRAME; `stop` ends it. */
export function startFilm(lab, stop) {
  const next = () => {
    if (lab.settings.step >= lab.settings.steps) stop();
    else lab.change({ step: lab.settings.step + 1 }, { playing: true });
  };
  return setInterval(next, FRAME);
}

// ---- the numbers

const SLIDERS = {
  steps: { label: "Steps", step: 1, say: (x) => `${x}` },
  threshold: { label: "Threshold", step: 0.05, say: (x) => `× ${x.toFixed(2)}` },
  rate: { label: "Rate of white", step: 0.05, say: (x) => `${x.toFixed(2)} per step` },
  seed: { label: "Seed", step: 1, say: (x) => `${x}` },
};

export function settingsPanel(lab) {
  const rows = lab.sliders.map((name) => sliderRow(lab, name));
  const link = linkRow(lab);
  const buttons = element(
    "div",
    { class: "snn-lab-keys" },
    button("Reset settings", () => lab.reset()),
    link.element,
  );
  const made = panel(
    "settings",
    "Settings",
    ...rows.map((row) => row.element),
    buttons,
    link.spare,
  );
  return { element: made, update: () => rows.forEach((row) => row.update()) };
}

function sliderRow(lab, name) {
  const { label, step, say: words } = SLIDERS[name];
  const [min, max] = lab.limits[name];
  const id = freshId(name);
  const input = element("input", { type: "range", id, name, min, max, step });
  input.addEventListener("input", () => lab.change({ [name]: Number(input.value) }));
  const shown = element("output", { for: id });
  const row = element(
    "div",
    { class: "snn-lab-slider" },
    element("label", { for: id }, label),
    input,
    shown,
  );
  const update = () => {
    const value = lab.settings[name];
    input.value = value;
    input.setAttribute("aria-valuetext", words(value));
    say(shown, words(value));
  };
  return { element: row, update };
}

/** A button that copies the address; where that is refused, the address to copy by hand. */
function linkRow(lab) {
  const spare = element("input", {
    type: "text",
    readonly: "",
    "aria-label": "Link to this state",
  });
  spare.hidden = true;
  const copy = async () => {
    const address = lab.address();
    try {
      await navigator.clipboard.writeText(address);
      say(made, "Link copied");
    } catch {
      Object.assign(spare, { hidden: false, value: address });
      spare.select();
      say(made, "Copy the link below");
    }
    setTimeout(() => say(made, "Copy link"), 2500);
  };
  const made = button("Copy link", copy);
  return { element: made, spare };
}
