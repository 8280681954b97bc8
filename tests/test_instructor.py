"""The cells of the instructor's guide run, after the one that they all need."""

import contextlib
import io
import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[1] / "book" / "instructor.md"
CELLS = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


def printed(cell):
    """What a cell prints, in a session of its own."""
    session, output = {}, io.StringIO()
    exec(CELLS[0], session)
    with contextlib.redirect_stdout(output):
        exec(cell, session)
    return output.getvalue()


@pytest.mark.parametrize("number", range(1, len(CELLS)))
def test_cell(number):
    assert printed(CELLS[number])


@pytest.mark.parametrize(
    "words, numbers",
    [
        ("M = jnp.array([[1.0, 1.0], [3.0, 3.0]])", [2.0]),  # the flattest has 2 for the last entry
        ("for c in (1.0, 10.0)", [4.0, 200.02]),
        ("statistical_dimension((20, 20), 2", [142.0]),
        ("l, r = 4.0, 0.3", [32.0]),
    ],
)
def test_numbers_in_the_text(words, numbers):
    cell = next(cell for cell in CELLS if words in cell)
    found = [float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", printed(cell))]
    for number in numbers:
        assert any(abs(x - number) < 0.01 * number for x in found), (number, found)
