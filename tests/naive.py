"""Slow, plain twins of the fast kernels: the definition written down, nothing else."""

import numpy as np
from scipy import sparse, stats


def mmd2(X, Y, widths, biased):
    """Squared maximum mean discrepancy, Gretton et al. (2012), Eq. 3, or Eq. 5 if biased."""

    def k(x, y):
        return np.mean([np.exp(-((x - y) ** 2).sum() / (2 * s**2)) for s in widths])

    def mean_within(Z):
        pairs = [(i, j) for i in range(len(Z)) for j in range(len(Z)) if biased or i != j]
        return np.mean([k(Z[i], Z[j]) for i, j in pairs])

    return mean_within(X) + mean_within(Y) - 2 * np.mean([k(x, y) for x in X for y in Y])


# --- spins: energies, rates and exact laws by enumeration ----------------------------------------


def spin_states(shape):
    """All states (2**n, *shape) of n spins; bit i of a state's number is set where spin i is up."""
    n = int(np.prod(shape))
    bits = np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1
    return (2 * bits - 1).astype(np.int8).reshape(-1, *shape)


def spin_numbers(X):
    """Number of every spin state in X (n_samples, ...), the inverse of `spin_states`."""
    bits = (np.reshape(X, (len(X), -1)) > 0).astype(np.int64)
    return bits @ (1 << np.arange(bits.shape[1]))


def ising_energy(X, coupling, field, periodic):
    """H of Ising states X (..., n_x, n_y), Eq. 23, bond by bond."""
    X = np.asarray(X, float)
    n_x, n_y = X.shape[-2:]
    H = -field * X.sum(axis=(-1, -2))
    for i in range(n_x):
        for j in range(n_y):
            if periodic or i + 1 < n_x:
                H -= coupling * X[..., i, j] * X[..., (i + 1) % n_x, j]
            if periodic or j + 1 < n_y:
                H -= coupling * X[..., i, j] * X[..., i, (j + 1) % n_y]
    return H


def ising_walls(x, periodic):
    """Eq. 24: mean over the sites of (1/8) sum over nearest neighbours of (1 - s_i s_j)."""
    n_x, n_y = x.shape
    total = 0.0
    for i in range(n_x):
        for j in range(n_y):
            for a, b in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if periodic or (0 <= a < n_x and 0 <= b < n_y):
                    total += (1 - int(x[i, j]) * int(x[a % n_x, b % n_y])) / 8
    return total / x.size


def lattice_energy(X, lattice, coupling, field):
    """H of Ising states X (n_samples, *site_shape) on any lattice, bond by bond."""
    X = np.asarray(X, float).reshape(len(X), -1)
    H = -field * X.sum(axis=1)
    for site, row in enumerate(lattice.neighbors()):
        for other in row[row >= 0]:
            H -= coupling * X[:, site] * X[:, other] / 2  # every bond is met twice
    return H


def lattice_walls(x, lattice):
    """Mean over the sites of (1/(2 z)) sum over nearest neighbours of (1 - s_i s_j)."""
    s, table = x.ravel().astype(int), lattice.neighbors()
    pairs = [(i, j) for i, row in enumerate(table) for j in row if j >= 0]
    return sum(1 - s[i] * s[j] for i, j in pairs) / (2 * table.shape[1] * len(s))


def bits_of(word):
    """The 64 bits of a word, the lowest first, as booleans."""
    return np.array([int(word) >> k & 1 for k in range(64)], bool)


def xoshiro(state, n):
    """The first `n` words of xoshiro256++ from its state (4,), Blackman and Vigna (2021)."""
    mask, words = 2**64 - 1, []
    s = [int(word) for word in state]

    def rotate(x, bits):
        return (x << bits | x >> 64 - bits) & mask

    for _ in range(n):
        words.append((rotate((s[0] + s[3]) & mask, 23) + s[0]) & mask)
        t = s[1] << 17 & mask
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
    return np.array(words, np.uint64)


def curie_weiss_energy(X, coupling, field):
    """H of Curie-Weiss states X (..., n_x, n_y), Appendix D.1."""
    S = np.asarray(X, float).sum(axis=(-1, -2))
    return -coupling * S**2 / (2 * X.shape[-1] * X.shape[-2]) - field * S


def flip_costs(x, energy):
    """Energy that the flip of each spin of x costs, from the energies before and after."""
    flipped = x * (1 - 2 * np.eye(x.size, dtype=x.dtype)).reshape(x.size, *x.shape)
    return (energy(flipped) - energy(x)).reshape(x.shape)


def glauber(x, energy, temperature, rng, duration=np.inf, n_events=np.inf):
    """Algorithm 2 with all rates rebuilt after every event: the state and the elapsed time."""
    x, time, events = x.copy(), 0.0, 0
    while events < n_events:
        rates = 1 / (1 + np.exp(flip_costs(x, energy) / temperature)).ravel()
        waiting = rng.exponential(1 / rates.sum())
        if time + waiting > duration:
            return x, duration
        site = rng.choice(x.size, p=rates / rates.sum())
        x.flat[site] *= -1
        time, events = time + waiting, events + 1
    return x, time


def glauber_generator(energies, temperature, free=None):
    """Matrix Q of dp/dt = p Q on the states of n spins, given all 2**n energies.

    The rate from s to s', one flip away, is 1 / (1 + exp((H(s') - H(s)) / T)); spins that are not
    `free` (n,) do not flip.
    """
    states = np.arange(len(energies))
    Q = sparse.csr_array((len(states), len(states)))
    n = int(np.log2(len(states)))
    for bit in np.flatnonzero(np.ones(n) if free is None else free):
        to = states ^ (1 << bit)
        rate = 1 / (1 + np.exp((energies[to] - energies) / temperature))
        Q = Q + sparse.csr_array((rate, (states, to)), Q.shape)
    return Q - sparse.diags_array(Q.sum(axis=1))


def law_at(Q, start, duration):
    """Law (n_states,) at time `duration` of the chain with generator Q that starts at `start`.

    A Poisson number of steps with the matrix 1 + Q / rate (uniformisation).
    """
    rate = -Q.diagonal().min()
    n_steps = int(stats.poisson.isf(1e-16, rate * duration))
    now, law = np.eye(1, Q.shape[0], start)[0], np.zeros(Q.shape[0])
    for weight in stats.poisson.pmf(np.arange(n_steps + 1), rate * duration):
        law += weight * now
        now = now + now @ Q / rate
    return law


def law_of_events(Q, start, n_events, times):
    """Joint law (len(times) + 1, n_states) of the state after `n_events` events and their time.

    Row k is the probability that the time lies in the k-th interval cut by `times`. The state is
    counted upwards in copies of the state space, the last of which absorbs.
    """
    n, m = Q.shape[0], n_events + 1
    leave = sparse.diags_array(Q.diagonal())
    alive = sparse.diags_array([1.0] * n_events + [0.0])
    up = sparse.diags_array([1.0] * n_events, offsets=1, shape=(m, m))
    levels = sparse.kron(alive, leave) + sparse.kron(up, Q - leave)
    arrived = [law_at(levels.tocsr(), start, t)[-n:] for t in times]
    jumps = sparse.diags_array(-1 / Q.diagonal()) @ (Q - leave)
    final = np.eye(1, n, start)[0]
    for _ in range(n_events):
        final = final @ jumps
    return np.diff([np.zeros(n), *arrived, final], axis=0)


# --- fields on a chain ---------------------------------------------------------------------------


def linear_chain_step(x, step, noise, gamma, kappa, force, sigma):
    """Euler-Maruyama step of the driven chain, Appendix D.2, site by site."""
    n, out = len(x), np.empty(len(x))
    for i in range(n):
        drift = -gamma * x[i] + (force if i == 0 else 0.0)
        for j in (i - 1, i + 1):
            if 0 <= j < n:
                drift += kappa * (x[j] - x[i])
        out[i] = x[i] + step * drift + sigma * np.sqrt(step) * noise[i]
    return out


def predator_prey_step(x, step, noise, a, b, c, sigma_u, sigma_v, spacing):
    """Euler-Maruyama step of Eq. 20 with zero flux at both ends, cell by cell."""
    n, out = len(x), np.empty(x.shape)
    for i in range(n):
        (u, v), left, right = x[i], x[max(i - 1, 0)], x[min(i + 1, n - 1)]
        bend_u, bend_v = (left - 2 * x[i] + right) / spacing**2
        out[i, 0] = u + step * (u * (1 - u - v) + c * bend_u)
        out[i, 1] = v + step * (a * v * (u - b) + bend_v)
        out[i] += np.array([sigma_u, sigma_v]) * np.sqrt(step / spacing) * noise[i]
    return out


def kernel_drift(u, centres, lengths, weights, parity):
    """Sums (d,) of a_im (k(u, c) + P_i k(P u, c)) / 2, k that of Matern with exponent 5/2."""
    drift = np.zeros(len(weights))
    for i, row in enumerate(weights):
        for a, c in zip(row, centres, strict=True):
            for state, sign in [(u, 1.0), (u * parity, parity[i])]:
                r = np.sqrt(
                    5
                    * sum(
                        ((x - y) / length) ** 2
                        for x, y, length in zip(state, c, lengths, strict=True)
                    )
                )
                drift[i] += a * sign * (1 + r + r**2 / 3) * np.exp(-r) / 2
    return drift


def path(coefficients, z0, noise, dt, low, high):
    """Euler-Maruyama path (n_steps + 1, d) of one macrostate; noise (n_steps, d) ~ N(0, dt)."""
    path = [np.clip(z0, low, high)]
    for xi in noise:
        mu, L = coefficients(path[-1])
        path.append(np.clip(path[-1] + mu * dt + L @ xi, low, high))
    return np.array(path)


# --- tests of a sample against a law -------------------------------------------------------------

# A sample of the right law must have p > PASS, and p < FAIL where the law is wrong on purpose.
# Where 8 to 64 bins expect 5, Pearson's p < 1e-6 has a chance of 3e-6 to 5e-6 (1.5e6 multinomial
# samples each). No test makes more than 20 comparisons: at most 1e-4 of its seeds fail.
PASS, FAIL = 1e-6, 1e-8


def pool(expected, least):
    """Bin of every state, so that each bin expects at least `least`: the rare states together."""
    bins, number, content = np.empty(len(expected), int), 0, 0.0
    for state in np.argsort(expected):
        if content >= least:
            number, content = number + 1, 0.0
        bins[state] = number
        content += expected[state]
    if content < least and number > 0:
        bins[bins == number] = number - 1
    return bins


def pearson(counts, law, least=5.0):
    """p-value of Pearson's chi-square of counts (n_states,) against a law, rare states pooled."""
    expected = counts.sum() * np.asarray(law) / np.sum(law)
    if counts[expected <= 0].any():
        return 0.0
    bins = pool(expected, least)
    seen, wanted = np.bincount(bins, counts), np.bincount(bins, expected)
    return float(stats.chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(wanted) - 1))


def two_samples(first, second, least=5.0):
    """p-value of the chi-square test that two samples of integers from 0 on have one law."""
    n = max(first.max(), second.max()) + 1
    table = np.array([np.bincount(first, minlength=n), np.bincount(second, minlength=n)])
    bins = pool(table.sum(axis=0) * min(len(first), len(second)) / table.sum(), least)
    pooled = np.array([np.bincount(bins, row) for row in table])
    return float(stats.chi2_contingency(pooled, correction=False).pvalue)


def gaussian(X, mean, covariance):
    """p-values of the mean and of the covariance of a sample (n, d) of N(mean, covariance)."""
    Y = np.linalg.solve(np.linalg.cholesky(covariance), (X - mean).T).T  # N(0, 1), independent
    n, d = Y.shape
    products = Y.T @ Y
    squares = ((np.diag(products) - n) ** 2 / (2 * n)).sum()
    mixed = (np.triu(products, 1) ** 2 / n).sum()
    return (
        float(stats.chi2.sf(n * (Y.mean(axis=0) ** 2).sum(), d)),
        float(stats.chi2.sf(squares + mixed, d * (d + 1) // 2)),
    )


# --- vacancies in an alloy: barriers, rates and exact laws by enumeration ------------------------


def pair_energy(x, neighbours, V):
    """H = sum over nearest-neighbour pairs of V[x_i, x_j], pair by pair, for flat x.

    Beyond an open edge, neighbour -1, is what is like a vacancy.
    """
    beside = np.where(neighbours >= 0, x[neighbours], 0)
    weight = np.where(neighbours >= 0, 0.5, 1.0)  # pairs inside are met from both sides
    return (weight * V[x[:, np.newaxis], beside]).sum()


def pairwise_barrier(x, i, j, neighbours, V, saddle):
    """E0[a] + (H' - H) / 2 of the jump that exchanges the vacancy on i with the atom a on j."""
    after = x.copy()
    after[i], after[j] = x[j], x[i]
    change = pair_energy(after, neighbours, V) - pair_energy(x, neighbours, V)
    return saddle[x[j] - 1] + change / 2


def vacancy_jumps(x, neighbours, barrier, attempt, kT, inside=None):
    """All possible jumps (rate, i, j) of the vacancies of x, each rate from its definition."""
    return [
        (attempt * np.exp(-barrier(x, i, j) / kT), i, int(j))
        for i in np.flatnonzero(x == 0)
        for j in neighbours[i]
        if j >= 0 and x[j] != 0 and (inside is None or (inside[i] and inside[j]))
    ]


def vacancy_walk(x, jumps, rng, duration=np.inf, n_events=np.inf):
    """Kinetic Monte Carlo with all jumps rebuilt after every event: the state and the time."""
    x, time, events = x.copy(), 0.0, 0
    while events < n_events:
        possible = jumps(x)
        rates = np.array([rate for rate, _, _ in possible])
        waiting = rng.exponential(1 / rates.sum())
        if time + waiting > duration:
            return x, duration
        _, i, j = possible[rng.choice(len(rates), p=rates / rates.sum())]
        x[i], x[j] = x[j], x[i]
        time, events = time + waiting, events + 1
    return x, time


def arrangements(start):
    """All distinct orders of the entries of `start`, and their numbers by their bytes."""
    states = [np.zeros(0, start.dtype)]
    counts = {value: int((start == value).sum()) for value in np.unique(start)}
    for _ in range(len(start)):
        states = [
            np.append(s, np.array(value, start.dtype))
            for s in states
            for value, n in counts.items()
            if (s == value).sum() < n
        ]
    return np.array(states), {s.tobytes(): k for k, s in enumerate(states)}


def vacancy_generator(states, number, jumps):
    """Matrix Q of dp/dt = p Q over all arrangements, from the jumps possible in each."""
    rows, columns, rates = [], [], []
    for k, x in enumerate(states):
        for rate, i, j in jumps(x):
            y = x.copy()
            y[i], y[j] = x[j], x[i]
            rows.append(k)
            columns.append(number[y.tobytes()])
            rates.append(rate)
    Q = sparse.csr_array((rates, (rows, columns)), (len(states),) * 2)
    return Q - sparse.diags_array(Q.sum(axis=1))


def order_parameters(x, neighbours, z, n_species):
    """delta_ab = n_ab - z c_b for a <= b (Eq. 30), by counting around every atom; x flat."""
    atoms = x[x > 0]
    orders = []
    for a in range(1, n_species + 1):
        for b in range(a, n_species + 1):
            beside = [
                sum(x[j] == b for j in neighbours[i] if j >= 0) for i in np.flatnonzero(x == a)
            ]
            orders.append(np.mean(beside) - z * np.mean(atoms == b))
    return np.array(orders)


def network_barriers(environments, weights, turns):
    """Barriers (m, 8) in eV by the published network, box by box and layer by layer."""
    places = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    same_parity = (places % 2 == places[:, :1] % 2).all(axis=1)
    distance = 1.62 * np.linalg.norm(places, axis=1)
    sites = np.flatnonzero(same_parity & (distance <= 7.5) & (distance > 0))
    barriers = np.empty((len(environments), 8))
    for k, environment in enumerate(environments):
        box = np.zeros(729)
        box[sites] = environment
        for q, turn in enumerate(turns):
            turned = np.rot90(box.reshape(9, 9, 9), turn, axes=(0, 1))
            a = (turned[:, :, ::-1] if q % 2 == 0 else turned).ravel()
            for i in range(4):
                part = {name: weights[f"layer{i}_{name}"].astype(float) for name in NETWORK_PARTS}
                a = a @ part["weight"] + part["bias"]
                a = (a - part["bn_mean"]) / np.sqrt(part["bn_var"] + 1e-5)
                a = np.maximum(part["bn_gamma"] * a + part["bn_beta"], 0)
            barriers[k, q] = (a @ weights["out_weight"].astype(float) + weights["out_bias"])[0]
    return barriers


NETWORK_PARTS = ("weight", "bias", "bn_gamma", "bn_beta", "bn_mean", "bn_var")


def wolff(x, table, join, rng):
    """Flip of one cluster of flat spins x, which grows bond by bond (Wolff 1989)."""
    cluster = [int(rng.integers(len(x)))]
    for site in cluster:  # grows while it is gone through
        for other in table[site]:
            if x[other] == x[site] and other not in cluster and rng.random() < join:
                cluster.append(int(other))
    y = x.copy()
    y[cluster] *= -1
    return y


def structure_factor(a, b, positions, k):
    """(1/n) sum_i sum_j a_i b_j cos(k (r_i - r_j)), pair by pair; k (ndim,)."""
    n, total = len(a), 0.0
    for i in range(n):
        for j in range(n):
            total += a[i] * b[j] * np.cos(k @ (positions[i] - positions[j])) / n
    return total


# --- clusters ------------------------------------------------------------------------------------


def cluster_mean(x, lattice, factors, turns):
    """Mean over sites i and turns g of the product of f_k(x at i + g o_k), by the definition.

    `factors` are pairs of a function of a site's state and an offset. One site a cell; what sticks
    out of an open lattice is 0.
    """
    total = 0.0
    for cell in np.ndindex(*lattice.cells):
        for turn in turns:
            places = [np.add(cell, turn @ np.array(offset)) for _, offset in factors]
            inside = all((p >= 0).all() and (p < lattice.cells).all() for p in places)
            if inside or lattice.boundary == "periodic":
                values = [
                    f(x[tuple(p % lattice.cells)])
                    for (f, _), p in zip(factors, places, strict=True)
                ]
                total += np.prod(values)
    return total / (lattice.n_sites * len(turns))


def shell_mean(x, lattice, f, g, distance):
    """Mean of f(x_i) g(x_j) over all ordered pairs at a distance, images of a torus included."""
    positions, values = lattice.positions(), x.ravel()
    edges = lattice.cell_vectors * np.array(lattice.cells)[:, np.newaxis]
    shifts = np.indices((3,) * lattice.ndim).reshape(lattice.ndim, -1).T - 1
    total, count = 0.0, 0
    for shift in shifts:
        away = positions + shift @ edges - positions[:, np.newaxis]
        i, j = np.nonzero(np.isclose(np.linalg.norm(away, axis=-1), distance))
        count += len(i)
        if lattice.boundary == "periodic" or not shift.any():
            total += sum(f(values[a]) * g(values[b]) for a, b in zip(i, j, strict=True))
    return total / count


def diffusion_moments(x, drift, noise, phi, step=1e-3):
    """b and A of phi(x) by central differences along every field of x."""
    here, shape = phi(x), x.shape
    b, A = np.zeros(len(here)), np.zeros((len(here),) * 2)
    for k in range(x.size):
        unit = np.zeros(x.size)
        unit[k] = step
        ahead, behind = phi(x + unit.reshape(shape)), phi(x - unit.reshape(shape))
        slope, bend = (ahead - behind) / (2 * step), (ahead - 2 * here + behind) / step**2
        b += drift.flat[k] * slope + noise.flat[k] ** 2 * bend / 2
        A += noise.flat[k] ** 2 * np.outer(slope, slope)
    return b, A


# --- moments of increments -----------------------------------------------------------------------


def event_moments(x, changes, phi):
    """b and A of phi: a sum over all (rate, {site: new state}) that change the snapshot x."""
    before, b, A = phi(x), 0.0, 0.0
    for rate, new in changes:
        y = x.copy()
        for site, state in new.items():
            y.flat[site] = state
        d = phi(y) - before
        b, A = b + rate * d, A + rate * np.outer(d, d)
    return b, A


def flips(x, energy, temperature, sites):
    """All flips of the spins on `sites`, for `event_moments`."""
    rates = 1 / (1 + np.exp(flip_costs(x, energy) / temperature)).ravel()
    return [(rates[site], {site: -x.flat[site]}) for site in sites]


def variance_ratio(simulator, X, window, duration, seed):
    """Var(dz_patch | z) / Var(dz | z) of the first observable, by two regressions on z."""
    z = simulator.observe(X)
    variances = []
    for k, box in enumerate((window, None)):
        after, _ = simulator.advance(X, duration=duration, window=box, random_state=seed + k)
        n_sites = X[0].size if box is None else np.prod(window[1])
        change = (after.astype(int) - X).reshape(len(X), -1).sum(axis=1) / n_sites
        design = np.column_stack([np.ones(len(X)), z])
        off = change - design @ np.linalg.lstsq(design, change)[0]
        variances.append((off**2).sum() / (len(X) - design.shape[1]))
    return variances[0] / variances[1]


def coupled_glauber(x, patches, up, sites, u):
    """Changes of (spins, wall densities) of a square torus x, and of each patch evolved alone.

    `patches` are lists of flat sites; `up` (9,) is the probability of an up spin for neighbour sums
    -4 ... 4. Attempt k sets spin `sites[k]`, up if u[k] is below it.
    """
    n_x, n_y = x.shape

    def evolved(allowed):
        y = x.copy()
        for site, number in zip(sites, u, strict=True):
            if site in allowed:
                i, j = divmod(int(site), n_y)
                around = y[i - 1, j] + y[(i + 1) % n_x, j] + y[i, j - 1] + y[i, (j + 1) % n_y]
                y[i, j] = 1 if number < up[around + 4] else -1
        walls = [ising_walls(s, True) * x.size for s in (y, x)]
        return np.array([y.sum(dtype=int) - x.sum(dtype=int), walls[0] - walls[1]])

    return evolved(range(x.size)), np.array([evolved(patch) for patch in patches])


def distances(coverage, columns):
    """Distances of states to the nearest centre of a `Coverage`, in standard deviations."""
    u = (columns - coverage.mean) / coverage.scale
    return [min(np.sqrt(((row - c) ** 2).sum()) for c in coverage.centres) for row in u]


# --- crystals: dumps read line by line, sites found among all -------------------------------------


def dump_frames(text):
    """Frames of a well-formed LAMMPS dump: (cell, corner, pbc, types, positions); strict."""
    lines = [line.split() for line in text.splitlines() if line.split()]
    while lines:
        items = {}
        while "ATOMS" not in items:
            header = lines.pop(0)
            words = [w for w in header if w.isupper() and len(w) > 1]
            name = " ".join(words[1:])
            assert header[0] == "ITEM:"
            assert name not in items
            n = {"ATOMS": 0, "BOX BOUNDS": 3}.get(name, 1)
            if name == "ATOMS":
                n = int(items["NUMBER OF ATOMS"][1][0][0])
            assert len(lines) >= n
            items[name] = header[len(words) :], lines[:n]
            lines = lines[n:]
        assert set(items) - {"UNITS", "TIME"} == {
            "TIMESTEP",
            "NUMBER OF ATOMS",
            "BOX BOUNDS",
            "ATOMS",
        }
        flags, bounds = items["BOX BOUNDS"]
        tilted = "xy" in flags
        bounds = [[float(word) for word in line] for line in bounds]
        xy, xz, yz = [line[2] for line in bounds] if tilted else (0.0, 0.0, 0.0)
        corner = np.array(
            [
                bounds[0][0] - min(0, xy, xz, xy + xz),
                bounds[1][0] - min(0, yz),
                bounds[2][0],
            ]
        )
        lx = bounds[0][1] - max(0, xy, xz, xy + xz) - corner[0]
        ly = bounds[1][1] - max(0, yz) - corner[1]
        cell = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, bounds[2][1] - corner[2]]])
        columns, rows = items["ATOMS"]
        assert all(len(row) == len(columns) for row in rows)
        types = [row[columns.index("type")] for row in rows]
        for axes in ("x y z", "xu yu zu", "xs ys zs", "xsu ysu zsu"):
            if set(axes.split()) <= set(columns):
                break
        positions = np.array(
            [[float(row[columns.index(axis)]) for axis in axes.split()] for row in rows]
        ).reshape(-1, 3)
        if "s" in axes:
            positions = corner + positions @ cell
        yield cell, corner, [flag == "pp" for flag in flags[3 * tilted :]], types, positions


def crystal_states(frame, lattice, lattice_constant, state_of, tolerance):
    """Flat states of the sites, the nearest of all images for each atom; 0 for none and type 0."""
    _, corner, pbc, types, positions = frame
    sites = np.zeros((lattice.n_sites, 3))
    sites[:, : lattice.ndim] = lattice_constant * lattice.positions()
    edges = np.eye(3)
    edges[: lattice.ndim, : lattice.ndim] = lattice.cell_vectors
    edges[: lattice.ndim] *= lattice_constant * np.array(lattice.cells)[:, None]
    periodic = [axis for axis in range(lattice.ndim) if pbc[axis]]
    images = np.zeros((1, 3))
    for axis in periodic:
        images = np.concatenate([images + k * edges[axis] for k in range(-4, 5)])
    x = np.zeros(lattice.n_sites, int)
    for name, position in zip(types, positions, strict=True):
        away = np.linalg.norm(position - corner - sites[:, None] - images, axis=2).min(axis=1)
        if state_of[name] == 0:
            continue
        assert away.min() <= tolerance
        assert x[away.argmin()] == 0
        x[away.argmin()] = state_of[name]
    return x
