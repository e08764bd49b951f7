// The converted network without Python: the simulator of the live lab.
//
// Pure functions on typed arrays.  The spikes are those of `snnlib.simulate`, bit for bit:
// weights, thresholds and potentials are whole units of 2**-fractionBits in float64, which is
// exact up to 2**53, so that no order of additions can change a spike; `simulate` refuses more
// steps than that holds for.

import { encode, rateLevels } from "./encoding.mjs";
import { placesOf } from "./network.mjs";
import { deliver, eventsOf, makeScratch, spikeEvents } from "./synapses.mjs";

const UNDECIDED = -1;
const DEFAULTS = Object.freeze({
  steps: 40,
  rate: 0.4, // of a white pixel [spikes/step], in (0, 1]
  seed: 0,
  index: 0, // of the image in its data set: its spikes depend on it
  threshold: 1, // factor on the thresholds of all layers with weights
  potentials: Object.freeze([]), // names of the layers whose potentials are kept
});

const EXACT_UNITS = 2 ** 53; // float64 holds every whole number up to here
const LARGEST_THRESHOLD = 2 ** 24; // [units] as in Python, whose thresholds are float32

/**
 * Show one image for some steps and keep every spike.
 *
 * network: of `readNetwork`.  image: pixels in [0, 1], [C, H, W], a Float32Array for the
 * spikes of Python.  options: as DEFAULTS.  T steps; gives
 *
 *   input             Uint8Array [T][H][W][C]
 *   spikes            {layer: Uint8Array [T][H][W][C]}, of each layer that spikes
 *   spikeCounts       {layer: Int32Array [T]}, with "input"
 *   potentials        {layer: Float64Array [T][H][W][C]}, after the reset, in units of the
 *                     threshold; of the layers asked for, and always of the output
 *   counts            Int32Array [T][classes], output spikes so far
 *   decisions         Int32Array [T], UNDECIDED where the output has not spiked yet
 *
 * Throws RangeError for other options or another image.
 */
export function simulate(network, image, options = {}) {
  const given = { ...DEFAULTS, ...options };
  checkOptions(network, given);
  checkImage(network, image);
  const states = network.layers.map((layer) => makeState(layer, given.threshold));
  checkSteps(states, given.steps);
  const recording = makeRecording(network, given);
  const source = makeSource(network, image, given);
  for (let step = 0; step < given.steps; step++) {
    let events = emit(source, step, recording);
    for (const state of states) events = advance(state, events, step, recording);
    conclude(network, states[states.length - 1], step, recording);
  }
  return recording;
}

// ---- before the first step

function makeState(layer, factor) {
  const threshold = layer.reset === null ? null : thresholds(layer, factor);
  const initial = layer.reset === null ? null : initials(layer, threshold);
  return {
    layer,
    scratches: layer.pools.map(makeScratch),
    v: perNeuron(initial ?? [0], layer),
    threshold: threshold && perNeuron(threshold, layer),
    zero: layer.reset === "zero",
    events: spikeEvents(layer.neurons),
  };
}

/** [units] on the grid; a spiking pool keeps its own, which stands for the average. */
function thresholds({ name, kind, threshold }, factor) {
  if (kind === "none") return threshold;
  return threshold.map((units) => {
    const scaled = roundHalfEven(units * factor);
    if (scaled >= 1 && scaled <= LARGEST_THRESHOLD) return scaled;
    throw new RangeError(
      `a threshold factor of ${factor} takes layer ${name} off its grid; give one nearer to 1.`,
    );
  });
}

/** Initial potentials [units] that are the same fraction of the thresholds as before. */
function initials({ threshold, initial }, scaled) {
  const count = Math.max(initial.length, threshold.length);
  return Array.from({ length: count }, (_, i) => {
    const of = (values) => values[values.length === 1 ? 0 : i];
    return roundHalfEven(of(scaled) * (of(initial) / of(threshold)));
  });
}

/** The nearest whole number; the even one halfway between, as in Python. */
function roundHalfEven(x) {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** One number, or one a channel, for every neuron [H][W][C]. */
function perNeuron(values, layer) {
  const all = new Float64Array(layer.neurons);
  for (let i = 0; i < all.length; i++) all[i] = values[i % values.length];
  return all;
}

function makeRecording(network, { steps, potentials }) {
  const pixels = network.inputShape.reduce((a, b) => a * b, 1);
  const output = network.layers[network.layers.length - 1].name;
  const spiking = network.layers.filter((layer) => layer.reset !== null);
  const kept = network.layers.filter(({ name }) => name === output || potentials.includes(name));
  const table = (layers, make) => {
    return Object.fromEntries(layers.map((layer) => [layer.name, make(layer)]));
  };
  return {
    input: new Uint8Array(steps * pixels),
    spikes: table(spiking, (layer) => new Uint8Array(steps * layer.neurons)),
    spikeCounts: table([{ name: "input" }, ...spiking], () => new Int32Array(steps)),
    potentials: table(kept, (layer) => new Float64Array(steps * layer.neurons)),
    counts: new Int32Array(steps * network.classes),
    decisions: new Int32Array(steps),
  };
}

function makeSource(network, image, { rate, seed, index }) {
  const events = spikeEvents(image.length);
  const [levels, places] = [rateLevels(image, rate), placesOf(network.inputShape)];
  return { levels, seed, index, places, events };
}

// ---- one step

/** The input spikes of a step, as events. */
function emit({ levels, seed, index, places, events }, step, recording) {
  const spikes = encode(levels, seed, index, step);
  const row = rowOf(recording.input, step, spikes.length);
  events.size = 0;
  for (let p = 0; p < spikes.length; p++) {
    if (!spikes[p]) continue;
    row[places[p]] = 1;
    events.places[events.size++] = places[p];
  }
  recording.spikeCounts.input[step] = events.size;
  return events;
}

/** One layer, one step. */
function advance(state, arrived, step, recording) {
  const { layer, v } = state;
  deliver(state, arrived);
  const row = (rows) => rowOf(rows[layer.name], step, v.length);
  const spiked = state.threshold && fire(state, row(recording.spikes));
  if (spiked) recording.spikeCounts[layer.name][step] = spiked.size;
  if (Object.hasOwn(recording.potentials, layer.name)) {
    keepPotentials(state, row(recording.potentials));
  }
  return spiked;
}

/** Spike at the threshold and reset; marks `row` [neurons] and gives the events. */
function fire(state, row) {
  const { v, threshold, zero, events } = state;
  let size = 0;
  for (let i = 0; i < v.length; i++) {
    if (v[i] >= threshold[i]) {
      v[i] = zero ? 0 : v[i] - threshold[i];
      row[i] = 1;
      events.places[size++] = i;
    }
  }
  events.size = size;
  return events;
}

/** In units of the threshold; of an output that never spikes, of threshold 1. */
function keepPotentials({ v, threshold, layer }, row) {
  for (let i = 0; i < v.length; i++) row[i] = threshold ? v[i] / threshold[i] : v[i] * layer.unit;
}

/** Output counts and the decision after a step. */
function conclude(network, { v, layer }, step, recording) {
  const { counts, decisions, spikes } = recording;
  const row = rowOf(counts, step, network.classes);
  if (layer.reset !== null) {
    if (step > 0) row.set(rowOf(counts, step - 1, network.classes));
    rowOf(spikes[layer.name], step, network.classes).forEach((spike, i) => (row[i] += spike));
  }
  decisions[step] = decide(row, v, network.readout);
}

/**
 * The class with the highest potential, or with most output spikes: ties go to the higher
 * potential, then to the lower class; without a spike it is UNDECIDED.
 */
function decide(counts, potential, readout) {
  const byPotential = readout === "potential";
  const most = byPotential ? 0 : Math.max(...counts);
  if (!byPotential && most === 0) return UNDECIDED;
  let best = -1;
  for (let i = 0; i < potential.length; i++) {
    if (!byPotential && counts[i] !== most) continue;
    if (best < 0 || potential[i] > potential[best]) best = i;
  }
  return best;
}

/** Row `step` of a recording's array, with so many numbers a row; shares its memory. */
export function rowOf(array, step, length) {
  return array.subarray(step * length, (step + 1) * length);
}

// ---- the same layers with ReLU

/**
 * The rates that conversion aims at: each layer with a ReLU in place of its spikes.
 *
 * network, image, options: as for `simulate`, of which rate and threshold are used.  Gives
 * {layer: Float64Array [H][W][C]} [spikes/step]; above 1 no neuron can follow.  An output
 * that never spikes has no ReLU: its values are signed, for threshold 1.
 */
export function reluRates(network, image, options = {}) {
  const given = { ...DEFAULTS, ...options };
  checkOptions(network, given);
  checkImage(network, image);
  const places = placesOf(network.inputShape);
  const values = new Float64Array(image.length);
  image.forEach((pixel, p) => (values[places[p]] = pixel * given.rate));
  let events = eventsOf(values);
  const rates = {};
  for (const layer of network.layers) {
    rates[layer.name] = reluLayer(layer, given.threshold, events);
    events = eventsOf(rates[layer.name]);
  }
  return rates;
}

function reluLayer(layer, factor, events) {
  const state = makeState(layer, factor);
  state.v.fill(0); // the initial potential is no input
  deliver(state, events);
  const { v, threshold } = state;
  return v.map((z, i) => (threshold ? Math.max(0, z) / threshold[i] : z * layer.unit));
}

// ---- refusals

function checkOptions(network, { rate, seed, index, threshold, potentials }) {
  if (!(rate > 0 && rate <= 1)) {
    throw new RangeError(`rate is ${rate}; give spikes per step in (0, 1].`);
  }
  for (const [name, value, limit] of [
    ["seed", seed, 2 ** 32],
    ["index", index, 2 ** 31],
  ]) {
    if (!(Number.isInteger(value) && value >= 0 && value < limit)) {
      throw new RangeError(`${name} is ${value}; give a whole number in [0, ${limit}).`);
    }
  }
  if (!(threshold > 0 && threshold < Infinity)) {
    throw new RangeError(`threshold is ${threshold}; give a factor above 0.`);
  }
  const names = network.layers.map(({ name }) => name);
  const unknown = potentials.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new RangeError(`potentials names ${unknown}; the layers are ${names.join(", ")}.`);
  }
}

function checkImage(network, image) {
  const pixels = network.inputShape.reduce((a, b) => a * b, 1);
  if (image.length !== pixels) {
    throw new RangeError(`the image has ${image.length} pixels; the network takes ${pixels}.`);
  }
  if (!image.every((pixel) => pixel >= 0 && pixel <= 1)) {
    throw new RangeError("the image has a pixel outside [0, 1]; divide bytes by 255.");
  }
}

/** For how many steps every potential is exact, as `SpikingNetwork.exact_steps` says. */
function checkSteps(states, steps) {
  if (!(Number.isInteger(steps) && steps >= 1)) {
    throw new RangeError(`steps is ${steps}; give a whole number, at least 1.`);
  }
  const limits = states.map(({ layer, threshold }) => {
    const room = EXACT_UNITS - (threshold ? threshold.reduce((a, b) => Math.max(a, b)) : 0);
    return Math.floor(room / Math.max(layer.largestCurrent, 1));
  });
  const limit = Math.min(...limits);
  if (steps > limit) {
    throw new RangeError(`steps is ${steps}; potentials are exact for ${limit} at most.`);
  }
}
