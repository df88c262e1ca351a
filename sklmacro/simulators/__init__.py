"""Microscopic simulators: physics only, each exact in law for its model."""

from sklmacro.simulators._base import Simulator
from sklmacro.simulators._choice import resolve_simulator
from sklmacro.simulators._events import Events
from sklmacro.simulators.alloy import Alloy
from sklmacro.simulators.barrier_network import BarrierNetwork
from sklmacro.simulators.barriers import (
    BarrierModel,
    CallableBarriers,
    ClusterBarriers,
    pairwise_barriers,
)
from sklmacro.simulators.curie_weiss import CurieWeiss
from sklmacro.simulators.ising import Ising
from sklmacro.simulators.linear_chain import LinearChain
from sklmacro.simulators.predator_prey import PredatorPrey

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
