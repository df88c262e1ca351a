"""Files changed at random: what is loaded is what was saved, and all else is a ValueError."""

import contextlib
import copy
import os
import time
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sklmacro as skm
from sklmacro.persistence import VersionWarning
from sklmacro.persistence.classes import CLASSES
from sklmacro.sde.base import PatchSDE
from tests.fitted import predictions
from tests.hostile import estimator, sealed, whole
from tests.round_trips import same

EXAMPLES = int(os.environ.get("FUZZED_FILES", "200"))  # of each test
NAMES = ["linear", "mlp, odd", "onsager", "sampler", "pipeline with scikit-learn"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzed") / "estimator.safetensors"


def loaded(data, path):
    """Return what a file holds, or None where it is refused; nothing else may happen."""
    path.write_bytes(data)
    start = time.perf_counter()
    with warnings.catch_warnings(), contextlib.suppress(ValueError):
        warnings.simplefilter("ignore", VersionWarning)
        found = skm.load(path)
        assert time.perf_counter() - start < 5
        return found
    return None


# --- bytes ----------------------------------------------------------------------------------------

PLACES = st.integers(0, 2**14)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), PLACES, st.integers(0, 255)),
        st.tuples(st.just("flip"), PLACES, st.integers(0, 7)),
        st.tuples(st.just("cut"), PLACES, PLACES),
        st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=20)),
        st.tuples(st.just("repeat"), PLACES, st.integers(1, 200)),
    ),
    min_size=1,
    max_size=4,
)


def changed(data, changes):
    data = bytearray(data)
    for what, place, value in changes:
        place %= len(data) or 1
        if what == "set":
            data[place : place + 1] = bytes([value])
        elif what == "flip":
            data[place : place + 1] = bytes(b ^ 1 << value for b in data[place : place + 1])
        elif what == "cut":
            del data[place : place + value]
        elif what == "insert":
            data[place:place] = value
        else:
            data[place:place] = data[place : place + value]
    return bytes(data)


@settings(max_examples=EXAMPLES)
@given(name=st.sampled_from(NAMES), changes=CHANGES)
@example(name="linear", changes=[("insert", 0, b"")])  # the control: nothing is changed
def test_changed_bytes_give_the_same_predictions_or_a_value_error(path, name, changes):
    data = changed(whole(name)[0], changes)
    found = loaded(data, path)
    assert found is not None or data != whole(name)[0]
    if found is not None:
        expected = predictions(estimator(name))
        for method, values in predictions(found).items():
            assert same(values, expected[method])


# --- objects and arrays, with the right checksum --------------------------------------------------


def places(node, above=()):
    """The paths of all nodes of a JSON tree."""
    yield above
    children = enumerate(node) if isinstance(node, list) else getattr(node, "items", tuple)()
    for key, child in children:
        yield from places(child, (*above, key))


def at(tree, keys):
    for key in keys:
        tree = tree[key]
    return tree


SMALL_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63), 10**30, 0.5, -1e308, 1e-308, "", "eval", "K", "auto"]),
    st.sampled_from([*CLASSES, "Generator", "RandomState", "MetadataRequest", "os.system"]),
    st.builds(lambda k: {"object": k}, st.integers(-1, 4)),
    st.sampled_from([{"float": "nan"}, {"float": "inf"}, {"tuple": []}, {"dict": []}, [], {}]),
)
TAGS = ["tuple", "dict", "array", "transposed", "scalar", "strings", "fields", "path", "class"]
CODES = st.recursive(
    SMALL_VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(TAGS), inner, min_size=1, max_size=1),
        st.dictionaries(st.sampled_from(["shape", "items", "object"]), inner),
    ),
    max_leaves=6,
)
# Where, and what is put there: a value, or another node of the tree.
REPLACED = st.lists(st.tuples(st.integers(0, 2**16), CODES | st.integers(0, 2**16)), max_size=3)
ARRAYS = {
    "transposed": lambda a: a.T,
    "shorter": lambda a: a[:-1] if a.ndim else a,
    "flat": lambda a: a.ravel(),
    "with an axis": lambda a: a[None],
    "empty": lambda a: a.ravel()[:0],
    "single": lambda a: a.astype(np.float32),
    "bytes": lambda a: np.frombuffer(a.tobytes(), np.uint8),
    "integers": lambda a: np.full(a.shape, 2**62),
    "NaN": lambda a: np.full(a.shape, np.nan),
}
RESHAPED = st.lists(st.tuples(st.integers(0, 2**8), st.sampled_from([*ARRAYS])), max_size=2)


@settings(max_examples=EXAMPLES)
@given(name=st.sampled_from(NAMES), replaced=REPLACED, reshaped=RESHAPED)
@example(name="linear", replaced=[], reshaped=[])
def test_changed_objects_are_consistent_or_a_value_error(path, name, replaced, reshaped):
    """Whatever is loaded can be computed with: it gives an answer or an exception, no crash."""
    _, objects, arrays = whole(name)
    for number, code in replaced:
        found = [*places(objects)][1:]
        *above, key = found[number % len(found)]
        other = at(objects, found[code % len(found)]) if type(code) is int else code
        at(objects, above)[key] = copy.deepcopy(other)
    for number, change in reshaped:
        key = [*arrays][number % len(arrays)] if arrays else None
        if key is not None:
            arrays[key] = ARRAYS[change](arrays[key]).copy()
    found = loaded(sealed(objects, arrays), path)
    assert found is not None or replaced or reshaped
    if isinstance(found, PatchSDE) and hasattr(found, "model_"):
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            start = np.zeros((2, found.n_state_))
            context = np.zeros(found.n_features_in_ - found.n_state_)
            found.simulate(start, 3, 0.1, context=context, random_state=0)
