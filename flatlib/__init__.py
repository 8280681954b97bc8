"""flatlib: the companion library of the course on flat minima in low-rank matrix recovery."""

from flatlib import plotting
from flatlib.certificates import Certificate, recovery_certificate
from flatlib.checks import ClaimFailed, check
from flatlib.convex import (
    Solution,
    Status,
    flat_factors,
    flat_norm,
    flat_solution,
    nuclear_solution,
    penalized_solution,
)
from flatlib.flatness import (
    block_traces,
    factor_loss,
    hessian_trace,
    scaled_trace,
    top_eigenvalue,
)
from flatlib.lp import lp_solution
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
from flatlib.optimizers import label_noise, sam, trace_penalty, weight_noise
from flatlib.phase import PhaseDiagram, phase_diagram, statistical_dimension
from flatlib.robust import pursuit, robust_pca
from flatlib.sweeps import process_pool
from flatlib.training import TrainingStatus, Trajectory, minibatches, train

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "ClaimFailed",
    "PhaseDiagram",
    "Solution",
    "Status",
    "TrainingStatus",
    "Trajectory",
    "animate",
    "bernoulli_completion",
    "bilinear_sensing",
    "block_traces",
    "check",
    "dense",
    "entries",
    "factor_loss",
    "flat_factors",
    "flat_norm",
    "flat_solution",
    "gaussian_sensing",
    "hessian_trace",
    "identity",
    "label_noise",
    "low_rank",
    "low_rank_symmetric",
    "lp_solution",
    "minibatches",
    "nuclear_solution",
    "penalized_solution",
    "phase_diagram",
    "plotting",
    "process_pool",
    "pursuit",
    "quadratic",
    "quadratic_sensing",
    "rank_one",
    "recovery_certificate",
    "robust_pca",
    "sam",
    "scaled_trace",
    "setup_notebook",
    "show",
    "statistical_dimension",
    "top_eigenvalue",
    "trace_penalty",
    "train",
    "weight_noise",
]
