"""How good a learned model is. `sklmacro.scoring` has the public names.

What enters are paths (n_paths, n_times, d) of a fitted SDE and of the large system, snapshots
(n_samples, *site_shape[, n_fields]), or a fitted SDE itself; numbers with standard errors leave.

=============  ==================================================================================
module         equations
=============  ==================================================================================
`mmd`          kernel sums of the maximum mean discrepancy (Fig. 2 of the paper)
`paths`        MMD^2(p, q) of paths, errors of their mean and spread; a scorer for searches
`stationary`   p ~ exp(int 2 mu / Sigma) / Sigma of one component; times of passage and reversal
`potential`    -grad Phi = Sigma^{-1} (2 mu - div Sigma) in two coordinates
`scaling`      finite-size scaling: Eqs. 25 (collapse), 26 (susceptibility), 27 (powers of L),
               28 (Binder cumulant) and 29 (its slope)
`plateau`      rates and diffusion over dt; where they are flat, dt belongs
`fidelity`     conditional means E[f | M] of upsampled against simulated snapshots
`structure`    structure factors S(k) and correlation lengths xi
=============  ==================================================================================
"""
