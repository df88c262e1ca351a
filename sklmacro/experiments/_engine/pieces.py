"""What a piece of an experiment may return: arrays, and what JSON knows.

    value  <->  arrays by name, and a JSON object that names them in their places

Numbers come back as those of Python, tuples as lists, and arrays in C order, whether a piece has
just been computed or was kept: what follows from it is the same to the last bit.
"""

from typing import Any

import numpy as np

ARRAY, DTYPE = "array", "dtype"


def pack(value: Any) -> tuple[dict[str, np.ndarray], Any]:
    """Return the arrays of a value, and the JSON object that is left.

    Raises
    ------
    TypeError
        If there is anything else in it.
    """
    arrays: dict[str, np.ndarray] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            name = str(len(arrays))
            arrays[name] = np.asarray(value, order="C")
            if value.dtype.names is None:
                return {ARRAY: name}
            arrays[name] = arrays[name].view(np.uint8).reshape(*value.shape, value.itemsize)
            return {ARRAY: name, DTYPE: np.lib.format.dtype_to_descr(value.dtype)}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(
            f"Expected a piece of arrays, numbers, texts, lists and dicts by text, but got a "
            f"{type(value).__name__}; return what is needed of it."
        )

    return arrays, plain(value)


def unpack(arrays: dict[str, np.ndarray], plain: Any) -> Any:
    """Return the value of which these are the arrays and the JSON object."""
    if isinstance(plain, list):
        return [unpack(arrays, item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if ARRAY not in plain:
        return {key: unpack(arrays, item) for key, item in plain.items()}
    array = arrays[plain[ARRAY]]
    if DTYPE not in plain:
        return array
    fields = [(name, kind, *map(tuple, shape)) for name, kind, *shape in plain[DTYPE]]
    return array.view(np.dtype(fields))[..., 0]
