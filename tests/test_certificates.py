"""Recovery certificates against the solver, on both sides of the transition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatlib as fl


def key(seed):
    return jax.random.key(seed)


def error(X, M):
    return jnp.linalg.norm(X - M) / jnp.linalg.norm(M)


def nuclear_norm(X):
    return float(jnp.linalg.norm(X, "nuc"))


# ------------------------------------------------------------------ against the solver


def test_gaussian_certificates_agree_with_the_solver_on_both_sides():
    d, largest, trials = 8, 38, 60
    keys = jax.random.split(key(0), trials)
    sizes = 20 + 2 * (jnp.arange(trials) % 10)  # m = 20, ..., 38, padded with zero measurements

    def judge(instance):
        key, m = instance
        key_op, key_M = jax.random.split(key)
        A = jax.random.normal(key_op, (largest, d, d)) * (jnp.arange(largest) < m)[:, None, None]
        op, M = fl.dense(A), fl.low_rank(key_M, (d, d), 1)
        certificate = fl.recovery_certificate(op, M, rank=1)
        solution = fl.flat_solution(op, op(M))
        values = fl.flat_norm(op, solution.X), fl.flat_norm(op, M)
        return certificate, solution.status, error(solution.X, M), *values

    certificates, status, errors, values, values_M = jax.lax.map(judge, (keys, sizes))
    assert np.all(status == fl.Status.CONVERGED)
    answers = np.array(certificates.recovers)
    assert "undecided" not in answers
    yes = answers == "yes"
    assert 20 <= yes.sum() <= 40  # both sides of the transition
    np.testing.assert_array_equal(yes, errors < 1e-7)
    np.testing.assert_array_equal(~yes, errors > 1e-4)
    assert np.all(values[~yes] < values_M[~yes] * (1 - 1e-8))
    np.testing.assert_array_equal(yes, certificates.rho < 1)
    np.testing.assert_array_equal(~yes, certificates.rho_lower > 1)
    assert np.all(certificates.rho_lower <= certificates.rho)


def instances():
    """Maps whose sizes are fixed, so that each kind compiles once."""
    for seed in range(10):
        one, two = jax.random.split(key(seed))
        m = 24 + seed
        op = fl.bilinear_sensing(one, 34, (8, 6))
        op = fl.rank_one(op.a * (jnp.arange(34) < m)[:, None], op.b)
        yield "bilinear", op, fl.low_rank(two, (8, 6), 1)
        mask = np.array(jax.random.bernoulli(one, 0.45 + 0.04 * seed, (9, 9)))
        np.fill_diagonal(mask, True)
        yield "completion", fl.entries(mask), fl.low_rank(two, (9, 9), 1)
        op = fl.quadratic_sensing(one, 30, 7)
        op = fl.quadratic(op.x * (jnp.arange(30) < 12 + 2 * seed)[:, None])
        yield "quadratic", op, fl.low_rank_symmetric(two, 7, (1, 1))


@pytest.mark.parametrize("weighting", ["flat", "nuclear"])
def test_structured_certificates_agree_with_the_solver(weighting):
    solve = fl.flat_solution if weighting == "flat" else fl.nuclear_solution
    answers = {}
    for kind, op, M in instances():
        certificate = fl.recovery_certificate(op, M, weighting)
        solution = solve(op, op(M))
        assert solution.converged
        answers.setdefault(kind, set()).add(certificate.recovers)
        if certificate.recovers == "yes":
            assert certificate.rho < 1 and certificate.injective
            assert error(solution.X, M) < 1e-7
        else:
            assert certificate.recovers == "no" and certificate.rho_lower > 1
            D1, D2 = op.rescaling() if weighting == "flat" else map(jnp.eye, op.shape)
            assert nuclear_norm(D1 @ solution.X @ D2) < nuclear_norm(D1 @ M @ D2) * (1 - 1e-9)
    assert set(answers) == {"bilinear", "completion", "quadratic"}
    assert all(both == {"yes", "no"} for both in answers.values()), answers


# ------------------------------------------------------------------ rho itself


def direct_rho(op, M, rank):
    """rho by cvxpy, straight from its definition."""
    import cvxpy

    D1, D2 = map(np.asarray, op.rescaling())
    P1, P2 = np.linalg.inv(D1), np.linalg.inv(D2)
    adjoint = np.asarray(jax.vmap(op.adjoint)(jnp.eye(op.m)))
    B = P1 @ adjoint @ P2
    U, _, Vt = np.linalg.svd(D1 @ np.asarray(M) @ D2)
    if op.symmetric:
        B = (B + np.swapaxes(B, 1, 2)) / 2
    polar = U[:, :rank] @ Vt[:rank]
    lam = cvxpy.Variable(op.m)
    W = cvxpy.reshape(B.reshape(op.m, -1).T @ lam, op.shape, order="C")
    constraints = [U[:, :rank].T @ (W - polar) == 0, (W - polar) @ Vt[:rank].T == 0]
    objective = cvxpy.norm(U[:, rank:].T @ W @ Vt[rank:].T, 2)
    problem = cvxpy.Problem(cvxpy.Minimize(objective), constraints)
    problem.solve(solver=cvxpy.SCS, eps=1e-9, max_iters=100_000)
    return problem.value


@pytest.mark.parametrize("kind", ["gaussian", "bilinear", "completion", "quadratic"])
def test_rho_agrees_with_its_definition(kind):
    for kind_of, op, M in instances():
        if kind == "gaussian":
            op, M = fl.gaussian_sensing(key(1), 22, (6, 5)), fl.low_rank(key(2), (6, 5), 1)
        elif kind_of != kind:
            continue
        rank = 2 if kind == "quadratic" else 1
        bounds = fl.recovery_certificate(op, M, accuracy=1e-7)
        if bool(bounds.injective) and 0.1 < bounds.rho < 5:
            assert bounds.rho - bounds.rho_lower <= 1e-7
            direct = direct_rho(op, M, rank)
            assert float(bounds.rho) == pytest.approx(direct, rel=1e-5)
            assert float(bounds.rho_lower) == pytest.approx(direct, rel=1e-5)
            return
    raise AssertionError("no instance to compare")


def test_early_answers_are_brackets_of_rho():
    for m in (24, 34):
        op = fl.gaussian_sensing(key(m), m, (8, 8))
        M = fl.low_rank(key(3), (8, 8), 1)
        early = fl.recovery_certificate(op, M)
        exact = fl.recovery_certificate(op, M, accuracy=1e-8)
        assert early.rho_lower - 1e-12 <= exact.rho and exact.rho_lower <= early.rho + 1e-12
        assert early.rho - early.rho_lower > 1e-4  # it did stop early
        assert early.recovers == exact.recovers == {24: "no", 34: "yes"}[m]


def test_too_little_work_leaves_the_question_open():
    op = fl.gaussian_sensing(key(5), 29, (8, 8))
    M = fl.low_rank(key(3), (8, 8), 1)
    hasty = fl.recovery_certificate(op, M, max_iterations=1)
    assert hasty.rho_lower < 1 < hasty.rho
    assert hasty.recovers == "undecided"
    assert fl.recovery_certificate(op, M).recovers != "undecided"


def test_a_minimiser_that_injectivity_does_not_certify():
    # M = e1 e1^T, entry (1, 2) unobserved: M is the minimiser, yet e1 e2^T lies in T and ker B.
    mask = np.array([[True, False], [True, True]])
    M = jnp.zeros((2, 2)).at[0, 0].set(1.0)
    certificate = fl.recovery_certificate(fl.entries(mask), M, "nuclear")
    assert not certificate.injective
    assert certificate.rho < 1
    assert certificate.recovers == "undecided"


def test_too_few_measurements_for_the_tangent_space():
    op = fl.gaussian_sensing(key(0), 8, (6, 5))
    certificate = fl.recovery_certificate(op, fl.low_rank(key(1), (6, 5), 1))
    assert not certificate.injective and certificate.recovers == "no"
    assert np.isinf(certificate.rho_lower)


def test_all_entries_observed_recovers_everything():
    for rank in (1, 3):  # rank 3: the tangent space is the whole space
        certificate = fl.recovery_certificate(
            fl.identity((4, 3)), fl.low_rank(key(1), (4, 3), rank)
        )
        assert certificate.recovers == "yes" and certificate.rho < 1e-9


def test_symmetric_problems_live_on_symmetric_matrices():
    op = fl.quadratic_sensing(key(3), 26, 7)
    M = fl.low_rank_symmetric(key(1), 7, (1, 1))
    assert fl.recovery_certificate(op, M).recovers == "yes"
    # The same A_i on all matrices: a skew direction of T is never observed.
    full = fl.dense(op.x[:, :, None] * op.x[:, None, :])
    assert not fl.recovery_certificate(full, M).injective


def test_flat_and_nuclear_certificates_differ():
    answers = set()
    for seed in range(12):
        mask = np.array(jax.random.bernoulli(key(seed), 0.55, (9, 9)))
        np.fill_diagonal(mask, True)
        op, M = fl.entries(mask), fl.low_rank(key(100 + seed), (9, 9), 1)
        answers.add(tuple(fl.recovery_certificate(op, M, w).recovers for w in ("flat", "nuclear")))
    assert ("yes", "no") in answers


def test_positive_teachers_are_certified_for_any_number_of_quadratic_measurements():
    # M >= 0: B* lam = I is feasible, so rho <= 1 however few measurements there are.
    M = fl.low_rank_symmetric(key(2), 7, (1, 0))
    op = fl.quadratic_sensing(key(3), 9, 7)
    certificate = fl.recovery_certificate(op, M, accuracy=1e-7)
    assert certificate.rho <= 1 + 1e-9
    assert certificate.recovers != "no"


# ------------------------------------------------------------------ errors


def test_bad_arguments_are_refused():
    op = fl.gaussian_sensing(key(0), 20, (6, 5))
    M = fl.low_rank(key(1), (6, 5), 1)
    with pytest.raises(ValueError, match=r"`M` must have shape \(6, 5\)"):
        fl.recovery_certificate(op, M.T)
    with pytest.raises(ValueError, match="`M` is zero"):
        fl.recovery_certificate(op, 0.0 * M)
    with pytest.raises(ValueError, match="`M` has NaN"):
        fl.recovery_certificate(op, M.at[0, 0].set(jnp.nan))
    with pytest.raises(TypeError, match="`M` must be float64"):
        fl.recovery_certificate(op, M.astype(jnp.float32))
    with pytest.raises(ValueError, match="`weighting` must be"):
        fl.recovery_certificate(op, M, "sharp")
    with pytest.raises(ValueError, match="`rank` must be given inside jit"):
        jax.jit(fl.recovery_certificate)(op, M)
    with pytest.raises(ValueError, match="`rank` is at most"):
        fl.recovery_certificate(op, M, rank=6)
    with pytest.raises(ValueError, match=r"never observes rows \[2\]"):
        fl.recovery_certificate(fl.dense(op.A.at[:, 2].set(0.0)), M)
    with pytest.raises(ValueError, match="`M` must be symmetric"):
        fl.recovery_certificate(fl.quadratic_sensing(key(0), 9, 5), M[:5])
    with pytest.raises(TypeError, match="`op` must be a measurement map"):
        fl.recovery_certificate(op.A, M)
    with pytest.raises(ValueError, match="`rank` = 2 is not the rank of M"):
        fl.recovery_certificate(op, M, rank=2)
    with pytest.raises(TypeError, match="no derivative"):
        jax.grad(lambda M: fl.recovery_certificate(op, M, rank=1).rho)(M)


def test_inside_a_trace_a_bad_truth_gets_no_answer():
    op, M = fl.gaussian_sensing(key(0), 29, (6, 5)), fl.low_rank(key(1), (6, 5), 1)
    truths = jnp.stack([M, 0.0 * M, jnp.nan * M, fl.low_rank(key(1), (6, 5), 2)])
    certify = jax.jit(jax.vmap(lambda M: fl.recovery_certificate(op, M, rank=1)))
    assert certify(truths).recovers == ["yes", "undecided", "undecided", "undecided"]
    op, M = fl.quadratic_sensing(key(0), 15, 5), fl.low_rank_symmetric(key(1), 5, (1, 0))
    truths = jnp.stack([M, M.at[0, 1].multiply(1.001)])
    assert jax.jit(jax.vmap(lambda M: fl.recovery_certificate(op, M, rank=1)))(truths).recovers == [
        "yes",
        "undecided",
    ]


def test_a_known_truth_and_an_unknown_map():
    op, M = fl.gaussian_sensing(key(0), 29, (6, 5)), fl.low_rank(key(1), (6, 5), 1)
    assert jax.jit(lambda op: fl.recovery_certificate(op, M))(op).recovers == "yes"
