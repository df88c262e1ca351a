"""The way from a simulator to its macroscopic law, in one line or in a loop.

Enters a simulator, leaves a fitted law:

    pipeline             make_macro_pipeline: the stages, put together with what serves best
    stages               latent pairs of small snapshots, enlarged to one size or several
    learner              ActiveLearner: snapshots are made where the law is unsure, until it is sure
    uncertainty          how sure a law is of paths, and where it is not
    time_scale           the factor on time, from short runs of whole lattices
    correlation_length   whether a law of one size can be that of another
"""
