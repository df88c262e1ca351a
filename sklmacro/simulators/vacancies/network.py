"""Barriers from a neural network of the published architecture (Sec. III.3, its Ref. 56).

The input is a box of 9x9x9 voxels of half a lattice constant around the vacancy, with the number of
the species as its value and 0 for empty voxels, vacancies and what is farther than the cutoff. For
each of the eight jumps the box is rotated and mirrored so that the jump points along (1, 1, 1).
Four hidden layers of 128 (linear, batch norm, ReLU) and a linear layer give the barrier in eV.

Three things make one evaluation cheap. Batch norm is folded into the linear layers. Only the 112
sites that can hold an atom enter. Barriers are kept by environment: at 2000 K every third vacancy
jumps straight back, and at 500 K nearly every one. They do not depend on the temperature.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from numba import uint64
from safetensors.numpy import load_file

from sklmacro._base.kernels import njit
from sklmacro.checkpoint.atomic import as_path
from sklmacro.checkpoint.budget import budget_of, check_npy
from sklmacro.simulators.machine.vectors import ROWS, TILE, rectified_layer
from sklmacro.simulators.vacancies.barriers import BarrierModel

BOX = 9  # voxels along each axis
CUTOFF, LATTICE_CONSTANT = 7.5, 3.24  # Angstrom
BATCH_NORM_EPS = 1e-5
N_HIDDEN = 4  # hidden layers
# Quarter turns about z, in numpy's rot90 sense, that bring each jump to (1, 1, +-1).
TURNS = (2, 2, -1, -1, 1, 1, 0, 0)
KEPT = 1 << 16  # environments kept by each thread: 6 MB


class Layers(NamedTuple):
    """Folded layers of the network, and working memory."""

    place: np.ndarray  # (8, 112) site of the environment that stands at each input
    first: np.ndarray  # (112, 128)
    first_bias: np.ndarray  # (128,)
    hidden: np.ndarray  # (3, 128, 128)
    hidden_bias: np.ndarray  # (3, 128)
    last: np.ndarray  # (128,)
    last_bias: float
    turned: np.ndarray  # (8, 112)
    even: np.ndarray  # (8, 128)
    odd: np.ndarray  # (8, 128)
    keys: np.ndarray  # (KEPT, 4) environments, two bits a site; all ones where there is none
    kept: np.ndarray  # (KEPT, 8) their barriers


@njit(nogil=True)
def _forward(environment: np.ndarray, out: np.ndarray, net: Layers) -> None:
    """Evaluate the network for the eight jumps of one vacancy."""
    for q in range(ROWS):
        for e in range(environment.shape[0]):
            net.turned[q, e] = environment[net.place[q, e]]
    rectified_layer(net.turned, net.first, net.first_bias, net.even)
    rectified_layer(net.even, net.hidden[0], net.hidden_bias[0], net.odd)
    rectified_layer(net.odd, net.hidden[1], net.hidden_bias[1], net.even)
    rectified_layer(net.even, net.hidden[2], net.hidden_bias[2], net.odd)
    for q in range(ROWS):
        total = np.float64(net.last_bias)
        for j in range(net.last.shape[0]):
            total += np.float64(net.odd[q, j]) * net.last[j]
        out[q] = total


@njit(nogil=True)
def _evaluate(environment: np.ndarray, b: int, out: np.ndarray, net: Layers) -> bool:
    """Fill the barriers of one environment, from those kept if it has been seen."""
    k0, k1, k2, k3 = uint64(0), uint64(0), uint64(0), uint64(0)
    for e in range(28):  # 4 x 28 sites of two bits
        k0 = (k0 << uint64(2)) | uint64(environment[e])
        k1 = (k1 << uint64(2)) | uint64(environment[e + 28])
        k2 = (k2 << uint64(2)) | uint64(environment[e + 56])
        k3 = (k3 << uint64(2)) | uint64(environment[e + 84])
    h = k0 * uint64(0x9E3779B97F4A7C15) ^ k1 * uint64(0xC2B2AE3D27D4EB4F)
    h ^= k2 * uint64(0x165667B19E3779F9) ^ k3 * uint64(0xD6E8FEB86659FD93)
    slot = np.int64((h ^ (h >> uint64(29))) & uint64(net.keys.shape[0] - 1))
    key = net.keys[slot]
    if key[0] != k0 or key[1] != k1 or key[2] != k2 or key[3] != k3:
        _forward(environment, net.kept[slot], net)
        key[0], key[1], key[2], key[3] = k0, k1, k2, k3
    for q in range(ROWS):
        out[q] = net.kept[slot, q]
    return True


class BarrierNetwork(BarrierModel):
    """Barriers of vacancy jumps on the BCC lattice from a trained network.

    Parameters
    ----------
    weights : mapping of str to ndarray
        `layer{i}_weight` (n_in, 128), `layer{i}_bias`, `layer{i}_bn_gamma`, `layer{i}_bn_beta`,
        `layer{i}_bn_mean` and `layer{i}_bn_var` (128,) for i = 0 ... 3, with n_in = 729 for the
        first and 128 for the others; `out_weight` (128, 1), `out_bias` (1,).
    species : tuple of str, default=("Nb", "Mo", "Ta")
        Species 1, 2, 3 that it was trained with.

    Raises
    ------
    ValueError
        If an array is missing or has another shape.
    """

    def __init__(
        self, weights: Mapping[str, np.ndarray], species: tuple[str, ...] = ("Nb", "Mo", "Ta")
    ):
        super().__init__("bcc", CUTOFF / LATTICE_CONSTANT, len(species))
        self.species = tuple(species)
        self.weights = arrays = _check_weights(weights)
        w, c = zip(*(_fold(arrays, i) for i in range(N_HIDDEN)), strict=True)
        displacement = 2 * self.offsets[0, :, :3] + self.offsets[0, :, 3:]  # in half constants
        voxel = np.ravel_multi_index(tuple((displacement + BOX // 2).T), (BOX,) * 3)
        # Input p of jump q shows voxel turned[p]; only inputs in `voxel` can be other than 0, for
        # the cutoff is a sphere and the turns keep the sites.
        place = np.empty((ROWS, len(voxel)), np.int64)
        site_of = {v: e for e, v in enumerate(voxel.tolist())}
        for q, turn in enumerate(TURNS):
            turned = np.rot90(np.arange(BOX**3).reshape((BOX,) * 3), turn, axes=(0, 1))
            if q % 2 == 0:  # the jump has a minus in z
                turned = turned[:, :, ::-1]
            place[q] = [site_of[v] for v in turned.ravel()[voxel].tolist()]
        single = np.float32
        self._layers: dict[str, Any] = {
            "place": place,
            "first": w[0][voxel].astype(single),
            "first_bias": c[0].astype(single),
            "hidden": np.stack(w[1:]).astype(single),
            "hidden_bias": np.stack(c[1:]).astype(single),
            "last": arrays["out_weight"][:, 0].astype(float),
            "last_bias": float(arrays["out_bias"][0]),
        }
        self._local = threading.local()

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> "BarrierNetwork":
        """Load the weights from an npz or a safetensors file; no code in the file is run.

        Raises
        ------
        ValueError
            If the file is neither, is damaged, or lacks an array.
        """
        return cls(read_arrays(path), **options)

    def compiled(self) -> tuple[Callable, Layers]:
        """Return the kernel and its arrays; working memory belongs to the calling thread."""
        if not hasattr(self._local, "layers"):
            n_sites, width = self._layers["first"].shape
            self._local.layers = Layers(
                **self._layers,
                turned=np.empty((ROWS, n_sites), np.float32),
                even=np.empty((ROWS, width), np.float32),
                odd=np.empty((ROWS, width), np.float32),
                keys=np.full((KEPT, 4), 2**64 - 1, np.uint64),
                kept=np.empty((KEPT, ROWS)),
            )
        return _evaluate, self._local.layers

    def evaluate(self, environments: np.ndarray, basis: np.ndarray | None = None) -> np.ndarray:
        """Return the barriers (m, 8) in eV of environments (m, 112); `basis` does not matter."""
        return super().evaluate(environments, np.zeros(len(environments), np.int64))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz or a safetensors file, by the file's ending; never unpickles.

    Raises
    ------
    ValueError
        If the file cannot be read as what its ending says.
    """
    path = as_path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            return _read_npz(path)
    except Exception as error:  # damaged bytes make the readers raise nearly anything
        raise ValueError(
            f"Expected {path.name} to be a whole {path.suffix[1:]} file of plain arrays, but got: "
            f"{error}; save the weights anew."
        ) from error
    raise ValueError(
        f"Expected a file of weights that ends in .npz or .safetensors, but got {path.name!r}; "
        "convert it with numpy.savez or safetensors.numpy.save_file."
    )


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file; what its headers say is checked before it is allocated."""
    with path.open("rb") as stream:
        budget = budget_of(os.fstat(stream.fileno()).st_size)
        with ZipFile(stream) as archive:
            for member in archive.infolist():
                if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                    raise ValueError("a way of compressing that numpy does not use")
                with archive.open(member) as array:
                    check_npy(array, member.file_size, budget, member.filename)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


def _fold(arrays: Mapping[str, np.ndarray], i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return layer i as one linear map: gamma (x W + b - mean) / sqrt(var + eps) + beta."""
    part = {k: arrays[f"layer{i}_{k}"].astype(float) for k in _LAYER_PARTS}
    gain = part["bn_gamma"] / np.sqrt(part["bn_var"] + BATCH_NORM_EPS)
    return part["weight"] * gain, (part["bias"] - part["bn_mean"]) * gain + part["bn_beta"]


_LAYER_PARTS = ("weight", "bias", "bn_gamma", "bn_beta", "bn_mean", "bn_var")


def _check_weights(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of the network, all there, finite and of their shapes."""
    width = 4 * TILE
    shapes: dict[str, tuple[int, ...]] = {"out_weight": (width, 1), "out_bias": (1,)}
    for i in range(N_HIDDEN):
        for part in _LAYER_PARTS:
            shapes[f"layer{i}_{part}"] = (width,)
        shapes[f"layer{i}_weight"] = (BOX**3 if i == 0 else width, width)
    arrays = {}
    for name, shape in shapes.items():
        array = np.asarray(weights.get(name, "nothing"))
        fits = array.shape == shape and array.dtype.kind == "f"
        if not fits or not np.isfinite(array).all():
            came = f"{array.dtype} of shape {array.shape}" if name in weights else "none"
            raise ValueError(
                f"Expected weights with an array {name} of finite floats of shape {shape}, but got "
                f"{came}; pass the arrays of a network of four hidden layers of {width}."
            )
        arrays[name] = array
    return arrays
