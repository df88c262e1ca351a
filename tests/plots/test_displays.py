"""Displays: what is drawn is the data, where it was asked for, and nothing global changes."""

import ast
import io
from functools import cache, partial
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import make_pipeline

import sklmacro.plots
from sklmacro import (
    MLP,
    CorrelationClosure,
    HierarchicalUpsampler,
    OnsagerSDE,
    PartialEvolutionSampler,
    PatchAutoencoder,
    PatchEncoder,
    Patches,
    PatchSDERegressor,
    SDEEnsemble,
    Training,
)
from sklmacro.closure.selection import SelectionStep
from sklmacro.plots import (
    ClosureSelectionDisplay,
    DriftDisplay,
    FidelityDisplay,
    LamSearchDisplay,
    PlateauDisplay,
    ScalingDisplay,
    SnapshotDisplay,
    StationaryDisplay,
    TrainingDisplay,
    TrajectoryDisplay,
)
from sklmacro.scoring import (
    WORST_SCORE,
    Plateau,
    ReferencePaths,
    collapse,
    fidelity,
    power_law,
    stationary_density,
    wasserstein,
)
from sklmacro.simulators import Ising, LinearChain, PredatorPrey

RNG = np.random.default_rng(0)
ISING = Ising(3.0)
TIMES = np.arange(0.0, 5.0)
DRAWING = "import matplotlib", "from matplotlib"


def linear(d, seed=0):
    """SDE fitted to dz = -0.3 z dt + 0.5 dB."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1, 1, (400, d))
    sde = PatchSDERegressor(drift_model="linear", diffusion_model="constant", dt=0.1)
    return sde, z, -0.03 * z + 0.5 * np.sqrt(0.1) * rng.standard_normal(z.shape)


@pytest.fixture(scope="module")
def fitted():
    sde, z, dz = linear(2)
    return sde.fit(z, dz), z


@pytest.fixture(scope="module")
def ensemble():
    sde, z, dz = linear(1)
    return SDEEnsemble(sde, n_members=3, random_state=0).fit(z, dz), z


@pytest.fixture(scope="module")
def onsager():
    _, z, dz = linear(2)
    return OnsagerSDE(hidden=(4,), training=Training(max_epochs=3), dt=0.1, random_state=0).fit(
        z, dz
    ), z


@pytest.fixture(scope="module")
def pipeline():
    chain = LinearChain()
    X = chain.sample_initial(60, 8, random_state=0)
    return make_pipeline(
        PartialEvolutionSampler(chain, patch=4, dt=0.5, random_state=0),
        PatchAutoencoder(
            chain,
            n_closure=1,
            encoder=PatchEncoder(hidden=(4,)),
            training=Training(max_epochs=2),
            random_state=0,
        ),
        PatchSDERegressor(
            drift_model=MLP(hidden=(4,), training=Training(max_epochs=3)), random_state=0
        ),
    ).fit(X), X


def plateau(interval=(0.0, 0.5)):
    dts = np.array([0.0, 0.1, 0.5, 2.0])
    rate, diffusion = RNG.uniform(1, 2, (2, 4, 2))
    return Plateau(dts, ("m", "w"), rate, 0.1 * rate, diffusion, 0.1 * diffusion, interval)


@cache
def spins():
    """Two batches of snapshots of 4x4 spins."""
    return [ISING.sample_initial(120, 4, random_state=seed) for seed in range(2)]


def scaling_points(noise=0.0):
    T, L = np.meshgrid(np.linspace(2.2, 2.34, 8), [16, 32, 64])
    T, L = T.ravel(), L.ravel()
    y = L**-0.125 / (1 + np.exp((T - 2.269) * L / 4))
    return T, L, y * (1 + noise * np.random.default_rng(0).standard_normal(len(y)))


def comparison():
    return fidelity(ISING, *spins(), parity=True)


def history(n=6):
    return [{"train_loss": 1 / (k + 1), "valid_loss": 1 + (k - 3) ** 2} for k in range(n)]


SELECTION = [
    SelectionStep("observables", 1.0, 0.0, (0.1, 0.2)),
    SelectionStep("s s (1,1)", 0.2, 0.05, (0.02, 0.04)),
    SelectionStep("s s (0,2)", 0.01, 0.02, (0.001, 0.002)),
]

# Every display with its number of panels: all of them draw the same way.
MADE = {
    "trajectory": (lambda: TrajectoryDisplay(TIMES, RNG.normal(size=(4, 5, 2))), 2),
    "lam search": (lambda: LamSearchDisplay(np.array([1.0, 4.0]), RNG.normal(size=(2, 3))), 1),
    "drift": (lambda: DriftDisplay((TIMES, TIMES), np.ones((5, 5, 2)), np.eye(5)), 1),
    "drift of one": (lambda: DriftDisplay((TIMES,), np.ones((5, 1)), TIMES), 2),
    "stationary": (lambda: StationaryDisplay(TIMES, np.ones(5), y_true=RNG.normal(size=9)), 1),
    "snapshot": (lambda: SnapshotDisplay(np.eye(4), Ising().lattice((4, 4))), 1),
    "scaling": (lambda: ScalingDisplay(*scaling_points(), Tc=2.269), 1),
    "training": (lambda: TrainingDisplay({"a": [history()], "b": [history()] * 2}), 2),
    "closure selection": (lambda: ClosureSelectionDisplay(SELECTION), 1),
    "plateau": (lambda: PlateauDisplay(plateau(), dt=0.3), 2),
    "fidelity": (lambda: FidelityDisplay(comparison()), 2),
}


def axes_of(display):
    return list(display.axes_) if hasattr(display, "axes_") else [display.ax_]


def test_every_display_is_tested():
    assert {type(make()).__name__ for make, _ in MADE.values()} == set(sklmacro.plots.__all__)


@pytest.mark.parametrize("name", MADE)
def test_a_new_figure_is_made_where_no_axes_are_given(name):
    make, n = MADE[name]
    display = make()
    assert not hasattr(display, "figure_")
    assert display.plot() is display
    assert plt.get_fignums() == [display.figure_.number]
    axes = axes_of(display)
    assert len(axes) == n
    assert all(ax.figure is display.figure_ for ax in axes)
    assert all(ax.get_xlabel() for ax in axes)
    display.figure_.savefig(io.BytesIO())


@pytest.mark.parametrize("name", MADE)
def test_axes_that_are_given_are_used_and_nothing_global_changes(name):
    make, n = MADE[name]
    current = plt.figure().gca()
    before = dict(matplotlib.rcParams), plt.get_fignums(), matplotlib.get_backend()
    figure = Figure()
    axes = np.atleast_1d(figure.subplots(1, n))
    for ax in (axes, axes) if n > 1 else (axes[0], axes):
        display = make().plot(ax)
        assert axes_of(display) == list(axes)
        assert display.figure_ is figure
    assert (dict(matplotlib.rcParams), plt.get_fignums(), matplotlib.get_backend()) == before
    assert plt.gca() is current
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize("name", MADE)
def test_wrong_axes_are_refused(name):
    make, n = MADE[name]
    for wrong in (Figure().subplots(1, n + 1), "here", []):
        with pytest.raises(ValueError, match=rf"Expected ax to be {n} matplotlib axes.*; pass"):
            make().plot(wrong)


def test_more_panels_than_three_go_into_rows():
    display = TrajectoryDisplay(TIMES, RNG.normal(size=(4, 5, 5))).plot()
    rows = {round(ax.get_position().y0, 2) for ax in display.axes_}
    assert len(display.axes_) == len(display.figure_.axes) == 5
    assert len(rows) == 2


def test_matplotlib_is_asked_for_by_name_where_it_is_missing(monkeypatch, fitted):
    monkeypatch.setattr("sklmacro.plots._axes.find_spec", lambda name: None)
    sde, z = fitted
    for call in (
        MADE["plateau"][0]().plot,
        lambda: DriftDisplay.from_estimator(sde, z),
        lambda: TrajectoryDisplay.from_predictions(None, np.ones((2, 5, 1)), times=TIMES),
    ):
        with pytest.raises(ImportError, match=r'install it with .* "sklmacro\[plot\]"'):
            call()


def test_matplotlib_is_imported_by_drawing_alone():
    paths = list(Path(sklmacro.plots.__file__).parent.glob("*.py"))
    assert len(paths) > 10
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not ast.unparse(node).startswith(DRAWING), path.name


# Trajectories -------------------------------------------------------------------------------------


def edges(band):
    """Lower and upper edge of what fill_between drew, at the times."""
    x, y = band.get_paths()[0].vertices.T
    return np.array([[y[x == t].min(), y[x == t].max()] for t in np.unique(x)]).T


def test_bands_are_those_of_the_paths():
    true, paths = RNG.normal(size=(6, 5, 1)), RNG.normal(size=(8, 5, 2))
    groups = np.array([0, 1] * 4)
    display = TrajectoryDisplay.from_predictions(
        true, paths, times=TIMES, groups_pred=groups, labels=["m [T]", "closure0"]
    )
    assert len(display.axes_) == 1  # the component that has a truth
    assert display.axes_[0].get_ylabel() == "m [T]"
    assert [len(display.lines_), len(display.true_lines_)] == [2, 1]
    mean, std = true[..., 0].mean(axis=0), true[..., 0].std(axis=0, ddof=1)
    assert np.allclose(display.true_lines_[0].get_ydata(), mean)
    assert np.allclose(edges(display.true_bands_[0]), [mean - std, mean + std])
    for group in (0, 1):
        own = paths[groups == group, :, 0]
        assert np.array_equal(display.lines_[group].get_xdata(), TIMES)
        assert np.allclose(display.lines_[group].get_ydata(), own.mean(axis=0))
    own = paths[groups == 1, :, 0]
    display.plot(band=(0.25, 0.75))
    assert np.allclose(display.lines_[1].get_ydata(), np.median(own, axis=0))
    assert np.allclose(edges(display.bands_[1]), np.quantile(own, [0.25, 0.75], axis=0))
    display.plot(band="error")
    mean, error = own.mean(axis=0), own.std(axis=0, ddof=1) / 2
    assert np.allclose(edges(display.bands_[1]), [mean - error, mean + error])
    display.plot(band=None)
    assert display.bands_ == display.true_bands_ == []


def test_a_single_path_has_no_band():
    display = TrajectoryDisplay(TIMES, RNG.normal(size=(3, 5, 1)), groups_pred=np.arange(3)).plot()
    assert len(display.lines_) == 3
    assert display.bands_ == []


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
def test_paths_are_those_that_the_sde_predicts(fitted):
    sde, _ = fitted
    X, true = [[1.0, 0.0], [-1.0, 0.5]], RNG.normal(size=(2, 5, 2))
    reference = ReferencePaths(X, true, TIMES / 2)
    display = TrajectoryDisplay.from_estimator(
        sde, reference, dt=0.1, n_paths=3, groups=[0, 1], random_state=5
    )
    paths = sde.simulate(X, 20, 0.1, n_paths=3, store_every=5, random_state=5)
    assert np.array_equal(display.y_pred, paths)
    assert np.array_equal(display.y_true, true)
    assert display.groups_true.tolist() == [0, 1]
    assert display.groups_pred.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.allclose(display.lines_[1].get_ydata(), paths[3:, :, 0].mean(axis=0))
    assert [ax.get_ylabel() for ax in display.axes_] == ["z0", "z1"]


@pytest.mark.filterwarnings("ignore::sklmacro.UncoveredPathsWarning")
def test_standard_error_of_an_ensemble_is_the_spread_of_its_members_means(ensemble):
    model, _ = ensemble
    reference = ReferencePaths([[1.0], [0.5]], RNG.normal(size=(2, 5, 1)), TIMES)
    display = TrajectoryDisplay.from_estimator(
        model, reference, n_paths=4, groups=[7, 8], random_state=0, band="error"
    )
    paths = model.simulate_members([[1.0], [0.5]], 4, 1.0, n_paths=4, random_state=0)
    assert np.array_equal(display.y_pred, paths)
    assert display.groups_pred.tolist() == [7] * 4 + [8] * 4
    means = paths[:, 4:, :, 0].mean(axis=1)  # of the second start
    mean, error = means.mean(axis=0), means.std(axis=0, ddof=1)
    assert np.allclose(display.lines_[1].get_ydata(), mean)
    assert np.allclose(edges(display.bands_[1]), [mean - error, mean + error])
    display.plot(band="std")
    pooled = paths[:, 4:, :, 0].reshape(12, 5)
    mean, std = pooled.mean(axis=0), pooled.std(axis=0, ddof=1)
    assert np.allclose(edges(display.bands_[1]), [mean - std, mean + std])


def test_a_pipeline_brings_names_and_takes_snapshots(pipeline):
    model, X = pipeline
    true = LinearChain().simulate(X[:3], TIMES, observe=True, random_state=0)
    display = TrajectoryDisplay.from_estimator(
        model, ReferencePaths(X[:3], true, TIMES), random_state=0
    )
    assert [ax.get_ylabel() for ax in display.axes_] == ["mean displacement"]
    paths = model[-1].simulate(model[-2].transform(X[:3]), 4, 1.0, random_state=0)
    assert np.array_equal(display.y_pred, paths)
    alone = TrajectoryDisplay.from_predictions(None, paths, times=TIMES, labels=LinearChain())
    assert [ax.get_ylabel() for ax in alone.axes_] == ["mean displacement", "closure0"]


def test_several_displays_share_axes():
    one = TrajectoryDisplay(TIMES, RNG.normal(size=(4, 5, 1))).plot(name="method")
    two = TrajectoryDisplay(TIMES, RNG.normal(size=(4, 5, 1))).plot(one.axes_, name="b", style=1)
    assert one.lines_[0].get_color() != two.lines_[0].get_color()
    assert [t.get_text() for t in one.axes_[0].get_legend().get_texts()] == ["method", "b"]


# Searches over lam --------------------------------------------------------------------------------


class Toy(BaseEstimator):
    """Scores of a known optimum: -|log2(lam / 16)| - depth, and the number of the split."""

    def __init__(self, lam=1.0, depth=0):
        self.lam = lam
        self.depth = depth

    def fit(self, X, y=None):
        self.lam_ = 16.0 if self.lam == "K" else self.lam
        return self

    def predict(self, X):
        return X

    def score(self, X, y=None):
        return -abs(np.log2(self.lam_ / 16)) - self.depth + 0.1 * (X[0, 0] == 0)


SAMPLES = np.arange(60.0)[:, None]


def test_scores_of_a_search_with_the_factor_of_theory():
    grid = {"lam": [64.0, "K", 4.0], "depth": [0, 1]}
    search = GridSearchCV(Toy(), grid, cv=2).fit(SAMPLES)
    display = LamSearchDisplay.from_estimator(search, negate_score=True)
    assert display.K == 16  # of the best estimator, whose lam is "K"
    assert list(display.K_line_.get_xdata()) == [16, 16]
    assert len(display.errorbars_) == 2
    for depth, drawn in enumerate(display.errorbars_):
        line, _, (bars,) = drawn.lines
        assert line.get_xdata().tolist() == [4, 16, 64]
        assert np.allclose(line.get_ydata(), np.array([2, 0, 2]) + depth - 0.05)
        assert np.allclose(np.diff([s[:, 1] for s in bars.get_segments()]), 0.1)  # 2 std
        assert drawn.get_label() == f"depth = {depth}"
    assert display.ax_.get_ylabel() == "-score"
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["4", "16", "64"]


def test_halving_gives_a_curve_for_each_amount_of_data():
    search = HalvingGridSearchCV(
        Toy(), {"lam": [1.0, 4.0, 16.0]}, cv=2, min_resources=20, random_state=0
    ).fit(SAMPLES)
    display = LamSearchDisplay.from_estimator(search, K=16)
    labels = [drawn.get_label() for drawn in display.errorbars_]
    assert labels == ["n_resources = 20", "n_resources = 60"]
    assert [len(drawn.lines[0].get_xdata()) for drawn in display.errorbars_] == [3, 1]


def test_the_factor_is_read_from_the_sampler_of_a_pipeline():
    chain = LinearChain()
    sampler = PartialEvolutionSampler(chain, patch=Patches(5, n_evolved=2), random_state=0)
    pipe = make_pipeline(sampler, Toy())
    search = GridSearchCV(pipe, {"toy__lam": [1.0, 2.0]}, cv=2, scoring=lambda *_: 0.0)
    search.fit(chain.sample_initial(8, 20, random_state=0))
    assert LamSearchDisplay.from_estimator(search).K == 2  # 4 patches, 2 evolved


def test_failed_candidates_are_marked_and_not_drawn():
    results = {
        "param_sde__lam": [1.0, 4.0], "split0_test_score": [WORST_SCORE, -1.0],
        "split1_test_score": [-2.0, -3.0],
    }  # fmt: skip
    display = LamSearchDisplay.from_cv_results(results)
    assert display.failed_[0].get_xdata().tolist() == [1]
    assert np.isnan(display.errorbars_[0].lines[0].get_ydata()[0])
    assert display.errorbars_[0].lines[0].get_ydata()[1] == -2
    assert display.K_line_ is None


# Drift --------------------------------------------------------------------------------------------


class Exact(BaseEstimator):
    """Fitted by nothing: mu_k = -k z_k + z_2, Sigma = 1, of d components."""

    def __init__(self, d=3):
        self.d = d
        self.n_state_ = d

    def fit(self, X, y=None):
        return self

    def drift(self, z, context=None):
        return -np.arange(1, self.d + 1) * z + z[:, -1:] * (self.d > 1)

    def diffusion(self, z, context=None):
        return np.tile(np.eye(self.d), (len(z), 1, 1))


def test_drift_and_potential_in_two_coordinates_with_the_third_held():
    X = RNG.uniform(-1, 1, (500, 3))
    display = DriftDisplay.from_estimator(
        Exact(), X, components=(1, 0), at=[9, 9, 0.5], grid_resolution=21, labels=["a", "b", "c"]
    )
    y, x = np.meshgrid(*display.grids, indexing="ij")
    assert np.allclose(display.drift, np.stack([-2 * y + 0.5, -x + 0.5], axis=-1))
    exact = x**2 - x + 2 * y**2 - y
    assert np.allclose(display.potential, exact - exact.min())
    assert (display.axes_[0].get_xlabel(), display.axes_[0].get_ylabel()) == ("b", "a")
    assert display.colorbar_.ax.get_ylabel() == "effective potential (100 % of the force)"
    assert display.grids[0][[0, -1]].tolist() == [X[:, 1].min(), X[:, 1].max()]
    default = DriftDisplay.from_estimator(Exact(), X, grid_resolution=5)
    assert default.drift[0, 0, 0] == pytest.approx(-X[:, 0].min() + X[:, 2].mean())


def test_arrows_and_lines_follow_the_drift(fitted):
    sde, z = fitted
    display = DriftDisplay.from_estimator(sde, z, kind="arrows", grid_resolution=17)
    field = display.field_
    drift = sde.drift(np.column_stack([field.X, field.Y]))
    assert np.allclose(np.column_stack([field.U, field.V]), drift)
    display.plot(kind="streams")
    assert len(display.field_.lines.get_segments()) > 50
    assert np.array_equal(np.transpose(display.states_.get_data()), z)


def test_an_onsager_net_has_a_potential_of_its_own(onsager):
    sde, z = onsager
    display = DriftDisplay.from_estimator(sde, z, grid_resolution=7)
    points = np.stack(np.meshgrid(*display.grids, indexing="ij"), axis=-1)
    own = sde.potential(points.reshape(-1, 2)).reshape(7, 7)
    assert np.allclose(display.potential, own - own.min())
    assert display.colorbar_.ax.get_ylabel() == "potential V"


def test_drift_and_potential_of_one_component(ensemble):
    model, z = ensemble
    display = DriftDisplay.from_estimator(model, z, labels=["m"])
    x = display.grids[0]
    drift, potential = display.lines_
    assert np.allclose(drift.get_ydata(), model.drift(x[:, None])[:, 0])
    assert np.allclose(display.drift_error, model.drift_error(x[:, None]))
    density = -np.log(stationary_density(model, x))
    assert np.allclose(potential.get_ydata(), density - density.min())
    assert [ax.get_ylabel() for ax in display.axes_] == ["drift", "effective potential -log p"]


def test_a_pipeline_draws_its_own_states(pipeline):
    model, X = pipeline
    display = DriftDisplay.from_estimator(model, X)
    assert display.axes_[0].get_xlabel() == "mean displacement"
    assert display.axes_[0].get_ylabel() == "closure0"
    assert np.array_equal(display.states, model[1].transform(X))
    latent = model[:-1].transform(X)
    again = DriftDisplay.from_estimator(model[-1], latent, labels=LinearChain())
    assert np.array_equal(again.states, latent["z"])
    assert again.axes_[0].get_xlabel() == "mean displacement"


# Stationary laws ----------------------------------------------------------------------------------


def test_density_of_an_sde_against_true_values(ensemble):
    model, _ = ensemble
    true = RNG.normal(0, 0.6, (10, 50))
    display = StationaryDisplay.from_estimator(model, true, bins=20, label="m")
    densities = [stationary_density(member, display.grid) for member in model.members_]
    assert np.allclose(display.line_.get_ydata(), np.mean(densities, axis=0))
    assert np.allclose(display.density_error, np.std(densities, axis=0, ddof=1))
    heights, bins, _ = display.histogram_.get_data()
    assert np.allclose(heights, np.histogram(true, bins, density=True)[0])
    drawn = RNG.choice(display.grid, 200_000, p=display.density / display.density.sum())
    assert display.distance == pytest.approx(wasserstein(true, drawn), abs=0.01)
    assert display.ax_.get_xlabel() == "m"
    one = StationaryDisplay.from_estimator(model.members_[0], grid=np.linspace(-3, 3, 99))
    assert one.histogram_ is one.band_ is one.distance is None


def test_density_of_sampled_values():
    true, predicted = RNG.normal(size=300), RNG.normal(size=(20, 30))
    display = StationaryDisplay.from_predictions(true, predicted, bins=15)
    width = display.grid[1] - display.grid[0]
    assert display.density.sum() * width == pytest.approx(1)
    assert display.distance == wasserstein(true, predicted)
    assert "distance" in display.ax_.get_legend().get_texts()[-1].get_text()


def test_the_grid_stays_within_the_bounds():
    sde, z, dz = linear(1)
    sde.set_params(bounds=[(-1.0, 1.0)]).fit(z, dz)
    display = StationaryDisplay.from_estimator(sde, [-0.95, 0.0, 0.5])
    assert display.grid[0] == -1
    assert display.grid[-1] == pytest.approx(0.5 + 0.145)


# Scaling ------------------------------------------------------------------------------------------


@pytest.mark.statistical
def test_curves_powers_and_collapse():
    T, L, y = scaling_points(noise=0.01)
    display = ScalingDisplay(T, L, y, 0.01 * y, Tc=2.269, nu=1.0, exponent=-0.125).plot()
    assert [drawn.get_label() for drawn in display.errorbars_] == ["L = 16", "L = 32", "L = 64"]
    assert np.array_equal(display.errorbars_[1].lines[0].get_ydata(), y[L == 32])
    assert list(display.lines_[0].get_xdata()) == [2.269] * 2
    display.plot(kind="size")
    nearest = np.equal(T, T[np.argmin(np.abs(T - 2.269))])
    assert display.exponent_ == power_law(L[nearest], y[nearest], 0.01 * y[nearest])
    fitted, theory = display.lines_
    slope = np.diff(np.log(fitted.get_ydata())) / np.diff(np.log(fitted.get_xdata()))
    assert np.allclose(slope, display.exponent_.value)
    slope = np.diff(np.log(theory.get_ydata())) / np.diff(np.log(theory.get_xdata()))
    assert np.allclose(slope, -0.125)
    display.plot(kind="collapse", label="M")
    x, scaled = collapse(T, L, y, Tc=2.269, nu=1.0, exponent=-0.125)
    assert np.array_equal(display.errorbars_[2].lines[0].get_xdata(), x[L == 64])
    assert np.array_equal(display.errorbars_[2].lines[0].get_ydata(), scaled[L == 64])
    assert display.residual_.chi2 < 4
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("(T - Tc) L", "M L^0.125")
    wrong = ScalingDisplay(T, L, y, 0.01 * y, Tc=2.3, nu=1.0, exponent=0.5).plot(kind="collapse")
    assert wrong.residual_.chi2 > 100  # negative control


def test_points_that_determine_no_power_are_drawn_without_one():
    display = ScalingDisplay(2.27, [8, 16], [-1.0, 2.0], [0.1, 0.1], exponent=1.0)
    display.plot(kind="size")
    assert display.exponent_ is None
    assert display.lines_ == []
    assert len(display.errorbars_) == 1
    T, L, y = scaling_points()
    display = ScalingDisplay(T, L, y).plot(kind="size", temperature=2.2)
    assert np.array_equal(display.errorbars_[0].lines[0].get_ydata(), y[np.equal(T, 2.2)])


def test_collapse_of_sizes_that_do_not_overlap_has_no_residual():
    display = ScalingDisplay([2.0, 2.1], [8, 16], [1.0, 2.0], Tc=2.2, nu=0.5, exponent=0.0)
    assert display.plot(kind="collapse").residual_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("(T - Tc) L^2", "y")


def test_a_collapse_says_how_good_it_is_with_errors_and_without():
    T, L, y = scaling_points()
    theory = {"Tc": 2.269, "nu": 1.0, "exponent": -0.125}
    for error, text in ((None, "relative distance"), (0.01 * y, "chi2 per point")):
        display = ScalingDisplay(T, L, y, error, **theory).plot(kind="collapse")
        assert display.ax_.get_title().startswith(text)


# Training -----------------------------------------------------------------------------------------


def test_losses_are_those_of_the_history(onsager, pipeline):
    sde, _ = onsager
    display = TrainingDisplay.from_estimator(sde)
    for lines, key in ((display.train_lines_, "train_loss"), (display.valid_lines_, "valid_loss")):
        assert lines[0].get_ydata().tolist() == [epoch[key] for epoch in sde.history_]
        assert lines[0].get_xdata().tolist() == [1, 2, 3]
    valid = display.valid_lines_[0].get_ydata()
    assert display.best_[0].get_xdata() == 1 + np.argmin(valid)
    assert display.best_[0].get_ydata() == min(valid)
    model, _ = pipeline
    panels = TrainingDisplay.from_estimator(model).axes_
    assert [ax.get_title() for ax in panels] == ["patchautoencoder", "patchsderegressor"]


def test_an_ensemble_has_a_line_for_each_member():
    _, z, dz = linear(1)
    net = PatchSDERegressor(drift_model=MLP(hidden=(2,), training=Training(max_epochs=2)), dt=0.1)
    model = SDEEnsemble(net, n_members=3, random_state=0).fit(z, dz)
    display = TrainingDisplay.from_estimator(model)
    assert len(display.valid_lines_) == len(display.best_) == 3
    for line, member in zip(display.valid_lines_, model.members_, strict=True):
        assert line.get_ydata().tolist() == [epoch["valid_loss"] for epoch in member.history_]


# Closures -----------------------------------------------------------------------------------------


def test_what_each_closure_explains():
    spde = PredatorPrey()
    X, _ = spde.advance(spde.sample_initial(40, 20, random_state=0), duration=3.0, random_state=0)
    sampler = PartialEvolutionSampler(spde, moments=True)
    pipe = make_pipeline(sampler, CorrelationClosure(spde, max_closures=1)).fit(X)
    display = ClosureSelectionDisplay.from_estimator(pipe)
    parts = [step.unexplained for step in pipe[-1].selection_]
    np.testing.assert_array_equal(display.errorbar_[0].get_ydata(), parts)
    names = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert names == ["observables", "+ u v (0)"]
    with pytest.raises(ValueError, match="Expected a CorrelationClosure that has selected"):
        ClosureSelectionDisplay.from_estimator(CorrelationClosure(spde, n_closure=1).fit(X))


# Plateau ------------------------------------------------------------------------------------------


def test_both_curves_the_plateau_and_the_dt_chosen():
    result = plateau()
    display = PlateauDisplay(result, dt=0.3).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["rate", "diffusion"]
    curves = [drawn.lines[0].get_ydata() for drawn in display.errorbars_]
    assert np.allclose(curves, [*result.rate.T, *result.diffusion.T])
    assert [drawn.get_label() for drawn in display.errorbars_] == ["m", "w"] * 2
    for span, line in zip(display.spans_, display.dt_lines_, strict=True):
        assert (span.get_x(), span.get_width()) == (0.0, 0.5)
        assert list(line.get_xdata()) == [0.3, 0.3]
    display.plot(relative=True)
    assert all(drawn.lines[0].get_ydata()[0] == 1 for drawn in display.errorbars_)
    none = PlateauDisplay(plateau(interval=None)).plot()
    assert none.spans_ == none.dt_lines_ == []


def test_zero_has_a_place_on_the_axis_of_dt_where_there_is_one():
    result = plateau()
    assert [t.get_text() for t in PlateauDisplay(result).plot().axes_[0].get_xticklabels()] == [
        "0", "0.1", "1",
    ]  # fmt: skip
    parts = (result.rate, result.rate_error, result.diffusion, result.diffusion_error)
    later = Plateau(result.dts[1:], result.names, *(part[1:] for part in parts), result.interval)
    assert PlateauDisplay(later).plot().axes_[0].get_xscale() == "log"


# Fidelity -----------------------------------------------------------------------------------------


def test_all_differences_are_drawn_in_standard_errors():
    result = comparison()
    display = FidelityDisplay(result).plot()
    left, right = display.axes_
    names = [*result.quantities, "xi spin, of all"]
    assert [label.get_text() for label in left.get_yticklabels()] == names
    assert np.array_equal(display.points_.get_xdata(), [*result.z, *result.z_length])
    top, bottom = (left.transData.transform((0, row))[1] for row in (0, len(names) - 1))
    assert top > bottom  # as in the text
    (line,) = display.lines_
    assert np.array_equal(line.get_xdata(), result.structures[0].k)
    assert np.array_equal(line.get_ydata(), result.z_structure[0])
    assert line.get_label() == "S(k) spin-spin"
    across, along = display.spans_
    assert (across.get_x(), across.get_width(), along.get_y(), along.get_height()) == (-2, 4) * 2
    assert left.get_title() == f"at given magnetisation: p = {result.p_value:.2g}"
    assert right.get_title() == ""


def test_snapshots_are_compared_as_fidelity_does():
    X, reference = spins()
    display = FidelityDisplay.from_snapshots(ISING, X, reference, parity=True)
    assert str(display.fidelity) == str(comparison())
    assert str(FidelityDisplay.from_snapshots(ISING, X, reference).fidelity) != str(comparison())


def test_an_upsampler_is_compared_at_the_size_that_it_makes():
    X, _ = spins()
    reference = ISING.sample_initial(120, 8, random_state=1)
    upsampler = HierarchicalUpsampler(ISING, relaxation=None, random_state=0).fit(X)
    result = fidelity(ISING, upsampler.transform(X), reference)
    for estimator in (upsampler, make_pipeline(upsampler)):
        axes = Figure().subplots(1, 2)
        display = FidelityDisplay.from_estimator(estimator, X, reference, ax=axes)
        assert str(display.fidelity) == str(result)
        assert list(display.axes_) == list(axes)


# What is refused ----------------------------------------------------------------------------------

PATHS = np.ones((4, 5, 2))
RESULTS = {"param_lam": [1.0, "K"], "split0_test_score": [0.0, 1.0]}
SCALING = ScalingDisplay([1, 2], [3, 4], [1, 2])
paths = partial(TrajectoryDisplay.from_predictions, times=TIMES)
scores, field = LamSearchDisplay.from_cv_results, DriftDisplay.from_estimator
density = StationaryDisplay.from_estimator


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: paths(PATHS[:, :4], PATHS),
            r"y_true of shape \(n_paths, 5, n_components\).* but got \(4, 4, 2\)",
        ),
        (lambda: paths(PATHS, PATHS[..., :1]), "at most the 1 components of y_pred, but got 2"),
        (
            lambda: paths(None, PATHS, groups_pred=[0, 1]),
            r"one entry for each of the 4 paths, but got shape \(2,\)",
        ),
        (lambda: paths(None, PATHS, labels=["m"]), "a label for each of the 2 components"),
        (
            lambda: TrajectoryDisplay.from_estimator(Exact(), [[0.0]]),
            "Expected ReferencePaths, but got list; pass",
        ),
        (lambda: TrajectoryDisplay(TIMES, PATHS).plot(band=(0.9, 0.1)), "0 <= low < high <= 1"),
        (lambda: TrajectoryDisplay(TIMES, PATHS).plot(band="var"), "band to be 'std'.* got 'var'"),
        (lambda: scores(RESULTS), "'K' together with the number K"),
        (
            lambda: scores({"param_C": [1], "param_a__lambda": [1]}),
            "one parameter that ends in lam, but got one over C, a__lambda; search",
        ),
        (lambda: scores({"param_lam": [1.0]}), "split0_test_score and so on"),
        (lambda: scores(RESULTS, K=-1), "0 < K"),
        (lambda: field(Exact(), PATHS[0]), r"states X of shape \(n_states, 3\), but got \(5, 2\)"),
        (
            lambda: field(Exact(), np.eye(3), components=(0, 3)),
            r"two different ones of 0 to 2, but got \(0, 3\)",
        ),
        (lambda: field(Exact(), np.eye(3), components=(1, 1)), "two different ones"),
        (lambda: field(Exact(), np.eye(3), at=[0]), "one value for each"),
        (lambda: field(Exact(), np.ones((4, 3))), "differ in components"),
        (lambda: MADE["drift"][0]().plot(kind="lines"), "'streams', 'arrows', but got 'lines'"),
        (lambda: density(Exact(1)), "grid or y_true, but got neither"),
        (lambda: density(Exact(2), grid=[0.0, 1.0]), "one component, but got one of 2; simulate"),
        (lambda: StationaryDisplay.from_predictions([], [1.0]), "y_true, but got none"),
        (lambda: StationaryDisplay.from_predictions([np.nan], [1.0]), "finite y_true"),
        (lambda: ScalingDisplay([1, 2], [3], [1, 2]).plot(), r"of one shape \(n_points,\)"),
        (lambda: MADE["scaling"][0]().plot(kind="collapse"), "nu for the collapse, but got None"),
        (lambda: MADE["scaling"][0]().plot(kind="time"), "'size', 'collapse', but got 'time'"),
        (
            lambda: SCALING.plot(kind="size"),
            "temperature to be one of 1, 2, but got None; choose one",
        ),
        (
            lambda: TrainingDisplay.from_estimator(linear(1)[0].fit(*linear(1)[1:])),
            "PatchSDERegressor without a training history; fit one with drift_model='mlp'",
        ),
        (lambda: PlateauDisplay(plateau(), dt=0.0).plot(), "0 < dt"),
        (
            lambda: FidelityDisplay.from_snapshots(ISING, spins()[0], spins()[1][:9]),
            "two batches of equal snapshots",
        ),
    ],
)
def test_what_was_expected_what_came_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: TrainingDisplay.from_estimator(PatchSDERegressor()),
        lambda: TrajectoryDisplay.from_estimator(
            PatchSDERegressor(), ReferencePaths(SAMPLES[:2], PATHS[:2], TIMES)
        ),
        lambda: DriftDisplay.from_estimator(PatchSDERegressor(), SAMPLES),
        lambda: StationaryDisplay.from_estimator(PatchSDERegressor(), SAMPLES),
        lambda: FidelityDisplay.from_estimator(HierarchicalUpsampler(), SAMPLES, SAMPLES),
        lambda: LamSearchDisplay.from_estimator(GridSearchCV(Toy(), {"lam": [1.0]})),
    ],
)
def test_what_is_not_fitted_is_refused(call):
    with pytest.raises(NotFittedError):
        call()
