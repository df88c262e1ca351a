"""The file: safetensors, with texts in its header that a checksum seals.

The header's `__metadata__` holds texts::

    format, version     "sklmacro", and the version of the format
    packages            JSON, the versions of the packages that wrote the file
    objects             JSON, see `writing`
    sha256              checksum of these, and of the names, types, shapes and bytes of all arrays
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sklmacro.checkpoint.atomic import atomic_write
from sklmacro.checkpoint.budget import LETTER, Budget, budget_of, parse, price
from sklmacro.checkpoint.schema import fits, shown

FORMAT, VERSION = "sklmacro", 1  # older versions are read, too
PACKAGES = ("sklmacro", "numpy", "scikit-learn", "torch")
LARGEST_HEADER = 20_000_000  # bytes; as Python objects they are many times as large
MOST_AXES = 32  # of an array
DTYPES = {"BOOL": np.dtype(bool)} | {  # by their names in safetensors
    f"{kind}{8 * size}": np.dtype(f"<{kind.lower()}{size}")
    for kind, sizes in {"I": (1, 2, 4, 8), "U": (1, 2, 4, 8), "F": (2, 4, 8)}.items()
    for size in sizes
}


def write_container(path: Path, objects: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file of objects, as JSON, and arrays, in the place of an earlier one."""
    arrays = {  # in C order and with this machine's order of bytes
        name: np.asarray(array, array.dtype.newbyteorder("="), order="C")
        for name, array in arrays.items()
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "packages": json.dumps({name: version(name) for name in PACKAGES}),
        "objects": json.dumps(objects, allow_nan=False),
    }
    metadata["sha256"] = checksum(metadata, arrays)
    with atomic_write(path) as draft:
        _write_safetensors(draft, metadata, arrays)


def _write_safetensors(
    path: Path, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write texts and arrays one by one: what is saved may be large, and is not held twice."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    names, end = sorted(arrays, key=lambda name: -arrays[name].itemsize), 0  # aligned
    for name in names:
        array, start, end = arrays[name], end, end + arrays[name].nbytes
        bits = "OOL" if array.dtype.kind == "b" else str(8 * array.itemsize)
        dtype = array.dtype.kind.upper() + bits
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    n_bytes = price(json.dumps(header, ensure_ascii=False))
    if len(text) > LARGEST_HEADER or n_bytes > budget_of(len(text) + end).n_bytes:
        raise ValueError(
            f"Expected at most {LARGEST_HEADER / 1e6:g} MB of numbers and texts beside the arrays, "
            f"but got {len(text) / 1e6:g} MB; shorten lists, such as history_, or make arrays of "
            "them."
        )
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(arrays[name].data if arrays[name].size else b"")


def checksum(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of a file's texts, but for the checksum, and of its arrays."""
    texts = {key: value for key, value in metadata.items() if key != "sha256"}
    forms = {name: [array.dtype.name, array.shape] for name, array in arrays.items()}
    sha = hashlib.sha256(json.dumps([texts, forms], sort_keys=True).encode())
    for name in sorted(arrays):
        sha.update(arrays[name].data if arrays[name].size else b"")
    return sha.hexdigest()


def read_container(
    path: Path, max_bytes: float | None = None
) -> tuple[dict[str, str], Any, dict[str, np.ndarray], Budget]:
    """Read a file, from its header to its arrays.

    The file is opened once, so that one that is replaced meanwhile is read as it was.

    Parameters
    ----------
    path : Path
    max_bytes : float, default=None
        Memory that it may take; None stands for what `budget_of` says.

    Returns
    -------
    packages : dict of str to str
        Versions of the packages that wrote it.
    objects : object
        What its JSON says.
    arrays : dict of str to ndarray
    budget : Budget
        What is left for that which is built of them.
    """
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file, but got the folder {str(path)!r}.")
    if path.exists() and not path.is_file():
        raise ValueError(f"Expected a regular file, but got {str(path)!r}, which is none.")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        budget = budget_of(size, max_bytes)
        header = _read_header(path, file, size, budget)
        metadata = header.pop("__metadata__", {})
        for text in metadata.values():  # a text in the header: what it says is paid for below
            budget.give_back(price(text) - LETTER * len(text))
        _check_format(path, metadata)
        arrays = _read_arrays(path, file, header, budget)
    if metadata["sha256"] != checksum(metadata, arrays):
        raise ValueError(
            f"{_expected(path)}, but its checksum differs: it was damaged or changed; take a copy "
            "that was not, or save it anew."
        )
    packages = parse(metadata["packages"], budget)
    if not fits(packages, dict[str, str]):
        raise ValueError(f"Expected versions of packages, but got {shown(packages)}; save it anew.")
    return packages, parse(metadata["objects"], budget), arrays, budget


def _read_header(path: Path, file: BinaryIO, size: int, budget: Budget) -> dict[str, Any]:
    """Return the header of a safetensors file: texts, and the types and places of arrays."""
    length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise ValueError(
            f"{_expected(path)}, but its header would be of {length / 1e6:g} MB, so that it is "
            "something else, or damaged; save it anew. Nothing of it was run."
        )
    try:
        if not 0 < length <= size - 8:
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = parse(file.read(length).decode(), budget)
        if not fits(header, dict[str, dict]):
            raise ValueError("a header that is no dictionary of dictionaries")
        if not fits(header.get("__metadata__", {}), dict[str, str]):
            raise ValueError("metadata that are no texts")
        return header
    except ValueError as error:
        raise _unreadable(path, error) from error


def _read_arrays(
    path: Path, file: BinaryIO, header: Mapping[str, Any], budget: Budget
) -> dict[str, np.ndarray]:
    """Return the arrays of a file, whose places are checked before anything is allocated."""
    first = file.tell()
    try:
        forms = {name: _form(name, entry, budget) for name, entry in header.items()}
        end = 0
        for name, (dtype, shape, (start, stop)) in sorted(forms.items(), key=lambda f: f[1][2]):
            if start != end or stop - start != dtype.itemsize * math.prod(shape):
                raise ValueError(f"bytes {start} to {stop} for {name[:80]!r}, behind byte {end}")
            end = stop
        if first + end != os.fstat(file.fileno()).st_size:
            raise ValueError(f"{end} bytes of arrays, which are not all that follows the header")
        return {name: _read_array(file, first, *form) for name, form in forms.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise _unreadable(path, error) from error


def _form(name: str, entry: Any, budget: Budget) -> tuple[np.dtype, tuple[int, ...], list[int]]:
    """Return type, shape and place of an array, as a header tells them."""
    dtype, shape, place = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    for numbers in (shape, place):
        if type(numbers) is not list or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"{shown(numbers)} for numbers of {name[:80]!r}")
    if len(entry) != 3 or len(place) != 2 or len(shape) > MOST_AXES:
        raise ValueError(f"no array for {name[:80]!r}")
    budget.check_array(name, tuple(shape), dtype.itemsize)
    return dtype, tuple(shape), place


def _read_array(
    file: BinaryIO, first: int, dtype: np.dtype, shape: tuple[int, ...], place: Sequence[int]
) -> np.ndarray:
    array = np.empty(shape, dtype)
    file.seek(first + place[0])
    if array.size and file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
        raise ValueError("fewer bytes than when it was opened")
    return array


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{_expected(path)}, but it cannot be read as safetensors ({error}); save it anew. "
        "Nothing of it was run."
    )


def _expected(path: Path) -> str:
    return f"Expected {path.name!r} to be a whole file that sklmacro wrote"


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    """Raise ValueError unless the header is one of this format, and not of a newer version."""
    text = metadata.get("version", "")
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if metadata.get("format") == FORMAT and number > VERSION:
        raise ValueError(
            f"Expected format version {VERSION} or older, but {path.name!r} is of version {text}; "
            "upgrade sklmacro to read it."
        )
    whole = {"packages", "objects", "sha256"} <= set(metadata)
    if metadata.get("format") != FORMAT or number < 1 or not whole:
        raise ValueError(
            f"{_expected(path)}, but its header is not of this format; save the estimator by "
            "sklmacro.save."
        )
