"""Stage 4: macroscopic SDEs, learned from latent pairs.

In come latent pairs (z, dz, dt, lam, context), with `cov` where dz is known by its moments. Out
come drift mu and diffusion Sigma, which simulate paths of systems of any size:

    dz = mu(z, c) dt + Sigma(z, c)^{1/2} dB                             Eqs. 4, 31
    mu = -(M + W) grad V + f                                            Eq. 5 (OnsagerNet)
    dz ~ N(mu dt, lam Sigma dt),   lam = 1 or K                         Eqs. 6, 7

An estimator is data and likelihood (`base`, `likelihood`) and a drift, fitted by gradient descent
(`neural`, `onsager`, on the modules of `nets`) or by regressions (`polynomial`, `regressions`).
What increments obey exactly stands in `relations`; `rollout` makes paths, `ensemble` error bars.
"""
