"""Figures 3 and 4 of the paper, at its scale: chapter 14 plots what this module computes.

Figure 3 of Ding, Drusvyatskiy, Fazel, Harchaoui (2024) shows how often flat solutions and least
nuclear norms recover the truth; Figure 4 shows how regular flat solutions are: how far the norm of
their factors is from the least possible one, and how far the factors are from balanced. Here both
run over the sizes d = 5, 10, ..., 50 and fifteen numbers of measurements for each.

    python -m flatlib.paper --help

computes them on every core of the machine, or on a cluster. The results that ship with the library
lie in the folder `data` beside this file.
"""

import argparse
import contextlib
import dataclasses
import functools
import pathlib
import shutil
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import flatlib as fl
from flatlib import phase, sweeps
from flatlib._whitening import whiten, whitened
from flatlib.convex import Status, nuclear_norm, solve

SIZES = np.arange(5, 51, 5)
COUNTS = 15  # numbers of measurements for each size
TRIALS = {3: 10, 4: 5}  # instances in each cell; those of Figure 4 are the first of Figure 3
STEPS = 10_000  # of the solver, for Figure 4
KEY = 2022  # of all instances, as jax.random.key(KEY)
DATA = pathlib.Path(__file__).with_name("data")


# ------------------------------------------------------------------ the four problems


def matrix_sensing(key, d, m):
    """Gaussian measurements of a d x d matrix of rank 2."""
    key_map, key_truth = jax.random.split(key)
    return fl.gaussian_sensing(key_map, m, (d, d)), fl.low_rank(key_truth, (d, d), 2)


def bilinear_sensing(key, d, m):
    """Measurements a_i^T X b_i of a d x d matrix of rank 2."""
    key_map, key_truth = jax.random.split(key)
    return fl.bilinear_sensing(key_map, m, (d, d)), fl.low_rank(key_truth, (d, d), 2)


def matrix_completion(key, d, m):
    """Entries of a d x d matrix of rank 2, each with probability m/d^2: m of them on average."""
    key_map, key_truth = jax.random.split(key)
    return fl.bernoulli_completion(key_map, m / d**2, (d, d)), fl.low_rank(key_truth, (d, d), 2)


def quadratic_network(key, d, m):
    """A teacher with two positive neurons and a negative one: measurements x_i^T X x_i, rank 3."""
    key_map, key_truth = jax.random.split(key)
    return fl.quadratic_sensing(key_map, m, d), fl.low_rank_symmetric(key_truth, d, (2, 1))


PROBLEMS = (matrix_sensing, bilinear_sensing, matrix_completion, quadratic_network)


@functools.cache
def predicted(problem, d):
    """The predicted number of measurements at the transition: a statistical dimension.

    It is a prediction for Gaussian measurements and the nuclear norm, and a guide for the others.
    """
    symmetric = problem is quadratic_network
    return fl.statistical_dimension(
        (d, d), 3 if symmetric else 2, key=jax.random.key(d), symmetric=symmetric
    )


def measurement_counts(problem, sizes=SIZES):
    """Fifteen numbers of measurements for each size, (n_sizes, 15), evenly spaced.

    From 0.5 to 2 times the predicted transition, or to as many as the matrix has entries.
    """
    counts = []
    for d in np.asarray(sizes).tolist():
        entries = d * (d + 1) // 2 if problem is quadratic_network else d**2
        middle = predicted(problem, d)
        counts.append(np.linspace(0.5 * middle, min(2.0 * middle, entries), COUNTS))
    return np.rint(counts).astype(int)


# ------------------------------------------------------------------ Figure 4


@dataclasses.dataclass(frozen=True)
class Regularity:
    """What solving both programs gives for every instance; each array is (n_sizes, n, trials).

    Attributes
    ----------
    sizes, measurements : (n_sizes,) and (n_sizes, n), as in a `PhaseDiagram`
    flat_error, nuclear_error : relative errors |X - M|_F/|M|_F of the two solutions
    excess : (|L|^2 + |R|^2)/(2 |X_n|_*) - 1 for the flattest factors L, R and the solution X_n of
        least nuclear norm: how far the norm of the factors is from the least one
    imbalance : |L^T L - R^T R|_*/(2 |X_n|_*)
    condition : kappa, largest over smallest eigenvalue of D1 and D2
    flat_status, nuclear_status : `Status` codes of the solver

    Where D1 or D2 is singular, no flat solution exists, and `flat_error`, `excess`, `imbalance`
    and `condition` are NaN.
    """

    sizes: np.ndarray
    measurements: np.ndarray
    flat_error: np.ndarray
    nuclear_error: np.ndarray
    excess: np.ndarray
    imbalance: np.ndarray
    condition: np.ndarray
    flat_status: np.ndarray
    nuclear_status: np.ndarray


MEASURED = [field.name for field in dataclasses.fields(Regularity)][2:]


def regularity_sweep(problem, sizes, measurements, *, trials, key, save=None, executor=None):
    """Solve both programs for random instances, the same as those of `phase_diagram`.

    Arguments, resuming and errors as in `flatlib.phase_diagram`. Returns Regularity.

    Source: Ding et al. (2024), Theorem 3.3 and Figure 4.
    """
    grid = sweeps.make_grid(sizes, measurements, trials, key)
    results = sweeps.run(
        _measure_cell,
        problem,
        grid,
        (len(MEASURED), grid.trials),
        executor=executor,
        save=save,
        settings={"measured": np.array(MEASURED)},
        label=f"{problem.__name__}, regularity",
    )
    return Regularity(grid.sizes, grid.measurements, *np.moveaxis(results, 2, 0))


def _measure_cell(problem, key, d, m, trials, largest):
    """The quantities of one cell, (7, trials)."""
    instances = []
    for trial in range(trials):
        op, M = sweeps.draw(problem, key, d, m, trial)
        instances.append((*phase.standard_map(op, largest), M))
    return sweeps.over_devices(_measure, instances, symmetric=op.symmetric).T


def _measure(op, m, M, *, symmetric):
    def program(flat):
        return solve(op, op._apply(M), m, flat, None, 1e-9, STEPS, symmetric=symmetric)

    both = jax.lax.map(program, jnp.array([True, False]))  # one compiled solver
    flat, nuclear = (jax.tree.map(lambda leaf: leaf[i], both) for i in range(2))  # noqa: B023
    _, P1, P2, singular = whiten(op, m, True)
    U, sigma, Vt = jnp.linalg.svd(whitened(flat.X, P1, P2, singular), full_matrices=False)
    L, R = P1 @ (U * jnp.sqrt(sigma)), P2 @ (Vt.T * jnp.sqrt(sigma))
    least = 2.0 * nuclear_norm(nuclear.X)
    inverses = jnp.concatenate([jnp.linalg.eigvalsh(P1), jnp.linalg.eigvalsh(P2)])
    values = [
        jnp.linalg.norm(flat.X - M) / jnp.linalg.norm(M),
        (jnp.sum(L**2) + jnp.sum(R**2)) / least - 1.0,
        nuclear_norm(L.T @ L - R.T @ R) / least,
        jnp.max(inverses) / jnp.min(inverses),
    ]
    flat_error, excess, imbalance, condition = jnp.where(singular, jnp.nan, jnp.array(values))
    nuclear_error = jnp.linalg.norm(nuclear.X - M) / jnp.linalg.norm(M)
    statuses = flat.status, nuclear.status
    return jnp.array([flat_error, nuclear_error, excess, imbalance, condition, *statuses])


# ------------------------------------------------------------------ the results that ship


def file(figure, problem, folder=DATA):
    """Where the results of a figure lie for one of the PROBLEMS."""
    return pathlib.Path(folder) / f"figure{figure}_{problem.__name__}.npz"


def recovery(problem, folder=DATA):
    """Figure 3: {"flat": PhaseDiagram, "nuclear": PhaseDiagram} of one of the PROBLEMS."""
    return phase.load_diagrams(file(3, problem, folder))


def regularity(problem, folder=DATA):
    """Figure 4: the Regularity of one of the PROBLEMS."""
    names = ("sizes", "measurements", "results", "measured")
    sizes, measurements, results, _ = sweeps.load_finished(file(4, problem, folder), names)
    return Regularity(sizes, measurements, *np.moveaxis(results, 2, 0))


def versions(folder=DATA):
    """The versions of the software that made the results, sorted."""
    files = pathlib.Path(folder).glob("figure*.npz")
    return sorted({line for path in files for line in sweeps.load(path)["versions"].tolist()})


# ------------------------------------------------------------------ the command


def compute(folder, figures=(3, 4), *, problems=PROBLEMS, sizes=SIZES, trials=None, executor=None):
    """Compute the figures into `folder`, sweep by sweep, and print what came out.

    A folder that holds a part of the results is completed, a finished one is only read. By default
    `trials` is that of TRIALS.
    """
    key = jax.random.key(KEY)
    start = time.perf_counter()
    for problem in problems:
        counts = measurement_counts(problem, sizes)
        settings = {"key": key, "executor": executor}
        name = problem.__name__.replace("_", " ")
        if 3 in figures:
            path = file(3, problem, folder)
            diagrams = phase.paired_diagrams(
                problem, sizes, counts, trials=trials or TRIALS[3], save=path, **settings
            )
            for weighting, diagram in diagrams.items():
                totals = zip(diagram.counts.sum((0, 1)), diagram.outcomes, strict=True)
                found = ", ".join(f"{number} {outcome}" for number, outcome in totals)
                print(f"Figure 3, {name}, {weighting}: {found}", _since(start), flush=True)
        if 4 in figures:
            path = file(4, problem, folder)
            found = regularity_sweep(
                problem, sizes, counts, trials=trials or TRIALS[4], save=path, **settings
            )
            statuses = np.stack([found.flat_status, found.nuclear_status])
            solved = [
                f"{int(np.sum(statuses == status))} {status.name.lower()}"
                for status in Status
                if np.any(statuses == status)
            ]
            print(f"Figure 4, {name}: {', '.join(solved)}", _since(start), flush=True)


def _since(start):
    return f"[{time.perf_counter() - start:.0f} s]"


def main(arguments=None):
    names = [problem.__name__ for problem in PROBLEMS]
    parser = argparse.ArgumentParser(
        prog="python -m flatlib.paper",
        description="Compute Figures 3 and 4 at the scale of the paper. Stop it whenever you "
        "like: the same command goes on where it stopped.",
    )
    parser.add_argument("--figures", type=int, nargs="+", choices=(3, 4), default=(3, 4))
    parser.add_argument("--folder", type=pathlib.Path, default="figures", help="for the results")
    parser.add_argument("--problems", nargs="+", choices=names, default=names)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES.tolist())
    parser.add_argument("--trials", type=int, help="instances in each cell")
    parser.add_argument("--workers", type=int, help="processes; by default one for each core")
    parser.add_argument("--cluster", help="address of a Dask scheduler that runs the cells instead")
    parser.add_argument(
        "--ship", action="store_true", help="copy the results into the library when finished"
    )
    options = parser.parse_args(arguments)
    if options.ship and (options.sizes != SIZES.tolist() or options.trials):
        parser.error("--ship goes with the sizes and trials of the library's own results")
    jax.config.update("jax_enable_x64", True)
    with contextlib.ExitStack() as stack:
        if options.cluster:
            from dask.distributed import Client

            client = stack.enter_context(Client(options.cluster))
            executor, where = client.get_executor(), f"the cluster {options.cluster}"
        elif jax.default_backend() != "cpu":
            executor, where = None, f"{jax.local_devices()}"
        else:
            executor = stack.enter_context(sweeps.process_pool(options.workers))
            where = "processes of this machine"
        print(f"Results go to {options.folder}; the cells run on {where}.", flush=True)
        compute(
            options.folder,
            options.figures,
            problems=[problem for problem in PROBLEMS if problem.__name__ in options.problems],
            sizes=options.sizes,
            trials=options.trials,
            executor=executor,
        )
    if options.ship:
        DATA.mkdir(exist_ok=True)
        for path in sorted(options.folder.glob("figure*.npz")):
            shutil.copy(path, DATA)


if __name__ == "__main__":
    # As `__main__` the problems could not be found by the worker processes.
    from flatlib import paper

    sys.exit(paper.main())
