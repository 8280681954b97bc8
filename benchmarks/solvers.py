"""Time of the flat program to a true error of 1e-6: flatlib against cvxpy with SCS and Clarabel.

For each size, Gaussian instances of rank 1 and 2 around and above the transition, the same for
all solvers, in one process. The truth is M where the certificate says "yes"; elsewhere the error
is that of the objective and of the measurements, against the bracket of flatlib's certified gap.
The oracles get the whitened problem, min |Y|_* subject to B(Y) = b, on which both are many times
faster than on the plain one. SCS runs at eps 1e-9 (its default falsifies recovery), Clarabel at
the tightest of 1e-12, 1e-10, 1e-8 at which it gives an answer.

All solvers run on one core, and the clock is the CPU time of the process, which on one core is
the wall time of an idle machine, whatever else this one is doing. Times are medians, compilation
apart. "solver" is the oracle's solver alone and is what the ratios use; "cvxpy" adds the time that
cvxpy needs to set the problem up. An oracle that misses 1e-6, or that is stopped at the limit,
counts with its time, as a lower bound marked ">".

    python benchmarks/solvers.py [--sizes 10 20 30 40] [--limit SECONDS]
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
import warnings

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the thread pools start
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import cvxpy  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import flatlib as fl  # noqa: E402

jax.config.update("jax_enable_x64", True)

ACCURACY = 1e-6
INSTANCES = {  # d: (rank, m), around and above the transition
    10: [(1, 38), (1, 50), (2, 60), (2, 75)],
    20: [(1, 85), (1, 110), (2, 145), (2, 180)],
    30: [(1, 132), (2, 235), (2, 280)],
    40: [(1, 180), (2, 325), (2, 380)],
}


def instance(d, rank, m):
    key_op, key_M = jax.random.split(jax.random.key(1000 * d + m))
    op, M = fl.gaussian_sensing(key_op, m, (d, d)), fl.low_rank(key_M, (d, d), rank)
    return op, M, op(M)


def true_error(op, M, X, unique, value):
    """Relative error of X where M is the certified answer, of the objective elsewhere."""
    if X is None:
        return np.inf
    if unique:
        return float(jnp.linalg.norm(X - M) / jnp.linalg.norm(M))
    return max(
        abs(float(fl.flat_norm(op, X)) / value - 1.0), float(jnp.max(jnp.abs(op(X) - op(M))))
    )


def run_flatlib(op, b, repeats):
    start = time.process_time()
    solution = jax.block_until_ready(fl.flat_solution(op, b))
    first = time.process_time() - start
    times = []
    for _ in range(repeats):
        start = time.process_time()
        solution = jax.block_until_ready(fl.flat_solution(op, b))
        times.append(time.process_time() - start)
    return solution, statistics.median(times), first


def run_oracle(op, b, solver, limit, repeats):
    """X (None if the solver fails), the solver's time, and the time with cvxpy's set-up."""
    attempts = {
        "SCS": [dict(eps=1e-9, max_iters=10**7, time_limit_secs=limit)],
        "CLARABEL": [
            dict(tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol, time_limit=limit)
            for tol in (1e-12, 1e-10, 1e-8)
        ],
    }[solver]
    D1, D2 = map(np.asarray, op.rescaling())
    P1, P2 = np.linalg.inv(D1), np.linalg.inv(D2)  # the oracles get the whitened problem as well
    rows, values = (P1 @ np.asarray(op.A) @ P2).reshape(op.m, -1), np.asarray(b)
    for settings in attempts:
        own, full = [], []
        while len(own) < repeats and sum(full) < limit:
            start = time.process_time()
            Y = cvxpy.Variable(op.shape)
            constraints = [rows @ cvxpy.vec(Y, order="C") == values]
            problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(Y)), constraints)
            data, chain, inverse = problem.get_problem_data(solver, solver_opts=settings)
            middle = time.process_time()
            answer = chain.solve_via_data(problem, data, solver_opts=settings)
            end = time.process_time()
            own.append(end - middle)
            full.append(end - start)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "the solution may be inaccurate": we look
                problem.unpack_results(answer, chain, inverse)
            break
        except cvxpy.error.SolverError:
            pass
    X = None if Y.value is None else P1 @ Y.value @ P2
    return X, statistics.median(own), statistics.median(full)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", choices=INSTANCES, default=list(INSTANCES))
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one oracle run")
    arguments = parser.parse_args()
    versions = {
        name: importlib.metadata.version(name) for name in ("jax", "cvxpy", "scs", "clarabel")
    }
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; " + ", ".join(f"{n} {v}" for n, v in versions.items())
    )
    print(
        f"{'d':>3} {'rank':>4} {'m':>4} {'rho':>5} | {'flatlib':>9} {'error':>7} {'first':>6} | "
        f"{'SCS':>9} {'cvxpy':>8} {'error':>7} | {'Clarabel':>9} {'cvxpy':>8} {'error':>7} | ratio"
    )
    ratios = {}
    for d in arguments.sizes:
        for rank, m in INSTANCES[d]:
            op, M, b = instance(d, rank, m)
            certificate = fl.recovery_certificate(op, M)
            unique = certificate.recovers == "yes"
            solution, ours, first = run_flatlib(op, b, repeats=7)
            value = float(fl.flat_norm(op, solution.X)) * (1.0 - 0.5 * float(solution.gap))
            error = true_error(op, M, solution.X, unique, value)
            if not solution.converged or error > ACCURACY:
                raise SystemExit(f"flatlib misses {ACCURACY:.0e} at d = {d}, m = {m}: {error:.1e}")
            line = f"{d:3} {rank:4} {m:4} {float(certificate.rho):5.2f} | "
            line += f"{1e3 * ours:6.1f} ms {error:7.0e} {first:4.1f} s |"
            best = np.inf
            for solver in ("SCS", "CLARABEL"):
                X, own, full = run_oracle(op, b, solver, arguments.limit, repeats=3)
                off = true_error(op, M, X, unique, value)
                bound = ">" if off > ACCURACY else " "
                line += f" {bound}{1e3 * own:6.0f} ms {full:6.2f} s {off:7.0e} |"
                best = min(best, own)
            ratios.setdefault(d, []).append(best / ours)
            print(f"{line} {best / ours:5.0f}x", flush=True)
    ratios["all"] = [value for values in ratios.values() for value in values]
    for d, values in ratios.items():
        print(f"d = {d}: least ratio {min(values):.0f}, median {statistics.median(values):.0f}")


if __name__ == "__main__":
    main()
