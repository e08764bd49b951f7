// How the lab draws on canvases.  Numbers in, pixels out; no state of the lab in here.
//
// Pictures of neurons are written into ImageData, one pixel a neuron, and enlarged by CSS:
// filling thousands of small rectangles costs more than simulating them.

const RAMP = 256; // shades of a picture
const DIAL = 2 * Math.PI;

// ---- colours

const COLOURS = [
  ...["ink", "quiet", "ground", "grid"],
  ...["input", "hidden", "output", "potential", "threshold"],
];

/** The lab's colours as CSS sets them for this theme: {name: [red, green, blue]}. */
export function readColours(element) {
  const style = getComputedStyle(element);
  return Object.fromEntries(COLOURS.map((name) => [name, parseColour(style, name)]));
}

function parseColour(style, name) {
  const text = style.getPropertyValue(`--lab-${name}`).trim();
  const digits = /^#([0-9a-f]{6})$/i.exec(text)?.[1] ?? "808080";
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

export function css([red, green, blue], alpha = 1) {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/** A layer's colour: what comes in, what goes out, and what is between. */
export function layerColour(colours, name, last) {
  if (name === "input") return colours.input;
  return name === last ? colours.output : colours.hidden;
}

/** 256 shades from one colour to another, as the 32 bits that ImageData keeps. */
export function ramp(from, to) {
  return Uint32Array.from({ length: RAMP }, (_, i) => {
    const [red, green, blue] = from.map((a, c) => Math.round(a + ((to[c] - a) * i) / (RAMP - 1)));
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

function shade(shades, value) {
  return shades[Math.round(Math.min(Math.max(value, 0), 1) * (RAMP - 1))];
}

// ---- pictures, one pixel a neuron

/** How maps [C][H][W] are laid out: columns and rows of maps, a gap between neighbours. */
export function arrange([channels, height, width]) {
  const columns = height === 1 && width === 1 ? channels : Math.ceil(Math.sqrt(channels));
  const rows = Math.ceil(channels / columns);
  const gap = columns > 1 && height > 1 ? 1 : 0;
  const [wide, high] = [columns * (width + gap) - gap, rows * (height + gap) - gap];
  return { channels, height, width, columns, rows, gap, wide, high };
}

/** Values in [0, 1], [H][W][C], as maps beside each other. */
export function paintMaps(canvas, values, layout, shades) {
  const { channels, width, height, columns, gap, wide } = layout;
  const picture = openPicture(canvas, layout);
  for (let c = 0; c < channels; c++) {
    const top = Math.floor(c / columns) * (height + gap);
    const left = (c % columns) * (width + gap);
    for (let y = 0; y < height; y++) {
      const row = (top + y) * wide + left;
      for (let x = 0; x < width; x++) {
        picture.pixels[row + x] = shade(shades, values[(y * width + x) * channels + c]);
      }
    }
  }
  picture.close();
}

/** Values in [-1, 1], [C][H][W], as maps: from one shade through the ground to another. */
export function paintSigned(canvas, values, layout, below, above) {
  const { channels, width, height, columns, gap, wide } = layout;
  const picture = openPicture(canvas, layout);
  for (let i = 0; i < channels * height * width; i++) {
    const [c, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    const at = (Math.floor(c / columns) * (height + gap) + y) * wide;
    const shades = values[i] < 0 ? below : above;
    picture.pixels[at + (c % columns) * (width + gap) + x] = shade(shades, Math.abs(values[i]));
  }
  picture.close();
}

/** The neuron [H][W][C] under a point of a picture, in shares of its width and height. */
export function neuronAt({ channels, width, height, columns, gap, wide, high }, shareX, shareY) {
  const [x, y] = [Math.floor(shareX * wide), Math.floor(shareY * high)];
  const [column, row] = [Math.floor(x / (width + gap)), Math.floor(y / (height + gap))];
  const channel = row * columns + column;
  const [inX, inY] = [x - column * (width + gap), y - row * (height + gap)];
  const inside = channel < channels && inX >= 0 && inX < width && inY >= 0 && inY < height;
  return inside ? (inY * width + inX) * channels + channel : null;
}

/** Where a neuron lies in the picture, in shares: {left, top, width, height}. */
export function neuronBox({ channels, width, height, columns, gap, wide, high }, place) {
  const [channel, cell] = [place % channels, Math.floor(place / channels)];
  const x = (channel % columns) * (width + gap) + (cell % width);
  const y = Math.floor(channel / columns) * (height + gap) + Math.floor(cell / width);
  return { left: x / wide, top: y / high, width: 1 / wide, height: 1 / high };
}

function openPicture(canvas, { wide, high }) {
  if (canvas.width !== wide || canvas.height !== high) {
    Object.assign(canvas, { width: wide, height: high });
  }
  const context = canvas.getContext("2d");
  const data = context.createImageData(wide, high);
  const pixels = new Uint32Array(data.data.buffer);
  return { pixels, close: () => context.putImageData(data, 0, 0) };
}

// ---- diagrams, in the pixels of the screen

const MARGIN = { left: 34, right: 12, top: 24, bottom: 30 }; // [CSS pixels]
const TYPE = "11px system-ui, sans-serif";

/** A canvas as wide as its place, ready to draw in CSS pixels: {context, width, height}. */
function openDiagram(canvas) {
  const scale = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide || canvas.height !== high) {
    Object.assign(canvas, { width: wide, height: high });
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = TYPE;
  return { context, width, height };
}

/** Scales and axes: time from 0 to `steps`, values from `low` to `high`. */
function openChart(canvas, colours, { steps, low, high, label, unit = "step" }) {
  const { context, width, height } = openDiagram(canvas);
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  const x = (t) => MARGIN.left + (t / steps) * (right - MARGIN.left);
  const y = (v) => bottom - ((v - low) / (high - low)) * (bottom - MARGIN.top);
  const chart = { context, x, y, right, bottom, colours };
  drawTicks(chart, ticks(0, steps), (t) => [x(t), bottom + 14], "center");
  drawTicks(chart, ticks(low, high), (v) => [MARGIN.left - 5, y(v) + 4], "right");
  context.textAlign = "left";
  context.fillText(label, 4, 11);
  context.textAlign = "center";
  context.fillText(unit, (MARGIN.left + right) / 2, height - 3);
  line(context, css(colours.quiet), 1, [
    [MARGIN.left, bottom],
    [right, bottom],
  ]);
  return chart;
}

function drawTicks({ context, colours }, values, where, align) {
  context.fillStyle = css(colours.quiet);
  context.textAlign = align;
  for (const value of values) context.fillText(`${value}`, ...where(value));
}

/** About four round numbers from low to high. */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough * 0.999);
  const count = Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

function line(context, colour, width, points) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function dashed(context, colour, points) {
  context.setLineDash([4, 3]);
  line(context, colour, 1.5, points);
  context.setLineDash([]);
}

/** The time that is shown. */
function drawCursor({ context, x, bottom, colours }, step) {
  line(context, css(colours.ink, 0.45), 1, [
    [x(step), MARGIN.top],
    [x(step), bottom],
  ]);
}

/**
 * One line a class over time; the leader stands out.
 *
 * values: [T][classes], output spikes so far or potentials.  step: shown, from 1; what comes
 * later is faint.
 */
export function paintDecision(canvas, colours, { values, label, classes, steps, step, leader }) {
  const high = Math.max(
    4,
    values.reduce((a, b) => Math.max(a, b), 0),
  );
  const low = values.reduce((a, b) => Math.min(a, b), 0);
  const chart = openChart(canvas, colours, { steps, low, high, label });
  const { context, x, y } = chart;
  const upTo = (k, end) => {
    const at = (t) => [x(t), y(t ? values[(t - 1) * classes + k] : 0)];
    return Array.from({ length: end + 1 }, (_, t) => at(t));
  };
  const order = Array.from({ length: classes }, (_, k) => k).sort((k) => (k === leader ? 1 : -1));
  for (const k of order) {
    const colour = k === leader ? colours.output : colours.quiet;
    line(context, css(colour, 0.3), 1, upTo(k, steps));
    line(context, css(colour, k === leader ? 1 : 0.7), k === leader ? 2.5 : 1.2, upTo(k, step));
  }
  drawCursor(chart, step);
  if (leader >= 0) labelLeader(chart, leader, upTo(leader, step)[step]);
}

function labelLeader({ context, colours, right }, leader, [x, y]) {
  context.fillStyle = css(colours.output);
  context.font = `bold ${TYPE}`;
  context.textAlign = x > right - 16 ? "right" : "left";
  context.fillText(`${leader}`, x > right - 16 ? x - 5 : x + 5, Math.max(y - 4, MARGIN.top + 8));
}

/** Potential against threshold, after each step; a stroke at the top for each spike. */
export function paintTrace(canvas, colours, { spikes, potentials, step, colour }) {
  const steps = potentials.length;
  const low = Math.min(-0.2, ...potentials);
  const high = Math.max(1.5, ...potentials);
  const chart = openChart(canvas, colours, { steps, low, high, label: "potential [thresholds]" });
  const { context, x, y, right } = chart;
  line(context, css(colours.grid), 1, [
    [MARGIN.left, y(0)],
    [right, y(0)],
  ]);
  dashed(context, css(colours.threshold), [
    [MARGIN.left, y(1)],
    [right, y(1)],
  ]);
  const points = potentials.map((v, t) => [x(t + 1), y(v)]);
  line(context, css(colours.potential, 0.3), 1, points);
  line(context, css(colours.potential), 2, points.slice(0, step));
  spikes.forEach((spike, t) => {
    const ends = [
      [x(t + 1), y(1)],
      [x(t + 1), y(high)],
    ];
    if (spike) line(context, css(colour, t < step ? 1 : 0.3), 2.5, ends);
  });
  drawCursor(chart, step);
}

/** The next of 0.05, 0.1, 0.2, 0.5, 1, 2 ... */
export function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((m) => m * power).find((size) => size >= value);
}

/** A dot a neuron: ReLU across, spikes per step up, both to `high`; on the line they agree. */
export function paintRates(canvas, colours, { across, up, high, colour }) {
  const range = { steps: high, low: 0, high, label: "spikes per step", unit: "ReLU" };
  const chart = openChart(canvas, colours, range);
  const { context, x, y } = chart;
  dashed(context, css(colours.quiet), [
    [x(0), y(0)],
    [x(high), y(high)],
  ]);
  context.fillStyle = css(colour, 0.55);
  for (let i = 0; i < across.length; i++) {
    context.beginPath();
    context.arc(x(Math.min(across[i], high)), y(Math.min(up[i], high)), 1.7, 0, DIAL);
    context.fill();
  }
}

/**
 * Spikes of chosen neurons, time across, a block for each layer.
 *
 * blocks: [{colour, rows, neurons, chosen, weight}], rows [T][neurons]; weight is the height
 * of a line beside the others.  Gives the top of each
 * block in shares of the height, for its name.
 */
export function paintRaster(canvas, colours, { blocks, steps, step }) {
  const { context, width, height } = openDiagram(canvas);
  const gap = 10;
  const lines = blocks.reduce((sum, { chosen, weight }) => sum + chosen.length * weight, 0);
  const pitch = (height - gap * blocks.length) / Math.max(lines, 1);
  const dash = width / steps;
  let y = gap / 2;
  const tops = [];
  for (const block of blocks) {
    tops.push(y / height);
    const high = pitch * block.weight;
    paintBlock(context, { ...block, y, pitch: high, dash, steps, step });
    y += block.chosen.length * high + gap;
  }
  const x = step * dash;
  line(context, css(colours.ink, 0.45), 1, [
    [x, 0],
    [x, height],
  ]);
  return tops;
}

/** One path for what has been and one for what is to come: two fills, not thousands. */
function paintBlock(context, { colour, rows, neurons, chosen, y, pitch, dash, steps, step }) {
  const high = Math.max(pitch * 0.8, 0.7);
  for (const [from, to, alpha] of [
    [0, step, 1],
    [step, steps, 0.25],
  ]) {
    context.fillStyle = css(colour, alpha);
    context.beginPath();
    chosen.forEach((neuron, i) => {
      for (let t = from; t < to; t++) {
        if (rows[t * neurons + neuron])
          context.rect((t + 0.15) * dash, y + i * pitch, dash * 0.7, high);
      }
    });
    context.fill();
  }
}
