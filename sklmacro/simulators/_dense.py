"""A dense layer for few rows, max(bias + a w, 0), held in vector registers while it is summed.

A jump asks for one environment at a time, that is for a product of 8 rows with a matrix of 128
columns. A library call for so small a product spends half its time elsewhere; here a tile of the
result, all rows by 32 columns, stays in registers over the whole sum. Every entry is summed in one
fixed order, so that it does not depend on what else is computed with it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 8
LANES = 16  # floats in a vector of 512 bits; on other machines the compiler splits it
TILE = 2 * LANES  # columns of a tile: with 8 rows 16 sums, which leaves registers for the factors


@intrinsic
def _tile(
    typing_context: Any, a: Any, w: Any, bias: Any, out: Any, column: Any
) -> tuple[Any, Any]:
    """Compute columns [column, column + TILE) of out = max(bias + a w, 0).

    a is (ROWS, n), w (n, m), bias (m,) and out (ROWS, m), all float32 and contiguous.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single, index = ir.FloatType(), ir.IntType(64)
        vector = ir.VectorType(single, LANES)
        a, w, bias, out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:4], arguments[:4], strict=True)
        )
        n, m = cgutils.unpack_tuple(builder, w.shape, 2)
        first = arguments[4]

        def place(data: Any, row: Any, part: int) -> Any:
            """Point at LANES entries of a row, from column first + part * LANES on."""
            offset = builder.add(builder.mul(row, m), builder.add(first, index(part * LANES)))
            return builder.bitcast(builder.gep(data, [offset]), vector.as_pointer())

        def load(pointer: Any) -> Any:
            value = builder.load(pointer)
            value.align = 4
            return value

        parts = range(TILE // LANES)
        sums = [[cgutils.alloca_once(builder, vector) for _ in parts] for _ in range(ROWS)]
        for part in parts:
            start = load(place(bias.data, index(0), part))
            for row in sums:
                builder.store(start, row[part])
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        with cgutils.for_range(builder, n) as loop:
            weights = [load(place(w.data, loop.index, part)) for part in parts]
            for r, row in enumerate(sums):
                offset = builder.add(builder.mul(index(r), n), loop.index)
                factor = builder.load(builder.gep(a.data, [offset]))
                lane = builder.insert_element(
                    ir.Constant(vector, ir.Undefined), factor, ir.IntType(32)(0)
                )
                spread = builder.shuffle_vector(lane, lane, everywhere)
                for part in parts:
                    product = builder.fmul(spread, weights[part], flags=["contract"])
                    total = builder.fadd(product, builder.load(row[part]), flags=["contract"])
                    builder.store(total, row[part])
        zero = ir.Constant(vector, [0.0] * LANES)
        for r, row in enumerate(sums):
            for part in parts:
                total = builder.load(row[part])
                positive = builder.select(builder.fcmp_ordered(">", total, zero), total, zero)
                builder.store(positive, place(out.data, index(r), part)).align = 4
        return context.get_dummy_value()

    return types.void(a, w, bias, out, column), generate


@njit(nogil=True)
def rectified_layer(a: np.ndarray, w: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """Compute out = max(bias + a w, 0) for ROWS rows and a multiple of TILE columns, in float32.

    a is (ROWS, n), w (n, m), bias (m,) and out (ROWS, m), contiguous.
    """
    for column in range(0, w.shape[1], TILE):
        _tile(a, w, bias, out, column)
