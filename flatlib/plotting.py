"""Pictures that several chapters share."""

import numpy as np

from flatlib.notebook import COLORS


def plot_phase(diagram, predicted=None, *, ax=None, colorbar=True):
    """Draw the recovery frequency of a `PhaseDiagram` over size and number of measurements.

    Parameters
    ----------
    diagram : PhaseDiagram
    predicted : (n_sizes,) numbers of measurements where the transition is predicted, or None
    ax : matplotlib Axes; a new figure if not given
    colorbar : whether to draw the scale of frequencies

    Returns
    -------
    The Axes. A cross marks every cell that has an unconverged instance, because its frequency may
    be too low.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots()
    sizes = _edges(diagram.sizes)
    for left, right, m, recovery in zip(
        sizes[:-1], sizes[1:], diagram.measurements, diagram.recovery, strict=True
    ):
        image = ax.pcolormesh(
            [left, right], _edges(m), recovery[:, None], vmin=0.0, vmax=1.0, cmap="cividis"
        )
    i, j = np.nonzero(diagram.unconverged)
    if len(i):
        style = {"mfc": "white", "mec": "black", "ms": 10}
        ax.plot(diagram.sizes[i], diagram.measurements[i, j], "X", label="unconverged", **style)
    if predicted is not None:
        ax.plot(diagram.sizes, predicted, color="white", lw=4.5)
        ax.plot(diagram.sizes, predicted, "o-", color=COLORS["vermilion"], label="predicted")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left")
    ax.set(xlabel="size $d$", ylabel="measurements $m$", xticks=diagram.sizes)
    ax.grid(False)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label="frequency of recovery")
    return ax


def _edges(centres):
    """Edges of the cells around increasing centres."""
    centres = np.asarray(centres, dtype=float)
    if len(centres) == 1:
        return centres[0] + np.array([-0.5, 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])
