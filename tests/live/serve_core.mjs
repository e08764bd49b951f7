// Runs core.mjs for the tests: one JSON request a line, one JSON answer a line.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const core = await import(process.argv[2]);

const toHex = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("hex");

/** SHA-256 of all spikes of a layer, in the order of Python, [T, C, H, W]. */
function digest(rows, shape, steps) {
  const hash = createHash("sha256");
  const length = rows.length / steps;
  for (let t = 0; t < steps; t++) hash.update(core.channelsFirst(core.rowOf(rows, t, length), shape));
  return hash.digest("hex");
}

function inPythonsOrder(rows, shape, steps) {
  const length = rows.length / steps;
  const turned = new Float64Array(rows.length);
  for (let t = 0; t < steps; t++) {
    turned.set(core.channelsFirst(core.rowOf(rows, t, length), shape), t * length);
  }
  return toHex(turned);
}

function run({ network: file, image: pixels, options }) {
  const network = core.readNetwork(Buffer.from(file, "base64"));
  const image = Float32Array.from(pixels);
  const found = core.simulate(network, image, options);
  const shapes = { input: network.inputShape };
  for (const layer of network.layers) shapes[layer.name] = layer.shape;
  const map = (table, turn) => {
    return Object.fromEntries(Object.entries(table).map(([name, x]) => [name, turn(x, shapes[name])]));
  };
  const { steps } = { ...core.DEFAULTS, ...options };
  return {
    spikes: map({ input: found.input, ...found.spikes }, (x, shape) => digest(x, shape, steps)),
    spikeCounts: map(found.spikeCounts, (x) => Array.from(x)),
    potentials: map(found.potentials, (x, shape) => inPythonsOrder(x, shape, steps)),
    counts: Array.from(found.counts),
    decisions: Array.from(found.decisions),
  };
}

const ACTIONS = {
  run,
  read: ({ network }) => core.readNetwork(Buffer.from(network, "base64")).layers.length,
  encode: ({ image, rate, seed, index, step }) => {
    return Array.from(core.encode(core.rateLevels(Float32Array.from(image), rate), seed, index, step));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { result: ACTIONS[action](request) };
  } catch ({ name, reason, message }) {
    answer = { error: { name, reason, message } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
