"""The alloy NbMoTa: small systems, fits, and the figures over temperatures and sizes (Fig. 7).

Enters: small crystals annealed with barriers of a network. Leaves: SDEs of the order parameters
(Eqs. 30, 31) and their paths on larger crystals.
"""
