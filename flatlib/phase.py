r"""Phase transitions of recovery: sweeps over many instances, and where they are predicted.

`statistical_dimension` predicts the transition of plain nuclear-norm minimisation under Gaussian
measurements: for a d1 x d2 matrix of rank r it lies, at finite size, near

    delta = min_{tau >= 0} r (d1 + d2 - r) + r tau^2 + E sum_i (sigma_i(G) - tau)_+^2,

with G a (d1 - r) x (d2 - r) standard Gaussian matrix (Amelunxen, Lotz, McCoy, Tropp 2014).
`phase_diagram` measures it, for the flat program of Theorem 3.2 or for the nuclear norm, and keeps
four outcomes apart: a solver that did not converge is no failure of recovery.
"""

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import tempfile
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from flatlib._inputs import as_float64, positive_integer, require_key
from flatlib.convex import Status, check_tolerance, flat_solution, nuclear_solution
from flatlib.measurements import Dense, Entries, Quadratic, RankOne, check_map, matrix_shape

OUTCOMES = ("recovered", "certified not the minimiser", "converged elsewhere", "unconverged")
PADDED = 256  # numbers of measurements are padded to the largest, or to multiples of this
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
    counts : (n_sizes, n, 4), how many instances had each of the four outcomes
    trials : instances in each cell, the sum of the counts over the last axis
    weighting : "flat" or "nuclear"
    outcomes : names of the four outcomes
    """

    sizes: np.ndarray
    measurements: np.ndarray
    counts: np.ndarray
    trials: int
    weighting: str
    outcomes: tuple = OUTCOMES

    @property
    def recovery(self):
        """Frequency of recovery, (n_sizes, n); an unconverged instance counts as not recovered."""
        return self.counts[..., 0] / self.trials

    @property
    def unconverged(self):
        """Number of unconverged instances, (n_sizes, n): how far `recovery` may be too low."""
        return self.counts[..., 3]


def phase_diagram(
    problem, sizes, measurements, *, trials, key, weighting="flat", save=None, tolerance=1e-6
):
    """Solve `trials` random instances for every size and number of measurements.

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
    tolerance : relative error |X - M|_F/|M|_F up to which M counts as recovered

    Returns
    -------
    PhaseDiagram. An instance counts, in this order, as *recovered*: the minimiser has been found
    and is M; *certified not the minimiser*: some X with A(X) = A(M) has a smaller objective than
    M, beyond rounding; *converged elsewhere*: there is a minimiser that is not M, and M may be
    another one (so it is whenever D1 or D2 is singular); *unconverged*: the solver has not decided.

    Raises
    ------
    ValueError for bad settings, or when the file in `save` holds another sweep.
    """
    if weighting not in ("flat", "nuclear"):
        raise ValueError(f'`weighting` must be "flat" or "nuclear", but is {weighting!r}.')
    trials = positive_integer("trials", trials)
    require_key(key)
    check_tolerance(tolerance)
    sizes = np.array([positive_integer("sizes", d) for d in np.ravel(sizes)])
    measurements = np.asarray(measurements)
    if measurements.ndim not in (1, 2) or 0 in measurements.shape or not len(sizes):
        raise ValueError("`sizes` and `measurements` must hold at least one number each.")
    if measurements.dtype.kind not in "iuf" or not (measurements >= 0).all():
        raise ValueError("`measurements` must be nonnegative numbers.")
    if measurements.ndim == 2 and len(measurements) != len(sizes):
        raise ValueError(
            f"`measurements` must have one row per size, {len(sizes)}, or be common to all sizes, "
            f"but has shape {measurements.shape}."
        )
    measurements = np.array(np.broadcast_to(measurements, (len(sizes), measurements.shape[-1])))
    counts = np.full((*measurements.shape, len(OUTCOMES)), -1)

    def instance(i, j, trial):
        d, m = int(sizes[i]), measurements[i, j].item()
        code = m if isinstance(m, int) else int(np.float32(m).view(np.uint32))
        own = functools.reduce(jax.random.fold_in, (d, code, trial), key)
        op, M = problem(own, d, m)
        check_map(op)
        return op, as_float64("M", M, shape=op.shape)

    settings = {
        "sizes": sizes,
        "measurements": measurements,
        "trials": trials,
        "key": np.asarray(jax.random.key_data(key)),
        "weighting": weighting,
        "tolerance": tolerance,
    }
    if save is not None:
        op, M = instance(0, 0, 0)
        settings["first measurements"] = np.asarray(op(M))  # tells problems apart
        counts = _resume(save, settings, counts)

    def cell(i, j):
        largest = int(measurements[i].max())
        outcomes = [
            _outcome(*instance(i, j, trial), largest, weighting, tolerance)
            for trial in range(trials)
        ]
        return i, j, np.bincount(outcomes, minlength=len(OUTCOMES))

    # Size by size within each column, so that the threads compile programs of different sizes.
    columns, rows = np.nonzero(counts[..., 0].T < 0)
    for i, j, row in _in_threads(cell, list(zip(rows, columns, strict=True))):
        counts[i, j] = row
        if save is not None:
            _write(save, settings, counts)
    return PhaseDiagram(sizes, measurements, counts, trials, weighting)


def _in_threads(work, arguments):
    """Results of work(*a) as they come, with a progress bar where a terminal shows it."""
    from tqdm import tqdm

    with concurrent.futures.ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        futures = [pool.submit(work, *a) for a in arguments]
        try:
            finished = concurrent.futures.as_completed(futures)
            # disable=None: no bar where stderr is no terminal, as in a notebook.
            for future in tqdm(finished, total=len(futures), unit="cell", disable=None):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


# ------------------------------------------------------------------ one instance


def _outcome(op, M, largest, weighting, tolerance):
    """Index into OUTCOMES for one instance."""
    op, b = _padded(op, np.asarray(op(M)), largest)
    return int(_judge(op, b, M, weighting, tolerance))


def _padded(op, b, largest):
    """The same problem with more measurements, so that all of one size share one program.

    Zero measurements multiply D1 and D2 by a constant and change nothing else; entries outside the
    matrix are dropped by JAX wherever they are written.
    """
    match op:
        case Entries():
            length, filling = op.shape[0] * op.shape[1], max(op.shape)
        case Dense() | RankOne() | Quadratic():
            length, filling = max(op.m, min(largest, -(-op.m // PADDED) * PADDED)), 0.0
        case _:
            return op, b

    def pad(array, filling):
        full = np.full((length, *array.shape[1:]), filling, dtype=array.dtype)
        full[: len(array)] = array
        return full

    return jax.tree.map(lambda leaf: pad(leaf, filling), op), pad(b, 0.0)


@functools.partial(jax.jit, static_argnames=("weighting", "tolerance"))
def _judge(op, b, M, weighting, tolerance):
    """Solve one instance and compare the result with M. (The solver raises only outside jit.)"""
    if weighting == "flat":
        solution = flat_solution(op, b, tolerance=1e-3 * tolerance)
        D1, D2 = op.rescaling()
    else:
        solution = nuclear_solution(op, b, tolerance=1e-3 * tolerance)
        D1, D2 = jnp.eye(M.shape[0]), jnp.eye(M.shape[1])

    def objective(X):
        return jnp.sum(jnp.linalg.svd(D1 @ X @ D2, compute_uv=False))

    feasible = solution.residual <= MARGIN
    found = feasible & (solution.gap <= 1e-3 * tolerance)
    near = jnp.linalg.norm(solution.X - M) <= tolerance * jnp.linalg.norm(M)
    smaller = feasible & (objective(solution.X) < (1.0 - MARGIN) * objective(M))
    # Where D1 or D2 is singular, M can be changed in an unobserved direction at no cost.
    elsewhere = found | (solution.status == Status.UNOBSERVED)
    return jnp.select([found & near, smaller, elsewhere], [0, 1, 2], 3)


# ------------------------------------------------------------------ the file of a sweep


def _resume(save, settings, counts):
    """The counts in the file, or `counts` if there is none yet; an error for another sweep."""
    path = pathlib.Path(save)
    if not path.exists():
        return counts
    remedy = "delete it or choose another path"
    try:
        with np.load(path) as stored:
            stored = dict(stored)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"`save`: {path} is not a file of phase_diagram: {remedy}.") from error
    for name, value in settings.items():
        if name not in stored or not _agree(stored[name], np.asarray(value)):
            raise ValueError(
                f"`save`: {path} holds a sweep with other settings (`{name}` differs): {remedy}."
            )
    return stored["counts"]


def _agree(stored, value):
    if stored.shape != value.shape:
        return False
    if value.dtype.kind == "f":
        return bool(np.allclose(stored, value, rtol=1e-6, atol=0))
    return bool(np.array_equal(stored, value))


def _write(save, settings, counts):
    """Replace the file at once, so that an interruption leaves either the old or the new one."""
    path = pathlib.Path(save)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez(file, counts=counts, **settings)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
