"""`check` passes, fails, and keeps the exact error in a notebook's metadata."""

import jax.numpy as jnp
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import flatlib as fl


def test_a_true_claim_prints_one_line_without_the_error(capsys):
    fl.check("Theorem 4.2", "the values agree", 3.2e-13, 1e-10)
    assert capsys.readouterr().out == "✓ Theorem 4.2: the values agree (error ≤ 1e-10)\n"


@pytest.mark.parametrize("error", [0, 1e-10, jnp.asarray(1e-11), np.float32(0)])
def test_errors_up_to_the_tolerance_pass(error):
    fl.check("Lemma 1.1", "equality counts", error, 1e-10)


@pytest.mark.parametrize("error", [1.01e-10, 1.0, jnp.nan, jnp.inf, jnp.asarray(jnp.nan)])
def test_a_false_claim_raises_with_its_number(error):
    with pytest.raises(fl.ClaimFailed, match=r"Lemma 1\.1: a claim: error .* exceeds .* 1e-10"):
        fl.check("Lemma 1.1", "a claim", error, 1e-10)


def test_infinite_error_fails_at_every_tolerance():
    with pytest.raises(fl.ClaimFailed):
        fl.check("Lemma 1.1", "a claim", jnp.inf, 1e300)


@pytest.mark.parametrize(
    ("error", "tolerance"),
    [(-1e-3, 1e-10), (1e-3, -1.0), (0.0, jnp.nan), (0.0, jnp.inf), (-jnp.inf, 1.0)],
)
def test_a_check_that_could_not_fail_is_refused(error, tolerance):
    with pytest.raises(ValueError, match="nonnegative"):
        fl.check("Lemma 1.1", "a claim", error, tolerance)


@pytest.mark.parametrize("error", [False, np.bool_(False), jnp.asarray(False), jnp.zeros(2), [0.0]])
def test_truth_values_and_arrays_are_refused(error):
    with pytest.raises(ValueError, match="one number"):
        fl.check("Lemma 1.1", "a claim", error, 1e-10)


def test_claim_failed_is_an_assertion_error():
    assert issubclass(fl.ClaimFailed, AssertionError)


def test_in_a_notebook_the_metadata_carries_the_exact_error():
    cells = [
        nbformat.v4.new_code_cell("import flatlib as fl"),
        nbformat.v4.new_code_cell("fl.check('Theorem 4.2', 'the values agree', 1 / 3, 0.5)"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[1].outputs
    assert output.output_type == "display_data"
    assert output.data == {"text/plain": "✓ Theorem 4.2: the values agree (error ≤ 0.5)"}
    assert output.metadata["flatlib"] == {
        "statement": "Theorem 4.2",
        "claim": "the values agree",
        "error": 1 / 3,
        "tolerance": 0.5,
    }
