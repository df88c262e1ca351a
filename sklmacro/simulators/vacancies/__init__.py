"""Kernels of vacancy diffusion (Sec. III.3): sites, barriers, and jumps without rejections.

Enters: species on the sites of a crystal, a barrier model, a random state. Leaves: the crystal
later, the time that passed, and by how much the numbers of pairs changed (Eq. 30).
"""
