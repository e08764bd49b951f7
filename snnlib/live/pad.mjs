// The pad: draw a digit with mouse, finger or keys.

import { ARROWS } from "./dom.mjs";
import { normalizeDrawing } from "./drawing.mjs";

const PAD = 280; // [pad pixels] a side, ten for each pixel of the network's image
const PEN = 21; // [pad pixels] about as thick as MNIST's strokes
const STRIDE = 10; // [pad pixels] of an arrow key

/**
 * Make a canvas a pad.
 *
 * onDraw: called with the drawing as the network sees it, Uint8Array [784], after each
 * movement of the pen.  Gives {show(pixels), clear()}; `show` puts an image on the pad, which
 * the next stroke replaces.
 */
export function makePad(canvas, onDraw) {
  Object.assign(canvas, { width: PAD, height: PAD });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pad = { canvas, context, onDraw, shown: true, pen: [PAD / 2, PAD / 2], down: false };
  wipe(pad);
  listenToPointer(pad);
  listenToKeys(pad);
  return { show: (pixels) => show(pad, pixels), clear: () => clear(pad) };
}

function wipe({ context }) {
  context.fillStyle = "#fff";
  context.fillRect(0, 0, PAD, PAD);
}

function clear(pad) {
  pad.shown = false;
  wipe(pad);
  tell(pad);
}

/** Puts an image [784] on the pad, black on white. */
function show(pad, pixels) {
  const side = Math.sqrt(pixels.length);
  const small = new OffscreenCanvas(side, side);
  const data = new ImageData(side, side);
  pixels.forEach((value, i) => data.data.set([255 - value, 255 - value, 255 - value, 255], 4 * i));
  small.getContext("2d").putImageData(data, 0, 0);
  pad.context.drawImage(small, 0, 0, PAD, PAD);
  pad.shown = true;
}

/** The drawing as the network sees it. */
function tell({ context, onDraw }) {
  const { data } = context.getImageData(0, 0, PAD, PAD);
  const ink = Float32Array.from({ length: PAD * PAD }, (_, i) => 1 - data[4 * i] / 255);
  onDraw(normalizeDrawing(ink, PAD, PAD));
}

/** A line of ink; a dot where both ends are the same. */
function stroke(pad, from, to) {
  const { context } = pad;
  if (pad.shown) wipe(pad);
  pad.shown = false;
  Object.assign(context, { lineWidth: PEN, lineCap: "round", strokeStyle: "#000" });
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function listenToPointer(pad) {
  const { canvas } = pad;
  const where = ({ clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [((clientX - left) / width) * PAD, ((clientY - top) / height) * PAD];
  };
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    capture(canvas, event.pointerId);
    last = where(event);
    stroke(pad, last, last);
    tell(pad);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) {
      const to = where(move);
      stroke(pad, last, to);
      last = to;
    }
    tell(pad);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (last = null));
  }
}

/** A pointer that a test invents cannot be captured; drawing works without. */
function capture(canvas, pointer) {
  try {
    canvas.setPointerCapture(pointer);
  } catch {
    // the pointer is gone already
  }
}

/** Arrows move the pen, Space lowers or lifts it, Delete clears. */
function listenToKeys(pad) {
  const { canvas } = pad;
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) movePen(pad, ARROWS[event.key]);
    else if (event.key === " ") lowerPen(pad, !pad.down);
    else if (event.key === "Delete" || event.key === "Backspace") clear(pad);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("focus", () => placePen(pad));
  canvas.addEventListener("blur", () => lowerPen(pad, false));
}

function movePen(pad, direction) {
  const inside = (at) => Math.min(Math.max(at, PEN / 2), PAD - PEN / 2);
  const to = pad.pen.map((at, axis) => inside(at + STRIDE * direction[axis]));
  if (pad.down) {
    stroke(pad, pad.pen, to);
    tell(pad);
  }
  pad.pen = to;
  placePen(pad);
}

function lowerPen(pad, down) {
  pad.down = down;
  if (down) movePen(pad, [0, 0]);
  placePen(pad);
}

/** Where the mark of the pen is, and whether it writes: CSS draws it while keys are used. */
function placePen({ canvas, pen, down }) {
  const { style, dataset } = canvas.parentElement;
  style.setProperty("--pen-x", `${(100 * pen[0]) / PAD}%`);
  style.setProperty("--pen-y", `${(100 * pen[1]) / PAD}%`);
  dataset.pen = down ? "down" : "up";
}
