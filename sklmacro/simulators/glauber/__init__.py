"""Kernels of Glauber dynamics (Eq. 23, Algorithm 2): attempts, and events without rejections.

Enters: spins, windows, tables of rates, a source of random words. Leaves: the spins later, and
counts of what has happened. The square lattice has kernels of its own; all others go by tables.
"""
