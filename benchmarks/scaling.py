"""How the cost of `fl.flat_solution` grows with d and m, in passes over the measurements.

python benchmarks/scaling.py [--repeats 5]
"""

import argparse
import statistics

import common
import jax
import jax.numpy as jnp
import numpy as np

import flatlib as fl

SIZES, FIXED, PER_SIZE = (20, 30, 44, 68), 44, {"Gaussian": 8, "bilinear": 8, "completion": 18}
FACTORS = (1.0, 1.4, 1.9, 2.4)
QUANTITIES = "pass", "set-up", "iteration", "whole solve"
NOISE = 0.1  # share of a solve that all its iterations must take for one of them to be measured
PASSES = 200  # passes in one measurement, so that the cost of a call to JAX does not show

INTRODUCTION = f"""\
## How our cost grows, beside one pass over the measurements

One row is one problem of rank 1, above the transition. "pass" is the time of A followed by
its adjoint ({PASSES} of them in one compiled loop): no first-order method can do with less in
one iteration, so this is the floor. "set-up" is what `fl.flat_solution` needs before its
first iteration (D1, D2 and the inverse Gram matrix) and after its last, measured by a run of
one iteration. "iteration" is the rest divided by the number of iterations. "set-up" and
"iteration" are given as multiples of the pass, and so is "total", the whole solve. Where the
iterations take less than {NOISE:.0%} of the solve, the difference is not to be trusted and
the cell stays empty. Times are medians, compilation apart. The exponents are those of a
fitted power law.

Two things lie far from the floor. With Gaussian measurements the Gram matrix takes the
arithmetic of m/2 passes, and the next problem with the same measurements pays for it again.
In completion a pass touches m numbers only, and the eigenvectors of a d x d matrix cost far
more.
"""


def problem(kind, m, d, key):
    """A map with m measurements of that kind, and a truth of rank one."""
    key_op, key_M = jax.random.split(key)
    M = fl.low_rank(key_M, (d, d), 1)
    if kind == "completion":
        mask = jnp.arange(d * d) < m
        return fl.entries(jax.random.permutation(key_op, mask).reshape(d, d)), M
    make = {"Gaussian": fl.gaussian_sensing, "bilinear": fl.bilinear_sensing}[kind]
    return make(key_op, m, (d, d)), M


@jax.jit
def passes(op, X):
    """A* A, PASSES times, each on the result of the one before."""

    def once(_, X):
        image = op.adjoint(op(X))
        return image / jnp.max(jnp.abs(image))

    return jax.lax.fori_loop(0, PASSES, once, X)


def measure(kind, m, d, repeats):
    """The error, the iterations and the seconds of a pass, set-up, iteration and solve."""
    op, M = problem(kind, m, d, jax.random.key(100 * d + m))
    b = op(M)
    solution = fl.flat_solution(op, b)
    error = float(jnp.linalg.norm(solution.X - M) / jnp.linalg.norm(M))
    if not solution.converged or error > common.ACCURACY:
        raise SystemExit(f"{kind}, d = {d}, m = {m}: {solution.status_name}, error {error:.0e}")
    jax.block_until_ready(passes(op, M))
    one, whole, short, rest = [], [], [], []
    for _ in range(repeats):  # in turn, so that a slow moment of the machine meets all three
        one.append(common.cpu_seconds(lambda: passes(op, M))[0] / PASSES)
        whole.append(common.cpu_seconds(lambda: fl.flat_solution(op, b))[0])
        short.append(common.cpu_seconds(lambda: fl.flat_solution(op, b, max_iterations=1))[0])
        rest.append(whole[-1] - short[-1])
    count, medians = int(solution.iterations), map(statistics.median, (one, short, rest, whole))
    one, short, rest, whole = medians
    iteration = rest / (count - 1) if rest > NOISE * whole else np.nan
    return error, count, (one, short, iteration, whole)


def scan(kind, pairs, repeats, variable):
    """One table and the exponents in that variable, over the pairs (d, m)."""
    columns = "d", "m", "error", "iterations", "time", "pass", "set-up", "iteration", "total"
    table, rows = common.Table(*columns), []
    for d, m in pairs:
        error, count, seconds = measure(kind, m, d, repeats)
        rows.append(seconds)
        one, *others = seconds
        times = common.milliseconds(seconds[-1]), common.milliseconds(one)
        units = ("" if np.isnan(value) else f"{value / one:,.0f}" for value in others)
        table.row(d, m, f"{error:.0e}", count, *times, *units)
    abscissa = np.array([dict(d=d, m=m)[variable] for d, m in pairs])
    texts = []
    for name, column in zip(QUANTITIES, np.array(rows).T, strict=True):
        seen = ~np.isnan(column)
        if seen.sum() >= 3:
            slope = np.polyfit(np.log(abscissa[seen]), np.log(column[seen]), 1)[0]
            texts.append(f"{name} {slope:.1f}")
    shares = [f"{short / whole:.0%}" for _, short, _, whole in rows]
    print(f"\nExponents of {variable}: {', '.join(texts)}.", end=" ")
    print(f"The set-up takes {', '.join(shares)} of the solve.\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(INTRODUCTION)
    for kind, per_size in PER_SIZE.items():
        print(f"### {kind}, m = {per_size} d\n")
        scan(kind, [(d, per_size * d) for d in SIZES], arguments.repeats, "d")
        print(f"### {kind}, d = {FIXED}\n")
        sizes = [(FIXED, round(factor * per_size * FIXED)) for factor in FACTORS]
        scan(kind, sizes, arguments.repeats, "m")


if __name__ == "__main__":
    main()
