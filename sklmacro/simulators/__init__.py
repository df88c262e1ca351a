"""Microscopic simulators: physics only, each exact in law for its model.

Enters: a snapshot, a window of cells, a time or a number of events, a random generator. Leaves: the
snapshot later, its observables (Eqs. 24, 30), and the moments of their increments as dt -> 0. Here
stand Eqs. 20-22 (predator-prey), 23 and Algorithm 2 (Ising), Appendix D (Curie-Weiss, chain).
"""

from sklmacro.simulators.alloy import Alloy
from sklmacro.simulators.curie_weiss import CurieWeiss
from sklmacro.simulators.default import resolve_simulator
from sklmacro.simulators.events import Events
from sklmacro.simulators.ising import Ising
from sklmacro.simulators.linear_chain import LinearChain
from sklmacro.simulators.predator_prey import PredatorPrey
from sklmacro.simulators.protocol import Duration, EventCount, Evolution, Evolutions
from sklmacro.simulators.simulator import Simulator
from sklmacro.simulators.vacancies.barriers import (
    BarrierModel,
    CallableBarriers,
    ClusterBarriers,
    pairwise_barriers,
)
from sklmacro.simulators.vacancies.network import BarrierNetwork

__all__ = [
    "Alloy",
    "BarrierModel",
    "BarrierNetwork",
    "CallableBarriers",
    "ClusterBarriers",
    "CurieWeiss",
    "Duration",
    "EventCount",
    "Events",
    "Evolution",
    "Evolutions",
    "Ising",
    "LinearChain",
    "PredatorPrey",
    "Simulator",
    "pairwise_barriers",
    "resolve_simulator",
]
