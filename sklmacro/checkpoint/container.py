"""The file: safetensors, with texts in its header that a checksum seals.

The header's `__metadata__` holds texts::

    format, version     "sklmacro", and the version of the format
    packages            JSON, the versions of the packages that wrote the file
    objects             JSON, see `writing`
    sha256              checksum of these, and of the names, types, shapes and bytes of all arrays
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from sklmacro.checkpoint.atomic import atomic_write
from sklmacro.checkpoint.schema import fits

FORMAT, VERSION = "sklmacro", 1  # older versions are read, too
PACKAGES = ("sklmacro", "numpy", "scikit-learn", "torch")
LARGEST_HEADER = 20_000_000  # bytes; as Python objects they are many times as large


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
    if len(text) > LARGEST_HEADER:
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


def read_container(path: Path) -> tuple[dict[str, str], Any, dict[str, np.ndarray]]:
    """Return the versions of the packages that wrote a file, its objects and its arrays."""
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file, but got the folder {str(path)!r}.")
    if path.exists() and not path.is_file():
        raise ValueError(f"Expected a regular file, but got {str(path)!r}, which is none.")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > LARGEST_HEADER:
        raise ValueError(
            f"{_expected(path)}, but its header would be of {length / 1e6:g} MB, so that it is "
            "something else, or damaged; save it anew. Nothing of it was run."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (ValueError, MemoryError, FileNotFoundError):
        raise
    except Exception as error:  # damaged bytes make the reader raise nearly anything
        raise ValueError(
            f"{_expected(path)}, but it cannot be read as safetensors ({error}); save it anew. "
            "Nothing of it was run."
        ) from error
    if metadata.get("sha256") != checksum(metadata, arrays):
        raise ValueError(
            f"{_expected(path)}, but its checksum differs: it was damaged or changed; take a copy "
            "that was not, or save it anew."
        )
    packages = _parsed(metadata["packages"])
    if not fits(packages, dict[str, str]):
        raise ValueError(f"Expected versions of packages, but got {packages!r}; save it anew.")
    return packages, _parsed(metadata["objects"]), arrays


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


def _parsed(text: str) -> Any:
    """Return JSON without the liberties that Python's own takes."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"Expected strict JSON in the header, but got what is not ({error}); save it anew."
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError(f"duplicate names among {[name for name, _ in pairs][:10]}")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
