"""Thirty-two whole numbers at a time, for the event-driven engine's kernels.

A compiler turns plain loops into vector instructions when it can prove that this is
safe, which it seldom can for weights that are looked up.  These few operations ask for
vectors by name.  They become the widest instructions that the processor has, and still
work where it has none.

Lanes hold 16, 32 or 64 bits each; whoever adds makes sure that sums fit.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

WIDTH = 32  # lanes: one spike each in a 32-bit word


class Lanes(types.Type):
    """The type of a vector of WIDTH signed whole numbers, as kernels see it.

    Parameters
    ----------
    bits : int
        Of each: 16, 32 or 64.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(name=f"Lanes({bits})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    """How the compiler stores it: as an LLVM vector."""

    def __init__(self, manager, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes.bits))


@intrinsic
def zeros16(typing):
    """WIDTH zeros of 16 bits."""
    return Lanes(16)(), lambda context, builder, signature, args: _constant(16, 0)


@intrinsic
def zeros32(typing):
    """WIDTH zeros of 32 bits."""
    return Lanes(32)(), lambda context, builder, signature, args: _constant(32, 0)


@intrinsic
def load(typing, array, at):
    """array[at : at + WIDTH], unchecked."""
    lanes = Lanes(array.dtype.bitwidth)

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, signature, args)
        return builder.load(pointer, align=lanes.bits // 8)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing, array, at, lanes):
    """array[at : at + WIDTH] = lanes, unchecked; both of the same bits."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, signature, args)
        builder.store(args[2], pointer, align=lanes.bits // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def at(typing, array, place):
    """array[place], unchecked: a place below zero does not count from the end."""

    def generate(context, builder, signature, args):
        return builder.load(_element(context, builder, signature, args))

    return array.dtype(array, types.intp), generate


@intrinsic
def put(typing, array, place, value):
    """array[place] = value, unchecked."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _element(context, builder, signature, args))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), generate


@intrinsic
def spread(typing, value):
    """The same number of 32 bits in every lane."""

    def generate(context, builder, signature, args):
        return _spread(builder, args[0])

    return Lanes(32)(types.int32), generate


@intrinsic
def add(typing, a, b):
    """a + b, in the bits of the wider."""
    wide = a if a.bits >= b.bits else b

    def generate(context, builder, signature, args):
        return builder.add(*(_widened(builder, x, wide.bits) for x in args))

    return wide(a, b), generate


@intrinsic
def reach(typing, a, b):
    """A word whose bit i says whether a[i] >= b[i]."""

    def generate(context, builder, signature, args):
        return _word(builder, builder.icmp_signed(">=", *args))

    return types.int64(a, b), generate


@intrinsic
def subtract_where(typing, a, b, word):
    """a - b in the lanes whose bit of the word is set, a in the others."""

    def generate(context, builder, signature, args):
        return _where(builder, args[2], builder.sub(*args[:2]), args[0])

    return a(a, b, types.int64), generate


@intrinsic
def clear_where(typing, a, word):
    """0 in the lanes whose bit of the word is set, a in the others."""

    def generate(context, builder, signature, args):
        return _where(builder, args[1], _constant(a.bits, 0), args[0])

    return a(a, types.int64), generate


@intrinsic
def draws(typing, keys, key):
    """The encoder's random draws, 24 bits each: its hash of ``keys ^ key``."""

    def generate(context, builder, signature, args):
        key = _spread(builder, args[1])
        x = _hash(builder, builder.xor(args[0], key), lambda value: _constant(32, value))
        return builder.lshr(x, _constant(32, 8))

    return keys(keys, types.int32), generate


@intrinsic
def mix(typing, x):
    """The encoder's hash of one number of 32 bits, see ``snnlib.spiking.encoding``."""

    def generate(context, builder, signature, args):
        return _hash(builder, args[0], lambda value: ir.Constant(ir.IntType(32), value))

    return types.int32(types.int32), generate


@intrinsic
def lowest(typing, word):
    """The place of the lowest bit that is set."""

    def generate(context, builder, signature, args):
        return builder.cttz(args[0], cgutils.false_bit)

    return types.int64(types.int64), generate


def _hash(builder, x, constant):
    """lowbias32 (Wellons 2018), of a number or of each lane."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = builder.xor(x, builder.lshr(x, constant(shift)))
        x = builder.mul(x, constant(factor))
    return builder.xor(x, builder.lshr(x, constant(16)))


def _vector(bits: int) -> ir.VectorType:
    return ir.VectorType(ir.IntType(bits), WIDTH)


def _constant(bits: int, value: int) -> ir.Constant:
    return ir.Constant(_vector(bits), [value] * WIDTH)


def _spread(builder, value):
    first = builder.insert_element(_constant(32, 0), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(_vector(32), [0] * WIDTH))


def _element(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


def _pointer(context, builder, signature, args):
    pointer = _element(context, builder, signature, args)
    return builder.bitcast(pointer, _vector(signature.args[0].dtype.bitwidth).as_pointer())


def _widened(builder, x, bits: int):
    return x if x.type.element.width == bits else builder.sext(x, _vector(bits))


def _word(builder, flags):
    return builder.zext(builder.bitcast(flags, ir.IntType(WIDTH)), ir.IntType(64))


def _where(builder, word, yes, no):
    word = builder.trunc(word, ir.IntType(WIDTH))
    return builder.select(builder.bitcast(word, ir.VectorType(ir.IntType(1), WIDTH)), yes, no)
