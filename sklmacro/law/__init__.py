"""The way from a simulator to its macroscopic law, in one line or in a loop.

Enters a simulator, leaves a fitted law:

    pipeline    make_macro_pipeline: the four stages, put together with what serves best
    learner     ActiveLearner: snapshots are made where the law is unsure, until it is sure
"""
