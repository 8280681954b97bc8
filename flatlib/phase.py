r"""Phase transitions of recovery: sweeps over many instances, and where they are predicted.

`statistical_dimension` predicts the transition of plain nuclear-norm minimisation under Gaussian
measurements: for a d1 x d2 matrix of rank r it lies, at finite size, near

    delta = min_{tau >= 0} r (d1 + d2 - r) + r tau^2 + E sum_i (sigma_i(G) - tau)_+^2,

with G a (d1 - r) x (d2 - r) standard Gaussian matrix (Amelunxen, Lotz, McCoy, Tropp 2014).
`phase_diagram` measures it, for the flat program of Theorem 3.2 or for the nuclear norm. Most
instances are decided by a certificate for or against M (`flatlib.certificates`), which costs less
than solving the program; the few that it leaves undecided are solved. Four outcomes are kept
apart: a solver that did not converge is no failure of recovery.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from flatlib import sweeps
from flatlib._inputs import positive_integer, require_key
from flatlib._whitening import standard_form, whiten, whitened
from flatlib.certificates import RANK_TOLERANCE, certify
from flatlib.convex import check_tolerance, check_weighting, nuclear_norm, solve
from flatlib.measurements import Dense, Quadratic, RankOne, matrix_shape

OUTCOMES = ("recovered", "certified not the minimiser", "converged elsewhere", "unconverged")
PADDED = 512  # numbers of measurements are padded to the largest, or to multiples of this
UNDECIDED = -1
CERTIFICATE_STEPS = 5000  # after which an undecided instance is solved instead
SOLVER_STEPS = 20_000
MARGIN = 1e-9  # relative difference of two objectives that is more than rounding


def statistical_dimension(shape, rank, *, key, symmetric=False, samples=None):
    """Statistical dimension of the descent cone of the nuclear norm at a matrix of given rank.

    Parameters
    ----------
    shape : (d1, d2)
    rank : r, at most min(d1, d2)
    key : random key of the Monte Carlo average
    symmetric : whether the problem lives on symmetric matrices; then d1 = d2, G is a symmetric
        Gaussian matrix with variance 1 on the diagonal and 1/2 off it, and the value is
        d (d + 1)/2 - (d - r) (d - r + 1)/2 + min_tau (r tau^2 + E sum_i (|lambda_i(G)| - tau)_+^2)
    samples : number of Gaussian matrices; by default enough for a standard error of .15%

    Returns
    -------
    The value, a float. The minimum over tau is taken outside the expectation, which makes it an
    upper bound, larger by 1-2% at small size. It depends on the rank and not on the matrix.

    Raises
    ------
    ValueError if the rank exceeds min(d1, d2), or if `symmetric` and d1 != d2.

    Source: Amelunxen, Lotz, McCoy, Tropp (2014), Propositions 4.1 and 4.7.
    """
    d1, d2 = matrix_shape(shape)
    require_key(key)
    rank = positive_integer("rank", rank)
    if rank > min(d1, d2):
        raise ValueError(f"`rank` is at most min(d1, d2) = {min(d1, d2)}, but is {rank}.")
    if symmetric and d1 != d2:
        raise ValueError(f"A symmetric problem has d1 = d2, but `shape` is {(d1, d2)}.")
    if samples is None:
        samples = max(100, 40_000 // min(d1, d2))
    samples = positive_integer("samples", samples)
    tangent = d1 * d2 - (d1 - rank) * (d2 - rank)
    if symmetric:
        tangent = d1 * (d1 + 1) // 2 - (d1 - rank) * (d1 - rank + 1) // 2
    if rank == min(d1, d2):
        return float(tangent)

    # NumPy draws, because JAX would compile a generator for every shape.
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    G = generator.standard_normal((samples, d1 - rank, d2 - rank))
    if symmetric:
        values = np.abs(np.linalg.eigvalsh(0.5 * (G + G.transpose(0, 2, 1))))
    else:
        values = np.linalg.svd(G, compute_uv=False)
    # The objective is convex in tau and its derivative is 2 (r tau - E sum (sigma - tau)_+).
    low, high = 0.0, float(values.max())
    while high - low > 1e-9 * high:
        tau = 0.5 * (low + high)
        if rank * tau < np.maximum(values - tau, 0.0).sum() / samples:
            low = tau
        else:
            high = tau
    return float(tangent + rank * high**2 + np.square(np.maximum(values - high, 0)).sum() / samples)


@dataclasses.dataclass(frozen=True)
class PhaseDiagram:
    """Outcomes of a sweep.

    Attributes
    ----------
    sizes : (n_sizes,), the sizes d
    measurements : (n_sizes, n), the numbers of measurements m (or whatever the problem took)
    results : (n_sizes, n, trials), the outcome of each instance, an index into `outcomes`
    weighting : "flat" or "nuclear"
    outcomes : names of the four outcomes
    """

    sizes: np.ndarray
    measurements: np.ndarray
    results: np.ndarray
    weighting: str
    outcomes: tuple = OUTCOMES

    @property
    def trials(self):
        """Number of instances in each cell."""
        return self.results.shape[-1]

    @property
    def counts(self):
        """How many instances had each of the four outcomes, (n_sizes, n, 4)."""
        return np.sum(self.results[..., None] == np.arange(len(self.outcomes)), axis=2)

    @property
    def recovery(self):
        """Frequency of recovery, (n_sizes, n); an unconverged instance counts as not recovered."""
        return self.counts[..., 0] / self.trials

    @property
    def unconverged(self):
        """Number of unconverged instances, (n_sizes, n): how far `recovery` may be too low."""
        return self.counts[..., 3]


def phase_diagram(
    problem,
    sizes,
    measurements,
    *,
    trials,
    key,
    weighting="flat",
    save=None,
    tolerance=1e-6,
    executor=None,
):
    """Decide for `trials` random instances of every size and number of measurements.

    Parameters
    ----------
    problem : function (key, d, m) -> (op, M): a measurement map and the matrix to recover
    sizes : (n_sizes,) integers d
    measurements : (n,), common to all sizes, or (n_sizes, n). Integers m for most problems; floats
        are handed on as floats, so a completion problem can take a probability instead.
    trials : number of instances in each cell
    key : random key. An instance depends on key, d, m and its number alone, so the same key gives
        the same instances under both weightings: a paired comparison.
    weighting : "flat" (|D1 X D2|_*) or "nuclear" (|X|_*)
    save : path of a file that is rewritten after every cell. A sweep that finds its own file goes
        on from there; the file of another sweep is refused.
    tolerance : relative error |X - M|_F/|M|_F up to which M counts as recovered, where the program
        is solved
    executor : executor of `concurrent.futures` that runs the cells, and that other processes or
        machines may stand behind: `process_pool`, or `Client.get_executor()` of a Dask cluster.
        `problem` must then be a function that they can import. By default threads of this process.

    Returns
    -------
    PhaseDiagram. An instance counts as *recovered*: M is certified to be the unique minimiser, or
    the minimiser has been found and is M; *certified not the minimiser*: a dual certificate or some
    X with A(X) = A(M) and a smaller objective proves it, beyond rounding; *converged elsewhere*:
    there is a minimiser that is not M, and M may be another one (so it is whenever D1 or D2 is
    singular); *unconverged*: neither the certificate nor the solver has decided.

    Raises
    ------
    ValueError for bad settings, or when the file in `save` holds another sweep. RuntimeError when
    a process of the executor has died.
    """
    check_weighting(weighting)
    diagrams = paired_diagrams(
        problem,
        sizes,
        measurements,
        weightings=(weighting,),
        trials=trials,
        key=key,
        save=save,
        tolerance=tolerance,
        executor=executor,
    )
    return diagrams[weighting]


def paired_diagrams(
    problem,
    sizes,
    measurements,
    *,
    trials,
    key,
    weightings=("flat", "nuclear"),
    save=None,
    tolerance=1e-6,
    executor=None,
):
    """{weighting: PhaseDiagram}: the same as `phase_diagram` for each, drawing instances once."""
    check_tolerance(tolerance)
    grid = sweeps.make_grid(sizes, measurements, trials, key)
    results = sweeps.run(
        functools.partial(_cell, weightings=weightings, tolerance=tolerance),
        problem,
        grid,
        (len(weightings), grid.trials),
        executor=executor,
        save=save,
        settings={"weightings": np.array(weightings), "tolerance": tolerance},
        label=getattr(problem, "__name__", None),
    )
    return _diagrams(grid.sizes, grid.measurements, results, weightings)


def load_diagrams(path):
    """{weighting: PhaseDiagram} in the file of a finished sweep; ValueError for any other file."""
    names = ("sizes", "measurements", "results", "weightings")
    return _diagrams(*sweeps.load_finished(path, names))


def _diagrams(sizes, measurements, results, weightings):
    return {
        str(weighting): PhaseDiagram(
            sizes, measurements, results[:, :, i].astype(int), str(weighting)
        )
        for i, weighting in enumerate(weightings)
    }


# ------------------------------------------------------------------ one cell


def _cell(problem, key, d, m, trials, largest, *, weightings, tolerance):
    """The outcomes of the instances of one cell, (n_weightings, trials)."""
    groups = {}
    for trial in range(trials):
        op, M = sweeps.draw(problem, key, d, m, trial)
        arguments = (*standard_map(op, largest), M)
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(arguments))
        rank = int(np.linalg.matrix_rank(M, rtol=RANK_TOLERANCE))
        signature = op.symmetric, rank, jax.tree.structure(arguments), shapes
        groups.setdefault(signature, {})[trial] = arguments
    results = np.empty((len(weightings), trials), dtype=int)
    for (symmetric, rank, *_), group in groups.items():  # as a rule there is one
        for result, weighting in zip(results, weightings, strict=True):
            result[list(group)] = _outcomes(
                list(group.values()), weighting, rank, symmetric, tolerance
            )
    return results


def _outcomes(group, weighting, rank, symmetric, tolerance):
    """The outcomes of instances of equal shapes: by certificate, or else by solution."""
    flat = jnp.asarray(weighting == "flat")  # no static argument: both weightings share a program
    group = [(*arguments, flat) for arguments in group]
    found = sweeps.over_devices(_by_certificate, group, rank=rank, symmetric=symmetric)
    for i in np.flatnonzero(found == UNDECIDED):  # one by one: a program for each number is worse
        found[i] = sweeps.over_devices(
            _by_solution, [group[i]], tolerance=tolerance, symmetric=symmetric
        )[0]
    return found


def standard_map(op, largest):
    """The map in the form that solvers and certificates take, and the number m.

    Measurement matrices and vectors are padded with zeros, so that all m up to the largest one
    share few compiled programs: zero measurements only multiply D1 and D2 by a constant.
    """
    m = jnp.asarray(float(op.m))
    if isinstance(op, (Dense, RankOne, Quadratic)):
        missing = max(0, min(int(largest), -(-op.m // PADDED) * PADDED) - op.m)

        def pad(array):
            return np.pad(np.asarray(array), [(0, missing)] + [(0, 0)] * (array.ndim - 1))

        op = jax.tree.map(pad, op)
    return standard_form(op, jnp.zeros(op.m))[0], m


def _by_certificate(op, m, M, flat, *, rank, symmetric):
    """The outcome of one instance as far as a certificate decides it, or UNDECIDED."""
    if rank == 0:
        return jnp.asarray(UNDECIDED)
    certificate, singular = certify(
        op, M, m, flat, jnp.inf, CERTIFICATE_STEPS, rank=rank, symmetric=symmetric, quick=True
    )
    outcome = jnp.array([UNDECIDED, 0, 1])[certificate.code]
    # Where D1 or D2 is singular, M can be changed in an unobserved direction at no cost.
    return jnp.where(singular, 2, outcome)


def _by_solution(op, m, M, flat, *, tolerance, symmetric):
    """The outcome of one instance by solving its program and comparing the result with M."""
    goal = 1e-3 * tolerance
    solution = solve(op, op._apply(M), m, flat, None, goal, SOLVER_STEPS, symmetric=symmetric)
    _, *inverses, singular = whiten(op, m, flat)

    def objective(X):
        return nuclear_norm(whitened(X, *inverses, singular))

    feasible = solution.residual <= MARGIN
    found = feasible & (solution.gap <= goal)
    near = jnp.linalg.norm(solution.X - M) <= tolerance * jnp.linalg.norm(M)
    smaller = feasible & (objective(solution.X) < (1.0 - MARGIN) * objective(M))
    return jnp.select([found & near, smaller, found | singular], [0, 1, 2], 3)
