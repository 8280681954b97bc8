"""Trial answers of assignment 3: each block replaces one answer cell of the master."""
# ruff: noqa: F811, F821


# %% draw-weights: right, a loop over the draws
def draw_weights(rows, columns, scales, shape):
    d1, d2 = shape
    m = len(rows)
    first, second = [0.0] * d1, [0.0] * d2
    for a, b, s in zip(rows, columns, scales, strict=True):
        first[a] += s * s / (m * d2)
        second[b] += s * s / (m * d1)
    return [x**0.5 for x in first], [x**0.5 for x in second]


# %% draw-weights: right, from the definition with einsum
def draw_weights(rows, columns, scales, shape):
    d1, d2 = shape
    m = len(rows)
    A = jnp.zeros((m, d1, d2)).at[jnp.arange(m), rows, columns].set(scales)
    first = jnp.einsum("iab,iab->a", A, A) / (m * d2)
    return jnp.sqrt(first), jnp.sqrt(jnp.einsum("iab,iab->b", A, A) / (m * d1))


# %% draw-weights: wrong, NumPy adds only once for each row
def draw_weights(rows, columns, scales, shape):
    m, (d1, d2) = len(rows), shape
    first, second = np.zeros(d1), np.zeros(d2)
    first[rows] += scales**2 / (m * d2)
    second[columns] += scales**2 / (m * d1)
    return np.sqrt(first), np.sqrt(second)


# %% draw-weights: wrong, the scales are not squared
def draw_weights(rows, columns, scales, shape):
    m, (d1, d2) = len(rows), shape
    first = np.bincount(rows, abs(scales), d1) / (m * d2)
    return np.sqrt(first), np.sqrt(np.bincount(columns, abs(scales), d2) / (m * d1))


# %% draw-weights: wrong, the chapter's formula for a mask
def draw_weights(rows, columns, scales, shape):
    d1, d2 = shape
    mask = np.zeros(shape)
    mask[rows, columns] = 1
    m = mask.sum()
    return np.sqrt(mask.sum(1) / (m * d2)), np.sqrt(mask.sum(0) / (m * d1))


# %% draw-weights: wrong, passes the visible tests: repeated draws are merged into one
def draw_weights(rows, columns, scales, shape):
    d1, d2 = shape
    table = np.zeros(shape)
    table[rows, columns] = scales
    m = np.count_nonzero(table)
    return np.sqrt((table**2).sum(1) / (m * d2)), np.sqrt((table**2).sum(0) / (m * d1))


# %% symmetric-weights: right, a loop over pairs
def symmetric_weights(mask):
    d, m = len(mask), 0
    gram = np.zeros(d)
    for a in range(d):
        for b in range(a, d):
            if mask[a, b]:
                m += 1
                if a == b:
                    gram[a] += 1
                else:
                    gram[a] += 1 / 4
                    gram[b] += 1 / 4
    return np.sqrt(gram / (m * d))


# %% symmetric-weights: right, the measurement matrices in JAX
def symmetric_weights(mask):
    a, b = np.nonzero(np.triu(np.asarray(mask)))
    e = jnp.eye(len(mask))
    A = (e[a][:, :, None] * e[b][:, None, :] + e[b][:, :, None] * e[a][:, None, :]) / 2
    return jnp.sqrt(jnp.mean(jnp.einsum("iab,iac->ibc", A, A), 0).diagonal() / len(mask))


# %% symmetric-weights: wrong, the chapter's formula for the whole mask
def symmetric_weights(mask):
    return np.sqrt(mask.sum(1) / (mask.sum() * len(mask)))


# %% symmetric-weights: wrong, both copies of a pair are counted in m
def symmetric_weights(mask):
    others = mask.sum(1) - np.diag(mask)
    return np.sqrt((others / 4 + np.diag(mask)) / (mask.sum() * len(mask)))


# %% symmetric-weights: wrong, one half in place of its square
def symmetric_weights(mask):
    others = mask.sum(1) - np.diag(mask)
    return np.sqrt((others / 2 + np.diag(mask)) / (np.triu(mask).sum() * len(mask)))


# %% symmetric-weights: wrong, passes the visible tests: the diagonal counts as any other entry
def symmetric_weights(mask):
    return np.sqrt(mask.sum(1) / 4 / (np.triu(mask).sum() * len(mask)))


# %% flat-dual-norm: right, with the matrices D1 and D2
def flat_dual_norm(Z, mask):
    (d1, d2), m = mask.shape, mask.sum()
    D1 = np.diag(np.sqrt(mask.sum(1) / (m * d2)))
    D2 = np.diag(np.sqrt(mask.sum(0) / (m * d1)))
    return np.linalg.svd(np.linalg.inv(D1) @ Z @ np.linalg.inv(D2))[1][0]


# %% flat-dual-norm: right, the library's weights and a symmetric eigenvalue
def flat_dual_norm(Z, mask):
    D1, D2 = fl.entries(mask).rescaling()
    W = jnp.linalg.solve(D1, jnp.linalg.solve(D2, Z.T).T)
    return jnp.sqrt(jnp.linalg.eigvalsh(W @ W.T)[-1])


# %% flat-dual-norm: wrong, multiplies by the weights
def flat_dual_norm(Z, mask):
    D1, D2 = fl.entries(mask).rescaling()
    return np.linalg.norm(D1 @ Z @ D2, 2)


# %% flat-dual-norm: wrong, the dual of the plain nuclear norm
def flat_dual_norm(Z, mask):
    return np.linalg.norm(Z, 2)


# %% flat-dual-norm: wrong, leaves out the normalisation
def flat_dual_norm(Z, mask):
    return np.linalg.norm(Z / np.sqrt(np.outer(mask.sum(1), mask.sum(0))), 2)


# %% flat-dual-norm: wrong, divides by the squares of the weights
def flat_dual_norm(Z, mask):
    D1, D2 = fl.entries(mask).rescaling()
    return np.linalg.norm(np.linalg.inv(D1 @ D1) @ Z @ np.linalg.inv(D2 @ D2), 2)


# %% flat-dual-norm: wrong, passes the visible tests: the Frobenius norm, right for rank one only
def flat_dual_norm(Z, mask):
    D1, D2 = fl.entries(mask).rescaling()
    return np.linalg.norm(np.linalg.inv(D1) @ Z @ np.linalg.inv(D2))


# %% probability-rows-seen: right, a recursion over the set of rows seen
def probability_rows_seen(marginals, m):
    d = len(marginals)
    chance = {frozenset(): 1.0}
    for _ in range(m):
        new = {}
        for seen, p in chance.items():
            for a in range(d):
                after = seen | {a}
                new[after] = new.get(after, 0.0) + p * float(marginals[a])
        chance = new
    return chance.get(frozenset(range(d)), 0.0)


# %% probability-rows-seen: right, condition on how often the last row is drawn
def probability_rows_seen(marginals, m):
    from math import comb

    def all_seen(p, n):
        if len(p) == 1:
            return float(n >= 1)
        last = float(p[-1])
        others = [float(x) / (1 - last) for x in p[:-1]]
        return sum(
            comb(n, j) * last**j * (1 - last) ** (n - j) * all_seen(others, n - j)
            for j in range(1, n - len(others) + 1)
        )

    return all_seen(list(marginals), m)


# %% probability-rows-seen: right, inclusion and exclusion over bits in JAX
def probability_rows_seen(marginals, m):
    d = len(marginals)
    kept = (jnp.arange(2**d)[:, None] >> jnp.arange(d)) & 1
    sign = (-1.0) ** (d - kept.sum(1))
    return jnp.sum(sign * (kept @ jnp.asarray(marginals)) ** m)


# %% probability-rows-seen: wrong, treats the rows as independent
def probability_rows_seen(marginals, m):
    return np.prod(1 - (1 - marginals) ** m)


# %% probability-rows-seen: wrong, only the union bound
def probability_rows_seen(marginals, m):
    return 1 - np.sum((1 - marginals) ** m)


# %% probability-rows-seen: wrong, the probability of a missed row
def probability_rows_seen(marginals, m):
    d = len(marginals)
    kept = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    return 1 - np.sum((-1.0) ** (d - kept.sum(1)) * (kept @ marginals) ** m)


# %% probability-rows-seen: wrong, a simulation
def probability_rows_seen(marginals, m):
    rng = np.random.default_rng(0)
    draws = rng.choice(len(marginals), size=(20000, m), p=marginals)
    return np.mean([len(set(draw)) == len(marginals) for draw in draws])


# %% probability-rows-seen: wrong, passes the visible tests: exclusion stops at pairs of rows
def probability_rows_seen(marginals, m):
    total = 1 - np.sum((1 - marginals) ** m)
    for a in range(len(marginals)):
        for b in range(a):
            total += (1 - marginals[a] - marginals[b]) ** m
    return total


# %% completed-rank-one: right, two by two minors until nothing changes
def completed_rank_one(Y, mask):
    X = np.where(mask, Y, np.nan)
    d1, d2 = X.shape
    changed = True
    while changed:
        changed = False
        for a in range(d1):
            for b in range(d2):
                if not np.isnan(X[a, b]):
                    continue
                candidates = X[a][None, :] * X[:, b][:, None] / X
                found = candidates[~np.isnan(candidates)]
                if found.size:
                    X[a, b], changed = found[0], True
    return X


# %% completed-rank-one: right, factors by repeated sweeps in JAX
def completed_rank_one(Y, mask):
    Y, mask = jnp.where(mask, Y, 1.0), jnp.asarray(mask)
    d1, d2 = Y.shape
    answer = jnp.full((d1, d2), jnp.nan)
    for a in range(d1):
        u, v = jnp.zeros(d1).at[a].set(1.0), jnp.zeros(d2)
        for _ in range(d1 + d2):
            known = mask & (u != 0)[:, None]
            guess = jnp.where(known, Y / jnp.where(u != 0, u, 1.0)[:, None], 0.0)
            v = guess.sum(0) / jnp.maximum(known.sum(0), 1)
            known = mask & (v != 0)
            guess = jnp.where(known, Y / jnp.where(v != 0, v, 1.0), 0.0)
            u = (guess.sum(1) / jnp.maximum(known.sum(1), 1)).at[a].set(1.0)
        answer = answer.at[a].set(jnp.where(v != 0, v, jnp.nan))
    return answer


# %% completed-rank-one: wrong, fills zeros where nothing is known
def completed_rank_one(Y, mask):
    u, v = np.zeros(Y.shape[0]), np.zeros(Y.shape[1])
    u[0] = 1.0
    for _ in range(sum(Y.shape)):
        for a, b in zip(*np.nonzero(mask), strict=True):
            if u[a] and not v[b]:
                v[b] = Y[a, b] / u[a]
            if v[b] and not u[a]:
                u[a] = Y[a, b] / v[b]
    return np.outer(u, v)


# %% completed-rank-one: wrong, only the piece of the first row
def completed_rank_one(Y, mask):
    u, v = np.full(Y.shape[0], np.nan), np.full(Y.shape[1], np.nan)
    u[0] = 1.0
    for _ in range(sum(Y.shape)):
        for a, b in zip(*np.nonzero(mask), strict=True):
            if not np.isnan(u[a]) and np.isnan(v[b]):
                v[b] = Y[a, b] / u[a]
            if not np.isnan(v[b]) and np.isnan(u[a]):
                u[a] = Y[a, b] / v[b]
    return np.outer(u, v)


# %% completed-rank-one: wrong, a scale is chosen for every piece and all entries are filled
def completed_rank_one(Y, mask):
    u, v = np.full(Y.shape[0], np.nan), np.full(Y.shape[1], np.nan)
    for root in range(len(u)):
        if np.isnan(u[root]):
            u[root] = 1.0
        for _ in range(sum(Y.shape)):
            for a, b in zip(*np.nonzero(mask), strict=True):
                if not np.isnan(u[a]) and np.isnan(v[b]):
                    v[b] = Y[a, b] / u[a]
                if not np.isnan(v[b]) and np.isnan(u[a]):
                    u[a] = Y[a, b] / v[b]
    return np.outer(u, v)


# %% completed-rank-one: wrong, passes the visible tests: one round of two by two minors only
def completed_rank_one(Y, mask):
    X = np.where(mask, Y, np.nan)
    seen = X.copy()
    for a, b in zip(*np.nonzero(~mask), strict=True):
        candidates = seen[a][None, :] * seen[:, b][:, None] / seen
        found = candidates[~np.isnan(candidates)]
        if found.size:
            X[a, b] = found[0]
    return X


# %% completed-rank-one: wrong, passes the visible tests: logarithms lose the signs
def completed_rank_one(Y, mask):
    d1, d2 = Y.shape
    rows, columns = np.nonzero(mask)
    graph = np.block([[np.eye(d1), mask], [mask.T, np.eye(d2)]]).astype(float)
    reached = np.linalg.matrix_power(graph, d1 + d2)[:d1, d1:] > 0
    system = np.zeros((len(rows), d1 + d2))
    system[np.arange(len(rows)), rows] = 1
    system[np.arange(len(rows)), d1 + columns] = 1
    logs = np.linalg.lstsq(system, np.log(abs(Y[rows, columns])), rcond=None)[0]
    X = np.exp(logs[:d1, None] + logs[d1:])
    return np.where(mask, Y, np.where(reached, X, np.nan))


# %% rescaled-leverages: right, diagonal of the two projections
def rescaled_leverages(M, mask, rank):
    D1, D2 = fl.entries(mask).rescaling()
    X = D1 @ M @ D2
    X = X / jnp.linalg.norm(X)
    inverse = jnp.linalg.pinv(X, rtol=1e-9)
    return jnp.diag(X @ inverse), jnp.diag(inverse @ X)


# %% rescaled-leverages: right, QR of the scaled singular vectors
def rescaled_leverages(M, mask, rank):
    U, _, Vt = np.linalg.svd(M, full_matrices=False)
    answers = []
    for factor, counts in ((U[:, :rank], mask.sum(1)), (Vt[:rank].T, mask.sum(0))):
        basis, _ = np.linalg.qr(np.sqrt(counts)[:, None] * factor)
        answers.append([float(row @ row) for row in basis])
    return tuple(answers)


# %% rescaled-leverages: wrong, the leverages of M itself
def rescaled_leverages(M, mask, rank):
    U, _, Vt = np.linalg.svd(M)
    return (U[:, :rank] ** 2).sum(1), (Vt[:rank] ** 2).sum(0)


# %% rescaled-leverages: wrong, scales by the counts and not by their roots
def rescaled_leverages(M, mask, rank):
    U, _, Vt = np.linalg.svd(mask.sum(1)[:, None] * M * mask.sum(0))
    return (U[:, :rank] ** 2).sum(1), (Vt[:rank] ** 2).sum(0)


# %% rescaled-leverages: wrong, scales the leverages and forgets that they add up to the rank
def rescaled_leverages(M, mask, rank):
    U, _, Vt = np.linalg.svd(M)
    rows, columns = (U[:, :rank] ** 2).sum(1), (Vt[:rank] ** 2).sum(0)
    return rows * mask.sum(1) / mask.sum(1).mean(), columns * mask.sum(0) / mask.sum(0).mean()


# %% rescaled-leverages: wrong, multiplies by d / r as the incoherence does
def rescaled_leverages(M, mask, rank):
    U, _, Vt = np.linalg.svd(np.sqrt(mask.sum(1))[:, None] * M * np.sqrt(mask.sum(0)))
    rows, columns = (U[:, :rank] ** 2).sum(1), (Vt[:rank] ** 2).sum(0)
    return rows * len(rows) / rank, columns * len(columns) / rank


# %% rescaled-leverages: wrong, passes the visible tests: D1 U is not orthonormal for rank two
def rescaled_leverages(M, mask, rank):
    U, _, Vt = np.linalg.svd(M)
    rows = (U[:, :rank] ** 2).sum(1) * mask.sum(1)
    columns = (Vt[:rank] ** 2).sum(0) * mask.sum(0)
    return rank * rows / rows.sum(), rank * columns / columns.sum()


# %% nearest-in-weighted-ball: right, bisection of the level
def nearest_in_weighted_ball(E, weights, radius):
    def shrunk(level):
        return np.sign(E) * np.maximum(np.abs(E) - level * weights, 0)

    if (weights * np.abs(E)).sum() <= radius:
        return E
    low, high = 0.0, (np.abs(E) / weights).max()
    for _ in range(100):
        middle = (low + high) / 2
        if (weights * np.abs(shrunk(middle))).sum() > radius:
            low = middle
        else:
            high = middle
    return shrunk(high)


# %% nearest-in-weighted-ball: right, Newton's method from below in JAX
def nearest_in_weighted_ball(E, weights, radius):
    size, level = jnp.abs(E), 0.0
    for _ in range(2 * size.size):
        stays = size > level * weights
        excess = jnp.sum(jnp.where(stays, weights * size, 0.0)) - radius
        level = jnp.maximum(level, excess / jnp.sum(jnp.where(stays, weights**2, 0.0)))
    return jnp.sign(E) * jnp.maximum(size - level * weights, 0.0)


# %% nearest-in-weighted-ball: wrong, the chapter's projection with one level
def nearest_in_weighted_ball(E, weights, radius):
    size = np.sort(np.abs(E).ravel())[::-1]
    if size.sum() <= radius:
        return E
    levels = (np.cumsum(size) - radius) / np.arange(1, size.size + 1)
    level = levels[np.flatnonzero(levels < size)[-1]]
    return np.sign(E) * np.maximum(np.abs(E) - level, 0)


# %% nearest-in-weighted-ball: wrong, scales the matrix onto the ball
def nearest_in_weighted_ball(E, weights, radius):
    return E * min(1, radius / (weights * np.abs(E)).sum())


# %% nearest-in-weighted-ball: wrong, projects the weighted entries and divides again
def nearest_in_weighted_ball(E, weights, radius):
    F = weights * E
    size = np.sort(np.abs(F).ravel())[::-1]
    if size.sum() <= radius:
        return E
    levels = (np.cumsum(size) - radius) / np.arange(1, size.size + 1)
    level = levels[np.flatnonzero(levels < size)[-1]]
    return np.sign(E) * np.maximum(np.abs(F) - level, 0) / weights


# %% nearest-in-weighted-ball: wrong, divides by the sum of the weights, not of their squares
def nearest_in_weighted_ball(E, weights, radius):
    size, level = np.abs(E), 0.0
    for _ in range(2 * size.size):
        stays = size > level * weights
        if not stays.any():
            break
        level = max(level, ((weights * size)[stays].sum() - radius) / weights[stays].sum())
    return np.sign(E) * np.maximum(size - level * weights, 0)


# %% nearest-in-weighted-ball: wrong, passes the visible tests: all entries stay in the sum
def nearest_in_weighted_ball(E, weights, radius):
    size = np.abs(E)
    level = max(0.0, ((weights * size).sum() - radius) / (weights**2).sum())
    return np.sign(E) * np.maximum(size - level * weights, 0)


# %% nearest-in-weighted-ball: wrong, passes the visible tests: moves points of the ball as well
def nearest_in_weighted_ball(E, weights, radius):
    size = np.abs(E)
    order = np.argsort(-(size / weights).ravel())
    w, s = weights.ravel()[order], size.ravel()[order]
    levels = (np.cumsum(w * s) - radius) / np.cumsum(w**2)
    level = levels[np.flatnonzero(levels < s / w)[-1]]
    return np.sign(E) * np.maximum(size - level * weights, 0)


# %% huber-scaled-trace: right, a loop over the entries within the cutoff
def huber_scaled_trace(L, R, Y, cutoff):
    total = 0.0
    for a in range(len(L)):
        for b in range(len(R)):
            if abs(Y[a, b] - L[a] @ R[b]) < cutoff:
                total += 2 * (R[b] @ R[b]) / len(L) + 2 * (L[a] @ L[a]) / len(R)
    return total


# %% huber-scaled-trace: right, second derivatives by automatic differentiation
def huber_scaled_trace(L, R, Y, cutoff):
    def loss(L, R):
        x = jnp.abs(Y - L @ R.T)
        return jnp.sum(jnp.where(x <= cutoff, x**2, 2 * cutoff * x - cutoff**2))

    L, R = jnp.asarray(L), jnp.asarray(R)
    left = jnp.einsum("abab->", jax.hessian(loss, 0)(L, R))
    return left / len(L) + jnp.einsum("abab->", jax.hessian(loss, 1)(L, R)) / len(R)


# %% huber-scaled-trace: wrong, the chapter's formula of the local model
def huber_scaled_trace(L, R, Y, cutoff):
    return 2 * np.sum(L**2) + 2 * np.sum(R**2)


# %% huber-scaled-trace: wrong, passes the visible tests: the counts multiply their own factor
def huber_scaled_trace(L, R, Y, cutoff):
    inside = abs(Y - L @ R.T) < cutoff
    left = 2 * np.sum(inside.sum(1) * np.sum(L**2, 1))
    right = 2 * np.sum(inside.sum(0) * np.sum(R**2, 1))
    return left / len(L) + right / len(R)


# %% huber-scaled-trace: wrong, forgets the factor 2
def huber_scaled_trace(L, R, Y, cutoff):
    inside = abs(Y - L @ R.T) < cutoff
    left = np.sum(inside * np.sum(R**2, 1))
    return left / len(L) + np.sum(inside.T * np.sum(L**2, 1)) / len(R)


# %% huber-scaled-trace: wrong, the entries beyond the cutoff
def huber_scaled_trace(L, R, Y, cutoff):
    beyond = abs(Y - L @ R.T) > cutoff
    left = 2 * np.sum(beyond * np.sum(R**2, 1))
    return left / len(L) + 2 * np.sum(beyond.T * np.sum(L**2, 1)) / len(R)


# %% huber-scaled-trace: wrong, passes the visible tests: divides by the other dimension
def huber_scaled_trace(L, R, Y, cutoff):
    inside = abs(Y - L @ R.T) < cutoff
    left = 2 * np.sum(inside * np.sum(R**2, 1))
    return left / len(R) + 2 * np.sum(inside.T * np.sum(L**2, 1)) / len(L)


# %% margins-with-holes: right, projections as matrices in JAX
def margins_with_holes(Q, U, V, signs, mask, weight):
    P1, P2 = U @ U.T, V @ V.T
    tangent = P1 @ Q + Q @ P2 - P1 @ Q @ P2
    errors = signs != 0
    defect = jnp.max(
        jnp.array(
            [
                jnp.linalg.norm(tangent - U @ V.T),
                jnp.linalg.norm(jnp.where(errors, Q - weight * signs, 0.0)),
                jnp.linalg.norm(jnp.where(mask, 0.0, Q)),
            ]
        )
    )
    c1 = 1 - jnp.linalg.svd(Q - tangent, compute_uv=False)[0]
    return defect, c1, weight - jnp.max(jnp.where(mask & ~errors, jnp.abs(Q), 0.0))


# %% margins-with-holes: right, loops over the entries
def margins_with_holes(Q, U, V, signs, mask, weight):
    rest = (np.eye(len(U)) - U @ U.T) @ Q @ (np.eye(len(V)) - V @ V.T)
    wrong = hole = right = 0.0
    for a in range(Q.shape[0]):
        for b in range(Q.shape[1]):
            if not mask[a, b]:
                hole += Q[a, b] ** 2
            elif signs[a, b]:
                wrong += (Q[a, b] - weight * signs[a, b]) ** 2
            else:
                right = max(right, abs(Q[a, b]))
    first = np.linalg.norm(Q - rest - U @ V.T)
    largest = np.sqrt(np.linalg.eigvalsh(rest.T @ rest).max())
    return [max(first, wrong**0.5, hole**0.5), 1 - largest, weight - right]


# %% margins-with-holes: wrong, the nuclear norm in the first margin
def margins_with_holes(Q, U, V, signs, mask, weight):
    rest = (np.eye(len(U)) - U @ U.T) @ Q @ (np.eye(len(V)) - V @ V.T)
    wrong = signs != 0
    parts = (Q - rest - U @ V.T, Q[wrong] - weight * signs[wrong], Q[~mask])
    defect = max(np.linalg.norm(part) for part in parts)
    return defect, 1 - np.linalg.norm(rest, "nuc"), weight - abs(Q[mask & ~wrong]).max()


# %% margins-with-holes: wrong, the tangent part without the product term
def margins_with_holes(Q, U, V, signs, mask, weight):
    tangent = U @ (U.T @ Q) + (Q @ V) @ V.T
    wrong = signs != 0
    parts = (tangent - U @ V.T, Q[wrong] - weight * signs[wrong], Q[~mask])
    defect = max(np.linalg.norm(part) for part in parts)
    return defect, 1 - np.linalg.norm(Q - tangent, 2), weight - abs(Q[mask & ~wrong]).max()


# %% margins-with-holes: wrong, the second margin over all seen entries
def margins_with_holes(Q, U, V, signs, mask, weight):
    rest = (np.eye(len(U)) - U @ U.T) @ Q @ (np.eye(len(V)) - V @ V.T)
    wrong = signs != 0
    parts = (Q - rest - U @ V.T, Q[wrong] - weight * signs[wrong], Q[~mask])
    return (
        max(np.linalg.norm(part) for part in parts),
        1 - np.linalg.norm(rest, 2),
        weight - abs(Q[mask]).max(),
    )


# %% margins-with-holes: wrong, passes the visible tests: the chapter's conditions without holes
def margins_with_holes(Q, U, V, signs, mask, weight):
    rest = (np.eye(len(U)) - U @ U.T) @ Q @ (np.eye(len(V)) - V @ V.T)
    wrong = signs != 0
    parts = (Q - rest - U @ V.T, Q[wrong] - weight * signs[wrong])
    return (
        max(np.linalg.norm(part) for part in parts),
        1 - np.linalg.norm(rest, 2),
        weight - abs(Q[~wrong]).max(),
    )
