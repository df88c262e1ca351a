"""Microscopic simulators: physics only, each exact in law for its model."""

from sklmacro.simulators.alloy import Alloy
from sklmacro.simulators.curie_weiss import CurieWeiss
from sklmacro.simulators.default import resolve_simulator
from sklmacro.simulators.events import Events
from sklmacro.simulators.ising import Ising
from sklmacro.simulators.linear_chain import LinearChain
from sklmacro.simulators.predator_prey import PredatorPrey
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
    "Events",
    "Ising",
    "LinearChain",
    "PredatorPrey",
    "Simulator",
    "pairwise_barriers",
    "resolve_simulator",
]
