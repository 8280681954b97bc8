"""Trial answers of assignment 2: each block replaces one answer cell of the master."""
# ruff: noqa: F811, F821


# %% sketch-rescaling: right, loops over the entries of the sketch
def sketch_rescaling(S, T):
    d1, d2, m = S.shape[1], T.shape[1], len(S) * len(T)
    first, second = np.zeros((d1, d1)), np.zeros((d2, d2))
    for s in S:
        for t in T:
            A = np.outer(s, t)
            first += A @ A.T / (m * d2)
            second += A.T @ A / (m * d1)
    roots = []
    for gram in (first, second):
        U, sizes, _ = np.linalg.svd(gram)
        roots.append(U @ np.diag(np.sqrt(sizes)) @ U.T)
    return roots


# %% sketch-rescaling: right, JAX from the singular vectors of S and T
def sketch_rescaling(S, T):
    _, s, Vs = jnp.linalg.svd(jnp.asarray(S), full_matrices=False)
    _, t, Vt = jnp.linalg.svd(jnp.asarray(T), full_matrices=False)
    m = S.shape[0] * T.shape[0]
    first = jnp.linalg.norm(t) / jnp.sqrt(m * T.shape[1]) * (Vs.T * s) @ Vs
    return first, jnp.linalg.norm(s) / jnp.sqrt(m * S.shape[1]) * (Vt.T * t) @ Vt


# %% sketch-rescaling: wrong, no square root
def sketch_rescaling(S, T):
    m = len(S) * len(T)
    first = np.sum(T**2) / (m * T.shape[1]) * S.T @ S
    return first, np.sum(S**2) / (m * S.shape[1]) * T.T @ T


# %% sketch-rescaling: wrong, forgets the lengths of the other factor
def sketch_rescaling(S, T):
    def root(gram):
        values, vectors = np.linalg.eigh(gram)
        return (vectors * np.sqrt(values)) @ vectors.T

    return root(S.T @ S / len(S)), root(T.T @ T / len(T))


# %% sketch-rescaling: wrong, passes the visible tests: the number of measurements is p squared
def sketch_rescaling(S, T):
    def root(gram):
        values, vectors = np.linalg.eigh(gram)
        return (vectors * np.sqrt(values)) @ vectors.T

    m = len(S) ** 2
    first = root(np.sum(T**2) / (m * T.shape[1]) * S.T @ S)
    return first, root(np.sum(S**2) / (m * S.shape[1]) * T.T @ T)


# %% correlated-grams: right, loops over pairs
def correlated_grams(A, W):
    m, d1, d2 = A.shape
    first, second = np.zeros((d1, d1)), np.zeros((d2, d2))
    for i in range(m):
        for j in range(m):
            first += W[i, j] * A[i] @ A[j].T / (m * d2)
            second += W[i, j] * A[i].T @ A[j] / (m * d1)
    return first, second


# %% correlated-grams: right, JAX with mixed measurements
def correlated_grams(A, W):
    m, d1, d2 = A.shape
    C = jnp.linalg.cholesky(jnp.asarray(W))  # W = C C^T, so res^T W res = |C^T res|^2
    mixed = jnp.einsum("ji,jab->iab", C, A)
    first = jnp.einsum("iab,icb->ac", mixed, mixed) / (m * d2)
    return first, jnp.einsum("iab,iac->bc", mixed, mixed) / (m * d1)


# %% correlated-grams: wrong, the chapter's formula without W
def correlated_grams(A, W):
    m, d1, d2 = A.shape
    first = np.einsum("iab,icb->ac", A, A) / (m * d2)
    return first, np.einsum("iab,iac->bc", A, A) / (m * d1)


# %% correlated-grams: wrong, the diagonal of W only
def correlated_grams(A, W):
    m, d1, d2 = A.shape
    first = np.einsum("i,iab,icb->ac", np.diag(W), A, A) / (m * d2)
    return first, np.einsum("i,iab,iac->bc", np.diag(W), A, A) / (m * d1)


# %% correlated-grams: wrong, mixes with W and not with its root
def correlated_grams(A, W):
    m, d1, d2 = A.shape
    A = np.einsum("ij,jab->iab", W, A)
    first = np.einsum("iab,icb->ac", A, A) / (m * d2)
    return first, np.einsum("iab,iac->bc", A, A) / (m * d1)


# %% correlated-grams: wrong, passes the visible tests: the dimensions are exchanged
def correlated_grams(A, W):
    m, d1, d2 = A.shape
    first = np.einsum("ij,iab,jcb->ac", W, A, A) / (m * d1)
    return first, np.einsum("ij,iab,jac->bc", W, A, A) / (m * d2)


# %% correlated-moments: right, loops over singular values
def correlated_moments(P, Q, m):
    d1, d2 = len(P), len(Q)
    strength = np.linalg.svd(Q)[1] ** 2
    K = np.zeros((d1, d1))
    for column in P.T:
        K += np.outer(column, column)
    fourth = np.trace(K) ** 2 + 2 * np.linalg.norm(K) ** 2
    deviation = 0.0
    for nu in strength:
        deviation += nu**2 * (fourth - np.linalg.norm(K) ** 2) / (m * d2**2)
    return strength.sum() * K / d2, deviation


# %% correlated-moments: right, JAX with fourth moments by Isserlis' theorem
def correlated_moments(P, Q, m):
    d2 = Q.shape[0]
    K, N = jnp.asarray(P @ P.T), jnp.asarray(Q @ Q.T)
    same = jnp.einsum("ac,ac,bb,ee->", K, K, N, N)
    crossed = jnp.einsum("aa,cc,be,be->", K, K, N, N) + jnp.einsum("ac,ca,be,eb->", K, K, N, N)
    mean = jnp.trace(N) * K / d2
    return mean, ((same + crossed) / d2**2 - jnp.sum(mean**2)) / m


# %% correlated-moments: wrong, the square of the mean is not subtracted
def correlated_moments(P, Q, m):
    d2, K, N = len(Q), P @ P.T, Q.T @ Q
    spread = np.trace(K) ** 2 + 2 * np.sum(K**2)
    return np.trace(N) / d2 * K, np.sum(N**2) * spread / (m * d2**2)


# %% correlated-moments: wrong, the chapter's formula times the size of the mean
def correlated_moments(P, Q, m):
    d1, d2 = len(P), len(Q)
    mean = np.sum(Q**2) / d2 * P @ P.T
    return mean, (d1 + 1) * np.sum(mean**2) / (m * d2)


# %% correlated-moments: wrong, the squared trace of Q'Q in place of its squared norm
def correlated_moments(P, Q, m):
    d2, K, N = len(Q), P @ P.T, Q.T @ Q
    spread = np.trace(K) ** 2 + np.sum(K**2)
    return np.trace(N) / d2 * K, np.trace(N) ** 2 / d2 * spread / (m * d2**2)


# %% correlated-moments: wrong, passes the visible tests: P times P, right for symmetric P
def correlated_moments(P, Q, m):
    d2, K, N = len(Q), P @ P, Q.T @ Q
    spread = np.trace(K) ** 2 + np.sum(K**2)
    return np.trace(N) / d2 * K, np.sum(N**2) * spread / (m * d2**2)


# %% lifted-adjoint: right, loops over all entries
def lifted_adjoint(Y, masks, K):
    N, n = Y.shape
    answer = np.zeros((K, n))
    for t in range(N):
        for k in range(K):
            for j in range(n):
                answer[k, j] += masks[t, j] * Y[t, (j + k) % n]
    return answer


# %% lifted-adjoint: right, JAX with the transposed map
def lifted_adjoint(Y, masks, K):
    n = Y.shape[1]

    def measure(X):
        return sum(jnp.roll(masks * X[k], k, axis=1) for k in range(K))

    return jax.vjp(measure, jnp.zeros((K, n)))[1](jnp.asarray(Y))[0]


# %% lifted-adjoint: right, correlation by the Fourier transform
def lifted_adjoint(Y, masks, K):
    n = Y.shape[1]
    first = np.eye(n)[:K]
    spectrum = np.conj(np.fft.fft(first))[None] * np.fft.fft(Y)[:, None]
    return np.einsum("tj,tkj->kj", masks, np.fft.ifft(spectrum).real)


# %% lifted-adjoint: wrong, shifts the way the map does
def lifted_adjoint(Y, masks, K):
    return np.stack([np.sum(masks * np.roll(Y, k, axis=1), axis=0) for k in range(K)])


# %% lifted-adjoint: wrong, shifts the mask as well
def lifted_adjoint(Y, masks, K):
    return np.stack([np.sum(np.roll(masks * Y, -k, axis=1), axis=0) for k in range(K)])


# %% lifted-adjoint: wrong, forgets the masks
def lifted_adjoint(Y, masks, K):
    return np.stack([np.sum(np.roll(Y, -k, axis=1), axis=0) for k in range(K)])


# %% lifted-adjoint: wrong, passes the visible tests: averages the signals
def lifted_adjoint(Y, masks, K):
    return np.stack([np.mean(masks * np.roll(Y, -k, axis=1), axis=0) for k in range(K)])


# %% noisy-lower-bound: right, loops and three candidates for the multiple
def noisy_lower_bound(A, b, lam, eps):
    m, d1, d2 = A.shape
    first = sum(a @ a.T for a in A) / (m * d2)
    second = sum(a.T @ a for a in A) / (m * d1)
    roots = []
    for gram in (first, second):
        values, vectors = np.linalg.eigh(gram)
        roots.append(vectors @ np.diag(1 / np.sqrt(values)) @ vectors.T)
    Z = roots[0] @ sum(x * a for x, a in zip(lam, A, strict=True)) @ roots[1]
    scaled = lam / np.linalg.svd(Z)[1][0]
    price = eps * np.linalg.norm(scaled)
    return max(0.0, scaled @ b - price, -(scaled @ b) - price)


# %% noisy-lower-bound: right, JAX without roots
def noisy_lower_bound(A, b, lam, eps):
    m, d1, d2 = A.shape
    first = jnp.linalg.cholesky(jnp.einsum("iab,icb->ac", A, A) / (m * d2))
    second = jnp.linalg.cholesky(jnp.einsum("iab,iac->bc", A, A) / (m * d1))
    Z = jnp.linalg.solve(first, jnp.tensordot(jnp.asarray(lam), A, 1))
    Z = jnp.linalg.solve(second, Z.T)  # a rotation of the root: the same operator norm
    gain = jnp.abs(jnp.vdot(lam, b)) - eps * jnp.linalg.norm(lam)
    return jnp.maximum(gain, 0.0) / jnp.linalg.norm(Z, 2)


# %% noisy-lower-bound: wrong, the chapter's bound for exact data
def noisy_lower_bound(A, b, lam, eps):
    D1, D2 = fl.dense(jnp.asarray(A)).rescaling()
    Z = np.linalg.inv(D1) @ np.tensordot(lam, A, 1) @ np.linalg.inv(D2)
    return abs(lam @ b) / np.linalg.norm(Z, 2)


# %% noisy-lower-bound: wrong, noise raises the bound
def noisy_lower_bound(A, b, lam, eps):
    D1, D2 = fl.dense(jnp.asarray(A)).rescaling()
    Z = np.linalg.inv(D1) @ np.tensordot(lam, A, 1) @ np.linalg.inv(D2)
    return (abs(lam @ b) + eps * np.linalg.norm(lam)) / np.linalg.norm(Z, 2)


# %% noisy-lower-bound: wrong, multiplies by D1 and D2
def noisy_lower_bound(A, b, lam, eps):
    D1, D2 = fl.dense(jnp.asarray(A)).rescaling()
    Z = D1 @ np.tensordot(lam, A, 1) @ D2
    return max(0.0, abs(lam @ b) - eps * np.linalg.norm(lam)) / np.linalg.norm(Z, 2)


# %% noisy-lower-bound: wrong, passes the visible tests: a short multiplier is not stretched
def noisy_lower_bound(A, b, lam, eps):
    D1, D2 = fl.dense(jnp.asarray(A)).rescaling()
    Z = np.linalg.inv(D1) @ np.tensordot(lam, A, 1) @ np.linalg.inv(D2)
    gain = max(0.0, abs(lam @ b) - eps * np.linalg.norm(lam))
    return gain / max(1.0, np.linalg.norm(Z, 2))


# %% noisy-lower-bound: wrong, passes the visible tests: negative multiples are forgotten
def noisy_lower_bound(A, b, lam, eps):
    D1, D2 = fl.dense(jnp.asarray(A)).rescaling()
    Z = np.linalg.inv(D1) @ np.tensordot(lam, A, 1) @ np.linalg.inv(D2)
    return max(0.0, lam @ b - eps * np.linalg.norm(lam)) / np.linalg.norm(Z, 2)


# %% least-multiplier: right, loops and the pseudo-inverse
def least_multiplier(B, U, V):
    left, right = np.eye(len(U)) - U @ U.T, np.eye(len(V)) - V @ V.T
    columns = []
    for matrix in B:
        columns.append((matrix - left @ matrix @ right).ravel())
    lam = np.linalg.pinv(np.array(columns).T, rcond=1e-10) @ (U @ V.T).ravel()
    Z = sum(x * matrix for x, matrix in zip(lam, B, strict=True))
    return lam, np.linalg.svd(left @ Z @ right)[1][0]


# %% least-multiplier: right, JAX in coordinates of T
def least_multiplier(B, U, V):
    r = U.shape[1]
    full_U = jnp.linalg.svd(jnp.asarray(U))[0]
    full_V = jnp.linalg.svd(jnp.asarray(V))[0]
    C = jnp.einsum("ap,iab,bq->ipq", full_U, B, full_V)
    target = full_U.T @ U @ V.T @ full_V
    keep = np.ones(target.shape, dtype=bool)
    keep[r:, r:] = False
    rows = C[:, keep]  # (m, dim T), of full column rank
    lam = rows @ jnp.linalg.solve(rows.T @ rows, target[keep])
    return lam, jnp.linalg.norm(jnp.tensordot(lam, C[:, r:, r:], 1), 2)


# %% least-multiplier: wrong, the chapter's choice: the least Frobenius norm
def least_multiplier(B, U, V):
    m = len(B)
    off = (np.eye(len(U)) - U @ U.T) @ B @ (np.eye(len(V)) - V @ V.T)
    rows = (B - off).reshape(m, -1)
    root = np.linalg.cholesky(B.reshape(m, -1) @ B.reshape(m, -1).T)
    z = np.linalg.lstsq(np.linalg.solve(root, rows).T, (U @ V.T).ravel(), rcond=1e-10)[0]
    lam = np.linalg.solve(root.T, z)
    return lam, np.linalg.norm(np.tensordot(lam, off, 1), 2)


# %% least-multiplier: wrong, fits UV' on all matrices and not on T
def least_multiplier(B, U, V):
    lam = np.linalg.lstsq(B.reshape(len(B), -1).T, (U @ V.T).ravel(), rcond=None)[0]
    off = (np.eye(len(U)) - U @ U.T) @ B @ (np.eye(len(V)) - V @ V.T)
    return lam, np.linalg.norm(np.tensordot(lam, off, 1), 2)


# %% least-multiplier: wrong, the Frobenius norm off T
def least_multiplier(B, U, V):
    off = (np.eye(len(U)) - U @ U.T) @ B @ (np.eye(len(V)) - V @ V.T)
    system = (B - off).reshape(len(B), -1).T
    lam = np.linalg.lstsq(system, (U @ V.T).ravel(), rcond=1e-10)[0]
    return lam, np.linalg.norm(np.tensordot(lam, off, 1))


# %% least-multiplier: wrong, passes the visible tests: the first singular pair only
def least_multiplier(B, U, V):
    U, V = U[:, :1], V[:, :1]
    off = (np.eye(len(U)) - U @ U.T) @ B @ (np.eye(len(V)) - V @ V.T)
    system = (B - off).reshape(len(B), -1).T
    lam = np.linalg.lstsq(system, (U @ V.T).ravel(), rcond=1e-10)[0]
    return lam, np.linalg.norm(np.tensordot(lam, off, 1), 2)


# %% line-slopes: right, loops over singular pairs
def line_slopes(D1, D2, M, H, rank):
    U, _, Vt = np.linalg.svd(D1 @ M @ D2)
    G = D1 @ H @ D2
    slope = 0.0
    for j in range(rank):
        slope += U[:, j] @ G @ Vt[j]
    left, right = np.eye(len(D1)), np.eye(len(D2))
    for j in range(rank):
        left -= np.outer(U[:, j], U[:, j])
        right -= np.outer(Vt[j], Vt[j])
    corner = np.linalg.norm(left @ G @ right, "nuc")
    return slope - corner, slope + corner


# %% line-slopes: right, JAX
def line_slopes(D1, D2, M, H, rank):
    U, _, Vt = jnp.linalg.svd(jnp.asarray(D1 @ M @ D2))
    G = jnp.asarray(D1 @ H @ D2)
    slope = jnp.sum((U[:, :rank] @ Vt[:rank]) * G)
    corner = jnp.sum(jnp.linalg.svd(U[:, rank:].T @ G @ Vt[rank:].T, compute_uv=False))
    return jnp.array([slope - corner, slope + corner])


# %% line-slopes: wrong, an ordinary derivative
def line_slopes(D1, D2, M, H, rank):
    U, _, Vt = np.linalg.svd(D1 @ M @ D2)
    slope = np.sum((U[:, :rank] @ Vt[:rank]) * (D1 @ H @ D2))
    return slope, slope


# %% line-slopes: wrong, the singular vectors of M
def line_slopes(D1, D2, M, H, rank):
    U, _, Vt = np.linalg.svd(M)
    G = U.T @ D1 @ H @ D2 @ Vt.T
    slope, corner = np.trace(G[:rank, :rank]), np.linalg.norm(G[rank:, rank:], "nuc")
    return slope - corner, slope + corner


# %% line-slopes: wrong, the plain nuclear norm
def line_slopes(D1, D2, M, H, rank):
    U, _, Vt = np.linalg.svd(M)
    G = U.T @ H @ Vt.T
    slope, corner = np.trace(G[:rank, :rank]), np.linalg.norm(G[rank:, rank:], "nuc")
    return slope - corner, slope + corner


# %% line-slopes: wrong, passes the visible tests: the operator norm off T
def line_slopes(D1, D2, M, H, rank):
    U, _, Vt = np.linalg.svd(D1 @ M @ D2)
    G = U.T @ D1 @ H @ D2 @ Vt.T  # one row off T in the example: all norms agree
    slope, corner = np.trace(G[:rank, :rank]), np.linalg.norm(G[rank:, rank:], 2)
    return slope - corner, slope + corner


# %% psd-transition: right, a loop over the breakpoints
def psd_transition(d, r, eigenvalues):
    n = len(eigenvalues)
    values = sorted((float(x) for x in np.ravel(eigenvalues) if x > 0), reverse=True)
    total, count, tau = 0.0, 0, 0.0
    for x in values:  # r tau = mean of sum (x - tau)_+ for the largest ones above tau
        if (total / (n * r + count) if count else 0.0) >= x:
            break
        total, count = total + x, count + 1
        tau = total / (n * r + count)
    cost = sum((x - tau) ** 2 for x in values if x > tau) / n
    return r * d - r * (r - 1) / 2 + r * tau**2 + cost


# %% psd-transition: right, SciPy minimises
def psd_transition(d, r, eigenvalues):
    from scipy.optimize import minimize_scalar

    def cost(tau):
        return r * tau**2 + np.mean(np.sum(np.clip(eigenvalues - tau, 0, None) ** 2, axis=1))

    top = np.abs(eigenvalues).max() + 1
    best = minimize_scalar(cost, bounds=(0, top), method="bounded", options={"xatol": 1e-8}).fun
    return (d * (d + 1) - (d - r) * (d - r + 1)) / 2 + best


# %% psd-transition: wrong, the chapter's formula for the nuclear norm on symmetric matrices
def psd_transition(d, r, eigenvalues):
    tau = np.linspace(0, np.abs(eigenvalues).max(), 20001)[:, None, None]
    excess = np.maximum(np.abs(eigenvalues) - tau, 0)
    cost = r * tau[:, 0, 0] ** 2 + (excess**2).sum(2).mean(1)
    return (d * (d + 1) - (d - r) * (d - r + 1)) / 2 + cost.min()


# %% psd-transition: wrong, the tangent space of all matrices
def psd_transition(d, r, eigenvalues):
    tau = np.linspace(0, np.abs(eigenvalues).max(), 20001)[:, None, None]
    cost = r * tau[:, 0, 0] ** 2 + (np.maximum(eigenvalues - tau, 0) ** 2).sum(2).mean(1)
    return r * (2 * d - r) + cost.min()


# %% psd-transition: wrong, minimises inside the mean
def psd_transition(d, r, eigenvalues):
    tau = np.linspace(0, np.abs(eigenvalues).max(), 20001)[:, None, None]
    cost = r * tau[:, 0] ** 2 + (np.maximum(eigenvalues - tau, 0) ** 2).sum(2)
    return r * d - r * (r - 1) / 2 + cost.min(0).mean()


# %% psd-transition: wrong, passes the visible tests: the dimension of T is taken as r d
def psd_transition(d, r, eigenvalues):
    tau = np.linspace(0, np.abs(eigenvalues).max(), 20001)[:, None, None]
    cost = tau[:, 0, 0] ** 2 + (np.maximum(eigenvalues - tau, 0) ** 2).sum(2).mean(1)
    return r * d + cost.min()  # and |UU'|^2 as one: both are right for rank one


# %% recovery-interval: right, bisection on binomial sums
def recovery_interval(counts, alpha):
    import math

    n, least, most = sum(counts), counts[0], counts[0] + counts[3]

    def at_least(s, p):
        return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(s, n + 1))

    def solve(s, target):
        low, high = 0.0, 1.0
        for _ in range(60):
            p = (low + high) / 2
            low, high = (p, high) if at_least(s, p) < target else (low, p)
        return low

    lower = solve(least, alpha / 2) if least > 0 else 0.0
    upper = solve(most + 1, 1 - alpha / 2) if most < n else 1.0
    return lower, upper


# %% recovery-interval: right, the union over all decisions with SciPy
def recovery_interval(counts, alpha):
    from scipy.stats import binomtest

    n, ends = sum(counts), []
    for s in range(counts[0], counts[0] + counts[3] + 1):
        interval = binomtest(s, n).proportion_ci(1 - alpha, method="exact")
        ends.append((interval.low, interval.high))
    return np.array([min(low for low, _ in ends), max(high for _, high in ends)])


# %% recovery-interval: wrong, an unconverged run is a failure
def recovery_interval(counts, alpha):
    from scipy.stats import binomtest

    interval = binomtest(counts[0], sum(counts)).proportion_ci(1 - alpha, method="exact")
    return interval.low, interval.high


# %% recovery-interval: wrong, unconverged runs are left out
def recovery_interval(counts, alpha):
    from scipy.stats import binomtest

    n = sum(counts[:3])
    interval = binomtest(counts[0], n).proportion_ci(1 - alpha, method="exact") if n else None
    return (interval.low, interval.high) if n else (0.0, 1.0)


# %% recovery-interval: wrong, a run that converged elsewhere may be a success
def recovery_interval(counts, alpha):
    from scipy.stats import binomtest

    n, most = sum(counts), counts[0] + counts[2] + counts[3]
    low = binomtest(counts[0], n).proportion_ci(1 - alpha, method="exact").low
    return low, binomtest(most, n).proportion_ci(1 - alpha, method="exact").high


# %% recovery-interval: wrong, the normal approximation
def recovery_interval(counts, alpha):
    from scipy.stats import norm

    n = sum(counts)
    z, low, high = norm.ppf(1 - alpha / 2), counts[0] / n, (counts[0] + counts[3]) / n
    low = low - z * np.sqrt(low * (1 - low) / n)
    return max(low, 0.0), min(high + z * np.sqrt(high * (1 - high) / n), 1.0)


# %% recovery-interval: wrong, passes the visible tests: no special case at zero and at all
def recovery_interval(counts, alpha):
    from scipy.stats import beta

    n, least = sum(counts), counts[0]
    most = least + counts[3]
    low = beta.ppf(alpha / 2, max(least, 1), n - max(least, 1) + 1)
    return low, beta.ppf(1 - alpha / 2, min(most, n - 1) + 1, n - min(most, n - 1))
