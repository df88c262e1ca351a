"""Training of nets by mini-batches, for closures and SDEs alike.

In come a module whose value is the mean loss of a batch, arrays with samples first, the rows that
are held out, and the block of parameters `Training`. Out come the module with the weights theta of
the best epoch, and the losses of all epochs:

    theta_{e+1} = AdamW(theta_e; lr_e),   lr_e along a cosine,   theta = argmin_e held-out loss
"""
