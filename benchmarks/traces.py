"""The trace of a Hessian: `fl.hessian_trace` against curvlinops and PyHessian.

Two losses, a trained tanh network's and that of two factors in matrix sensing, with the same
weights and data in JAX and in torch. The exact traces must agree to 1e-6 before anything is
compared. The estimators then get equal numbers of Hessian-vector products.

    python benchmarks/traces.py [--seeds 100]
"""

import argparse
import statistics
import warnings
from functools import cache, partial

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax

import flatlib as fl

try:
    import torch
except ImportError as reason:
    torch, torch_reason = None, reason
try:
    import curvlinops
except ImportError as reason:
    curvlinops, curvlinops_reason = None, reason
try:
    import pyhessian
except ImportError as reason:
    pyhessian, pyhessian_reason = None, reason

AGREEMENT = 1e-6  # of the exact traces, relative
PRODUCTS = (30, 120)  # divisible by 2 for XTrace and by 3 for Hutch++
SEEDS = 100
WIDTHS, SAMPLES = (10, 32, 32, 1), 256

INTRODUCTION = f"""\
## The trace of a Hessian

One row is one estimator with a budget of Hessian-vector products on one loss. "error" is the
median over {SEEDS} seeds of the relative error, against the exact trace: two of them that
differ by less than a quarter may well be equal. "time" is that of one estimate, compiled for
flatlib ("first call" has the compilation in it), with the linear operator of curvlinops and
the gradient graph of PyHessian built beforehand. "ratio" is the time relative to flatlib's
same method, or to flatlib's XTrace where flatlib has no such method (Hutch++). The
competitors got the same weights and data in float64, one thread and their default random
signs; flatlib's XTrace draws from the sphere. PyHessian stops early at its default tolerance;
here it takes all its products. "pays after" is the number of estimates of one loss from which
flatlib is faster although it compiles first: above 1 the others win a single look.

The first loss is the mean squared error of a tanh network of widths
{"-".join(map(str, WIDTHS))} on {SAMPLES} samples, after training. The second is that of two
20 x 10 factors on 200 Gaussian measurements, at a random point; there the closed form is
`fl.block_traces`.
"""


# ---------------------------------------------------------------- the losses, in JAX and in torch


def network():
    """A trained network: its loss in JAX, its weights, and the same in torch if it is there."""
    keys = jax.random.split(jax.random.key(0), len(WIDTHS) + 1)
    x = jax.random.normal(keys[0], (SAMPLES, WIDTHS[0]))
    y = jnp.sin(x @ jax.random.normal(keys[1], (WIDTHS[0], 1)))
    shapes = zip(WIDTHS[:-1], WIDTHS[1:], keys[2:], strict=True)
    params = [
        (jax.random.normal(key, (wide, narrow)) / np.sqrt(wide), jnp.zeros(narrow))
        for wide, narrow, key in shapes
    ]

    def loss(params):
        h = x
        for W, c in params[:-1]:
            h = jnp.tanh(h @ W + c)
        W, c = params[-1]
        return jnp.mean((h @ W + c - y) ** 2)

    optimizer = optax.adam(1e-2)

    def step(_, state):
        params, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(params), memory)
        return optax.apply_updates(params, updates), memory

    start = params, optimizer.init(params)
    params, _ = jax.jit(lambda start: jax.lax.fori_loop(0, 500, step, start))(start)
    if not torch:
        return loss, params, None
    layers = []
    for W, c in params:
        layer = torch.nn.Linear(*W.shape, dtype=torch.float64)
        layer.weight.data, layer.bias.data = tensor(W.T), tensor(c)
        layers += [layer, torch.nn.Tanh()]
    return loss, params, (torch.nn.Sequential(*layers[:-1]), tensor(x), tensor(y))


def sensing():
    """The loss of two factors: the map, the factors, and the same in torch if it is there."""
    keys = jax.random.split(jax.random.key(1), 4)
    op, M = fl.gaussian_sensing(keys[0], 200, (20, 20)), fl.low_rank(keys[1], (20, 20), 2)
    params = tuple(0.3 * jax.random.normal(key, (20, 10)) for key in keys[2:])
    if not torch:
        return op, fl.factor_loss(op, op(M)), params, None

    class Factors(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.L, self.R = (torch.nn.Parameter(tensor(factor)) for factor in params)

        def forward(self, rows):
            return rows @ (self.L @ self.R.T).reshape(-1, 1)

    data = tensor(op.A.reshape(op.m, -1)), tensor(op(M)[:, None])
    return op, fl.factor_loss(op, op(M)), params, (Factors(), *data)


def tensor(array):
    return torch.tensor(np.array(array))


# ---------------------------------------------------------------- the estimators


def flatlib_estimators(loss, params):
    """Name to a function (products, seed) -> trace, compiled once for each budget."""

    @cache
    def compiled(method, products):
        return jax.jit(
            lambda params, key: fl.hessian_trace(loss, params, method, key=key, products=products)
        )

    def estimate(method, products, seed):
        return compiled(method, products)(params, jax.random.key(seed))

    return {
        ("flatlib", name): partial(estimate, method)
        for name, method in (("Hutchinson", "hutchinson"), ("XTrace", "xtrace"))
    }


def torch_estimators(model, x, y):
    """The same of the competitors that are installed, and curvlinops's operator."""
    mse, estimators, operator = torch.nn.MSELoss(), {}, None
    if curvlinops:
        parameters = [p for p in model.parameters() if p.requires_grad]
        operator = curvlinops.HessianLinearOperator(
            model, mse, parameters, [(x, y)], check_deterministic=False
        )
        methods = {
            "Hutchinson": curvlinops.hutchinson_trace,
            "XTrace": curvlinops.xtrace,
            "Hutch++": curvlinops.hutchpp_trace,
        }

        def estimate(method, products, seed):
            torch.manual_seed(seed)
            return float(method(operator, products))

        for name, method in methods.items():
            estimators["curvlinops", name] = partial(estimate, method)
    if pyhessian:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on how PyHessian builds its graph
            hessian = pyhessian.hessian(model, mse, data=(x, y), cuda=False)

        def average(products, seed):
            torch.manual_seed(seed)
            values = hessian.trace(maxIter=products, tol=0.0)
            if len(values) != products:
                raise SystemExit(f"PyHessian took {len(values)} products, not {products}")
            return float(np.mean(values))

        estimators["PyHessian", "Hutchinson"] = average
    return estimators, operator


# ---------------------------------------------------------------- the comparison


def compare(name, loss, params, in_torch, seeds, closed=None):
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    exact = jax.jit(lambda params: fl.hessian_trace(loss, params))
    first, truth = common.cpu_seconds(lambda: exact(params))
    ours, truth = common.median_seconds(lambda: exact(params), 5)
    truth = float(truth)
    print(f"\n### {name}: {size} parameters, trace {truth:.6g}\n")
    table = common.Table("method", "products", "error", "time", "ratio", "first call", "pays after")
    slower, no_gain = [], []

    def theirs(label, products, error, seconds, reference):
        """A row of a competitor, against (seconds, first call) of flatlib."""
        times, pays = seconds / reference[0], common.solves_to_pay(*reference[::-1], seconds)
        if times < 1.0:
            slower.append(f"{label} with {products} products ({common.ratio(times)})")
        cells = common.milliseconds(seconds), common.ratio(times), "", pays
        table.row(label, products, error, *cells)

    table.row("flatlib, exact", size, "", common.milliseconds(ours), "", f"{first:.2f} s", "")
    exact_times = ours, first
    if closed:
        first, value = common.cpu_seconds(lambda: closed(params))
        seconds, value = common.median_seconds(lambda: closed(params), 5)
        off = abs(float(value) / truth - 1.0)
        if off > AGREEMENT:
            raise SystemExit(f"the closed form differs from the exact trace by {off:.1e}")
        cells = common.milliseconds(seconds), common.ratio(seconds / ours), f"{first:.2f} s", ""
        table.row("flatlib, closed form", "none", f"{off:.0e}", *cells)
    estimators = flatlib_estimators(loss, params)
    if in_torch:
        competitors, operator = torch_estimators(*in_torch)
        estimators |= competitors
        if operator is not None:
            columns = torch.eye(size, dtype=torch.float64)
            seconds, value = common.median_seconds(
                lambda: float(torch.trace(operator @ columns)), 3
            )
            off = abs(value / truth - 1.0)
            if off > AGREEMENT:
                raise SystemExit(f"the exact traces in JAX and torch differ by {off:.1e}")
            theirs("curvlinops, exact", size, f"{off:.0e}", seconds, exact_times)
    for products in PRODUCTS:
        reference, errors = {}, {}
        for (library, method), estimate in estimators.items():
            first, _ = common.cpu_seconds(partial(estimate, products, 0))
            runs = [common.cpu_seconds(partial(estimate, products, k)) for k in range(seeds)]
            seconds = statistics.median(time for time, _ in runs)
            error = statistics.median(abs(float(value) / truth - 1.0) for _, value in runs)
            errors[library, method] = error
            label, error = f"{library}, {method}", f"{error:.2%}"
            if library == "flatlib":
                reference[method] = seconds, first
                cells = common.milliseconds(seconds), "", f"{first:.2f} s", ""
                table.row(label, products, error, *cells)
            else:
                same = method if method in reference else "XTrace"
                theirs(label, products, error, seconds, reference[same])
        if errors["flatlib", "XTrace"] >= errors["flatlib", "Hutchinson"]:
            no_gain.append(str(products))
    print(f"\n**Where flatlib loses.** On compiled code: {', '.join(slower) or 'nowhere here'}.")
    if no_gain:
        budgets = " and ".join(no_gain)
        print(f"XTrace is no more accurate than Hutchinson here with {budgets} products.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    print(INTRODUCTION)
    if not torch:
        print(f"torch is not installed, and so neither of the two others runs ({torch_reason}).")
    else:
        torch.set_num_threads(1)
        if not curvlinops:
            print(f"curvlinops is not installed ({curvlinops_reason}).")
        if not pyhessian:
            print(f"PyHessian is not installed ({pyhessian_reason}).")
    compare("Tanh network", *network(), arguments.seeds)
    op, *rest = sensing()
    closed = jax.jit(lambda params: sum(fl.block_traces(op, *params)))
    compare("Matrix sensing", *rest, arguments.seeds, closed)


if __name__ == "__main__":
    main()
