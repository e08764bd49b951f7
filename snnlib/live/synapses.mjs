// What spikes do on their way from one layer to the next: sums over pools, weights added to
// potentials.
//
// *Events* are the places that gave something in this step and how much, {size, places,
// amounts}: the work is in proportion to the spikes.

/** v += what the events of the layer before bring, through pools and synapse. */
export function deliver({ layer, v, scratches }, arrived) {
  let events = arrived;
  layer.pools.forEach((pooling, i) => (events = pool(pooling, scratches[i], events)));
  SCATTER[layer.kind](layer, events, v);
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

// ---- events

function makeEvents(room) {
  return { size: 0, places: new Int32Array(room), amounts: new Float64Array(room) };
}

/** Events of neurons that spike: every amount is one. */
export function spikeEvents(room) {
  const events = makeEvents(room);
  events.amounts.fill(1);
  return events;
}

/** The places whose value is not zero, as events. */
export function eventsOf(values) {
  const events = makeEvents(values.length);
  values.forEach((value, place) => {
    if (value === 0) return;
    events.places[events.size] = place;
    events.amounts[events.size++] = value;
  });
  return events;
}

// ---- pools

export function makeScratch({ channels, size: [rows, columns] }) {
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

// ---- weights

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
