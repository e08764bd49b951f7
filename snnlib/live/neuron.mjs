// One neuron of the lab looked at closely: its inputs, their weights, its potential.
//
// Pure functions on what network.mjs reads and simulation.mjs records.

import { placesOf } from "./network.mjs";
import { rowOf } from "./simulation.mjs";
import { pooledRow } from "./synapses.mjs";

/**
 * The synapses onto one neuron.
 *
 * layer: of a network.  place: of the neuron, in [H][W][C].  Gives {shape: [C, H, W],
 * places: Int32Array, of the inputs after pooling, -1 in the padding, weights: Float64Array
 * [threshold units at factor 1; of an output that never spikes, of threshold 1]}.
 */
export function synapsesOnto(layer, place) {
  const unit = unitAt(layer, place);
  if (layer.kind === "none") {
    return {
      shape: [1, 1, 1],
      places: Int32Array.of(place),
      weights: Float64Array.of(unit / layer.unit),
    };
  }
  return layer.kind === "conv"
    ? convSynapses(layer, place, unit)
    : linearSynapses(layer, place, unit);
}

/** What one unit of weight is worth to a neuron. */
function unitAt({ threshold, unit }, place) {
  return threshold === null ? unit : 1 / threshold[place % threshold.length];
}

function convSynapses({ geometry: g, weights }, place, unit) {
  const [kernelHeight, kernelWidth] = g.kernel;
  const shape = [g.inGroup, kernelHeight, kernelWidth];
  const [output, cell] = [place % g.outputs, Math.floor(place / g.outputs)];
  const [row, column] = [Math.floor(cell / g.columns), cell % g.columns];
  const first = Math.floor(output / g.outGroup) * g.inGroup; // channel of the neuron's group
  const found = {
    shape,
    places: new Int32Array(size(shape)),
    weights: new Float64Array(size(shape)),
  };
  for (let i = 0; i < found.places.length; i++) {
    const [ky, kx] = [Math.floor(i / kernelWidth) % kernelHeight, i % kernelWidth];
    const channel = first + Math.floor(i / (kernelHeight * kernelWidth));
    const y = row * g.stride[0] - g.padding[0] + ky * g.dilation[0];
    const x = column * g.stride[1] - g.padding[1] + kx * g.dilation[1];
    const inside = y >= 0 && y < g.height && x >= 0 && x < g.width;
    found.places[i] = inside ? (y * g.width + x) * g.channels + channel : -1;
    const tap = (channel * kernelHeight + ky) * kernelWidth + kx;
    found.weights[i] = weights[tap * g.outGroup + (output % g.outGroup)] * unit;
  }
  return found;
}

function linearSynapses({ source, weights, neurons }, place, unit) {
  const places = placesOf(source);
  const onto = Float64Array.from(places, (input) => weights[input * neurons + place] * unit);
  return { shape: source, places, weights: onto };
}

function size(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

/**
 * What arrives at a neuron's synapses when its inputs give `row` [H][W][C], such as the
 * spikes of one step or rates: Float64Array in the order of `synapses.places`.
 */
export function arriving(layer, synapses, row) {
  const pooled = pooledRow(layer, row);
  return Float64Array.from(synapses.places, (place) => (place < 0 ? 0 : pooled[place]));
}

/** Spikes of one neuron and its potential after each step: {spikes, potentials} [T]. */
export function traceOf(recording, layer, place, steps) {
  const at = (rows) => Array.from({ length: steps }, (_, t) => rows[t * layer.neurons + place]);
  const spikes = recording.spikes[layer.name];
  return {
    spikes: spikes ? at(spikes) : new Array(steps).fill(0),
    potentials: at(recording.potentials[layer.name]),
  };
}

/** Mean over the first `step` rows of a recording: Float64Array [neurons], [spikes/step]. */
export function ratesUntil(rows, neurons, step) {
  const rates = new Float64Array(neurons);
  for (let t = 0; t < step; t++) {
    const row = rowOf(rows, t, neurons);
    for (let i = 0; i < neurons; i++) rates[i] += row[i];
  }
  for (let i = 0; i < neurons; i++) rates[i] /= step;
  return rates;
}
