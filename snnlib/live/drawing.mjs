// From a drawing of any size to an image as MNIST has it.
//
// LeCun et al. (1998): a digit is scaled, keeping its proportions, until its longest side is
// 20 pixels, with grey where ink covers part of a pixel; it is then moved, by whole pixels,
// until its centre of mass is at the centre of 28 x 28.  Measured on the data set, the centre
// is that of the pixel (14, 14): all centres of mass lie from 13.5 up to, not including, 14.5.
//
// Pure functions on typed arrays; no DOM, no dependency.  A *cell* is a pixel of the pad on
// which one draws; the word pixel is kept for the image.

export const SIDE = 28; // [pixels] of the image
const LONGEST = 20; // [pixels] of a digit
const CENTRE = 14; // the pixel that holds the centre of mass, from 0
const FAINTEST_INK = 0.5 / 255; // what is fainter would be grey 0, and is no ink
const LARGEST_GAIN = 3; // how many times as large as on the pad a drawing may get

/**
 * A drawing in the form of MNIST.
 *
 * ink: Float32Array [height][width], 0 is paper and 1 is ink.  Gives a Uint8Array
 * [28][28], 255 is ink; all zeros where there is no ink.
 *
 * A drawing is enlarged at most three times over what the whole pad, shown as 28 x 28, would
 * give: a digit of more than a quarter of the pad gets its 20 pixels, a dot stays a dot.
 *
 * Throws RangeError for another length and for values outside [0, 1].
 */
export function normalizeDrawing(ink, width, height) {
  checkInk(ink, width, height);
  const image = new Uint8Array(SIDE * SIDE);
  const box = boxOf(ink, width, height, FAINTEST_INK);
  if (box === null) return image;
  const digit = scaleInk(ink, width, box, cellsOfPixel(box, width, height));
  const mass = digit.grey.reduce((a, b) => a + b, 0);
  if (mass > 0) placeDigit(image, digit, mass); // too little ink is none
  return image;
}

/** Pixels in [0, 1] for `simulate`, as Python has them: Float32Array of bytes. */
export function pixelsOf(image) {
  return Float32Array.from(image, (grey) => grey / 255);
}

/** The smallest box {top, left, height, width} of all values above a level, or null. */
export function boxOf(values, width, height, level = 0) {
  let [top, left, bottom, right] = [height, width, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!(values[y * width + x] > level)) continue;
      top = Math.min(top, y);
      left = Math.min(left, x);
      bottom = y;
      right = Math.max(right, x);
    }
  }
  return bottom < 0 ? null : { top, left, height: bottom - top + 1, width: right - left + 1 };
}

/** How many cells long a pixel is. */
function cellsOfPixel(box, width, height) {
  const wanted = Math.max(box.width, box.height) / LONGEST;
  const unscaled = Math.max(width, height) / SIDE;
  return Math.max(wanted, unscaled / LARGEST_GAIN);
}

/** The exact average of the ink in each pixel: {grey: Uint8Array [rows][columns], ...}. */
function scaleInk(ink, width, box, cells) {
  const [rows, columns] = [coverage(box.height, cells), coverage(box.width, cells)];
  const grey = new Uint8Array(rows.length * columns.length);
  rows.forEach((row, y) => {
    columns.forEach((column, x) => {
      const at = (box.top + row.first) * width + box.left + column.first;
      const average = averageInk(ink, width, at, row.shares, column.shares);
      grey[y * columns.length + x] = Math.round(255 * average);
    });
  });
  return { grey, rows: rows.length, columns: columns.length };
}

/** For each pixel of a row: the first cell in it, and the share that each cell has of it. */
function coverage(length, cells) {
  const pixels = Math.ceil(length / cells);
  return Array.from({ length: pixels }, (_, i) => {
    const [start, end] = [i * cells, Math.min((i + 1) * cells, length)];
    const [first, shares] = [Math.floor(start), []];
    for (let cell = first; cell < end; cell++) {
      shares.push((Math.min(cell + 1, end) - Math.max(cell, start)) / cells);
    }
    return { first, shares };
  });
}

function averageInk(ink, width, at, rowShares, columnShares) {
  let sum = 0;
  for (let y = 0; y < rowShares.length; y++) {
    for (let x = 0; x < columnShares.length; x++) {
      sum += rowShares[y] * columnShares[x] * ink[at + y * width + x];
    }
  }
  return sum;
}

/** Copies the digit into the image, its centre of mass at the centre. */
function placeDigit(image, { grey, rows, columns }, mass) {
  let [momentY, momentX] = [0, 0];
  grey.forEach((value, i) => {
    momentY += value * Math.floor(i / columns);
    momentX += value * (i % columns);
  });
  const top = offsetOf(momentY / mass, rows);
  const left = offsetOf(momentX / mass, columns);
  for (let y = 0; y < rows; y++) {
    const row = grey.subarray(y * columns, (y + 1) * columns);
    image.set(row, (top + y) * SIDE + left);
  }
}

/** Where a digit of so many pixels begins; it is kept inside the image. */
function offsetOf(centre, pixels) {
  const wanted = Math.ceil(CENTRE - 0.5 - centre);
  return Math.min(Math.max(wanted, 0), SIDE - pixels);
}

function checkInk(ink, width, height) {
  if (!(width > 0 && height > 0) || ink.length !== width * height) {
    throw new RangeError(`ink has ${ink.length} values; give ${height} rows of ${width}.`);
  }
  if (!ink.every((value) => value >= 0 && value <= 1)) {
    throw new RangeError("ink has a value outside [0, 1]; divide bytes by 255.");
  }
}
