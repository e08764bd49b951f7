// What a reader watches: the answer, the layers, the raster, the decision, one neuron, rates.
//
// Each panel is {element, update(lab, changed)}; `update` runs after every change.

import { rowOf } from "./simulation.mjs";
import { ARROWS, element, note, panel, picture, say } from "./dom.mjs";
import { arriving, ratesUntil, synapsesOnto, traceOf } from "./neuron.mjs";
import {
  arrange,
  neuronAt,
  neuronBox,
  niceCeiling,
  paintDecision,
  paintMaps,
  paintRaster,
  paintRates,
  paintSigned,
  paintTrace,
} from "./painting.mjs";

const RASTER_ROWS = 90; // of one layer
const DOTS = 700; // of one layer

// ---- the answer

export function answerPanel(lab) {
  const answer = element("p", { "data-part": "answer", class: "snn-lab-verdict" });
  const cnn = note();
  const rows = Array.from({ length: lab.network.classes }, (_, k) => countRow(k));
  const columns = ["class", "bar", lab.evidenceName];
  const head = element("tr", {}, ...columns.map((x) => element("th", { scope: "col" }, x)));
  const table = element(
    "table",
    { "data-part": "counts" },
    element("caption", {}, `${capital(lab.evidenceName)} so far`),
    element("thead", {}, head),
    element("tbody", {}, ...rows.map((row) => row.element)),
  );
  const spoken = element("p", { role: "status", class: "snn-lab-spoken" });
  const made = panel("answer", "The answer", answer, cnn, table, spoken);
  const update = () => {
    const values = Array.from(lab.evidenceAt(lab.settings.step));
    const most = Math.max(...values, 1);
    rows.forEach((row, k) => row.update(values[k], values[k] / most, k === lab.answerNow));
    say(answer, answerText(lab));
    say(cnn, lab.empty ? "" : `The CNN that it came from says ${lab.cnnAnswer}.`);
    lab.announce(() => say(spoken, `${answerText(lab)}, after step ${lab.settings.step}`));
  };
  return { element: made, update };
}

export function answerText({ empty, answerNow }) {
  if (empty) return "Draw a digit, or choose one.";
  return answerNow < 0 ? "Undecided: no output spike yet" : `The network says ${answerNow}`;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function countRow(k) {
  const bar = element("span", { class: "snn-lab-bar" });
  const count = element("td", {});
  const row = element(
    "tr",
    {},
    element("th", { scope: "row" }, `${k}`),
    element("td", {}, bar),
    count,
  );
  const update = (value, share, leads) => {
    bar.style.setProperty("--share", Math.max(share, 0));
    row.classList.toggle("leads", leads);
    say(count, Number.isInteger(value) ? `${value}` : value.toFixed(1));
  };
  return { element: row, update };
}

// ---- the layers

export function mapsPanel(lab) {
  const now = choice(lab, "Spikes of this step", false);
  const mean = choice(lab, "Mean so far", true);
  const maps = lab.shownLayers.map((layer) => mapOf(lab, layer));
  const strip = element("div", { class: "snn-lab-strip" }, ...maps.map((map) => map.element));
  const group = element(
    "div",
    { class: "snn-lab-keys", role: "group", "aria-label": "Show" },
    mean,
    now,
  );
  const update = () => {
    now.setAttribute("aria-pressed", `${!lab.settings.mean}`);
    mean.setAttribute("aria-pressed", `${lab.settings.mean}`);
    maps.forEach((map) => map.update());
  };
  const small = note("A pixel a neuron. In the mean, full colour is the layer's highest rate.");
  return { element: panel("maps", "The layers", group, strip, small), update };
}

function choice(lab, text, mean) {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", () => lab.change({ mean }));
  return made;
}

/** A layer's feature maps; a click or the arrow keys choose a neuron, not among pixels. */
function mapOf(lab, layer) {
  const layout = arrange(layer.maps);
  const label = `${layer.name}: ${layer.maps.join(" × ")} neurons`;
  const canvas = picture("maps", label, { "data-layer": layer.name });
  const marker = element("span", { class: "snn-lab-marker" });
  const frame = element("div", { class: "snn-lab-map" }, canvas, marker);
  frame.style.setProperty("--ratio", layout.wide / layout.high);
  if (layer.name !== "input" && lab.panels.includes("neuron"))
    choosable(lab, layer, layout, canvas);
  const caption = element(
    "figcaption",
    {},
    element("b", {}, layer.name),
    ` ${layer.maps.join(" × ")}`,
  );
  const update = () => {
    const { step, mean } = lab.settings;
    const row = rowOf(lab.rowsOf(layer), step - 1, layer.neurons);
    const values = mean ? brightened(lab.ratesOf(layer, step)) : row;
    paintMaps(canvas, values, layout, lab.shades[layer.name]);
    mark(marker, layout, lab.settings.layer === layer.name ? lab.settings.neuron : null);
  };
  return { element: element("figure", {}, frame, caption), update };
}

/** Full colour for the layer's highest rate: rates are low, and would all look pale. */
function brightened(rates) {
  const highest = rates.reduce((a, b) => Math.max(a, b), 0);
  return highest > 0 ? rates.map((rate) => rate / highest) : rates;
}

function choosable(lab, layer, layout, canvas) {
  canvas.setAttribute("tabindex", "0");
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "map of neurons");
  canvas.title = "Choose a neuron";
  canvas.addEventListener("click", ({ clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const neuron = neuronAt(layout, (clientX - left) / width, (clientY - top) / height);
    if (neuron !== null) lab.change({ layer: layer.name, neuron });
  });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    const { layer: chosen, neuron } = lab.settings;
    const from = chosen === layer.name ? neuron : 0;
    lab.change({ layer: layer.name, neuron: neighbour(layout, from, ARROWS[event.key]) });
  });
}

/** The neuron beside another in the picture, over the gap to the next map if need be. */
function neighbour(layout, place, [dx, dy]) {
  const { left, top, width, height } = neuronBox(layout, place);
  for (const far of [1, 2]) {
    const found = neuronAt(
      layout,
      left + (0.5 + dx * far) * width,
      top + (0.5 + dy * far) * height,
    );
    if (found !== null) return found;
  }
  return place;
}

function mark({ style }, layout, place) {
  style.display = place === null ? "none" : "block";
  if (place === null) return;
  for (const [side, share] of Object.entries(neuronBox(layout, place)))
    style[side] = `${100 * share}%`;
}

// ---- the raster

export function rasterPanel(lab) {
  const canvas = picture("raster", "Spikes of every layer over time");
  const names = lab.layers.map((layer) => element("span", {}, layer.name));
  const frame = element("div", { class: "snn-lab-raster-frame" }, ...names, canvas);
  canvas.addEventListener("click", ({ clientX }) => {
    const { left, width } = canvas.getBoundingClientRect();
    lab.change({ step: Math.ceil(((clientX - left) / width) * lab.settings.steps) });
  });
  const small = `A row for each neuron that spikes, at most ${RASTER_ROWS} a layer, evenly spaced. Time runs to the right.`;
  let blocks = [];
  const update = (_, changed) => {
    if (changed.has("run") || changed.has("colours"))
      blocks = lab.layers.map((x) => blockOf(lab, x));
    const { steps, step } = lab.settings;
    const tops = paintRaster(canvas, lab.colours, { blocks, steps, step });
    names.forEach((name, i) => name.style.setProperty("top", `${100 * tops[i]}%`));
  };
  return { element: panel("raster", "Every spike", frame, note(small)), update };
}

function blockOf(lab, layer) {
  const rows = lab.rowsOf(layer);
  const seen = ratesUntil(rows, layer.neurons, lab.settings.steps);
  const all = Array.from(seen.keys());
  const chosen =
    layer.neurons > RASTER_ROWS
      ? thin(
          all.filter((i) => seen[i] > 0),
          RASTER_ROWS,
        )
      : all;
  const weight = chosen.length === all.length ? 3 : 1; // a few rows are drawn larger
  return { colour: lab.colourOf(layer), rows, neurons: layer.neurons, chosen, weight };
}

/** At most `room` of a list, evenly spaced. */
function thin(list, room) {
  if (list.length <= room) return list;
  return Array.from({ length: room }, (_, i) => list[Math.floor((i * list.length) / room)]);
}

// ---- the decision

export function decisionPanel(lab) {
  const canvas = picture(
    "decision",
    `${capital(lab.evidenceName)} of each class so far, over time`,
  );
  const small = note("One line a class. The leader has the colour of output spikes.");
  const update = () => {
    const { steps, step } = lab.settings;
    const [values, label, classes] = [lab.evidence, lab.evidenceName, lab.network.classes];
    paintDecision(canvas, lab.colours, {
      values,
      label,
      classes,
      steps,
      step,
      leader: lab.answerNow,
    });
  };
  return { element: panel("decision", "The decision forms", canvas, small), update };
}

// ---- one neuron

export function neuronPanel(lab) {
  const patch = picture("patch", "What arrives at the neuron");
  const kernel = picture("kernel", "Weights of the neuron");
  const trace = picture("trace", "Potential of the neuron over time");
  const facts = element("p", { "data-part": "neuron-facts", class: "snn-lab-facts" });
  const captioned = (canvas, text) =>
    element("figure", {}, canvas, element("figcaption", {}, text));
  const made = panel(
    "neuron",
    "One neuron",
    element(
      "div",
      { class: "snn-lab-pair" },
      captioned(patch, "arrives in this step"),
      captioned(kernel, "weights"),
    ),
    element("div", { class: "snn-lab-trace" }, facts, trace),
  );
  made.dataset.part = "neuron";
  let close = null;
  const update = (_, changed) => {
    if (changed.has("neuron") || close === null) close = closeUp(lab);
    const arrived = arriving(
      close.layer,
      close.synapses,
      lab.rowBefore(close.layer, lab.settings.step),
    );
    paintSigned(
      patch,
      arrived.map((x) => x / close.most),
      close.layout,
      lab.signed.arriving,
      lab.signed.arriving,
    );
    paintSigned(kernel, close.shares, close.layout, lab.signed.below, lab.signed.above);
    const { step, steps, neuron } = lab.settings;
    const traced = traceOf(lab.recording, close.layer, neuron, steps);
    paintTrace(trace, lab.colours, { ...traced, step, colour: lab.colourOf(close.layer) });
    say(facts, factsText(lab, close, arrived, traced));
  };
  return { element: made, update };
}

/** The chosen neuron's synapses, and how they are drawn. */
function closeUp(lab) {
  const layer = lab.layerNamed(lab.settings.layer);
  const synapses = synapsesOnto(layer, lab.settings.neuron);
  const largest = synapses.weights.reduce((a, b) => Math.max(a, Math.abs(b)), 1e-9);
  const most = layer.pools.reduce((n, { kernel }) => n * kernel[0] * kernel[1], 1);
  const [layout, shares] = [arrange(synapses.shape), synapses.weights.map((w) => w / largest)];
  return { layer, synapses, shares, layout, most };
}

function factsText(lab, { layer, synapses }, arrived, { spikes, potentials }) {
  const { step, neuron, threshold } = lab.settings;
  const current = arrived.reduce((sum, x, i) => sum + x * synapses.weights[i], 0) / threshold;
  const [channels, place] = [layer.maps[0], Math.floor(neuron / layer.maps[0])];
  const where =
    layer.maps[1] > 1
      ? `, row ${Math.floor(place / layer.maps[2])}, column ${place % layer.maps[2]}`
      : "";
  const fired = spikes.slice(0, step).reduce((a, b) => a + b, 0);
  return (
    `${layer.name}, ${layer.maps[1] > 1 ? "map" : "class"} ${neuron % channels}${where}. ` +
    `Step ${step} brings ${signed(current)} thresholds` +
    `${spikes[step - 1] ? "; it spikes" : ""}. Potential afterwards: ${signed(potentials[step - 1])}. ` +
    `${fired} ${fired === 1 ? "spike" : "spikes"} so far.`
  );
}

function signed(x) {
  return `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;
}

// ---- rates against ReLU

export function ratesPanel(lab) {
  const layers = lab.network.layers.filter(
    ({ name, reset }) => reset !== null && lab.isShown(name),
  );
  const charts = layers.map((layer) => ratesOf(lab, layer));
  const strip = element(
    "div",
    { class: "snn-lab-charts" },
    ...charts.map((chart) => chart.element),
  );
  const small = note(
    `A dot a neuron, at most ${DOTS} a layer. On the dashed line the rate is the ReLU of the CNN; ` +
      "dots on the upper edge lie beyond it.",
  );
  const made = panel("rates", "Rate against ReLU", strip, small);
  return { element: made, update: () => charts.forEach((chart) => chart.update()) };
}

function ratesOf(lab, layer) {
  const label = `${layer.name}: spikes per step against ReLU`;
  const canvas = picture("rates", label, { "data-layer": layer.name });
  const apart = element("span", {});
  const caption = element("figcaption", {}, element("b", {}, layer.name), " ", apart);
  const chosen = thin(
    Array.from({ length: layer.neurons }, (_, i) => i),
    DOTS,
  );
  const update = () => {
    const [relu, rates] = [lab.relu[layer.name], lab.ratesOf(layer, lab.settings.step)];
    const distance =
      rates.reduce((sum, rate, i) => sum + Math.abs(rate - relu[i]), 0) / rates.length;
    const [across, up] = [relu, rates].map((values) => chosen.map((i) => values[i]));
    const high = niceCeiling(1.25 * relu.reduce((a, b) => Math.max(a, b), 0.04));
    paintRates(canvas, lab.colours, { across, up, high, colour: lab.colourOf(layer) });
    say(apart, `mean distance ${distance.toFixed(3)}`);
  };
  return { element: element("figure", {}, canvas, caption), update };
}
