"""Run the README's first lines and draw what they predict against direct simulation."""

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
TIMES = np.arange(0.0, 101.0, 5.0)


def main() -> None:
    """Write docs/readme.png."""
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert example is not None
    names: dict = {}
    exec(example.group(1), names)
    ising, start, paths = names["ising"], names["start"], names["paths"]
    truth = ising.simulate(start, TIMES, observe=True, random_state=3)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for k, (ax, name) in enumerate(zip(figure.subplots(1, 2), ising.observable_names, strict=True)):
        steps = np.arange(paths.shape[1]) * 0.5
        for i in range(len(paths)):
            color = f"C{i}"
            ax.plot(steps, paths[i, :, k], color=color, lw=1.2)
            ax.plot(TIMES, truth[i, :, k], "o", color=color, ms=3)
        ax.set(xlabel="time [sweeps]", ylabel=name)
    figure.savefig(ROOT / "docs" / "readme.png", dpi=130)


if __name__ == "__main__":
    main()
