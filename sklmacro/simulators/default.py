"""Which simulator an estimator works with."""

from sklmacro.simulators.linear_chain import LinearChain
from sklmacro.simulators.simulator import Simulator


def resolve_simulator(simulator: Simulator | None) -> Simulator:
    """Return `simulator`, or `LinearChain()` for None: an open chain of one field.

    Raises
    ------
    ValueError
        If it is no simulator.
    """
    if simulator is None:
        return LinearChain()
    if isinstance(simulator, Simulator):
        return simulator
    raise ValueError(
        "Expected simulator to be an instance of sklmacro.simulators.Simulator, but got "
        f"{simulator!r}; pass for instance Ising(temperature=2.5)."
    )
