// Runs core.mjs for the tests: one JSON request a line, one JSON answer a line.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const core = await import(process.argv[2]);

/** A recording's array in the order of Python, [T, C, H, W], as bytes. */
function pythonsBytes(rows, shape, steps) {
  const length = rows.length / steps;
  const turned = new rows.constructor(rows.length);
  for (let t = 0; t < steps; t++) {
    turned.set(core.channelsFirst(core.rowOf(rows, t, length), shape), t * length);
  }
  return Buffer.from(turned.buffer);
}

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

function run({ network: file, image: pixels, options }) {
  const network = core.readNetwork(Buffer.from(file, "base64"));
  const image = Float32Array.from(pixels);
  const found = core.simulate(network, image, options);
  const shapes = { input: network.inputShape };
  for (const layer of network.layers) shapes[layer.name] = layer.shape;
  const { steps } = { ...core.DEFAULTS, ...options };
  const map = (table, turn) => {
    return Object.fromEntries(Object.entries(table).map(([name, x]) => [name, turn(x, name)]));
  };
  const bytes = (rows, name) => pythonsBytes(rows, shapes[name], steps);
  return {
    spikes: map({ input: found.input, ...found.spikes }, (x, name) => digest(bytes(x, name))),
    spikeCounts: map(found.spikeCounts, (x) => Array.from(x)),
    potentials: map(found.potentials, (x, name) => bytes(x, name).toString("hex")),
    counts: Array.from(found.counts),
    decisions: Array.from(found.decisions),
  };
}

const ACTIONS = {
  run,
  read: ({ network }) => core.readNetwork(Buffer.from(network, "base64")).layers.length,
  encode: ({ image, rate, seed, index, step }) => {
    const levels = core.rateLevels(Float32Array.from(image), rate);
    return Array.from(core.encode(levels, seed, index, step));
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
