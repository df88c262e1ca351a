"""Compiled twins of the likelihood and of the rollout of SDEs, on plain arrays.

In come the weights of models, in training or fitted. Out come Eq. 7 with its derivative
(`likelihood`), and the steps z <- z + mu(z) dt + L(z) xi of many paths at once (`paths`). Both rest
on perceptrons (`perceptron`) and on elementary functions without branches (`elementary`). The torch
modules of `sde.nets` and the loop of `sde.rollout` are the definition of what is computed here.
"""
