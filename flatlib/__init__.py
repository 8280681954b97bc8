"""flatlib: the companion library of the course on flat minima in low-rank matrix recovery."""

from flatlib.checks import ClaimFailed, check
from flatlib.measurements import (
    bernoulli_completion,
    bilinear_sensing,
    dense,
    entries,
    gaussian_sensing,
    identity,
    low_rank,
    low_rank_symmetric,
    quadratic,
    quadratic_sensing,
    rank_one,
)
from flatlib.notebook import animate, setup_notebook, show

__version__ = "0.1.0"

__all__ = [
    "ClaimFailed",
    "animate",
    "bernoulli_completion",
    "bilinear_sensing",
    "check",
    "dense",
    "entries",
    "gaussian_sensing",
    "identity",
    "low_rank",
    "low_rank_symmetric",
    "quadratic",
    "quadratic_sensing",
    "rank_one",
    "setup_notebook",
    "show",
]
