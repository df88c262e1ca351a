"""Sums held in vector registers: a dense layer for few rows, and sums of rows of a table.

A jump asks for one environment at a time, that is for a product of 8 rows with a matrix of 128
columns, or for the sum of a hundred short rows. Library calls for so little spend half their time
elsewhere, and loops over so few columns are not vectorised; here the sums stay in registers. Every
entry is summed in one fixed order, so that it does not depend on what else is computed with it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sklmacro._base.kernels import njit
from sklmacro.simulators.machine.instructions import broadcast

ROWS = 8
LANES = 16  # floats in a vector of 512 bits; on other machines the compiler splits it
SHORT = 8  # floats in the vectors of a sum of rows
CHAINS = 4  # sums of rows that run side by side, since each has to wait for its last addition
TILE = 2 * LANES  # columns of a tile: with 8 rows 16 sums, which leaves registers for the factors


@intrinsic
def _tile(typing_context: Any, a: Any, w: Any, bias: Any, out: Any, column: Any) -> tuple[Any, Any]:
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

        parts = range(TILE // LANES)
        sums = [[cgutils.alloca_once(builder, vector) for _ in parts] for _ in range(ROWS)]
        for part in parts:
            start = builder.load(place(bias.data, index(0), part), align=4)
            for row in sums:
                builder.store(start, row[part])
        with cgutils.for_range(builder, n) as loop:
            weights = [builder.load(place(w.data, loop.index, part), align=4) for part in parts]
            for r, row in enumerate(sums):
                offset = builder.add(builder.mul(index(r), n), loop.index)
                factor = builder.load(builder.gep(a.data, [offset]))
                spread = broadcast(builder, factor, vector)
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


@intrinsic
def _row_sum(typing_context: Any, table: Any, rows: Any, out: Any, column: Any) -> tuple[Any, Any]:
    """Compute columns [column, column + SHORT) of out = sum_k table[rows[k]].

    table is (n, m) float32, rows (k,) uint64 with k a multiple of CHAINS, out (m,) float32.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), SHORT)
        table, rows, out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        _, m = cgutils.unpack_tuple(builder, table.shape, 2)
        (n,) = cgutils.unpack_tuple(builder, rows.shape, 1)
        first = arguments[3]
        sums = [cgutils.alloca_once(builder, vector) for _ in range(CHAINS)]
        for chain in sums:
            builder.store(ir.Constant(vector, [0.0] * SHORT), chain)
        with cgutils.for_range(builder, builder.udiv(n, index(CHAINS))) as loop:
            for q, chain in enumerate(sums):
                k = builder.add(builder.mul(loop.index, index(CHAINS)), index(q))
                row = builder.load(builder.gep(rows.data, [k]))
                start = builder.gep(table.data, [builder.add(builder.mul(row, m), first)])
                part = builder.load(builder.bitcast(start, vector.as_pointer()), align=4)
                builder.store(builder.fadd(builder.load(chain), part), chain)
        total = builder.load(sums[0])
        for chain in sums[1:]:
            total = builder.fadd(total, builder.load(chain))
        place = builder.bitcast(builder.gep(out.data, [first]), vector.as_pointer())
        builder.store(total, place).align = 4
        return context.get_dummy_value()

    return types.void(table, rows, out, column), generate


@njit(nogil=True)
def sum_rows(table: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Compute out = sum_k table[rows[k]].

    table is (n, m) float32, m a multiple of SHORT; rows (k,) uint64, k a multiple of CHAINS; out
    (m,) float32; all contiguous.
    """
    for column in range(0, out.shape[0], SHORT):
        _row_sum(table, rows, out, column)
