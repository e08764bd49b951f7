// An image as spikes: those of `snnlib.PoissonEncoder`, from the same hash.

const LEVELS = 2 ** 24; // steps of the grid on which rates lie

/** The 32-bit hash lowbias32 (Wellons 2018). */
function mix(x) {
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
