// Reads a converted network from the file that `snnlib.export.lab` writes.
//
// Neurons lie channels last, [H][W][C]: what one spike adds to the channels of a place is
// then one run of neighbours.  A *place* is a neuron's number in that order; Python has
// [C, H, W].

const MAGIC = "snn-lab\0";
const VERSION = 1;
const PREFIX = 24; // [bytes] before the header
const CHECKED = 20; // [bytes] before what the checksum covers

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
function crc32(bytes) {
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
