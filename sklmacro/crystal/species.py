"""Species: which chemical symbol each state of a site stands for.

States are integers, as simulators hold them; atoms and their files name chemical symbols. A state
without a symbol is an absent atom, a vacancy. ASE is imported when a function needs it.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType

import numpy as np

Species = Sequence[str | None] | Mapping[int, str | None]


def import_ase() -> ModuleType:
    """Return the package `ase`, which the extra `alloy` installs."""
    try:
        import ase
        import ase.data
    except ImportError as error:
        raise ImportError(
            "Expected ASE, which handles atoms and their files, but it cannot be imported; "
            "install sklmacro[alloy]."
        ) from error
    return ase


def species_map(species: Species) -> dict[int, str | None]:
    """Return the chemical symbol of every state.

    Parameters
    ----------
    species : sequence of str, or mapping of int to str or None
        A sequence gives the symbols of states 1, 2, ...; state 0 is a vacancy. A mapping gives
        the symbol of every state, or None for the state that is an absent atom.

    Raises
    ------
    ValueError
        If a state is no integer, a symbol is none of the periodic table (with "X" for an unnamed
        species), or two states share a symbol or have none, so that there is no way back.

    Examples
    --------
    >>> from sklmacro.crystal.species import species_map
    >>> species_map(["Nb", "Mo", "Ta"])
    {0: None, 1: 'Nb', 2: 'Mo', 3: 'Ta'}
    >>> species_map({-1: None, 1: "Fe"})
    {-1: None, 1: 'Fe'}
    """
    known = import_ase().data.atomic_numbers
    if isinstance(species, Mapping):
        states = dict(species)
    elif isinstance(species, Sequence) and not isinstance(species, str):
        states = {0: None, **dict(enumerate(species, start=1))}
    else:
        states = {}
    symbols = list(states.values())
    if (
        not any(symbols)
        or not all(isinstance(s, int | np.integer) and not isinstance(s, bool) for s in states)
        or not all(s is None or (isinstance(s, str) and s in known) for s in symbols)
    ):
        raise ValueError(
            "Expected species to be chemical symbols for the states 1, 2, ..., or a mapping of "
            f"integer states to symbols or None, but got {species!r}; pass for instance "
            "['Nb', 'Mo', 'Ta'] or {-1: None, 1: 'Fe'}."
        )
    if len(set(symbols)) < len(symbols):
        raise ValueError(
            "Expected species to have a symbol of its own for every state, and at most one state "
            f"that is a vacancy, but got {states!r}; change the symbols that occur twice."
        )
    return {int(state): symbol for state, symbol in states.items()}
