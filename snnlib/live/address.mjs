// The state of the lab as the text after "#" in the page's address, and back.
//
// Only what differs from the page's own settings is written:
//
//     lab?steps=20&rate=0.8&layer=conv2&neuron=17
//
// An address can come from anywhere, so reading never throws: what is valid is taken, the
// rest stays as the page has it, and `faults` says what was ignored.
//
// Pure functions; no DOM, no dependency.  settings:
//
//   digit, label     0 to 9 or null        steps, seed   whole numbers
//   threshold, rate  numbers               step          the time shown, 1 to `steps`
//   layer            a name or null        neuron        number in the layer, or null
//   pixels           Uint8Array [28][28] of what was drawn, or null
//
// limits: {steps, threshold, rate, seed: [lowest, highest], layers: {name: neurons}}.

import { SIDE, boxOf } from "./drawing.mjs";

const NAME = "lab";
const NOTHING = "none"; // null, as text
const LABELS = [0, 9];
const LONGEST_ADDRESS = 4096; // [characters]; a drawing takes at most 1,052
const LONGEST_QUOTE = 40; // [characters] of a value in a fault
const BOX_BYTES = 4; // top, left, height and width, before the pixels of the box

/** How each setting is written and read, in this order: `read` gives undefined for a fault. */
const SETTINGS = {
  digit: optional(whole(() => LABELS)),
  label: optional(whole(() => LABELS)),
  steps: whole(({ limits }) => limits.steps),
  threshold: number(({ limits }) => limits.threshold),
  rate: number(({ limits }) => limits.rate),
  seed: whole(({ limits }) => limits.seed),
  step: whole(({ settings }) => [1, settings.steps]),
  layer: optional({ write: encodeURIComponent, read: readLayerName }),
  neuron: optional(whole(({ settings, limits }) => neurons(settings.layer, limits))),
  pixels: optional({ write: writePixels, read: readPixels }),
};

// ---- writing

/** The address of settings: "lab?key=value&...", or "" where all are those of the page. */
export function writeAddress(settings, defaults) {
  const parts = [];
  for (const [key, { write }] of Object.entries(SETTINGS)) {
    const [value, usual] = [settings[key], defaults[key]].map((x) => write(x ?? null));
    if (value !== usual) parts.push(`${key}=${value}`);
  }
  return parts.length ? `${NAME}?${parts.join("&")}` : "";
}

// ---- reading

/**
 * Read an address, with or without "#".
 *
 * Gives {settings, faults}: every setting, valid, and a list of texts, one for each part
 * that was ignored.  The address of something else on the page is no fault.
 */
export function readAddress(text, defaults, limits) {
  const faults = [];
  const given = partsOf(text, faults);
  const settings = {};
  for (const [key, { read }] of Object.entries(SETTINGS)) {
    const context = { settings, limits };
    const usual = fitting(key, defaults[key] ?? null, context);
    const value = given.has(key) ? read(given.get(key), context) : usual;
    if (value === undefined) faults.push(fault(key, given.get(key)));
    settings[key] = value === undefined ? usual : value;
  }
  return { settings, faults };
}

/** The setting of the page, which settings before it may have put out of range. */
function fitting(key, usual, { settings, limits }) {
  if (key === "step") return Math.min(usual, settings.steps);
  if (key !== "neuron" || usual === null) return usual;
  return usual <= neurons(settings.layer, limits)[1] ? usual : null;
}

/** Map of key to text; whatever is no known key goes to the faults. */
function partsOf(text, faults) {
  const found = new Map();
  const [name, ...rest] = cut(String(text).replace(/^#/, ""), faults).split("?");
  if (name !== NAME) return found;
  for (const part of rest.join("?").split("&")) {
    const [key, ...value] = part.split("=");
    const isKnown = Object.hasOwn(SETTINGS, key) && value.length > 0 && !found.has(key);
    if (isKnown) found.set(key, value.join("="));
    else if (part !== "") faults.push(fault(key, value.join("=")));
  }
  return found;
}

/** The whole parts within the longest address; half a number would be another number. */
function cut(text, faults) {
  if (text.length <= LONGEST_ADDRESS || !text.startsWith(`${NAME}?`)) return text;
  faults.push(`the address has ${text.length} characters; the end was ignored`);
  const end = text.lastIndexOf("&", LONGEST_ADDRESS);
  return end < 0 ? NAME : text.slice(0, end);
}

function fault(key, value) {
  const quote = (x) => (x.length > LONGEST_QUOTE ? `${x.slice(0, LONGEST_QUOTE)}...` : x);
  return `${quote(key)}=${quote(value)} was ignored`;
}

// ---- kinds of settings: what each writes, and reads of it

/** A number in the limits that `range` gives. */
function number(range) {
  return {
    write: String,
    read: (text, context) => {
      const value = /^\d+(\.\d+)?(e[+-]?\d+)?$/.test(text) ? Number(text) : NaN;
      const [low, high] = range(context);
      return value >= low && value <= high ? value : undefined;
    },
  };
}

function whole(range) {
  const { write, read } = number(range);
  const readWhole = (text, context) => {
    const value = read(text, context);
    return Number.isInteger(value) ? value : undefined;
  };
  return { write, read: readWhole };
}

/** What can also be null. */
function optional({ write, read }) {
  return {
    write: (value) => (value === null ? NOTHING : write(value)),
    read: (text, context) => (text === NOTHING ? null : read(text, context)),
  };
}

/** The first and last neuron of a layer; of none, no number is in range. */
function neurons(layer, limits) {
  return layer === null ? [0, -1] : [0, limits.layers[layer] - 1];
}

function readLayerName(text, { limits }) {
  const names = Object.keys(limits.layers);
  return names.find((name) => encodeURIComponent(name) === text);
}

// ---- drawings: the box of the ink as bytes, in base64url

function writePixels(pixels) {
  const nowhere = { top: 0, left: 0, height: 0, width: 0 };
  const { top, left, height, width } = boxOf(pixels, SIDE, SIDE) ?? nowhere;
  const bytes = [top, left, height, width];
  for (let y = top; y < top + height; y++) {
    bytes.push(...pixels.subarray(y * SIDE + left, y * SIDE + left + width));
  }
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function readPixels(text) {
  if (!/^[\w-]+$/.test(text) || text.length % 4 === 1) return undefined;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const [top, left, height, width] = bytes;
  const isWhole = bytes.length === BOX_BYTES + height * width; // also false for fewer than 4
  if (!isWhole || top + height > SIDE || left + width > SIDE) return undefined;
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < height; y++) {
    const at = BOX_BYTES + y * width;
    pixels.set(bytes.subarray(at, at + width), (top + y) * SIDE + left);
  }
  return pixels;
}
