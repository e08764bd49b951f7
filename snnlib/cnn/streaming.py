"""Maxima and percentiles of more values than fit in memory (chapter 5).

Positive floats are ordered as the whole numbers that their bits are.  A percentile is
found as one finds a word in a dictionary: count values by their leading bits, see in which
cell the percentile lies, and read the stream again for that cell's next bits.  The result
is exact, and depends neither on the order of the values nor on how they are cut into batches.
"""

import math
from fractions import Fraction

import torch
from torch import Tensor

FEW = (16, 15)  # leading bits told apart in each pass: 31 in all, as the sign is known
LITTLE = (11, 10, 10)  # the same in one more pass, with much less memory for each row


class Maximum:
    """The largest positive value of each row of a stream.

    Parameters
    ----------
    rows : int

    Attributes
    ----------
    passes : int
        How often the stream must be read.
    result : Tensor [rows]
        0 where no value is positive.
    """

    passes = 1

    def __init__(self, rows: int) -> None:
        self.result = torch.zeros(rows)

    def add(self, values: Tensor) -> None:
        """Take some of the values.

        Parameters
        ----------
        values : Tensor [rows, n]
            float32
        """
        self.result = torch.maximum(self.result, values.amax(1))

    def end_pass(self) -> None:
        """The whole stream has been read once."""


class Percentile:
    """The nearest-rank percentile of the positive values in each row of a stream.

    Parameters
    ----------
    rows : int
    percentile : float
        In (0, 100].
    widths : tuple of int
        Bits told apart in each pass, 31 in all; a row takes 8 bytes * 2**max(widths).
    """

    def __init__(self, rows: int, percentile: float, widths: tuple[int, ...] = FEW) -> None:
        self.share = Fraction(repr(float(percentile))) / 100  # as written: 99.9 is 999 / 1000
        self.widths, self.passes = widths, len(widths)
        self.done = 0  # passes
        self.counts = torch.zeros(rows, 2 ** widths[0], dtype=torch.int64)
        self.leading = torch.zeros(rows, dtype=torch.int32)  # the bits known so far
        self.rank: Tensor | None = None  # among the values with these leading bits, from 1
        self.expected: Tensor | None = None  # how many these are

    def add(self, values: Tensor) -> None:
        """Take some of the values.

        Parameters
        ----------
        values : Tensor [rows, n]
            float32
        """
        width, rest = self.widths[self.done], sum(self.widths[self.done + 1 :])
        bits = values.contiguous().view(torch.int32)
        kept = values > 0
        if self.done:
            kept &= bits >> (width + rest) == self.leading[:, None]
        cells = (bits >> rest) & (2**width - 1)
        cells = cells + torch.arange(len(cells), dtype=torch.int32)[:, None] * 2**width
        self.counts += torch.bincount(cells[kept], minlength=self.counts.numel()).view_as(
            self.counts
        )

    def end_pass(self) -> None:
        """The whole stream has been read once more.

        Raises
        ------
        ValueError
            If the values were others than in the pass before.
        """
        total = self.counts.sum(1)
        if self.rank is None:
            ranks = [max(1, math.ceil(self.share * n)) for n in total.tolist()]
            self.rank = torch.tensor(ranks)
        elif not torch.equal(total, self.expected):
            raise ValueError(
                "images differ from one reading to the next; give the same ones each time "
                "(no random augmentation)."
            )
        up_to = self.counts.cumsum(1)
        cell = (up_to < self.rank[:, None]).sum(1, keepdim=True).clamp(max=up_to.shape[1] - 1)
        self.expected = self.counts.gather(1, cell).squeeze(1)
        self.rank = self.rank - (up_to.gather(1, cell).squeeze(1) - self.expected)
        width = self.widths[self.done]
        self.leading = (self.leading << width) | cell.squeeze(1).int()
        self.done += 1
        if self.done < self.passes:
            self.counts = torch.zeros(len(cell), 2 ** self.widths[self.done], dtype=torch.int64)

    @property
    def result(self) -> Tensor:
        """[rows]; 0 where no value is positive."""
        return torch.where(self.expected > 0, self.leading.view(torch.float32), 0.0)
