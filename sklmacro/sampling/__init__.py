"""Stages 1 and 2: large snapshots from small ones, and pairs of what their patches do.

Enters: small snapshots of a simulator. Leaves: large snapshots (Algorithm 1), then snapshot pairs,
in which some of the K patches have evolved for a short time (Eqs. 3, 10-17), or their exact moments
as dt -> 0; and an estimate of lam, the factor on the covariance (Eqs. 7, 18, 19).
"""
