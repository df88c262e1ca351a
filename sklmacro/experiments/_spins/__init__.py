"""What the Ising and the Curie-Weiss experiment share (Figs. 3, 4, 8, 9): protocol and judgement.

Enters: settings of a spin system. Leaves: mean paths of the learned SDEs, and their errors against
direct simulation.
"""
