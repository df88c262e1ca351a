"""References that the method is judged by: exact laws, coupled runs, equilibrium by clusters.

Nothing of the method is used here. Enters: a model and a size. Leaves: laws or samples of Theorem 1
(Eqs. 16 to 19), and magnetisations in equilibrium.
"""
