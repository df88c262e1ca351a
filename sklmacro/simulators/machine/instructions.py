"""Instructions of the machine that numba does not offer, as LLVM's own operations.

They mean the same on every machine; LLVM takes several instructions where one is missing.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

N_BYTES = 64  # that are compared at once


def broadcast(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """Return a vector all of whose lanes are a value."""
    index, nothing = ir.IntType(32), ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(nothing, value, index(0))
    lanes = ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, nothing, lanes)


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of `array[index]`, to be written soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [place, i32(1), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.uint64), generate


@intrinsic
def count_ones(typing_context: Any, word: Any) -> Any:
    """Return the number of bits set in a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def _compare_bytes(order: str) -> Callable:
    """Return a function of (array, first, byte): the order of 64 bytes and one, as 64 bits.

    Bit r tells whether byte r of `array[first:]`, taken as a string of bytes, stands in that order
    to `byte`; bytes are unsigned.
    """

    @intrinsic
    def compare(typing_context: Any, array: Any, first: Any, byte: Any) -> Any:
        """Compare 64 bytes of an array, from element `first` on, with one."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            vector = ir.VectorType(ir.IntType(8), N_BYTES)
            place = builder.gep(data, [arguments[1]])
            seen = builder.load(builder.bitcast(place, vector.as_pointer()), align=1)
            small = builder.trunc(arguments[2], ir.IntType(8))
            bits = builder.icmp_unsigned(order, seen, broadcast(builder, small, vector))
            return builder.bitcast(bits, ir.IntType(64))

        return types.uint64(array, types.uint64, types.uint64), generate

    return compare


bytes_below = _compare_bytes("<")
bytes_equal = _compare_bytes("==")


@intrinsic
def borrow(typing_context: Any, value: Any) -> tuple[Any, Any]:
    """Return an array, or a tuple of arrays and tuples, without its count of references.

    numba counts references to every array that a kernel takes apart or passes on, each time by an
    atomic instruction, which can take half of the time of a kernel of short steps. The caller keeps
    the arrays alive while the kernel runs.
    """

    def strip(context: Any, builder: Any, kind: Any, item: Any) -> Any:
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, item)
            array.meminfo = ir.Constant(array.meminfo.type, None)
            array.parent = ir.Constant(array.parent.type, None)
            return array._getvalue()  # noqa: SLF001 - as numba's own intrinsics do
        if isinstance(kind, types.BaseTuple):
            for i, part in enumerate(kind):
                old = builder.extract_value(item, i)
                new = strip(context, builder, part, old)
                item = item if new is old else builder.insert_value(item, new, i)
        return item

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return strip(context, builder, signature.args[0], arguments[0])

    return value(value), generate
