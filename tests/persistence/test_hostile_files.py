"""Malformed, corrupted and other files: each is a ValueError, and nothing of it is run."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save as serialized

import sklmacro as skm
from tests.hostile import RAN, Trap, refused, sealed, whole

# --- bytes ----------------------------------------------------------------------------------------


def header(data):
    """Length of a file's header, with the eight bytes of the length itself."""
    return 8 + int.from_bytes(data[:8], "little")


def with_header(data, change):
    """A file whose header is changed as text or as JSON, its length being right."""
    text = data[8 : header(data)].decode()
    changed = change(text)
    changed = changed if isinstance(changed, bytes) else changed.encode()
    return len(changed).to_bytes(8, "little") + changed + data[header(data) :]


def with_tensor(data, **changes):
    """A file in which the header says otherwise of the first tensor."""

    def change(text):
        content = json.loads(text)
        first = min(
            (k for k in content if k != "__metadata__"), key=lambda k: content[k]["data_offsets"]
        )
        content[first] |= changes
        return json.dumps(content)

    return with_header(data, change)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def written(write, *values, **options):
    """What a function writes to a file."""
    stream = io.BytesIO()
    write(stream, *values, **options)
    return stream.getvalue()


def zipped(stream, data):
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("estimator", data)


UNREADABLE = "cannot be read as safetensors"
# fmt: off
BYTES = {
    "empty": (lambda d: b"", UNREADABLE),
    "one byte": (lambda d: d[:1], UNREADABLE),
    "the length alone": (lambda d: d[:8], UNREADABLE),
    "cut in the length": (lambda d: d[:5], UNREADABLE),
    "cut in the header": (lambda d: d[: header(d) // 2], UNREADABLE),
    "cut behind the header": (lambda d: d[: header(d)], UNREADABLE),
    "cut in the arrays": (lambda d: d[: (header(d) + len(d)) // 2], UNREADABLE),
    "last byte missing": (lambda d: d[:-1], UNREADABLE),
    "a byte too many": (lambda d: d + b"\0", UNREADABLE),
    "a flipped bit in the arrays": (lambda d: flipped(d, len(d) - 9), "its checksum differs"),
    "a flipped bit in the first array": (lambda d: flipped(d, header(d)), "its checksum differs"),
    "a changed parameter": (lambda d: d.replace(b'\\"dt\\": 1.0', b'\\"dt\\": 2.0'),
        "its checksum differs"),
    "random bytes": (lambda d: np.random.default_rng(0).bytes(len(d)), "its header would be of"),
    "a header of 2^63 bytes": (lambda d: b"\xff" * 8 + d[8:], "its header would be of"),
    "a header of 90 MB": (lambda d: (90_000_000).to_bytes(8, "little") + d[8:], "of 90 MB"),
    "a header longer than the file": (lambda d: (len(d) + 100).to_bytes(8, "little") + d[8:],
        UNREADABLE),
    "no header": (lambda d: bytes(8) + d[8:], UNREADABLE),
    "an array of 2^50 bytes": (lambda d: with_tensor(d, shape=[2**47], data_offsets=[0, 2**50]),
        UNREADABLE),
    "an array larger than its bytes": (lambda d: with_tensor(d, shape=[2**40]), UNREADABLE),
    "an array of more than 2^64 bytes": (lambda d: with_tensor(d, shape=[2**40] * 3), UNREADABLE),
    "a negative shape": (lambda d: with_tensor(d, shape=[-1]), UNREADABLE),
    "offsets that overlap": (lambda d: with_tensor(d, data_offsets=[8, 16]), UNREADABLE),
    "offsets backwards": (lambda d: with_tensor(d, data_offsets=[16, 0]), UNREADABLE),
    "offsets that are words": (lambda d: with_tensor(d, data_offsets="all"), UNREADABLE),
    "an unknown dtype": (lambda d: with_tensor(d, dtype="OBJECT"), UNREADABLE),
    "another dtype": (lambda d: with_tensor(d, dtype="I64"), "its checksum differs"),
    "a dtype that numpy lacks": (lambda d: with_tensor(d, dtype="F8_E4M3"), UNREADABLE),
    "no UTF-8": (lambda d: with_header(d, lambda text: text.encode("utf-16")), UNREADABLE),
    "a list for a header": (lambda d: with_header(d, lambda text: f"[{text}]"), UNREADABLE),
    "NaN in the header": (lambda d: with_tensor(d, shape=[float("nan")]), UNREADABLE),
    "deep nesting in the header": (lambda d: with_header(d, lambda text: "[" * 100_000),
        UNREADABLE),
    "two headers of texts": (lambda d: with_header(d,
        lambda text: '{"__metadata__": {"format": "other"},' + text[1:]), UNREADABLE),
    "metadata that are no texts": (lambda d: with_header(d,
        lambda text: '{"__metadata__": {"format": 1}}'), UNREADABLE),
    "a pickle": (lambda d: pickle.dumps(Trap()), "its header would be of|" + UNREADABLE),
    "an old pickle": (lambda d: pickle.dumps(Trap(), 0), "its header would be of"),
    "a zip file": (lambda d: written(zipped, d), "its header would be of"),
    "an npz file with a pickle": (lambda d: written(np.savez, np.array([Trap], object),
        allow_pickle=True), "its header would be of"),
    "an npy file": (lambda d: written(np.save, np.arange(3)), "its header would be of"),
    "JSON": (lambda d: json.dumps({"class": "Trap"}).encode(), "its header would be of"),
    "other arrays": (lambda d: serialized({"B": np.zeros(3)}), "its header is not of this format"),
    "other arrays with texts": (lambda d: serialized({"B": np.zeros(3)}, {"format": "pt"}),
        "its header is not of this format"),
}
# fmt: on


@pytest.mark.parametrize("name", BYTES)
def test_damaged_and_other_files(name, tmp_path):
    change, message = BYTES[name]
    data = change(whole("linear")[0])
    RAN.clear()  # of making it
    refused(data, tmp_path, message)


def test_every_length_is_refused(tmp_path):
    data, path = whole("linear")[0], tmp_path / "cut.safetensors"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"Expected 'cut\.safetensors' to be a whole file"):
            skm.load(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        skm.load(tmp_path / "missing.safetensors")
    with pytest.raises(IsADirectoryError, match="but got the folder"):
        skm.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"a regular file, but got .*pipe"):
        skm.load(tmp_path / "pipe")


# --- signed files: texts of the header ------------------------------------------------------------

FORMAT = "its header is not of this format"
# fmt: off
TEXTS = {
    "another format": ({"format": "pickle"}, FORMAT),
    "no format": ({"format": None}, FORMAT),
    "no version": ({"version": None}, FORMAT),
    "version 0": ({"version": "0"}, FORMAT),
    "version -1": ({"version": "-1"}, FORMAT),
    "version 1.5": ({"version": "1.5"}, FORMAT),
    "version of 5000 digits": ({"version": "9" * 5000}, FORMAT),
    "version 7": ({"version": "7"}, "is of version 7; upgrade sklmacro"),
    "no checksum": ({"sha256": None}, FORMAT),
    "an empty checksum": ({"sha256": ""}, "its checksum differs"),
    "another checksum": ({"sha256": "0" * 64}, "its checksum differs"),
    "no objects": ({"objects": None}, FORMAT),
    "objects that are no JSON": ({"objects": "import os"}, "strict JSON"),
    "NaN": ({"objects": '[{"class": NaN}]'}, r"strict JSON .*NaN is no number"),
    "infinity": ({"objects": "[-Infinity]"}, r"strict JSON .*-Infinity is no number"),
    "duplicate names": ({"objects": '[{"class": "A", "class": "B"}]'}, "duplicate names"),
    "deep nesting": ({"objects": "[" * 200_000}, "strict JSON"),
    "deep nesting that is closed": ({"objects": "[" * 9000 + "]" * 9000}, "strict JSON|cannot be"),
    "a number of 5000 digits": ({"objects": "[" + "9" * 5000 + "]"}, "strict JSON"),
    "no list": ({"objects": "3"}, "cannot be built"),
    "an empty list": ({"objects": "[]"}, "cannot be built"),
    "a dictionary": ({"objects": '{"class": "Ising"}'}, "cannot be built"),
    "versions of no packages": ({"packages": "[1]"}, "versions of packages"),
    "packages that are no JSON": ({"packages": "{"}, "strict JSON"),
}
# fmt: on


@pytest.mark.parametrize("name", TEXTS)
def test_headers(name, tmp_path):
    changes, message = TEXTS[name]
    _, objects, arrays = whole("linear")
    refused(sealed(objects, arrays, **changes), tmp_path, message)
