"""One law for every size of the lattice.

    dz = mu(z) dt + (S(z) / n)^{1/2} dB,      n sites

Macrostates are means over sites. Their drift and their covariance per site, S, do not depend on n
but for terms of order 1/n, as long as correlations are short: a law that was learned at one size is
that of any other, with its covariance times the ratio of the sizes. Pairs of several sizes tell the
leading correction as well: the law is then fitted with the share n_ref / n as one more column after
the context, which tends to 0 in infinite lattices.

With lam Sigma the covariance of an increment in a lattice of n sites, pairs of any size are those
of n_ref sites with lam n_ref / n in the place of lam.
"""

from dataclasses import dataclass

import numpy as np

from sklmacro._base.checks import check_integer


@dataclass(frozen=True)
class LatticeSizes:
    """Sizes of the lattices that a law was learned from."""

    n_sites: tuple[int, ...]  # in increasing order

    @classmethod
    def of(cls, n_sites: np.ndarray | None) -> "LatticeSizes":
        """Return the sizes of pairs whose lattices have `n_sites` (n,), or None if not known."""
        return cls(() if n_sites is None else tuple(np.unique(n_sites).tolist()))

    @property
    def known(self) -> bool:
        """Return whether the pairs told how large their lattices are."""
        return bool(self.n_sites)

    @property
    def several(self) -> bool:
        """Return whether there are several, and hence a correction."""
        return len(self.n_sites) > 1

    @property
    def reference(self) -> int:
        """Return n_ref, the largest; of unknown sizes 1."""
        return self.n_sites[-1] if self.known else 1

    def shares(self, n_sites: np.ndarray | int) -> np.ndarray:
        """Return n_ref / n."""
        return self.reference / np.asarray(n_sites, float)

    def complete(self, columns: np.ndarray, n_sites: np.ndarray | int) -> np.ndarray:
        """Return columns (n, d + n_context), with the share behind them if there is a correction.

        `n_sites` are those of each row, (n,), or of all.
        """
        if not self.several:
            return columns
        shares = np.broadcast_to(self.shares(n_sites), len(columns))
        return np.column_stack([columns, shares])

    def check(self, n_sites: int) -> int:
        """Return a number of sites for which the law can be asked, or raise ValueError."""
        n_sites = check_integer(n_sites, "n_sites", low=1)
        if not self.known:
            raise ValueError(
                "Expected a law of pairs that carry n_sites for another size, but got one that "
                "does not know how large its lattices were; fit it to latent pairs with n_sites, "
                "as those of PatchAutoencoder and CorrelationClosure are."
            )
        return n_sites
