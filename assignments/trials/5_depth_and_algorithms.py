# ruff: noqa: F811
"""Trial answers of assignment 5: right ones in other forms, and plausible wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np


# %% tied-trace: right, NumPy loops over coordinates
def tied_trace(A, b, u, v):
    m, n = A.shape
    residual = A @ (u * u * v) - b
    total = 0.0
    for i in range(n):
        for j in range(m):
            total += (2 * u[i] * v[i] * A[j, i]) ** 2 + 2 * v[i] * A[j, i] * residual[j]
            total += (u[i] ** 2 * A[j, i]) ** 2
    return 2 * total / m


# %% tied-trace: right, automatic differentiation
def tied_trace(A, b, u, v):
    A, b, n = jnp.asarray(A), jnp.asarray(b), len(u)

    def f(p):
        return jnp.mean((A @ (p[:n] ** 2 * p[n:]) - b) ** 2)

    return jnp.trace(jax.hessian(f)(jnp.concatenate([jnp.asarray(u), jnp.asarray(v)])))


# %% tied-trace: wrong, forgets the residual
def tied_trace(A, b, u, v):
    return 2 / len(b) * np.sum(np.sum(A**2, axis=0) * (4 * u**2 * v**2 + u**4))


# %% tied-trace: wrong, the formula of the chapter for three layers
def tied_trace(A, b, u, v):
    return 2 / len(b) * np.sum(np.sum(A**2, axis=0) * (2 * u**2 * v**2 + u**4))


# %% tied-trace: wrong, passes the visible tests: no factor 2/m
def tied_trace(A, b, u, v):
    pull = A.T @ (A @ (u * u * v) - b)
    return np.sum(np.sum(A**2, axis=0) * (4 * u**2 * v**2 + u**4) + 2 * v * pull)


# %% flattest-tied-weights: right, one coordinate after the other
def flattest_tied_weights(x):
    u, v = [], []
    for value in np.asarray(x):
        if value == 0:
            u.append(0.0)
            v.append(3.0)  # idle
        else:
            size = (abs(value) / 2) ** (1 / 3)
            u.append(-np.sqrt(2) * size)
            v.append(np.sign(value) * size)
    return np.array(u), np.array(v)


# %% flattest-tied-weights: right, JAX and Newton steps for the logarithm
def flattest_tied_weights(x):
    x = jnp.asarray(x)
    size = jnp.where(x == 0, 1.0, jnp.abs(x))
    t = jnp.log(size)
    for _ in range(80):
        first = -4 * size**2 * jnp.exp(-t) + 2 * jnp.exp(2 * t)
        second = 4 * size**2 * jnp.exp(-t) + 4 * jnp.exp(2 * t)
        t = t - jnp.clip(first / second, -1, 1)
    u = jnp.where(x == 0, 0.0, jnp.exp(t / 2))
    return u, jnp.where(x == 0, 0.0, x / jnp.exp(t))


# %% flattest-tied-weights: wrong, equal magnitudes as in the chapter
def flattest_tied_weights(x):
    return np.cbrt(np.abs(x)), np.cbrt(x)


# %% flattest-tied-weights: wrong, forgets the factor 4 of the derivative
def flattest_tied_weights(x):
    s = np.cbrt(x**2 / 2)
    s = np.where(s == 0, 1, s)
    return np.sqrt(np.where(x == 0, 0, s)), x / s


# %% flattest-tied-weights: wrong, passes the visible tests: a zero leaves u = 1
def flattest_tied_weights(x):
    s = np.where(x == 0, 1.0, np.cbrt(2 * x**2))
    return np.sqrt(s), x / s


# %% flow-end: right, roots of the cubic
def flow_end(u0, v0, x):
    u, v = [], []
    for c, target in zip(u0**2 - 2 * v0**2, x, strict=True):
        roots = np.roots([2, 0, c, -target])
        v.append(max(root.real for root in roots if abs(root.imag) < 1e-9 * abs(root) + 1e-12))
        u.append(np.sqrt(target / v[-1]))
    return np.array(u), np.array(v)


# %% flow-end: right, Newton steps for u^2 in JAX
def flow_end(u0, v0, x):
    c, x = jnp.asarray(u0**2 - 2 * v0**2), jnp.asarray(x)
    # s = u^2 solves s - 2 x^2 / s^2 = c; the left side is increasing and concave
    low, high = jnp.full(x.shape, -60.0), jnp.full(x.shape, 60.0)
    for _ in range(200):
        middle = (low + high) / 2
        small = jnp.exp(middle) - 2 * x**2 * jnp.exp(-2 * middle) < c
        low, high = jnp.where(small, middle, low), jnp.where(small, high, middle)
    s = jnp.exp((low + high) / 2)
    return jnp.sqrt(s), x / s


# %% flow-end: wrong, conserves u^2 - v^2 as for untied layers
def flow_end(u0, v0, x):
    u, v = [], []
    for c, target in zip(u0**2 - v0**2, x, strict=True):
        roots = np.roots([1, 0, c, -target])
        v.append(max(root.real for root in roots if abs(root.imag) < 1e-9 * abs(root) + 1e-12))
        u.append(np.sqrt(target / v[-1]))
    return np.array(u), np.array(v)


# %% flow-end: wrong, the factor two on the wrong square
def flow_end(u0, v0, x):
    u, v = [], []
    for c, target in zip(2 * u0**2 - v0**2, x, strict=True):
        roots = np.roots([1, 0, c, -2 * target])
        v.append(max(root.real for root in roots if abs(root.imag) < 1e-9 * abs(root) + 1e-12))
        u.append(np.sqrt(target / v[-1]))
    return np.array(u), np.array(v)


# %% flow-end: wrong, the flattest weights whatever the start
def flow_end(u0, v0, x):
    return np.cbrt(2 * x**2) ** 0.5, np.cbrt(x / 2)


# %% flow-end: wrong, passes the visible tests: looks for v below five only
def flow_end(u0, v0, x):
    c, low, high = u0**2 - 2 * v0**2, np.zeros(x.shape), np.full(x.shape, 5.0)
    for _ in range(100):
        middle = (low + high) / 2
        below = middle * (c + 2 * middle**2) < x
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.sqrt(x / high), high


# %% smoothed-loss: right, loops over measurements and coordinates
def smoothed_loss(A, b, v, s):
    m, n = A.shape
    total = 0.0
    for j in range(m):
        mean, spread = -b[j], 0.0
        for i in range(n):
            first, second = 1.0, 1.0
            for layer, size in zip(v[:, i], s, strict=True):
                first, second = first * layer, second * (layer**2 + size**2)
            mean += A[j, i] * first
            spread += A[j, i] ** 2 * (second - first**2)
        total += mean**2 + spread
    return total / m


# %% smoothed-loss: right, three-point quadrature coordinate by coordinate
def smoothed_loss(A, b, v, s):
    nodes, chance = jnp.array([-np.sqrt(3), 0, np.sqrt(3)]), jnp.array([1 / 6, 2 / 3, 1 / 6])
    first, second = jnp.ones(v.shape[1]), jnp.ones(v.shape[1])
    for layer, size in zip(v, s, strict=True):
        values = layer + size * nodes[:, None]
        first, second = first * (chance @ values), second * (chance @ values**2)
    bias = jnp.asarray(A) @ first - b
    return jnp.mean(bias**2 + jnp.asarray(A) ** 2 @ (second - first**2))


# %% smoothed-loss: wrong, half of the weighted trace only
def smoothed_loss(A, b, v, s):
    x, total = np.prod(v, axis=0), 0.0
    for layer in range(len(v)):
        others = np.prod(np.delete(v, layer, axis=0), axis=0)
        total += s[layer] ** 2 * np.sum(A**2 @ others**2) / len(b)
    return np.mean((A @ x - b) ** 2) + total


# %% smoothed-loss: wrong, the trace and one constant as for two factors
def smoothed_loss(A, b, v, s):
    x, total = np.prod(v, axis=0), np.prod(s**2) * np.sum(A**2) / len(b)
    for layer in range(len(v)):
        others = np.prod(np.delete(v, layer, axis=0), axis=0)
        total += s[layer] ** 2 * np.sum(A**2 @ others**2) / len(b)
    return np.mean((A @ x - b) ** 2) + total


# %% smoothed-loss: wrong, the deviation instead of the variance
def smoothed_loss(A, b, v, s):
    x = np.prod(v, axis=0)
    variance = np.prod(v**2 + s[:, None], axis=0) - x**2
    return (np.sum((A @ x - b) ** 2) + np.sum(A**2 @ variance)) / len(b)


# %% smoothed-loss: wrong, passes the visible tests: the noise is not divided by m
def smoothed_loss(A, b, v, s):
    x = np.prod(v, axis=0)
    variance = np.prod(v**2 + s[:, None] ** 2, axis=0) - x**2
    return np.mean((A @ x - b) ** 2) + np.sum(A**2 @ variance)


# %% frozen-layer-price: right, sums over the tails
def frozen_layer_price(X, F):
    sigma = sorted(np.linalg.svd(X, compute_uv=False), reverse=True)
    f = sorted(np.linalg.svd(F, compute_uv=False))
    total, before = 0.0, 0.0
    for j, value in enumerate(f):
        total += (value - before) * sum(sigma[j:])
        before = value
    return 4 * np.sqrt(X.shape[0] * X.shape[1]) * total


# %% frozen-layer-price: right, eigenvalues in JAX, smallest against largest
def frozen_layer_price(X, F):
    X, F = jnp.asarray(X), jnp.asarray(F)
    f = jnp.sqrt(jnp.abs(jnp.linalg.eigvalsh(F.T @ F)))
    sigma = jnp.zeros(len(f))
    values = jnp.linalg.svd(X, compute_uv=False)[: len(f)]
    sigma = sigma.at[: len(values)].set(values)
    return 4 * jnp.sqrt(1.0 * X.size) * f @ sigma


# %% frozen-layer-price: wrong, pairs the largest with the largest
def frozen_layer_price(X, F):
    sigma, f = np.linalg.svd(X, compute_uv=False), np.linalg.svd(F, compute_uv=False)
    size = min(len(sigma), len(f))
    return 4 * np.sqrt(X.size) * np.sum(sigma[:size] * f[:size])


# %% frozen-layer-price: wrong, the operator norm times the nuclear norm
def frozen_layer_price(X, F):
    return 4 * np.sqrt(X.size) * np.linalg.norm(F, 2) * np.linalg.norm(X, "nuc")


# %% frozen-layer-price: wrong, the three trained layers of the chapter
def frozen_layer_price(X, F):
    return 6 * np.cbrt(X.size) * np.linalg.norm(X, "nuc") ** (4 / 3)


# %% frozen-layer-price: wrong, passes the visible tests: square matrices only
def frozen_layer_price(X, F):
    sigma = np.linalg.svd(X, compute_uv=False)
    f = np.sort(np.linalg.svd(F, compute_uv=False))
    size = min(len(sigma), len(f))
    return 4 * X.shape[0] * np.sum(f[:size] * sigma[:size])


# %% flattest-scales: right, equalises the terms step by step
def flattest_scales(W):
    def norms(scaled):
        found = []
        for i in range(len(scaled)):
            below = np.eye(scaled[0].shape[1])
            for layer in scaled[:i]:
                below = layer @ below
            chain = np.eye(scaled[i].shape[0])
            for layer in scaled[i + 1 :]:
                chain = layer @ chain
            found.append(np.sum(below**2) * np.sum(chain**2))
        return np.array(found)

    c = np.ones(len(W))
    for _ in range(3):
        t = norms([a * layer for a, layer in zip(c, W, strict=True)])
        c = c * np.sqrt(t / np.exp(np.mean(np.log(t))))
    return c


# %% flattest-scales: right, JAX with a geometric mean
def flattest_scales(W):
    below, above = [jnp.eye(W[0].shape[1])], [jnp.eye(W[-1].shape[0])]
    for layer in W[:-1]:
        below.append(layer @ below[-1])
    for layer in W[:0:-1]:
        above.append(above[-1] @ layer)
    terms = [
        jnp.linalg.norm(C) * jnp.linalg.norm(B) for C, B in zip(below, above[::-1], strict=True)
    ]
    terms = jnp.array(terms)
    return terms / jnp.prod(terms) ** (1 / len(W))


# %% flattest-scales: wrong, the reciprocal
def flattest_scales(W):
    terms = []
    for i in range(len(W)):
        below, above = np.eye(W[0].shape[1]), np.eye(W[-1].shape[0])
        for layer in W[:i]:
            below = layer @ below
        for layer in reversed(W[i + 1 :]):
            above = above @ layer
        terms.append(np.linalg.norm(below) * np.linalg.norm(above))
    return np.prod(terms) ** (1 / len(W)) / np.array(terms)


# %% flattest-scales: wrong, leaves the scales alone
def flattest_scales(W):
    return np.ones(len(W))


# %% flattest-scales: wrong, passes the visible tests: makes the norms of the layers equal
def flattest_scales(W):
    sizes = np.array([np.linalg.norm(layer) for layer in W])
    return np.prod(sizes) ** (1 / len(W)) / sizes


# %% flattest-scales: wrong, passes the visible tests: forgets the dimensions of input and output
def flattest_scales(W):
    terms = []
    for i in range(len(W)):
        below, above = np.eye(W[0].shape[1]), np.eye(W[-1].shape[0])
        for layer in W[:i]:
            below = layer @ below
        for layer in reversed(W[i + 1 :]):
            above = above @ layer
        size = np.linalg.norm(below) if i else 1.0
        terms.append(size * (np.linalg.norm(above) if i < len(W) - 1 else 1.0))
    return np.array(terms) / np.prod(terms) ** (1 / len(W))


# %% noise-drift: right, loops over the measurements
def noise_drift(A, L, R, eta, variances):
    k = L.shape[1]
    change = np.zeros((k, k))
    for matrix, variance in zip(A, variances, strict=True):
        change += variance * (R.T @ matrix.T @ matrix @ R - L.T @ matrix @ matrix.T @ L)
    return 4 * eta**2 / len(A) ** 2 * change


# %% noise-drift: right, weighted D matrices in JAX
def noise_drift(A, L, R, eta, variances):
    A, weights = jnp.asarray(A), jnp.asarray(variances)
    columns = jnp.einsum("i,iab,iac->bc", weights, A, A)
    rows = jnp.einsum("i,iab,icb->ac", weights, A, A)
    return (2 * eta / len(A)) ** 2 * (R.T @ columns @ R - L.T @ rows @ L)


# %% noise-drift: wrong, the mean variance in the formula of the chapter
def noise_drift(A, L, R, eta, variances):
    AR, AL = A @ R, A.swapaxes(1, 2) @ L
    change = np.einsum("iaj,iak->jk", AR, AR) - np.einsum("iaj,iak->jk", AL, AL)
    return (2 * eta / len(A)) ** 2 * np.mean(variances) * change


# %% noise-drift: wrong, the sign
def noise_drift(A, L, R, eta, variances):
    AR, AL = A @ R, A.swapaxes(1, 2) @ L
    right = np.einsum("i,iaj,iak->jk", variances, AR, AR)
    left = np.einsum("i,iaj,iak->jk", variances, AL, AL)
    return (2 * eta / len(A)) ** 2 * (left - right)


# %% noise-drift: wrong, squares the variances
def noise_drift(A, L, R, eta, variances):
    AR, AL = A @ R, A.swapaxes(1, 2) @ L
    right = np.einsum("i,iaj,iak->jk", variances**2, AR, AR)
    left = np.einsum("i,iaj,iak->jk", variances**2, AL, AL)
    return (2 * eta / len(A)) ** 2 * (right - left)


# %% noise-drift: wrong, passes the visible tests: 2 / m instead of 4 / m^2
def noise_drift(A, L, R, eta, variances):
    AR, AL = A @ R, A.swapaxes(1, 2) @ L
    right = np.einsum("i,iaj,iak->jk", variances, AR, AR)
    left = np.einsum("i,iaj,iak->jk", variances, AL, AL)
    return 2 / len(A) * eta**2 * (right - left)


# %% adaptive-sharpness: right, loops over samples and weights
def adaptive_sharpness(A, v, rho):
    k, n = v.shape
    x = np.prod(v, axis=0)
    J = np.zeros((len(A), k * n))
    for i in range(len(A)):
        for layer in range(k):
            for j in range(n):
                J[i, layer * n + j] = A[i, j] * x[j] / v[layer, j] * abs(v[layer, j])
    single = np.mean([rho**2 * np.sum(row**2) for row in J])
    return single, rho**2 * np.linalg.eigvalsh(J @ J.T)[-1] / len(A)


# %% adaptive-sharpness: right, trace and eigenvalue in JAX
def adaptive_sharpness(A, v, rho):
    x = jnp.prod(jnp.asarray(v), axis=0)
    gram = jnp.einsum("ij,j,kj->ik", jnp.asarray(A), x**2, jnp.asarray(A))
    scale = len(v) * rho**2 / len(A)
    return scale * jnp.trace(gram), scale * jnp.max(jnp.linalg.eigvalsh(gram))


# %% adaptive-sharpness: wrong, the plain ball of the chapter
def adaptive_sharpness(A, v, rho):
    rest = np.stack([np.prod(np.delete(v, j, axis=0), axis=0) for j in range(len(v))])
    J = (A[:, None, :] * rest).reshape(len(A), -1)
    return rho**2 * np.sum(J**2) / len(A), rho**2 * np.linalg.norm(J, 2) ** 2 / len(A)


# %% adaptive-sharpness: wrong, forgets the number of layers
def adaptive_sharpness(A, v, rho):
    B = A * np.prod(v, axis=0)
    return rho**2 * np.sum(B**2) / len(A), rho**2 * np.linalg.norm(B, 2) ** 2 / len(A)


# %% adaptive-sharpness: wrong, the two numbers exchanged
def adaptive_sharpness(A, v, rho):
    B = A * np.prod(v, axis=0)
    factor = rho**2 * len(v) / len(A)
    return factor * np.linalg.norm(B, 2) ** 2, factor * np.sum(B**2)


# %% adaptive-sharpness: wrong, passes the visible tests: depth three only
def adaptive_sharpness(A, v, rho):
    B = A * np.prod(v, axis=0)
    factor = 3 * rho**2 / len(A)
    return factor * np.sum(B**2), factor * np.linalg.norm(B, 2) ** 2
