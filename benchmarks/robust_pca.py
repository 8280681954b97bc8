"""Time of robust PCA to a true relative error of 1e-6: flatlib against tensorly's `robust_pca`.

Matrices of rank 5 and size 200 of which 5% of the entries are corrupted, with corruption as large
as a typical entry, 10 times and 200 times as large. Every solver gets the loosest of a ladder of
tolerances at which the error falls below 1e-6, so that all are compared at equal accuracy.

tensorly adds up the nuclear norms of both unfoldings of a matrix, so that its reg_E = 1/sqrt(d) is
pursuit with the weight 1/(2 sqrt(d)): "pursuit" is that same program, "robust_pca" has the radius.
Its learning rate is its default, 1.1; a faster one can freeze at a wrong point.

All run on one core, in turn, in one process; the clock is the CPU time of the process. Times are
medians, compilation apart.

    python benchmarks/robust_pca.py [--size 200] [--repeats 5]
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import time

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before the thread pools start
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from tensorly.decomposition import robust_pca as tensorly_robust_pca  # noqa: E402

import flatlib as fl  # noqa: E402

jax.config.update("jax_enable_x64", True)

ACCURACY = 1e-6
RANK, SHARE = 5, 0.05
LADDER = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]


def instance(d, size, seed):
    k1, k2, k3 = jax.random.split(jax.random.key(seed), 3)
    M = fl.low_rank(k1, (d, d), RANK)  # a typical entry is 1/d
    spots = jax.random.uniform(k2, (d, d)) < SHARE
    return M, jnp.where(spots, size / d * jax.random.normal(k3, (d, d)), 0.0)


def loosest(solve, M):
    """The loosest tolerance of the ladder that is accurate enough, and the error there."""
    for tolerance in LADDER:
        error = float(np.linalg.norm(solve(tolerance) - M) / np.linalg.norm(M))
        if error <= ACCURACY:
            return tolerance, error
    raise SystemExit(f"no tolerance reaches {ACCURACY:.0e}: the error is {error:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    d = arguments.size
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("jax", "tensorly"))
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {versions}; d = {d}")
    print(
        f"{'corruption':>10} {'solver':>11} {'tolerance':>9} {'error':>7} {'time':>9} {'ratio':>6}"
    )
    ratios = {"robust_pca": [], "pursuit": []}
    for seed, size in enumerate((1.0, 10.0, 200.0)):
        M, S0 = instance(d, size, seed)
        Y, radius, weight = M + S0, jnp.sum(jnp.abs(S0)), 1.0 / np.sqrt(d)
        M, plain = np.asarray(M), np.asarray(Y)

        def ours(tolerance, Y=Y, radius=radius):
            return np.asarray(fl.robust_pca(Y, radius, tolerance=tolerance).X)

        def pursuit(tolerance, Y=Y, weight=weight):
            return np.asarray(fl.pursuit(Y, 0.5 * weight, tolerance=tolerance).X)

        def tensorly(tolerance, Y=plain, weight=weight):
            settings = dict(reg_E=weight, tol=tolerance, n_iter_max=2000, verbose=0)
            return tensorly_robust_pca(Y, **settings)[0]

        solvers = {"robust_pca": ours, "pursuit": pursuit, "tensorly": tensorly}
        chosen = {name: loosest(solve, M) for name, solve in solvers.items()}
        times = {name: [] for name in solvers}
        for _ in range(arguments.repeats):
            for name, solve in solvers.items():
                start = time.process_time()
                solve(chosen[name][0])
                times[name].append(time.process_time() - start)
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, (tolerance, error) in chosen.items():
            ratio = medians["tensorly"] / medians[name]
            ratios.setdefault(name, []).append(ratio)
            print(
                f"{size:>10.0f} {name:>11} {tolerance:>9.0e} {error:>7.0e} "
                f"{1e3 * medians[name]:>6.0f} ms {ratio:>5.1f}x",
                flush=True,
            )
    for name in ("robust_pca", "pursuit"):
        values = ratios[name]
        print(f"{name}: least ratio {min(values):.1f}, median {statistics.median(values):.1f}")


if __name__ == "__main__":
    main()
