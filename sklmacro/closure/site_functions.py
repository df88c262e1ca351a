"""Functions of the state of one site, of which clusters are products.

    two values     s                     the spin itself
    several        1[x = a]              indicator functions of states a, named after them
    fields         u, v, ...             the fields, and their products at one site

The indicators of all states add up to 1, so that all but the last are enough. Many integers, such
as numbers of particles, count as a field.

Shape vocabulary::

    sites       (n, n_fields)             states of n sites
    products    tuple of tuples of int    letters multiplied at one site, as (0,) or (0, 1)
    values      (n, n_products)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sklmacro.simulators import Simulator

MOST_STATES = 8  # that are told apart without being declared
FIELDS = "uvwpqr"  # names of up to six fields

Products = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SiteFunctions:
    """The functions of one site's state, by their letters.

    `states` are those that the letters indicate, one for each, or none for fields.
    """

    letters: tuple[str, ...]
    states: tuple[int, ...] = ()

    @property
    def independent(self) -> tuple[str, ...]:
        """Letters that do not follow from each other."""
        return self.letters[:-1] if self.states else self.letters

    def values(self, sites: np.ndarray, products: Products) -> np.ndarray:
        """Return products of letters at sites.

        A state that none of the letters indicates is a ValueError.
        """
        if not self.states:
            return _monomials(sites, _exponents(products, sites.shape[1]))
        sites = sites[:, 0]
        if not np.isin(sites, self.states).all():
            unknown = sites[~np.isin(sites, self.states)][0]
            raise ValueError(
                f"Expected the states {self.states} that were declared or seen in fit, but got "
                f"{unknown!r}; fit to snapshots that have it, or name it in state_names of the "
                "simulator."
            )
        states = np.array(self.states)
        return (sites[:, np.newaxis] == states[[k for (k,) in products]]).astype(float)

    def derivatives(self, sites: np.ndarray, products: Products) -> tuple[np.ndarray, np.ndarray]:
        """Return first and second derivatives (n, n_products, n_fields) by the fields."""
        e = _exponents(products, sites.shape[1])
        first, second = np.empty((2, len(sites), *e.shape))
        for f in range(e.shape[1]):
            for order, result in ((1, first), (2, second)):
                lowered = e.copy()
                lowered[:, f] = np.maximum(e[:, f] - order, 0)
                factor = e[:, f] if order == 1 else e[:, f] * (e[:, f] - 1)
                result[..., f] = factor * _monomials(sites, lowered)
        return first, second


def seen_states(simulator: Simulator, snapshots: np.ndarray) -> tuple[int, ...]:
    """Return the states of a site, declared by the simulator or seen in snapshots.

    There are none where a site has two values, fields, or many integers.
    """
    if not has_states(simulator):
        return ()
    states = simulator.state_names or np.unique(snapshots).tolist()
    return tuple(sorted(states)) if simulator.state_names or len(states) <= MOST_STATES else ()


def site_functions(simulator: Simulator, states: Sequence[int] = ()) -> SiteFunctions:
    """Return the functions of a site of a simulator, with `states` as `seen_states` gives them."""
    if simulator.two_valued and simulator.n_fields == 1:
        return SiteFunctions(("s",))
    if not (has_states(simulator) and (states or simulator.state_names)):
        n = simulator.n_fields
        fields = FIELDS[:n] if n <= len(FIELDS) else [f"u{k}" for k in range(n)]
        return SiteFunctions(tuple(fields))
    names = simulator.state_names
    if names:
        states = sorted(names)
    return SiteFunctions(tuple(names.get(a, f"x={a}") for a in states), tuple(states))


def has_states(simulator: Simulator) -> bool:
    """Return whether the sites have several integer states, without a mirror image -x."""
    whole = np.issubdtype(simulator.state_dtype, np.integer) and not simulator.two_valued
    return bool(whole and simulator.n_fields == 1 and simulator.parity is None)


def _exponents(products: Products, n_fields: int) -> np.ndarray:
    """Return the power (n_products, n_fields) of each field in products of letters."""
    return np.array([[p.count(f) for f in range(n_fields)] for p in products], int).reshape(
        len(products), n_fields
    )


def _monomials(sites: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    values = np.ones((len(sites), len(exponents)))
    for k, powers in enumerate(exponents.tolist()):
        for f, power in enumerate(powers):
            for _ in range(power):
                values[:, k] *= sites[:, f]
    return values
