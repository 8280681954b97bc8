# ruff: noqa: F811, F821
"""Trial answers of assignment 1: right ones in other forms, and plausible wrong ones."""

import jax
import jax.numpy as jnp
import numpy as np


# %% flattest-tied-weights: right, Newton's method for the logarithm of the first weight
def flattest_tied_weights(x, n):
    s = np.log(abs(x)) / (n + 1)
    for _ in range(200):
        up, down = 2 * n * np.exp(2 * n * s), 2 * n**2 * x**2 * np.exp(-2 * s)
        s -= np.clip((up - down) / (2 * n * up + 2 * down), -1, 1)
    return np.exp(s), x * np.exp(-n * s)


# %% flattest-tied-weights: right, JAX, the two terms of the trace in the ratio one to n
def flattest_tied_weights(x, n):
    r = jnp.sign(x) * (jnp.abs(x) * n ** (-n / 2)) ** (1 / (n + 1))
    return jnp.sqrt(n) * jnp.abs(r), r


# %% flattest-tied-weights: wrong, passes the visible tests: only for n = 2
def flattest_tied_weights(x, n):
    first = (2 * x**2) ** (1 / 6)
    return first, x / first**n


# %% flattest-tied-weights: wrong, passes the visible tests: the sign of x is lost
def flattest_tied_weights(x, n):
    first = (n * x**2) ** (1 / (2 * n + 2))
    return first, abs(x) / first**n


# %% flattest-tied-weights: wrong, the balanced point of Chapter 1
def flattest_tied_weights(x, n):
    first = abs(x) ** (1 / (n + 1))
    return first, x / first**n


# %% flattest-tied-weights: wrong, as if the copies of the weight were different weights
def flattest_tied_weights(x, n):
    first = (n**2 * x**2) ** (1 / (2 * n + 2))
    return first, x / first**n


# %% middle-hessian-form: right, NumPy loops
def middle_hessian_form(A, w, b, B, L, R, U, V):
    total = 0.0
    for Ai, wi, bi in zip(A, w, b, strict=True):
        residual = np.trace(Ai.T @ L @ B @ R.T) - bi
        slope = np.trace(Ai.T @ U @ B @ R.T) + np.trace(Ai.T @ L @ B @ V.T)
        bend = np.trace(Ai.T @ U @ B @ V.T)
        total += wi * (2 * slope**2 + 4 * residual * bend)
    return total / len(w)


# %% middle-hessian-form: right, two derivatives by JAX
def middle_hessian_form(A, w, b, B, L, R, U, V):
    def f(t):
        X = (L + t * U) @ B @ (R + t * V).T
        return jnp.mean(w * (jnp.einsum("iab,ab->i", A, X) - b) ** 2)

    return jax.grad(jax.grad(f))(0.0)


# %% middle-hessian-form: wrong, passes the visible tests: divides by the sum of the weights
def middle_hessian_form(A, w, b, B, L, R, U, V):
    residual = np.einsum("iab,ab->i", A, L @ B @ R.T) - b
    slope = np.einsum("iab,ab->i", A, U @ B @ R.T + L @ B @ V.T)
    bend = np.einsum("iab,ab->i", A, U @ B @ V.T)
    return np.sum(w * (2 * slope**2 + 4 * residual * bend)) / np.sum(w)


# %% middle-hessian-form: wrong, no residual term
def middle_hessian_form(A, w, b, B, L, R, U, V):
    slope = np.einsum("iab,ab->i", A, U @ B @ R.T + L @ B @ V.T)
    return np.mean(w * 2 * slope**2)


# %% middle-hessian-form: wrong, the residual term without its second factor two
def middle_hessian_form(A, w, b, B, L, R, U, V):
    residual = np.einsum("iab,ab->i", A, L @ B @ R.T) - b
    slope = np.einsum("iab,ab->i", A, U @ B @ R.T + L @ B @ V.T)
    bend = np.einsum("iab,ab->i", A, U @ B @ V.T)
    return np.mean(w * (2 * slope**2 + 2 * residual * bend))


# %% middle-hessian-form: wrong, the weights squared
def middle_hessian_form(A, w, b, B, L, R, U, V):
    residual = np.einsum("iab,ab->i", A, L @ B @ R.T) - b
    slope = np.einsum("iab,ab->i", A, U @ B @ R.T + L @ B @ V.T)
    bend = np.einsum("iab,ab->i", A, U @ B @ V.T)
    return np.mean(w**2 * (2 * slope**2 + 4 * residual * bend))


# %% middle-trace: right, NumPy loops over single entries
def middle_trace(A, w, B, L, R):
    total = 0.0
    for Ai, wi in zip(A, w, strict=True):
        for a in range(L.shape[0]):
            for c in range(L.shape[1]):
                total += wi * sum(Ai[a, j] * (R[j] @ B[c]) for j in range(len(R))) ** 2
        for a in range(R.shape[0]):
            for c in range(R.shape[1]):
                total += wi * sum(Ai[j, a] * (L[j] @ B[:, c]) for j in range(len(L))) ** 2
    return 2 * total / len(w)


# %% middle-trace: right, the rescaling matrices with weights, for the factors L B and R B^T
def middle_trace(A, w, B, L, R):
    rows = jnp.einsum("i,iab,icb->ac", w, A, A) / len(w)
    columns = jnp.einsum("i,iab,iac->bc", w, A, A) / len(w)
    return 2 * jnp.trace(B.T @ L.T @ rows @ L @ B) + 2 * jnp.trace(B @ R.T @ columns @ R @ B.T)


# %% middle-trace: wrong, passes the visible tests: divides by the sum of the weights
def middle_trace(A, w, B, L, R):
    left = np.sum((A @ (R @ B.T)) ** 2, axis=(1, 2))
    right = np.sum((np.swapaxes(A, 1, 2) @ (L @ B)) ** 2, axis=(1, 2))
    return 2 * np.sum(w * (left + right)) / np.sum(w)


# %% middle-trace: wrong, the trace of Chapter 2, with the weights but without B
def middle_trace(A, w, B, L, R):
    left = np.sum((A @ R) ** 2, axis=(1, 2))
    right = np.sum((np.swapaxes(A, 1, 2) @ L) ** 2, axis=(1, 2))
    return 2 * np.mean(w * (left + right))


# %% middle-trace: wrong, the norm of B outside
def middle_trace(A, w, B, L, R):
    left = np.sum((A @ R) ** 2, axis=(1, 2))
    right = np.sum((np.swapaxes(A, 1, 2) @ L) ** 2, axis=(1, 2))
    return 2 * np.sum(B**2) * np.mean(w * (left + right))


# %% middle-trace: wrong, forgets the weights
def middle_trace(A, w, B, L, R):
    left = np.sum((A @ (R @ B.T)) ** 2, axis=(1, 2))
    right = np.sum((np.swapaxes(A, 1, 2) @ (L @ B)) ** 2, axis=(1, 2))
    return 2 * np.mean(left + right)


# %% flattest-scales: right, NumPy loop, column by column
def flattest_scales(D1, D2, L, R):
    d1, d2, g = len(L), len(R), []
    for j in range(L.shape[1]):
        p, q = np.linalg.norm(D1 @ L[:, j]), np.linalg.norm(D2 @ R[:, j])
        g.append(np.sqrt(q / p * np.sqrt(d1 / d2)))
    return g


# %% flattest-scales: right, JAX, from the diagonals of the two Gram matrices
def flattest_scales(D1, D2, L, R):
    left, right = jnp.diag(L.T @ D1 @ D1 @ L), jnp.diag(R.T @ D2 @ D2 @ R)
    log_ratio = jnp.log(right) - jnp.log(left) + jnp.log(R.shape[0] ** -1.0 * L.shape[0])
    return jnp.exp(log_ratio / 4)


# %% flattest-scales: wrong, passes the visible tests: forgets D2
def flattest_scales(D1, D2, L, R):
    p = len(R) * np.sum((D1 @ L) ** 2, axis=0)
    q = len(L) * np.sum(R**2, axis=0)
    return (q / p) ** 0.25


# %% flattest-scales: wrong, the scaled trace
def flattest_scales(D1, D2, L, R):
    p, q = np.sum((D1 @ L) ** 2, axis=0), np.sum((D2 @ R) ** 2, axis=0)
    return (q / p) ** 0.25


# %% flattest-scales: wrong, the sizes exchanged
def flattest_scales(D1, D2, L, R):
    p = len(L) * np.sum((D1 @ L) ** 2, axis=0)
    q = len(R) * np.sum((D2 @ R) ** 2, axis=0)
    return (q / p) ** 0.25


# %% flattest-scales: wrong, one scale for all columns, as on a ray of Chapter 2
def flattest_scales(D1, D2, L, R):
    p, q = np.linalg.norm(D1 @ L), np.linalg.norm(D2 @ R)
    return np.full(L.shape[1], np.sqrt(q / p) * (len(L) / len(R)) ** 0.25)


# %% row-weighted-top-eigenvalue: right, the Jacobian column by column
def row_weighted_top_eigenvalue(P, L, R):
    columns = []
    for a in range(L.shape[0]):
        for c in range(L.shape[1]):
            columns.append(np.outer(P[:, a], R[:, c]).ravel())
    for a in range(R.shape[0]):
        for c in range(R.shape[1]):
            columns.append(np.outer(P @ L[:, c], np.eye(len(R))[a]).ravel())
    return 2 * np.linalg.norm(np.array(columns), 2) ** 2


# %% row-weighted-top-eigenvalue: right, JAX, the full Hessian
def row_weighted_top_eigenvalue(P, L, R):
    M, size = L @ R.T, L.size

    def f(p):
        X = p[:size].reshape(L.shape) @ p[size:].reshape(R.shape).T
        return jnp.sum((P @ (X - M)) ** 2)

    return jnp.linalg.eigvalsh(jax.hessian(f)(jnp.concatenate([L.ravel(), R.ravel()])))[-1]


# %% row-weighted-top-eigenvalue: wrong, passes the visible tests: P transposed
def row_weighted_top_eigenvalue(P, L, R):
    inner = np.linalg.norm(R, 2) ** 2 * np.eye(len(L)) + L @ L.T
    return 2 * np.linalg.norm(P.T @ inner @ P, 2)


# %% row-weighted-top-eigenvalue: wrong, a sum of two maxima
def row_weighted_top_eigenvalue(P, L, R):
    return 2 * (
        np.linalg.norm(P @ L, 2) ** 2 + np.linalg.norm(P, 2) ** 2 * np.linalg.norm(R, 2) ** 2
    )


# %% row-weighted-top-eigenvalue: wrong, Chapter 2 with P L in place of L
def row_weighted_top_eigenvalue(P, L, R):
    return 2 * (np.linalg.norm(P @ L, 2) ** 2 + np.linalg.norm(R, 2) ** 2)


# %% row-weighted-top-eigenvalue: wrong, the factor two of the square is lost
def row_weighted_top_eigenvalue(P, L, R):
    inner = np.linalg.norm(R, 2) ** 2 * np.eye(len(L)) + L @ L.T
    return np.linalg.norm(P @ inner @ P.T, 2)


# %% weighted-flat-pair: right, NumPy loop over singular vectors and another rotation
def weighted_flat_pair(P, Q, M, k):
    Y, s, Zt = np.linalg.svd(P @ M @ Q)
    L, R = np.zeros((len(P), k)), np.zeros((len(Q), k))
    p, q = np.sqrt(np.sum(P**2)), np.sqrt(np.sum(Q**2))
    for j in range(min(k, len(s))):
        L[:, k - 1 - j] = np.linalg.inv(P) @ Y[:, j] * np.sqrt(s[j] * p / q)
        R[:, k - 1 - j] = np.linalg.inv(Q).T @ Zt[j] * np.sqrt(s[j] * q / p)
    return L, R


# %% weighted-flat-pair: right, the flat pair of the library for dense measurements, then rescaled
def weighted_flat_pair(P, Q, M, k):
    (d1, d2), m = M.shape, M.size
    A = np.sqrt(m) * np.einsum("ap,qb->abpq", P, Q).reshape(m, d1, d2)
    L, R = fl.flat_factors(fl.dense(jnp.array(A)), jnp.array(M), k)
    c = (d1 / d2) ** 0.25
    return c * L, R / c


# %% weighted-flat-pair: wrong, passes the visible tests: Q in place of its transpose
def weighted_flat_pair(P, Q, M, k):
    Y, s, Zt = np.linalg.svd(P @ M @ Q.T, full_matrices=False)
    root, pad = np.diag(np.sqrt(s[:k])), [(0, 0), (0, max(0, k - len(s)))]
    c = np.sqrt(np.linalg.norm(P) / np.linalg.norm(Q))
    L = c * np.linalg.solve(P, Y[:, :k] @ root)
    R = np.linalg.solve(Q, Zt[:k].T @ root) / c
    return np.pad(L, pad), np.pad(R, pad)


# %% weighted-flat-pair: wrong, the flat pair of Chapter 3
def weighted_flat_pair(P, Q, M, k):
    Y, s, Zt = np.linalg.svd(M, full_matrices=False)
    root, pad = np.diag(np.sqrt(s[:k])), [(0, 0), (0, max(0, k - len(s)))]
    return np.pad(Y[:, :k] @ root, pad), np.pad(Zt[:k].T @ root, pad)


# %% weighted-flat-pair: wrong, balanced after weighting, but without the norms of P and Q
def weighted_flat_pair(P, Q, M, k):
    Y, s, Zt = np.linalg.svd(P @ M @ Q, full_matrices=False)
    root, pad = np.diag(np.sqrt(s[:k])), [(0, 0), (0, max(0, k - len(s)))]
    L, R = np.linalg.solve(P, Y[:, :k] @ root), np.linalg.solve(Q.T, Zt[:k].T @ root)
    return np.pad(L, pad), np.pad(R, pad)


# %% weighted-flat-pair: wrong, the scaled trace
def weighted_flat_pair(P, Q, M, k):
    Y, s, Zt = np.linalg.svd(P @ M @ Q, full_matrices=False)
    root, pad = np.diag(np.sqrt(s[:k])), [(0, 0), (0, max(0, k - len(s)))]
    c = np.sqrt(np.linalg.norm(P) / np.linalg.norm(Q)) * (len(Q) / len(P)) ** 0.25
    L = c * np.linalg.solve(P, Y[:, :k] @ root)
    R = np.linalg.solve(Q.T, Zt[:k].T @ root) / c
    return np.pad(L, pad), np.pad(R, pad)


# %% probe-variance: right, NumPy loops over pairs
def probe_variance(G, fourth):
    n, total = len(G), 0.0
    for i in range(n):
        total += (fourth - 1) * G[i, i] ** 2
        for j in range(i):
            total += (G[i, j] + G[j, i]) ** 2
    return total


# %% probe-variance: right, JAX, the Gaussian variance and a correction
def probe_variance(G, fourth):
    gaussian = jnp.sum(G * G) + jnp.sum(G * G.T)
    return gaussian + (fourth - 3) * jnp.sum(jnp.diag(G) ** 2)


# %% probe-variance: wrong, passes the visible tests: always Gaussian
def probe_variance(G, fourth):
    return np.sum(G * G) + np.sum(G * G.T)


# %% probe-variance: wrong, passes the visible tests: the diagonal grows twice too fast with kappa
def probe_variance(G, fourth):
    diagonal = np.sum(np.diag(G) ** 2)
    return np.sum(G * G) + np.sum(G * G.T) - 2 * diagonal + 2 * (fourth - 2) * diagonal


# %% probe-variance: wrong, the formula for symmetric matrices
def probe_variance(G, fourth):
    diagonal = np.sum(np.diag(G) ** 2)
    return 2 * (np.sum(G**2) - diagonal) + (fourth - 1) * diagonal


# %% probe-variance: wrong, the second moment in place of the variance on the diagonal
def probe_variance(G, fourth):
    diagonal = np.sum(np.diag(G) ** 2)
    return np.sum(G * G) + np.sum(G * G.T) - 2 * diagonal + fourth * diagonal


# %% flow-end-trace: right, a quadratic equation for the squared length of the left factor
def flow_end_trace(sigma, l0, r0, alpha, beta):
    c = beta * sum(x * x for x in l0) - alpha * sum(x * x for x in r0)
    left = max(np.roots([beta, -c, -alpha * sigma**2]).real)
    return 2 * left + 2 * sigma**2 / left


# %% flow-end-trace: right, JAX, equal speeds after a change of variables
def flow_end_trace(sigma, l0, r0, alpha, beta):
    left, right = jnp.asarray(l0) / jnp.sqrt(alpha), jnp.asarray(r0) / jnp.sqrt(beta)
    c, size = left @ left - right @ right, sigma / jnp.sqrt(alpha * beta)
    root = jnp.hypot(c, 2 * size)
    return alpha * (root + c) + beta * (root - c)


# %% flow-end-trace: wrong, passes the visible tests: the singular value is not squared
def flow_end_trace(sigma, l0, r0, alpha, beta):
    c = beta * np.sum(l0**2) - alpha * np.sum(r0**2)
    root = np.sqrt(c**2 + 4 * alpha * beta * sigma)
    return (root + c) / beta + (root - c) / alpha


# %% flow-end-trace: wrong, Exercise 3.3, as if the speeds were equal
def flow_end_trace(sigma, l0, r0, alpha, beta):
    return 2 * np.sqrt((np.sum(l0**2) - np.sum(r0**2)) ** 2 + 4 * sigma**2)


# %% flow-end-trace: wrong, the speeds exchanged
def flow_end_trace(sigma, l0, r0, alpha, beta):
    c = alpha * np.sum(l0**2) - beta * np.sum(r0**2)
    root = np.sqrt(c**2 + 4 * alpha * beta * sigma**2)
    return (root + c) / alpha + (root - c) / beta


# %% flow-end-trace: wrong, the conserved quantity in place of the trace
def flow_end_trace(sigma, l0, r0, alpha, beta):
    c = beta * np.sum(l0**2) - alpha * np.sum(r0**2)
    return 2 * np.sqrt(c**2 + 4 * alpha * beta * sigma**2)
