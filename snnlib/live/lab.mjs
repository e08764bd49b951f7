// The live lab: draw a digit and watch the converted network decide, spike by spike.
//
// Data flows one way: a control calls `change`, the digit is simulated again from the first
// step to the last, and every panel draws what it shows of the recording.  A run costs a few
// milliseconds, so nothing is kept up to date by halves.

import { readAddress, writeAddress } from "./address.mjs";
import { startFilm } from "./controls.mjs";
import { pixelsOf } from "./drawing.mjs";
import { readNetwork } from "./network.mjs";
import { ratesUntil } from "./neuron.mjs";
import { arrange, layerColour, ramp, readColours } from "./painting.mjs";
import { reluRates, rowOf, simulate } from "./simulation.mjs";

const STANDARD = {
  ...{ digit: 7, label: 7, pixels: null, steps: 40, threshold: 1, rate: 0.4, seed: 0 },
  ...{ step: 40, layer: null, neuron: null, mean: true },
};
const LIMITS = { steps: [1, 80], threshold: [0.25, 4], rate: [0.05, 1], seed: [0, 99] };
const RERUN = ["digit", "pixels", "steps", "threshold", "rate", "seed", "layer"];
const ADDRESS_DELAY = 300; // [ms]
const SPEECH_DELAY = 400; // [ms], or a drag of a slider would flood a screen reader

/**
 * One lab on a page.
 *
 * given: {network: Uint8Array of `lab_network`, samples: [{label, index, pixels}], settings,
 * panels, sliders, layers}.  Throws NetworkError.
 */
export class Lab {
  constructor(root, given) {
    this.root = root;
    this.network = readNetwork(given.network);
    this.samples = given.samples;
    this.panels = given.panels;
    this.sliders = given.sliders ?? Object.keys(LIMITS);
    this.limits = LIMITS;
    this.keepsAddress = given.keepsAddress ?? true;
    this.onChange = given.onChange ?? (() => {});
    this.layers = [this.inputLayer(), ...this.network.layers.filter(({ reset }) => reset !== null)];
    this.isShown = (name) => !given.layers || given.layers.includes(name);
    this.shownLayers = this.layers.filter(({ name }) => this.isShown(name));
    this.seenLayout = arrange(this.network.inputShape);
    this.defaults = this.standardSettings(given.settings);
    this.settings = { ...this.defaults };
    this.runs = 0; // another number says that something else is simulated
    this.playing = false;
    this.visible = true;
    this.timers = {};
  }

  inputLayer() {
    const neurons = this.network.inputShape.reduce((a, b) => a * b, 1);
    return { name: "input", maps: this.network.inputShape, neurons };
  }

  /** The page's own settings. */
  standardSettings(given = {}) {
    const settings = { ...STANDARD, ...given };
    if (settings.digit !== null) settings.digit = Math.min(settings.digit, this.samples.length - 1);
    settings.label = settings.digit === null ? null : this.samples[settings.digit].label;
    const layer =
      this.network.layers.find(({ name }) => name === settings.layer) ?? this.network.layers[0];
    settings.layer = layer.name;
    settings.step = Math.min(given.step ?? settings.steps, settings.steps);
    return settings;
  }

  /** Where the page names no neuron: the one that spikes most. */
  chooseNeuron() {
    const layer = this.layerNamed(this.settings.layer);
    const rates = ratesUntil(this.rowsOf(layer), layer.neurons, this.settings.steps);
    this.defaults.neuron ??= rates.indexOf(rates.reduce((a, b) => Math.max(a, b)));
    this.settings.neuron = this.defaults.neuron;
  }

  // ---- changing

  /** Merge changes, simulate if need be, and draw with the next frame. */
  change(changes, { playing = false } = {}) {
    this.merge(changes);
    if (!playing && this.playing && !("mean" in changes)) this.play(false);
    this.frame ??= requestAnimationFrame(() => this.refresh());
  }

  /** As `change`, but done on return: for programs. */
  set(changes) {
    this.merge(changes);
    this.refresh({ unseen: true });
  }

  /** `shown`: pixels that are not drawn on the pad, and are to be shown there. */
  merge(changes, { shown = false } = {}) {
    const before = this.settings;
    const after = { ...before, ...changes };
    if (typeof changes.digit === "number") {
      Object.assign(after, { pixels: null, label: this.samples[changes.digit].label });
    }
    const atEnd = before.step === before.steps && !("step" in changes);
    if (after.steps !== before.steps && atEnd) after.step = after.steps;
    if (after.layer === null) Object.assign(after, { layer: before.layer, neuron: before.neuron });
    after.neuron ??= 0;
    after.step = Math.min(Math.max(Math.round(after.step), 1), after.steps);
    this.settings = after;
    if ("pixels" in changes || "digit" in changes) this.drawing = Boolean(changes.pixels) && !shown;
    if (RERUN.some((name) => after[name] !== before[name])) this.stale = true;
    this.changed ??= new Set();
    if (["digit", "pixels"].some((name) => after[name] !== before[name])) this.changed.add("image");
    if (["layer", "neuron"].some((name) => after[name] !== before[name]))
      this.changed.add("neuron");
  }

  /** Nothing is drawn off screen, unless a program waits for it. */
  refresh({ unseen = false } = {}) {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    if (!this.visible && !unseen) return;
    const changed = this.changed ?? new Set();
    this.changed = null;
    if (this.stale) {
      this.run();
      changed.add("run");
    }
    this.cache = {};
    for (const { update } of this.parts) update(this, changed);
    this.later("address", ADDRESS_DELAY, () => this.writeAddress());
    this.onChange(this);
  }

  run() {
    this.stale = false;
    this.runs += 1;
    const { digit, pixels } = this.settings;
    this.image = digit === null && pixels ? pixels : this.samples[digit ?? 0].pixels;
    this.pixels = pixelsOf(this.image);
    this.empty = this.image.every((p) => p === 0);
    this.recording = simulate(this.network, this.pixels, {
      ...this.options(),
      potentials: [this.settings.layer],
    });
    this.relu = reluRates(this.network, this.pixels, this.options());
  }

  /** The options of `simulate`; a sample's spikes are those of its place in the test set. */
  options() {
    const { digit, steps, rate, seed, threshold } = this.settings;
    return { steps, rate, seed, threshold, index: digit === null ? 0 : this.samples[digit].index };
  }

  play(on) {
    if (on === this.playing) return;
    clearInterval(this.film);
    this.playing = on;
    const { step, steps } = this.settings;
    if (on && matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.playing = false;
      return this.change({ step: steps });
    }
    if (on) {
      if (step >= steps) this.merge({ step: 1 });
      this.film = startFilm(this, () => this.play(false));
    }
    this.frame ??= requestAnimationFrame(() => this.refresh());
  }

  /** The text's settings; a drawing stays. */
  reset() {
    const { digit, pixels, label } = this.settings;
    this.change({ ...this.defaults, digit, pixels, label });
  }

  // ---- what panels ask for

  get answer() {
    return this.empty ? null : this.recording.decisions[this.settings.steps - 1];
  }

  get answerNow() {
    return this.empty ? -1 : this.recording.decisions[this.settings.step - 1];
  }

  get cnnAnswer() {
    const values = this.relu[this.outputLayer.name];
    return values.indexOf(values.reduce((a, b) => Math.max(a, b)));
  }

  get outputLayer() {
    return this.network.layers[this.network.layers.length - 1];
  }

  get evidenceName() {
    return this.network.readout === "spikes" ? "output spikes" : "output potential";
  }

  /** What decides, after each step: [T][classes]. */
  get evidence() {
    const { counts, potentials } = this.recording;
    return this.network.readout === "spikes" ? counts : potentials[this.outputLayer.name];
  }

  evidenceAt(step) {
    return rowOf(this.evidence, step - 1, this.network.classes);
  }

  rowsOf({ name }) {
    return name === "input" ? this.recording.input : this.recording.spikes[name];
  }

  ratesOf(layer, step) {
    return (this.cache[layer.name] ??= ratesUntil(this.rowsOf(layer), layer.neurons, step));
  }

  layerNamed(name) {
    return this.network.layers.find((layer) => layer.name === name);
  }

  /** The spikes of a step that a layer receives, before its pools. */
  rowBefore(layer, step) {
    const before = this.layers[this.layers.findIndex(({ name }) => name === layer.name) - 1];
    return rowOf(this.rowsOf(before), step - 1, before.neurons);
  }

  colourOf({ name }) {
    return layerColour(this.colours, name, this.outputLayer.name);
  }

  announce(speak) {
    this.later("speech", SPEECH_DELAY, speak);
  }

  later(name, delay, action) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(action, delay);
  }

  // ---- the address

  /** The page's address with the lab's state after "#". */
  address() {
    const text = writeAddress(this.settings, this.defaults);
    return location.href.split("#")[0] + (text && `#${text}`);
  }

  writeAddress() {
    const text = writeAddress(this.settings, this.defaults);
    const ours = location.hash.startsWith("#lab?");
    if (!this.keepsAddress || (!text && !ours)) return;
    try {
      history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
    } catch {
      // a browser that allows no change of address: the button still gives it
    }
  }

  readAddress() {
    if (!this.keepsAddress || !location.hash.startsWith("#lab?")) return;
    const layers = Object.fromEntries(
      this.network.layers.map(({ name, neurons }) => [name, neurons]),
    );
    const { settings } = readAddress(location.hash.slice(1), this.defaults, {
      ...this.limits,
      layers,
    });
    this.merge(settings, { shown: true });
  }

  // ---- the theme

  readTheme() {
    const colours = readColours(this.root);
    const from = (name) => ramp(colours.ground, colours[name]);
    this.colours = colours;
    this.shades = Object.fromEntries(
      this.layers.map((layer) => [layer.name, ramp(colours.ground, this.colourOf(layer))]),
    );
    this.signed = { arriving: from("input"), below: from("output"), above: from("hidden") };
    this.changed ??= new Set();
    this.changed.add("colours").add("image");
  }
}
