"""The flat program to a true error of 1e-6: flatlib against SCS, Clarabel and pyproximal.

The truth is M where the certificate says "yes". Elsewhere the error is that of the objective and
of the measurements, against the bracket of flatlib's certified gap. Everybody gets the whitened
problem, min |Y|_* subject to B(Y) = b, on which the others are many times faster than on the plain
one. A solver that stops short of 1e-6 is shown with its error and without a time: a wrong answer
is not a fast one.

    python benchmarks/solvers.py [--limit SECONDS] [--small]
"""

import argparse
import contextlib
import dataclasses
import statistics
import time
import warnings
from functools import partial

import common
import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import flatlib as fl

try:
    import pylops
    import pyproximal
except ImportError as reason:
    pyproximal, missing_reason = None, reason

GAUSSIAN = [(10, 1, 38), (10, 2, 75), (20, 1, 85), (20, 2, 145), (20, 2, 180), (30, 2, 280)]
GAUSSIAN += [(40, 2, 380)]
COMPLETION = [(20, 1, 0.6), (40, 2, 0.5), (60, 2, 0.45)]

INTRODUCTION = f"""\
## The flat program

One row is one problem. "flatlib" is the time of `fl.flat_solution` at its default tolerance
of 1e-9, compiled, with its true error; "first call" is the first solve of that shape,
compilation included. "loosest" is flatlib at the loosest tolerance, in steps of half a
decade, whose true error is below {common.ACCURACY:.0e}, as a multiple of the time before. The
other columns say how many times longer the solver took than flatlib, and its true error. ">"
marks a solver that was stopped at its limit: the ratio is a lower bound. **misses** marks an
answer that is further than {common.ACCURACY:.0e} from the truth, and then there is no ratio,
however fast it came.

All get the whitened problem. SCS runs at eps 1e-9 and, to show why, at its defaults. Clarabel
runs at the tightest of 1e-12, 1e-10, 1e-8 at which it gives an answer. pyproximal runs its
Douglas-Rachford splitting with orthonormal measurements (the time to make them counts), with
the step length and relaxation that are best for that one problem, and stops at the first
iterate whose true error is below {common.ACCURACY:.0e}. That needs the answer, so its column
is a bound in its favour; "loosest" is our side of that comparison. Time spent in cvxpy
itself, to set a problem up, does not count. "pays after" is the number of problems of one
shape from which flatlib is faster than the fastest accurate competitor although it has to
compile first.

`rho` below 1 certifies that the flat program recovers M, and then the error is that of X. At
1 lies the transition. Above 1, M is not the answer, and the error is the larger of two: that
of the objective, relative to the bracket in which flatlib's certified gap puts it, and that
of the measurements.
"""

STEPS, RELAXATIONS = (0.02, 0.05, 0.1, 0.2, 0.5), (1.0, 1.5, 1.9)  # steps in units of |c|
LADDER = [10.0 ** (-k / 2.0) for k in range(6, 19)]  # tolerances of "loosest"


@dataclasses.dataclass
class Outcome:
    """What one solver reached: seconds of its own, true error, whether it was cut off."""

    seconds: float
    error: float
    stopped: bool = False
    overhead: float = 0.0  # seconds of the modelling layer, relative to those of the solver

    @property
    def accurate(self):
        return self.error <= common.ACCURACY

    def cell(self, ours):
        if self.accurate:
            return f"{common.ratio(self.seconds / ours)}, {self.error:.1e}"
        if self.stopped:
            return f"> {common.ratio(self.seconds / ours)}, {self.error:.1e}"
        return f"**misses**, {self.error:.1e}"


class Problem:
    """A sensing problem with known truth, in the forms that the solvers want."""

    def __init__(self, op, M):
        self.op, self.M, self.b = op, M, op(M)
        self.certificate = fl.recovery_certificate(op, M)
        D1, D2 = map(np.asarray, op.rescaling())
        self.P1, self.P2 = np.linalg.inv(D1), np.linalg.inv(D2)
        values = np.asarray(self.b)
        if hasattr(op, "A"):
            self.rows = (self.P1 @ np.asarray(op.A) @ self.P2).reshape(op.m, -1)
            self.values = values
        else:  # one entry each: rows of the identity, which is what everybody likes best
            at = np.ravel_multi_index((np.asarray(op.rows), np.asarray(op.columns)), op.shape)
            self.at, ones = at, np.ones(op.m)
            self.rows = scipy.sparse.csr_array((ones, (np.arange(op.m), at)), (op.m, M.size))
            self.values = values * D1[op.rows, op.rows] * D2[op.columns, op.columns]

    def solve(self, tolerance=1e-9):
        return fl.flat_solution(self.op, self.b, tolerance=tolerance)

    def measure(self, repeats=7):
        """Seconds of the first solve, of the others, and at the loosest tolerance that will do.

        The optimal value, from flatlib's bracket, is kept: `error` needs it.
        """
        first, solution = common.cpu_seconds(self.solve)
        if not solution.converged:
            raise SystemExit(f"flatlib has not converged: {solution.status_name}")
        value = float(fl.flat_norm(self.op, solution.X))
        self.value = value * (1.0 - 0.5 * float(solution.gap))
        ours = Outcome(common.median_seconds(self.solve, repeats)[0], self.error(solution.X))
        for tolerance in LADDER:
            loose = partial(self.solve, tolerance)
            if (error := self.error(loose().X)) <= common.ACCURACY:
                break
        return first, ours, Outcome(common.median_seconds(loose, repeats)[0], error)

    def error(self, X):
        """Relative error of X where M is the certified answer, of the objective elsewhere."""
        if X is None or not np.all(np.isfinite(X)):
            return np.inf
        if self.certificate.recovers == "yes":
            return float(np.linalg.norm(X - self.M) / np.linalg.norm(self.M))
        excess = abs(float(fl.flat_norm(self.op, jnp.asarray(X))) / self.value - 1.0)
        return max(excess, float(jnp.max(jnp.abs(self.op(jnp.asarray(X)) - self.b))))

    def plain(self, Y):
        return None if Y is None else self.P1 @ np.asarray(Y).reshape(self.op.shape) @ self.P2


def run_cvxpy(problem, solver, attempts, limit, repeats=3):
    """The first of the settings with an answer; the limit is in seconds for one solve."""
    for settings in attempts:
        own, set_up = [], []
        while len(own) < repeats and sum(own) < limit:
            start = time.process_time()
            Y = cvxpy.Variable(problem.op.shape)
            constraints = [problem.rows @ cvxpy.vec(Y, order="C") == problem.values]
            program = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(Y)), constraints)
            data, chain, inverse = program.get_problem_data(solver, solver_opts=settings)
            middle = time.process_time()
            answer = chain.solve_via_data(program, data, solver_opts=settings)
            own.append(time.process_time() - middle)
            set_up.append(middle - start)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "the solution may be inaccurate": we look
                program.unpack_results(answer, chain, inverse)
            break
        except cvxpy.error.SolverError:
            pass
    seconds = statistics.median(own)
    error = problem.error(problem.plain(Y.value))
    return Outcome(seconds, error, seconds > 0.8 * limit, statistics.median(set_up) / seconds)


class _Enough(Exception):
    """Ends a run of pyproximal from inside its callback."""


def run_pyproximal(problem, limit, repeats=3, most=5000):
    """Douglas-Rachford splitting with the best step length, stopped when the error is small."""
    d1, d2 = problem.op.shape
    nuclear = pyproximal.Nuclear((d1, d2), 1.0)

    def prepare():
        if scipy.sparse.issparse(problem.rows):
            return pylops.Restriction(d1 * d2, problem.at), problem.values
        Q, R = np.linalg.qr(problem.rows.T)
        return pylops.MatrixMult(np.ascontiguousarray(Q.T)), np.linalg.solve(R.T, problem.values)

    def solve(system, step, relaxation, iterations, watch=None):
        rows, values = system
        affine = pyproximal.AffineSet(rows, values, niter=1)  # one step is exact: orthonormal
        start, tau = rows.rmatvec(values), step * np.linalg.norm(values)
        return pyproximal.optimization.primal.DouglasRachfordSplitting(
            nuclear, affine, start, tau, relaxation, niter=iterations, callback=watch
        )[0]

    system, best, begun = prepare(), None, time.process_time()
    iterations = most
    for step in STEPS:
        for relaxation in RELAXATIONS:
            errors = []

            def watch(x, errors=errors):
                errors.append(problem.error(problem.plain(x)))
                if errors[-1] <= common.ACCURACY or time.process_time() - begun > 3 * limit:
                    raise _Enough

            with contextlib.suppress(_Enough):
                solve(system, step, relaxation, iterations, watch)
            if errors[-1] <= common.ACCURACY:
                iterations, best = len(errors), (step, relaxation)
    chosen = best or (STEPS[2], RELAXATIONS[1])
    seconds, Y = common.median_seconds(lambda: solve(prepare(), *chosen, iterations), repeats)
    return Outcome(seconds, problem.error(problem.plain(Y)), best is None)


def problems(small):
    """Name, map and truth of all problems."""
    for d, rank, m in GAUSSIAN[: 2 if small else None]:
        key_op, key_M = jax.random.split(jax.random.key(1000 * d + m))
        op, M = fl.gaussian_sensing(key_op, m, (d, d)), fl.low_rank(key_M, (d, d), rank)
        yield f"Gaussian, d = {d}, r = {rank}, m = {m}", op, M
    for d, rank, p in COMPLETION[: 1 if small else None]:
        key_op, key_M = jax.random.split(jax.random.key(1000 * d))
        op, M = fl.bernoulli_completion(key_op, p, (d, d)), fl.low_rank(key_M, (d, d), rank)
        yield f"completion, d = {d}, r = {rank}, p = {p}", op, M


def solvers(limit):
    """Name and function of every competitor."""
    tolerances = ("tol_gap_abs", "tol_gap_rel", "tol_feas")
    tight = dict(eps=1e-9, max_iters=10**7, time_limit_secs=limit)
    clarabel = [dict.fromkeys(tolerances, t) | {"time_limit": limit} for t in (1e-12, 1e-10, 1e-8)]
    yield "SCS", lambda problem: run_cvxpy(problem, "SCS", [tight], limit)
    yield "SCS, defaults", lambda problem: run_cvxpy(problem, "SCS", [{}], limit)
    yield "Clarabel", lambda problem: run_cvxpy(problem, "CLARABEL", clarabel, limit)
    if pyproximal:
        yield "pyproximal", lambda problem: run_pyproximal(problem, limit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one solve")
    parser.add_argument("--small", action="store_true", help="three small problems only")
    arguments = parser.parse_args()
    print(INTRODUCTION)
    competitors = dict(solvers(arguments.limit))
    if not pyproximal:
        print(f"pyproximal is not installed ({missing_reason}).\n")
    table = common.Table(
        "problem", "rho", "flatlib", "loosest", "first call", *competitors, "pays after"
    )
    outcomes = {name: [] for name in competitors}
    best_ratios, firsts = {}, []
    for name, op, M in problems(arguments.small):
        problem = Problem(op, M)
        first, own, loose = problem.measure()
        if not own.accurate:
            raise SystemExit(f"flatlib misses {common.ACCURACY:.0e} at {name}: {own.error:.1e}")
        ours = own.seconds
        firsts.append(first)
        results = {key: solve(problem) for key, solve in competitors.items()}
        for key, result in results.items():
            outcomes[key].append((result, ours))
        accurate = [result.seconds for result in results.values() if result.accurate]
        if accurate:
            best_ratios[name] = min(accurate) / ours
        table.row(
            name,
            f"{float(problem.certificate.rho):.2f}",
            f"{common.milliseconds(ours)}, {own.error:.1e}",
            loose.cell(ours),
            f"{first:.1f} s",
            *(result.cell(ours) for result in results.values()),
            common.solves_to_pay(first, ours, min(accurate)) if accurate else "the first",
        )
    print()
    for key, values in outcomes.items():
        counted = [r.seconds / ours for r, ours in values if r.accurate or r.stopped]
        stopped = sum(r.stopped and not r.accurate for r, _ in values)
        missed = sum(not (r.accurate or r.stopped) for r, _ in values)
        text = f"- {key}: "
        if counted:
            text += f"{common.ratio(min(counted))} to {common.ratio(max(counted))} our time, "
            text += f"median {common.ratio(statistics.median(counted))}; "
        text += f"{missed} of {len(values)} missed, {stopped} stopped"
        overheads = [result.overhead for result, _ in values if result.overhead]
        if overheads:
            share = statistics.median(overheads)
            text += f"; cvxpy's set-up, not counted, adds a median of {share:.0%}"
        print(text + ".")
    slower = [f"{name} ({common.ratio(value)})" for name, value in best_ratios.items() if value < 1]
    print(
        f"\n**Where flatlib loses.** On compiled code: {', '.join(slower) or 'on none of these'}. "
        f"On a first solve it loses wherever the last column exceeds 1: compiling takes a median "
        f"of {statistics.median(firsts):.1f} s for each new shape."
    )


if __name__ == "__main__":
    main()
