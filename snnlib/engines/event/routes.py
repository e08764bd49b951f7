"""Where each spike of a layer arrives in the next, and which weights it adds there."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from snnlib.cnn.graph import ChannelScale
from snnlib.cnn.models import pair
from snnlib.engines.event.plan import WIDTH, Layout, Routes, padded
from snnlib.spiking.layer import parts


@dataclass(frozen=True)
class Table:
    """What ``gather`` needs of one path.

    Attributes
    ----------
    fan_out : array [bits of the layer before]
    bits, cell, row : array [arrivals]
        In order of bits.
    low, high, shift : array [tiles, segments]
    cells : int
    weights : array [weights]
    """

    fan_out: np.ndarray
    bits: np.ndarray
    cell: np.ndarray
    row: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shift: np.ndarray
    cells: int
    weights: np.ndarray


def joined(tables: list[Table]) -> Table:
    """Several paths as one, from layers whose words of spikes lie one behind the other.

    Parameters
    ----------
    tables : list of Table

    Returns
    -------
    Table
    """
    columns: dict[str, list] = {name: [] for name in Table.__dataclass_fields__}
    bits = cells = weights = 0
    for table in tables:
        before = {"bits": bits, "cell": cells, "row": weights, "low": cells, "high": cells}
        for name, column in columns.items():
            column.append(getattr(table, name) + before.get(name, 0))
        bits += len(table.fan_out)
        cells += table.cells
        weights += table.weights.size
    columns.pop("cells")
    whole = {name: np.concatenate(column, axis=-1) for name, column in columns.items()}
    return Table(cells=cells, **whole)


class Route:
    """Where the spikes of one layer go in another.

    Parameters
    ----------
    path : nn.Sequential
        The synapse between them.
    before : Layout
        Of the neurons that spike.
    shape : tuple of int
        (C, H, W) of the neurons that receive.
    fan_out : array [neurons before]
    units : float
        To a weight of 1.
    """

    def __init__(
        self,
        path: nn.Sequential,
        before: Layout,
        shape: tuple[int, int, int],
        fan_out: np.ndarray,
        units: float,
    ) -> None:
        self.before, self.shape, self.units = before, shape, units
        self.pools, rest = parts(path)
        self.op = rest[-1] if rest else None
        self.bits = before.words * WIDTH
        self.fan_out = np.zeros(self.bits, np.int64)
        self.fan_out[before.places] = fan_out.reshape(before.places.shape)

    def arrivals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Every way of a spike through the pools: its bit, and channel, row, column there."""
        _, height, width = self.before.places.shape
        return self._crossed(_ways(height, self.pools, 0), _ways(width, self.pools, 1))

    def _crossed(self, rows: np.ndarray, columns: np.ndarray):
        """Ways along rows and along columns [2, ways], combined, in every channel."""
        axes = (self.before.places.shape[0], rows.shape[1], columns.shape[1])
        c, i, j = (x.ravel() for x in np.indices(axes))
        bits = self.before.places[c, rows[0, i], columns[0, j]]
        order = np.argsort(bits, kind="stable")
        return bits[order], c[order], rows[1, i][order], columns[1, j][order]

    def pooled(self) -> tuple[int, int]:
        """(H, W) behind the pools."""
        _, *sizes = self.before.places.shape
        return tuple(_reached(n, self.pools, axis).shape[1] for axis, n in enumerate(sizes))

    def to_windows(self, windows: list[Tensor]) -> Routes:
        """To the windows [windows, size] along rows and columns that each neuron is in."""
        rows, columns = (np.argwhere(covered.numpy().T).T for covered in windows)
        bits, c, y, x = self._crossed(rows, columns)
        _, height, width = self.shape
        return Routes.of(bits, self.fan_out, (c * height + y) * width + x, 0 * c)

    def members(self, windows: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """The inputs of each window, row by row: window w has bits[first[w]:first[w + 1]]."""
        (y, row), (x, column) = (np.argwhere(covered.numpy()).T for covered in windows)
        channels, height, width = self.shape
        c, i, j = (n.ravel() for n in np.indices((channels, len(y), len(x))))
        window = (c * height + y[i]) * width + x[j]
        order = np.argsort(window, kind="stable")
        first = np.zeros(channels * height * width + 1, np.int32)
        first[1:] = np.cumsum(np.bincount(window, minlength=len(first) - 1))
        return first, self.before.places[c, row[i], column[j]][order].astype(np.int32)

    # ---- gather

    def table(self) -> Table:
        """For the kernel ``gather``."""
        if self.shape[1:] == (1, 1) and not isinstance(self.op, nn.Conv2d):
            return self._linear()
        return self._conv()

    def _linear(self) -> Table:
        channels, (height, width) = self.before.places.shape[0], self.pooled()
        outputs = self.shape[0]
        bits, c, y, x = self.arrivals()
        row = (c * height + y) * width + x
        weights = np.zeros((channels * height * width, padded(outputs)), np.int16)
        whole = self._whole_weights()
        weights[:, :outputs] = np.diag(whole[:, 0]) if self._is_shortcut else whole.T
        ones = np.ones((1, 1), np.int64)
        at = (bits, np.zeros_like(bits), row * weights.shape[1])
        return Table(self.fan_out, *at, 0 * ones, ones, 0 * ones, 1, weights.ravel())

    def _conv(self) -> Table:
        (height, width), dilation = self.pooled(), self._geometry()[2][1]
        length = -(-width // dilation)  # columns of one remainder lie side by side
        slot = np.arange(width) % dilation * length + np.arange(width) // dilation
        weights = self._full_weights().transpose(2, 3, 1, 0)  # [h, w, C, O]
        rows = np.zeros((*weights.shape[:3], padded(weights.shape[3])), np.int16)
        rows[..., : weights.shape[3]] = weights
        bits, c, y, x = self.arrivals()
        cells = length * dilation
        at = (bits, y * cells + slot[x], (slot[x] * weights.shape[2] + c) * rows.shape[3])
        windows = self._windows(slot, cells, rows.shape)
        return Table(self.fan_out, *at, *windows, height * cells, rows.ravel())

    def _windows(self, slot: np.ndarray, cells: int, shape) -> tuple:
        """The cells that each place sees, a row of the kernel at a time."""
        (height, width), geometry = self.pooled(), self._geometry()
        lines, steps, channels, length = shape
        _, tall, wide = self.shape
        rows = _kernel_places(tall, lines, geometry, 0)[:, None, :]  # [tall, 1, lines]
        columns = _kernel_places(wide, steps, geometry, 1)  # [wide, steps]
        seen = (columns >= 0) & (columns < width)
        ahead = seen.argmax(1)[None, :, None]  # [1, wide, 1], columns beside the image
        start = slot[columns.clip(0, width - 1)[np.arange(wide), ahead[0, :, 0]]][None, :, None]
        used = (rows >= 0) & (rows < height) & seen.any(1)[None, :, None]
        low = np.where(used, rows * cells + start, 0)
        high = np.where(used, low + seen.sum(1)[None, :, None], 0)
        shift = ((np.arange(lines) * steps + ahead - start) * channels * length) * used
        return tuple(x.reshape(tall * wide, lines) for x in (low, high, shift))

    # ---- scatter

    def scatter_conv(self) -> tuple[np.ndarray, tuple[int, int], int, bool]:
        """Weights, padding, columns of the kernel, and whether channels stay apart."""
        weights = self._full_weights()[:, :, ::-1, ::-1].transpose(1, 2, 3, 0)  # [C, h, w, O]
        channels, lines, steps, outputs = weights.shape
        table = np.zeros((channels, lines, padded(steps * outputs)), np.int16)
        table[..., : steps * outputs] = weights.reshape(channels, lines, -1)
        return table, pair(self.op.padding), steps, False

    def scatter_pool(self) -> tuple[np.ndarray, tuple[int, int], int, bool]:
        """A pool of its own neurons is a convolution of every channel with a window of one."""
        table = np.zeros((1, 1, WIDTH), np.int16)
        table[0, 0, 0] = self.units
        return table, (0, 0), 1, True

    # ---- weights

    @property
    def _is_shortcut(self) -> bool:
        return isinstance(self.op, ChannelScale)

    def _geometry(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(stride, padding, dilation); a shortcut is a convolution with a window of one."""
        if self._is_shortcut:
            return (1, 1), (0, 0), (1, 1)
        return pair(self.op.stride), pair(self.op.padding), pair(self.op.dilation)

    def _whole_weights(self) -> np.ndarray:
        return (self.op.weight.detach().double().numpy() * self.units).astype(np.int16)

    def _full_weights(self) -> np.ndarray:
        """[O, C, h, w]: with zeros for the channels that a group does not see."""
        weights = self._whole_weights()
        if self._is_shortcut:
            return np.diag(weights[:, 0])[:, :, None, None]
        groups, (outputs, inputs) = self.op.groups, weights.shape[:2]
        full = np.zeros((outputs, inputs * groups, *weights.shape[2:]), np.int16)
        for group, out in enumerate(np.split(np.arange(outputs), groups)):
            full[out, group * inputs : (group + 1) * inputs] = weights[out]
        return full


def _kernel_places(outputs: int, size: int, geometry, axis: int) -> np.ndarray:
    """[outputs, size]: the input that each element of the kernel meets, along one axis."""
    stride, padding, dilation = (value[axis] for value in geometry)
    return np.arange(outputs)[:, None] * stride - padding + np.arange(size) * dilation


def _reached(size: int, pools: list[nn.Module], axis: int) -> np.ndarray:
    """[size, size behind]: how often pools lead from one place to another along one axis."""
    counts = np.eye(size, dtype=np.int64)
    for pool in pools:
        if isinstance(pool, nn.Upsample):
            counts = counts.repeat(int(pair(pool.scale_factor)[axis]), axis=1)
            continue
        kernel, stride, padding = (
            pair(value)[axis] for value in (pool.kernel_size, pool.stride, pool.padding)
        )
        size = counts.shape[1]
        begin = np.arange((size + 2 * padding - kernel) // stride + 1) * stride - padding
        inside = np.arange(size)[:, None] - begin
        counts = counts @ ((inside >= 0) & (inside < kernel))
    return counts


def _ways(size: int, pools: list[nn.Module], axis: int) -> np.ndarray:
    """[2, ways]: from where to where pools lead along one axis, each as often as they do."""
    counts = _reached(size, pools, axis)
    pairs = np.argwhere(counts)
    return np.repeat(pairs, counts[tuple(pairs.T)], axis=0).T
