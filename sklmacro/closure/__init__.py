"""Stage 3: closure variables, known functions of snapshots or learned from their patches.

In come snapshots or snapshot pairs. Out come macrostates z = (z*, zhat), observables and closures,
and latent pairs for the SDE:

    zhat(x) = (1/K) sum_I phihat(x_I)                                   Eq. 1
    loss    = E |psi(phi*(x_I), phihat(x_I)) - x_I|^2                   Eq. 2
    dz      = phi(x_{t+dt,I}) - phi(x_{t,I})                            Eqs. 3, 9, 10

`autoencoder` learns closures, `codec` is its encoder and decoder, made of `nets`, and `moments`
gives the mean and covariance of dz as dt -> 0. `correlations` takes known functions, the `clusters`
of a library, by `choice` and `selection`; `known` evaluates them for both. `streaming` runs stages
1 to 3 batch by batch.
"""
