"""Checks of numbered statements, as they run beside the proofs.

`check` compares an observed error with a tolerance, prints one line that is the same on every
machine, and keeps the exact error where the claims ledger finds it: in the metadata of the
notebook's output. A claim that fails raises, so that a notebook with a false claim cannot be built.
"""

import math

import numpy as np


class ClaimFailed(AssertionError):
    """A checked claim does not hold: its error exceeds the tolerance or is not a number."""


def check(statement, claim, error, tolerance):
    """Check one claim of a numbered statement: `error <= tolerance`.

    Parameters
    ----------
    statement : the number of the statement as the page prints it, such as "Theorem 4.2"
    claim : what is checked, in a few words
    error : nonnegative number, how far the claim is from holding in this run
    tolerance : nonnegative number, the largest error at which the claim counts as true

    Raises
    ------
    ClaimFailed if error > tolerance or if the error is not finite; ValueError for a negative error
    or tolerance, or for an error that is an array or a truth value: such a check could not fail.
    """
    if np.ndim(error) or np.asarray(error).dtype == np.bool_:
        raise ValueError(
            "`error` must be one number, how far the claim is from holding: take the largest of an "
            "array, and for a truth value pass float(not value)."
        )
    error, tolerance = float(error), float(tolerance)
    if error < 0 or not 0 <= tolerance < math.inf:
        raise ValueError(
            "`error` and `tolerance` must be nonnegative (pass an absolute value), and the "
            f"tolerance finite; they are {error} and {tolerance}."
        )
    if not error <= tolerance or math.isinf(error):
        raise ClaimFailed(
            f"{statement}: {claim}: error {error:.3g} exceeds the tolerance {tolerance:g}"
        )
    line = f"✓ {statement}: {claim} (error ≤ {tolerance:g})"
    record = {"statement": statement, "claim": claim, "error": error, "tolerance": tolerance}
    if not _display_in_notebook(line, record):
        print(line)


def _display_in_notebook(line, record):
    """Show the line as a notebook output that carries the record; False outside a notebook."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return False
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    display({"text/plain": line}, raw=True, metadata={"flatlib": record})
    return True
