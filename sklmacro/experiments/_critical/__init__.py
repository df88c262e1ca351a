"""The magnet near its critical point: statistics of equilibrium, kinetics, and learning at rest.

Enters: an Ising model and sizes L. Leaves: SDEs of the magnetisation learned from 16x16, and
susceptibility, Binder cumulant and relaxation times with errors (Eqs. 25 to 29).
"""
