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
            one = builder.insert_element(
                ir.Constant(vector, ir.Undefined), small, ir.IntType(32)(0)
            )
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), N_BYTES), [0] * N_BYTES)
            every = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lanes)
            bits = builder.icmp_unsigned(order, seen, every)
            return builder.bitcast(bits, ir.IntType(64))

        return types.uint64(array, types.uint64, types.uint64), generate

    return compare


bytes_below = _compare_bytes("<")
bytes_equal = _compare_bytes("==")
