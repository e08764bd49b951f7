// The converted network without Python: encoder and simulator of the live lab.
//
// Pure functions on typed arrays; no DOM, no dependency.  The spikes are those of
// `snnlib.simulate`, bit for bit: weights, thresholds and potentials are whole units of
// 2**-fractionBits in float64, which is exact up to 2**53, so that no order of additions
// can change a spike; `simulate` refuses more steps than that holds for.
//
// Neurons lie channels last, [H][W][C]: what one spike adds to the channels of a place is
// then one run of neighbours.  Python has [C, H, W]; `channelsFirst` turns a row around.
//
// Words: a *place* is a neuron's number in [H][W][C]; *events* are the places that gave
// something in this step and how much, {size, places, amounts}.

export const LEVELS = 2 ** 24; // steps of the grid on which rates lie
export const UNDECIDED = -1;
export const DEFAULTS = Object.freeze({
  steps: 40,
  rate: 0.4, // of a white pixel [spikes/step], in (0, 1]
  seed: 0,
  index: 0, // of the image in its data set: its spikes depend on it
  threshold: 1, // factor on the thresholds of all layers with weights
  potentials: Object.freeze([]), // names of the layers whose potentials are kept
});

const MAGIC = "snn-lab\0";
const VERSION = 1;
const PREFIX = 24; // [bytes] before the header
const CHECKED = 20; // [bytes] before what the checksum covers
const EXACT_UNITS = 2 ** 53; // float64 holds every whole number up to here
const LARGEST_THRESHOLD = 2 ** 24; // [units] as in Python, whose thresholds are float32

// ---- reading a network

/** A file that is no network, or a damaged one; `reason` is one word for programs. */
export class NetworkError extends Error {
  constructor(reason, message) {
    super(message);
    this.name = "NetworkError";
    this.reason = reason; // "foreign" | "version" | "truncated" | "altered"
  }
}

/**
 * Read what `snnlib.export.lab.lab_network` wrote.
 *
 * buffer: ArrayBuffer or Uint8Array.  Gives {inputShape, readout, classes, layers}.
 * Throws NetworkError for a foreign, truncated or altered file, or another version.
 */
export function readNetwork(buffer) {
  const bytes = buffer instanceof Uint8Array ? buffer : new Uint8Array(buffer);
  checkFile(bytes);
  const view = viewOf(bytes);
  const end = PREFIX + view.getUint32(CHECKED, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX, end)));
  const layers = [];
  let shape = header.input_shape;
  for (const facts of header.layers) {
    layers.push(readLayer(facts, shape, view, end));
    shape = facts.shape;
  }
  const { input_shape: inputShape, readout } = header;
  return { inputShape, readout, classes: shape[0], layers };
}

function checkFile(bytes) {
  const fail = (reason, message) => {
    throw new NetworkError(reason, message);
  };
  const head = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (!bytes.length || !MAGIC.startsWith(head)) {
    fail("foreign", "This file is no network of the lab; write one with lab_network(snn).");
  }
  if (bytes.length < PREFIX) fail("truncated", "The network file is cut off; fetch it again.");
  const view = viewOf(bytes);
  const [version, length, checksum] = [8, 12, 16].map((at) => view.getUint32(at, true));
  if (version !== VERSION) {
    fail("version", `The network file has version ${version}, not ${VERSION}; export it again.`);
  }
  if (bytes.length < length) {
    fail("truncated", `The file ends after ${bytes.length} of ${length} bytes; fetch it again.`);
  }
  if (bytes.length > length || crc32(bytes.subarray(CHECKED)) !== checksum) {
    fail("altered", "The network file was altered: its checksum differs; fetch it again.");
  }
}

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The checksum of zip files: unsigned 32 bits. */
export function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

/** A layer, ready to run, that receives from neurons of `shape` [C, H, W] or [C]. */
function readLayer(facts, shape, view, weightsAt) {
  const [start, count] = facts.weights;
  const units = new Int16Array(count); // torch's order
  for (let i = 0; i < count; i++) units[i] = view.getInt16(weightsAt + 2 * (start + i), true);
  const [pools, pooled] = readPools(facts.pools, maps(shape));
  const { kind } = facts.synapse;
  return {
    name: facts.name,
    shape: facts.shape,
    maps: maps(facts.shape), // [C, H, W]
    neurons: facts.shape.reduce((a, b) => a * b, 1),
    unit: 2 ** -facts.fraction_bits,
    pools,
    source: pooled, // [C, H, W] that the synapse takes, after its pools
    kind,
    geometry: kind === "conv" ? readGeometry(facts.synapse, pooled, facts.shape) : null,
    weights: layOut(facts, units, pooled),
    largestCurrent: facts.largest_current, // [units] in one step, of either sign
    reset: facts.reset, // "subtract" | "zero" | null: never spikes
    threshold: facts.threshold ?? null, // [units], one number or one a channel
    initial: facts.initial ?? null,
  };
}

/** [C, H, W]; the neurons of a linear layer are channels of one place. */
function maps(shape) {
  return shape.length === 3 ? shape : [shape[0], 1, 1];
}

/** The pools in front of a synapse, and the shape [C, H, W] that they leave. */
function readPools(facts, shape) {
  const pools = [];
  let [channels, height, width] = shape;
  for (const { kernel_size: kernel, stride, padding } of facts) {
    const size = [height, width].map((n, axis) => {
      return Math.floor((n + 2 * padding[axis] - kernel[axis]) / stride[axis]) + 1;
    });
    pools.push({ channels, width, size, kernel, stride, padding });
    [height, width] = size;
  }
  return [pools, [channels, height, width]];
}

function readGeometry(synapse, [channels, height, width], [outputs, rows, columns]) {
  const { kernel_size: kernel, stride, padding, dilation, groups } = synapse;
  const [inGroup, outGroup] = [channels / groups, outputs / groups];
  return {
    ...{ channels, height, width, outputs, rows, columns },
    ...{ kernel, stride, padding, dilation, inGroup, outGroup },
  };
}

/** Weights as float64, those of one presynaptic neuron beside each other. */
function layOut({ synapse }, units, pooled) {
  if (synapse.kind === "none") return new Float64Array(0);
  if (synapse.kind === "conv") return layOutConv(synapse, units);
  return layOutLinear(synapse, units, pooled);
}

/** [outputs, inputs of a group, kH, kW] -> [inputs][kH][kW][outputs of a group]. */
function layOutConv({ weight_shape: shape, groups }, units) {
  const [outputs, inGroup, kernelHeight, kernelWidth] = shape;
  const outGroup = outputs / groups;
  const taps = kernelHeight * kernelWidth;
  const weights = new Float64Array(units.length);
  for (let i = 0; i < units.length; i++) {
    const tap = i % taps;
    const input = Math.floor(i / taps) % inGroup;
    const output = Math.floor(i / (taps * inGroup));
    const group = Math.floor(output / outGroup);
    const row = (group * inGroup + input) * taps + tap;
    weights[row * outGroup + (output % outGroup)] = units[i];
  }
  return weights;
}

/** [outputs, C H W] -> [H W C][outputs]. */
function layOutLinear({ weight_shape: [outputs, inputs] }, units, pooled) {
  const places = placesOf(pooled);
  const weights = new Float64Array(units.length);
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      weights[places[input] * outputs + output] = units[output * inputs + input];
    }
  }
  return weights;
}

/** The place of each neuron in the order of Python, [C, H, W]. */
export function placesOf(shape) {
  const [channels, height, width] = maps(shape);
  const area = height * width;
  const place = (i) => (i % area) * channels + Math.floor(i / area);
  return Int32Array.from({ length: channels * area }, (_, i) => place(i));
}

/** A row of a recording, [H][W][C], in the order of Python, [C, H, W]. */
export function channelsFirst(row, shape) {
  const places = placesOf(shape);
  return row.map((_, i) => row[places[i]]);
}

// ---- encoding

/** The 32-bit hash lowbias32 (Wellons 2018). */
export function mix(x) {
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  return x ^ (x >>> 16);
}

/** floor(pixel * rate * 2**24) of pixels in [0, 1]; Int32Array in their order. */
export function rateLevels(image, rate) {
  return Int32Array.from(image, (pixel) => Math.floor(pixel * rate * LEVELS));
}

/**
 * The spikes of one step: pixel p spikes where a hash of (seed, index, step, p) is below
 * its level.  A higher level only ever adds spikes.
 *
 * levels: Int32Array of `rateLevels`, [C, H, W] like the result.  Gives a Uint8Array.
 */
export function encode(levels, seed, index, step) {
  const spikes = new Uint8Array(levels.length);
  const key = mix(mix(index ^ mix(seed ^ 0x9e3779b9)) ^ step);
  for (let p = 0; p < levels.length; p++) {
    if (mix(key ^ mix(p + 1)) >>> 8 < levels[p]) spikes[p] = 1;
  }
  return spikes;
}

// ---- one step of one layer

function makeEvents(room) {
  return { size: 0, places: new Int32Array(room), amounts: new Float64Array(room) };
}

/** Events of neurons that spike: every amount is one. */
function spikeEvents(room) {
  const events = makeEvents(room);
  events.amounts.fill(1);
  return events;
}

function makeScratch({ channels, size: [rows, columns] }) {
  const room = channels * rows * columns;
  return { sums: new Float64Array(room), events: makeEvents(room) };
}

/** Sums over windows, of the places with events only. */
function pool({ channels, width, size, kernel, stride, padding }, scratch, events) {
  const { sums, events: pooled } = scratch; // sums are zero between calls
  pooled.size = 0;
  for (let i = 0; i < events.size; i++) {
    const place = events.places[i];
    const cell = Math.floor(place / channels);
    const channel = place - cell * channels;
    const y = Math.floor(cell / width) + padding[0];
    const x = (cell % width) + padding[1];
    const lastRow = lastWindow(y, stride[0], size[0]);
    const lastColumn = lastWindow(x, stride[1], size[1]);
    for (let row = firstWindow(y, kernel[0], stride[0]); row <= lastRow; row++) {
      for (let column = firstWindow(x, kernel[1], stride[1]); column <= lastColumn; column++) {
        const target = (row * size[1] + column) * channels + channel;
        if (sums[target] === 0) pooled.places[pooled.size++] = target;
        sums[target] += events.amounts[i];
      }
    }
  }
  return takeSums(sums, pooled);
}

/** The first and last window that cover a row or column, counted with its padding. */
function firstWindow(at, kernel, stride) {
  return at < kernel ? 0 : Math.floor((at - kernel) / stride) + 1;
}

function lastWindow(at, stride, windows) {
  return Math.min(Math.floor(at / stride), windows - 1);
}

/** Moves sums into the events and leaves zeros. */
function takeSums(sums, events) {
  for (let i = 0; i < events.size; i++) {
    const place = events.places[i];
    events.amounts[i] = sums[place];
    sums[place] = 0;
  }
  return events;
}

/** v [rows][columns][outputs] += the kernel of each event, where it lands. */
function scatterConv(layer, events, v) {
  const { weights, geometry } = layer;
  const { places, amounts } = events;
  const { channels, width, outputs, rows, columns, inGroup, outGroup } = geometry;
  const [[kernelHeight, kernelWidth], [strideY, strideX]] = [geometry.kernel, geometry.stride];
  const [[paddingY, paddingX], [dilationY, dilationX]] = [geometry.padding, geometry.dilation];
  for (let i = 0; i < events.size; i++) {
    const cell = Math.floor(places[i] / channels);
    const channel = places[i] - cell * channels;
    const offset = Math.floor(channel / inGroup) * outGroup;
    const x = (cell % width) + paddingX;
    const y = Math.floor(cell / width) + paddingY;
    for (let ky = 0; ky < kernelHeight; ky++) {
      const row = landing(y - ky * dilationY, strideY, rows);
      if (row < 0) continue;
      for (let kx = 0; kx < kernelWidth; kx++) {
        const column = landing(x - kx * dilationX, strideX, columns);
        if (column < 0) continue;
        const tap = ((channel * kernelHeight + ky) * kernelWidth + kx) * outGroup;
        const at = (row * columns + column) * outputs + offset;
        addRow(v, at, weights, tap, outGroup, amounts[i]);
      }
    }
  }
}

/** The output row or column on which a distance lands; -1 for none. */
function landing(distance, stride, outputs) {
  if (distance < 0 || distance % stride !== 0) return -1;
  const at = distance / stride;
  return at < outputs ? at : -1;
}

/** v [outputs] += the weights of each event. */
function scatterLinear(layer, events, v) {
  for (let i = 0; i < events.size; i++) {
    addRow(v, 0, layer.weights, events.places[i] * v.length, v.length, events.amounts[i]);
  }
}

/** The neurons of a spiking pool count what arrives. */
function scatterNone(layer, events, v) {
  const one = 1 / layer.unit;
  for (let i = 0; i < events.size; i++) v[events.places[i]] += events.amounts[i] * one;
}

/** Four at a time: in the innermost loop of all, this takes a third off the whole run. */
function addRow(v, at, weights, from, count, amount) {
  let o = 0;
  for (; o + 3 < count; o += 4) {
    v[at + o] += amount * weights[from + o];
    v[at + o + 1] += amount * weights[from + o + 1];
    v[at + o + 2] += amount * weights[from + o + 2];
    v[at + o + 3] += amount * weights[from + o + 3];
  }
  for (; o < count; o++) v[at + o] += amount * weights[from + o];
}

const SCATTER = { conv: scatterConv, linear: scatterLinear, none: scatterNone };

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

// ---- a whole presentation

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

/** v += what the events of the layer before bring, through pools and synapse. */
function deliver({ layer, v, scratches }, arrived) {
  let events = arrived;
  layer.pools.forEach((pooling, i) => (events = pool(pooling, scratches[i], events)));
  SCATTER[layer.kind](layer, events, v);
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

/** The places whose value is not zero, as events. */
function eventsOf(values) {
  const events = makeEvents(values.length);
  values.forEach((value, place) => {
    if (value === 0) return;
    events.places[events.size] = place;
    events.amounts[events.size++] = value;
  });
  return events;
}

/** What pools make of a row [H][W][C] before a layer's synapse: Float64Array [H][W][C]. */
export function pooledRow(layer, row) {
  let events = eventsOf(row);
  for (const pooling of layer.pools) events = pool(pooling, makeScratch(pooling), events);
  const [channels, height, width] = layer.source;
  const values = new Float64Array(channels * height * width);
  for (let i = 0; i < events.size; i++) values[events.places[i]] = events.amounts[i];
  return values;
}

/**
 * The class with the highest potential, or with most output spikes: ties go to the higher
 * potential, then to the lower class; without a spike it is UNDECIDED.
 */
export function decide(counts, potential, readout) {
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
