"""What the event-driven engine compiles: each kernel runs one layer, image by image.

For one image a layer takes all steps of a chunk in turn, so that its potentials stay in
the processor's cache.  Spikes travel as bits, 32 to a word; words without a spike are
skipped.  All arrays are of whole numbers: potentials and weights in units of 2**-k.

Shapes: N images, T steps of the chunk, W words of spikes.
"""

import numpy as np
from numba import njit

from snnlib.engines.event.lanes import (
    WIDTH,
    add,
    at,
    clear_where,
    draws,
    load,
    lowest,
    mix,
    put,
    reach,
    spread,
    store,
    subtract_where,
    zeros16,
    zeros32,
)

EXACT, _, OR = range(3)  # rules of max pooling, in the order of MAX_POOLING
LANES = "75c0af2b3bb4"  # digest of lanes.py, whose changes numba's cache does not see by itself
compiled = njit(cache=True, nogil=True, error_model="numpy")
inlined = njit(inline="always")  # called for every tile: passing arrays would cost more than work


@compiled
def encode(levels, pixel_keys, image_keys, first_step, spikes):
    """Random spikes of the input, by the hash that ``PoissonEncoder`` states.

    Parameters
    ----------
    levels : array [N, pixels]
        int32, rates on the grid of draws; pixels padded to whole words.
    pixel_keys, image_keys : array [pixels], [N]
        int32
    first_step : int
        Of the chunk.
    spikes : array [N, T, W]
        uint32, written.
    """
    images, steps, words = spikes.shape
    for i in range(images):
        rates = levels[i]
        for t in range(steps):
            key = mix(image_keys[i] ^ np.int32(first_step + t))
            for w in range(words):
                drawn = draws(load(pixel_keys, w * WIDTH), key)
                unlit = reach(drawn, load(rates, w * WIDTH))
                spikes[i, t, w] = ~unlit


@compiled
def gather(spikes, routes, windows, weights, safe, neurons, drive, state, out, tally, trace):
    """A layer whose neurons each collect the weights of the spikes in their window.

    The neurons of one place, one a channel, are a tile: they share a window, and a
    spike adds one row of weights to all of them.  A tile without spikes in its window
    is passed over, unless one of its neurons is still above the threshold.

    Parameters
    ----------
    spikes : array [N, T, W]
        uint32, of the layer before.
    routes : tuple
        (first, cell, -, row, fan_out): spike n arrives in cells[first[n]:first[n + 1]],
        there counts for the weights that start at row; fan_out[n] synapses in all.
    windows : tuple
        (low, high, shift, cells, segments, blank): a segment of a tile is the spikes of
        cells low to high, whose rows begin ``shift`` further on; how many cells there
        are, and segments to a tile; and where a row of zeros begins.
    weights : array
        int16, rows as long as a tile.
    safe : int
        How many rows can be added in 16 bits: a multiple of 8, or 0.
    neurons : tuple
        (thresholds, length, step, zero_reset): those of tile i begin at i * step; length
        of a tile.
    drive : array [0, 1 or N, tiles * length]
        A current of every step, of all images or of each.
    state : tuple
        (v, awake, places): potentials [all, tiles * length], and which tiles [all, tiles]
        have a neuron above the threshold, updated; image i has those at places[i].
    out : array [N, T, W']
        uint32, spikes, written.
    tally : array [T, 2]
        int64, spikes that arrived and synapses that they crossed; added to.
    trace : array [N or 0, T, tiles * length]
        Potentials after each step, written.
    """
    first, cell, _, row, fan_out = routes
    _, length, _, _ = neurons
    events = np.empty(len(cell), np.int32)
    ordered = np.empty(len(cell) + WIDTH, np.int32)
    rows = np.empty(len(cell) + 2 * WIDTH, np.int32)
    ends = np.empty(windows[3] + 2, np.int32)
    driven = len(drive) > 0
    for i in range(spikes.shape[0]):
        v, awake = state[0][state[2][i]], state[1][state[2][i]]
        current = drive[min(i, len(drive) - 1)] if driven else v
        for t in range(spikes.shape[1]):
            if driven:
                _push(v, current, awake)
            count = _arrivals(spikes[i, t], first, fan_out, events, tally[t])
            _sort(events, count, cell, row, ends, ordered)
            spiked = out[i, t]
            for tile in range(len(awake)):
                found = _look(tile, windows, ends, ordered, rows)
                if found:
                    _add_rows(v, tile * length, length, weights, rows, found, safe)
                    put(awake, tile, 1)
                _spike(tile, v, tile * length, neurons, awake, spiked)
            if len(trace):
                trace[i, t] = v


@compiled
def scatter(spikes, routes, weights, shape, neurons, drive, state, out, tally):
    """A layer in which each spike adds its weights to the neurons that it reaches.

    A tile is a row of neurons, channels innermost, with room at both ends for what falls
    beside the image: so a spike adds the same few rows of weights wherever it is.

    Parameters
    ----------
    spikes, neurons, drive, out, tally
        As for ``gather``.
    routes : tuple
        (first, place, tile, row, fan_out): as for ``gather``, but with the place of the
        first neuron that the spike reaches, and its tile.
    weights : array
        int16, for each row of weights its lines, one a tile that it reaches.
    shape : tuple of int
        (lines, size, above): lines of a row of weights, their size, and tiles above the
        image.
    state : tuple
        (v, awake, places): awake [all, tiles], also those above and below the image.
    """
    first, place, tiles, row, fan_out = routes
    lines, size, above = shape
    _, length, _, _ = neurons
    events = np.empty(len(place), np.int32)
    driven = len(drive) > 0
    for i in range(spikes.shape[0]):
        v, awake = state[0][state[2][i]], state[1][state[2][i]]
        current = drive[min(i, len(drive) - 1)] if driven else v
        for t in range(spikes.shape[1]):
            if driven:
                _push(v, current, awake)
            count = _arrivals(spikes[i, t], first, fan_out, events, tally[t])
            for e in range(count):
                event = at(events, e)
                to, source, tile = at(place, event), at(row, event), at(tiles, event)
                for line in range(lines):
                    put(awake, tile + line, 1)
                    for j in range(0, size, WIDTH):
                        x = load(weights, source + line * size + j)
                        target = to + line * length + j
                        store(v, target, add(load(v, target), x))
            for tile in range(out.shape[2] * WIDTH // length):
                start = (above + tile) * length
                _spike(tile, v, start, neurons, awake[above:], out[i, t])


@compiled
def accumulate(current, neurons, state, out, trace):
    """A layer that receives the same current at every step: one tile.

    Parameters
    ----------
    current : array [N, neurons]
        int32, padded to whole words.
    neurons, state, out, trace
        As for ``gather``.
    """
    for i in range(out.shape[0]):
        v, awake, given = state[0][state[2][i]], state[1][state[2][i]], current[i]
        for t in range(out.shape[1]):
            _push(v, given, awake)
            _spike(0, v, 0, neurons, awake, out[i, t])
            if len(trace):
                trace[i, t] = v


@compiled
def maximum(spikes, routes, members, rule, state, out, tally):
    """Spiking max pooling, by a rule of ``MaxPooling``.

    Parameters
    ----------
    spikes, out, tally
        As for ``gather``.
    routes : tuple
        (first, window, -, -, fan_out): input n is in window[first[n]:first[n + 1]].
    members : tuple
        (first, inputs): window w has inputs[first[w]:first[w + 1]], row by row.
    rule : int
        Place in MAX_POOLING.
    state : tuple
        (given, received, places): spikes of each window [all, windows] and each input
        [all, inputs] so far, updated; image i has those at places[i].
    """
    first, window, _, _, fan_out = routes
    for i in range(spikes.shape[0]):
        given, received = state[0][state[2][i]], state[1][state[2][i]]
        for t in range(spikes.shape[1]):
            spiked = out[i, t]
            spiked[:] = 0
            for w in range(spikes.shape[2]):  # all are counted before any is compared
                word = np.int64(spikes[i, t, w])
                while word:
                    n = w * WIDTH + lowest(word)
                    word &= word - 1
                    received[n] += 1
                    tally[t, 0] += 1
                    tally[t, 1] += fan_out[n]
            for w in range(spikes.shape[2]):
                word = np.int64(spikes[i, t, w])
                while word:
                    n = w * WIDTH + lowest(word)
                    word &= word - 1
                    for e in range(first[n], first[n + 1]):
                        if _passes(n, window[e], rule, received, given, members):
                            spiked[window[e] // WIDTH] |= np.uint32(1 << window[e] % WIDTH)
            for w in range(len(spiked)):
                word = np.int64(spiked[w])
                while word:
                    given[w * WIDTH + lowest(word)] += 1
                    word &= word - 1


@inlined
def _passes(n, window, rule, received, given, members):
    """Whether the spike of an input makes a window spike."""
    if rule == EXACT:
        return received[n] > given[window]
    if rule == OR:
        return True
    first, inputs = members
    leads = True  # gate: it has the largest count, and is the first that has it
    behind = True
    for e in range(first[window], first[window + 1]):
        other = inputs[e]
        behind = behind and other != n
        ahead = received[other] > received[n] or (behind and received[other] == received[n])
        leads = leads and not ahead
    return leads


@inlined
def _push(v, current, awake):
    """Add a current to all neurons; any of them may spike then."""
    for place in range(0, len(v), WIDTH):
        store(v, place, add(load(v, place), load(current, place)))
    awake[:] = 1


@inlined
def _spike(tile, v, start, neurons, awake, spiked):
    """Spikes and resets of a tile, unless it is sure that no neuron reaches the threshold."""
    thresholds, length, step, zero_reset = neurons
    words = length // WIDTH
    if not at(awake, tile):
        for w in range(words):
            put(spiked, tile * words + w, 0)
        return
    above = 0  # neurons that will spike again, even without input
    for w in range(words):
        potential = load(v, start + w * WIDTH)
        threshold = load(thresholds, tile * step + w * WIDTH)
        word = reach(potential, threshold)
        if zero_reset:
            potential = clear_where(potential, word)
        else:
            potential = subtract_where(potential, threshold, word)
        above |= reach(potential, threshold)
        store(v, start + w * WIDTH, potential)
        put(spiked, tile * words + w, word)
    put(awake, tile, above != 0)


@compiled
def _arrivals(words, first, fan_out, events, tally):
    """The places in the routes at which spikes arrive; returns how many there are."""
    count, spikes, synapses = 0, 0, 0
    for w in range(len(words)):
        word = np.int64(at(words, w))
        while word:
            n = w * WIDTH + lowest(word)
            word &= word - 1
            spikes += 1
            synapses += at(fan_out, n)
            for e in range(at(first, n), at(first, n + 1)):
                put(events, count, e)
                count += 1
    tally[0] += spikes
    tally[1] += synapses
    return count


@compiled
def _sort(events, count, cell, row, ends, ordered):
    """Rows of weights in order of their cells (counting sort).

    Those of cell c come to lie in ordered[ends[c]:ends[c + 1]].
    """
    ends[:] = 0
    for e in range(count):
        c = at(cell, at(events, e)) + 2
        put(ends, c, at(ends, c) + 1)
    total = 0
    for c in range(2, len(ends)):
        total += at(ends, c)
        put(ends, c, total)
    for e in range(count):  # ends[c + 1] moves from the start of cell c to its end
        event = at(events, e)
        c = at(cell, event) + 1
        put(ordered, at(ends, c), at(row, event))
        put(ends, c, at(ends, c) + 1)


@inlined
def _look(tile, windows, ends, ordered, rows):
    """The rows of weights of all spikes that a tile sees; returns how many there are.

    Copied a word at a time: what is written beyond the last is overwritten, or a row of
    zeros, so that rows can be taken eight at a time.
    """
    low, high, shift, _, segments, blank = windows
    found = 0
    for s in range(tile * segments, (tile + 1) * segments):
        begin, end = at(ends, at(low, s)), at(ends, at(high, s))
        further = spread(at(shift, s))
        store(rows, found, add(load(ordered, begin), further))  # seldom more than one word
        for e in range(begin + WIDTH, end, WIDTH):
            store(rows, found + e - begin, add(load(ordered, e), further))
        found += end - begin
    store(rows, found, spread(blank))
    return found


@inlined
def _add_rows(v, place, length, weights, rows, count, safe):
    """Add some rows of weights to a tile: in 16 bits while that is safe, then in 32.

    Two words of the tile at a time: more additions for each row looked up.  The second may
    lie beyond the tile; then it is not stored.
    """
    for j in range(0, length, 2 * WIDTH):
        left, right, begin = zeros32(), zeros32(), 0
        while begin < count:  # a range would divide to count its turns
            a, b, end = zeros16(), zeros16(), min(begin + max(safe, 1), count)
            while begin < end and safe:
                for _ in range(8):
                    row = at(rows, begin) + j
                    a, b = add(a, load(weights, row)), add(b, load(weights, row + WIDTH))
                    begin += 1
            if not safe:
                row = at(rows, begin) + j
                a, b = load(weights, row), load(weights, row + WIDTH)
                begin += 1
            left, right = add(left, a), add(right, b)
        store(v, place + j, add(load(v, place + j), left))
        if j + WIDTH < length:
            store(v, place + j + WIDTH, add(load(v, place + j + WIDTH), right))
