"""What estimators hold of other packages' objects, as plain values: generators and requests."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.random import MT19937, PCG64, PCG64DXSM, SFC64, BitGenerator, Philox
from sklearn.utils.metadata_routing import MetadataRequest

BIT_GENERATORS = {kind.__name__: kind for kind in (MT19937, PCG64, PCG64DXSM, SFC64, Philox)}
# Places in the generators' buffers, which numpy believes.
LARGEST_PLACES = {"pos": 624, "buffer_pos": 4}


class Foreign(NamedTuple):
    """How objects of a class become keyword arguments of `make`, and come back."""

    kind: type
    take: Callable[[Any], dict[str, Any]]
    make: Callable[..., Any]


def _bit_generator(state: Any) -> BitGenerator:
    """Return a bit generator that continues from `state`."""
    for part in (state, state["state"]):
        for name, largest in LARGEST_PLACES.items():
            if not 0 <= part.get(name, 0) <= largest:
                raise ValueError(
                    f"Expected {name} of a generator to be 0 to {largest}, but got {part[name]}."
                )
    bits = BIT_GENERATORS[state["bit_generator"]](0)
    bits.state = state
    return bits


def _random_state(state: dict[str, Any]) -> np.random.RandomState:
    made = np.random.RandomState(_bit_generator(state))
    made.set_state(state)
    return made


def _requests_of(request: MetadataRequest) -> dict[str, Any]:
    methods = {k: v.requests for k, v in vars(request).items() if hasattr(v, "requests")}
    owner = request.owner if isinstance(request.owner, str) else type(request.owner).__name__
    return {"owner": owner, "requests": {k: dict(v) for k, v in methods.items() if v}}


def _request(owner: str, requests: dict[str, dict[str, Any]]) -> MetadataRequest:
    made = MetadataRequest(owner=owner)
    for method, params in requests.items():
        for param, alias in params.items():
            getattr(made, method).add_request(param=param, alias=alias)
    return made


FOREIGN = {
    "Generator": Foreign(
        np.random.Generator,
        lambda generator: {"state": generator.bit_generator.state},
        lambda state: np.random.Generator(_bit_generator(state)),
    ),
    "RandomState": Foreign(
        np.random.RandomState,
        lambda random_state: {"state": random_state.get_state(legacy=False)},
        _random_state,
    ),
    "MetadataRequest": Foreign(MetadataRequest, _requests_of, _request),
}
