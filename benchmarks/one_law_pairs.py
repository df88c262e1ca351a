"""Laws from a given number of pairs, with defaults: where paths were lost, and without moments.

    python -m benchmarks.one_law_pairs [--cases predator-prey sampled] [--seeds 5]

predator-prey: 1,200 pairs of the experiment's interpolated snapshots, correlations as closures, and
a Gaussian process. Paths are those of the experiment's nine starts, 100 of each; a path is lost
that is not finite, or further from the true paths than they are apart. The MMD is of lam over its
theory, K / p: least at 1. Moments are those of the whole snapshots, of one patch of each, or of
what make_macro_pipeline makes of 16 small ones.

sampled: 10,000 pairs of the same snapshots, of increments and of moments; the ratio of the errors
of the mean path.
"""

import argparse
import time
import warnings

import numpy as np

import sklmacro as skm
from benchmarks.judging import Scale, floor, judge
from benchmarks.one_law import DT, DURATION, EVERY, N_PATHS, STARTS, scale_of, starts, true_paths
from benchmarks.user_simulators import NoMoments
from sklmacro.experiments.predator_prey import AMPLITUDES, MEANS
from sklmacro.scoring import mean_mmd2, mean_path_error, std_ratio
from sklmacro.simulators import CurieWeiss, Ising, PredatorPrey

SETTINGS = ("0.4,3", "0.4,2.5", "0.45,3", "0.45,2.5")  # b, a
LAMS = (0.8, 1.0, 1.25)
N_LARGE, PATCH, N_EACH = 200, 40, 100
TIMES = np.arange(0.0, 30.25, 0.5)
STEP = 0.01  # the model's own, whose error the truth has as well


def snapshots(spde, n, seed):
    """Return 1,200 snapshots (1200, n, 2) of 50 trajectories, and their groups."""
    X = spde.sample_initial(50, n, random_state=seed)
    X = spde.simulate(X, np.arange(0.0, 30.0, 1.25), random_state=seed)
    return X.reshape(-1, n, 2), np.repeat(np.arange(50), X.shape[1])


def latent_of_snapshots(spde, seed, patch=None):
    """Return the closure, and pairs of 1,200 snapshots that are interpolated to twice the cells."""
    X, groups = snapshots(spde, N_LARGE // 2, seed)
    X = skm.HierarchicalUpsampler(
        spde, factor=2, relaxation=skm.LocalRelax(duration=None), random_state=seed
    ).fit_transform(X)
    sampler = skm.PartialEvolutionSampler(spde, patch=patch, moments=True, random_state=seed)
    pairs = sampler.fit(X).transform(X, groups)
    closure = skm.CorrelationClosure(spde)
    return closure, closure.fit_transform(pairs)


def latent_of_patches(spde, seed):
    """Return the same with moments of one patch of each."""
    return latent_of_snapshots(spde, seed, PATCH)


def latent_of_pipeline(spde, seed):
    """Return the closure, and the 1,200 pairs of a pipeline of 16 small snapshots."""
    X, _ = snapshots(spde, PATCH, seed)
    rows = np.random.default_rng(seed).permutation(len(X))[:16]
    model = skm.make_macro_pipeline(spde, PATCH, N_LARGE, random_state=seed)
    latent = model[:-1].fit_transform(X[rows])
    return model["closure"], latent


WAYS = {
    "whole": latent_of_snapshots,
    "one patch": latent_of_patches,
    "pipeline": latent_of_pipeline,
}


def predator_prey(seeds, ways, settings):
    """Print a table: lost paths, and the MMD by lam."""
    for b, a in (map(float, setting.split(",")) for setting in settings):
        spde = PredatorPrey(a=a, b=b)
        first = [spde.initial_state(N_LARGE, k, m) for k in AMPLITUDES for m in MEANS]
        truth = [
            spde.simulate(np.repeat(x[None], N_EACH, axis=0), TIMES, observe=True, random_state=i)
            for i, x in enumerate(first)
        ]
        scale = Scale.of(truth)
        for how in ways:
            scores = []
            for seed in range(seeds):
                begin = time.perf_counter()
                closure, latent = WAYS[how](spde, seed)
                z0 = closure.transform(np.stack(first))
                ratio = latent["n_patches"][0] / latent["n_evolved"][0]
                row, lost, errors, spread = [], 0, [], []
                for lam in LAMS:
                    sde = skm.PatchSDERegressor(
                        drift_model=skm.GaussianProcess(), lam=lam * ratio, random_state=seed
                    ).fit(latent)
                    paths = sde.simulate(
                        z0, round(TIMES[-1] / STEP), STEP, n_paths=N_EACH, random_state=seed,
                        store_every=round(TIMES[1] / STEP),
                    )[..., :2].reshape(len(first), N_EACH, len(TIMES), 2)  # fmt: skip
                    with np.errstate(invalid="ignore"):
                        near = np.abs(scale(paths) - 0.5).max(axis=(2, 3)) < 1.5
                    if lam == 1:
                        lost = int((~near).sum())
                        pairs = list(zip(paths, truth, strict=True))
                        errors = [mean_path_error(scale(p), scale(q)) for p, q in pairs]
                        spread = np.mean([std_ratio(p, q) for p, q in pairs], axis=0)
                    row.append(
                        np.mean([mean_mmd2(p, q) for p, q in zip(paths, truth, strict=True)])
                    )
                scores.append(row)
                names = ", ".join(cluster.name for cluster in closure.clusters_)
                print(
                    f"b={b:g} a={a:g} {how} seed {seed}: {len(latent)} pairs, lost {lost} of "
                    f"{len(first) * N_EACH}, error {np.mean(errors):.1e} (floor "
                    f"{floor(truth, scale):.0e}), std {np.round(spread, 2)}, 1e4 MMD2 "
                    f"{np.round(1e4 * np.array(row), 1)}, least at {LAMS[int(np.argmin(row))]} K, "
                    f"{time.perf_counter() - begin:.0f} s; {names}",
                    flush=True,
                )
            mean = np.mean(scores, axis=0)
            print(
                f"b={b:g} a={a:g} {how}: 1e4 MMD2 {np.round(1e4 * mean, 1)} of lam / K = {LAMS}, "
                f"least at {LAMS[int(np.argmin(mean))]} K",
                flush=True,
            )


class PlainIsing(NoMoments, Ising):
    """Ising model whose increments can only be sampled."""


class PlainCurieWeiss(NoMoments, CurieWeiss):
    """Curie-Weiss model whose increments can only be sampled."""


MODELS = {
    "Ising": (Ising(2.5, 0.1), PlainIsing(2.5, 0.1)),
    "Curie-Weiss": (CurieWeiss(1.1, 0.1), PlainCurieWeiss(1.1, 0.1)),
}


def sampled(seeds, models):
    """Print the errors of sampled increments and of moments."""
    times = np.arange(0.0, DURATION + EVERY / 2, EVERY)
    for name in models:
        exact = MODELS[name][0]
        if isinstance(exact, Ising):
            truths = true_paths(exact, 64)
            scale = scale_of(truths)
        else:
            truths = [
                exact.simulate(starts(m, 64, 256, k), times, observe=True, random_state=k)
                for k, m in enumerate(STARTS)
            ]
            scale = Scale(np.zeros(1), np.ones(1))
        ratios = []
        for seed in range(seeds):
            errors, spread, seconds = [], [], []
            for model in MODELS[name]:
                begin = time.perf_counter()
                small = model.sample_initial(134, 16, observables="even", random_state=seed)
                pipeline = skm.make_macro_pipeline(model, random_state=seed).fit(small)

                def simulate(k, pipeline=pipeline):
                    z0 = pipeline[:-1]["closure"].transform(starts(STARTS[k], 64, 8, 100 + k))
                    return pipeline["sde"].simulate(
                        z0, round(DURATION / DT), DT, n_paths=N_PATHS // 8,
                        store_every=round(EVERY / DT), random_state=k,
                    )  # fmt: skip

                seconds.append(time.perf_counter() - begin)
                own = judge(simulate, truths, scale)
                errors.append(own.errors.mean())
                spread.append(own.ratios.round(2))
                names = ", ".join(c.name for c in pipeline["closure"].clusters_)
                print(f"    closures {names}; errors by start {own.errors}")
            ratios.append(errors[1] / errors[0])
            print(
                f"{name} seed {seed}: error {errors[1]:.2e} sampled, {errors[0]:.2e} of moments, "
                f"ratio {ratios[-1]:.2f} (floor {floor(truths, scale):.0e}); std {spread[1]}, "
                f"{spread[0]}; {seconds[1]:.0f} s, {seconds[0]:.0f} s",
                flush=True,
            )
        print(f"{name}: median {np.median(ratios):.2f}, worst {max(ratios):.2f}", flush=True)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=["predator-prey", "sampled"])
    parser.add_argument("--ways", nargs="+", default=["whole", "pipeline"], choices=list(WAYS))
    parser.add_argument("--settings", nargs="+", default=SETTINGS)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if "predator-prey" in options.cases:
        predator_prey(options.seeds, options.ways, options.settings)
    if "sampled" in options.cases:
        sampled(options.seeds, options.models)


if __name__ == "__main__":
    main()
