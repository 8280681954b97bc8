"""The shared pictures show what they are given."""

import matplotlib
import numpy as np
import pytest

import flatlib as fl
from flatlib.plotting import _edges

matplotlib.use("agg")


@pytest.fixture
def diagram():
    results = np.array(
        [[[1, 1, 1, 1], [0, 0, 1, 3], [0, 0, 0, 0]], [[1, 1, 2, 1], [0, 1, 1, 1], [0, 0, 0, 0]]]
    )
    return fl.PhaseDiagram(np.array([4, 6]), np.array([[5, 9, 13], [8, 14, 20]]), results, "flat")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    matplotlib.pyplot.close("all")


def test_plot_phase_draws_frequencies_prediction_and_unconverged_cells(diagram):
    ax = fl.plotting.plot_phase(diagram, [8.0, 13.0])
    ax.figure.canvas.draw()
    columns = [np.ravel(mesh.get_array()) for mesh in ax.collections]
    np.testing.assert_allclose(columns, [[0, 0.5, 1], [0, 0.25, 1]])
    assert all(mesh.get_clim() == (0, 1) for mesh in ax.collections)
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    np.testing.assert_allclose(lines["predicted"], [[4, 8], [6, 13]])
    np.testing.assert_allclose(lines["unconverged"], [[4, 9]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["unconverged", "predicted"]
    assert len(ax.figure.axes) == 2


def test_plot_phase_in_given_axes_without_extras(diagram):
    diagram.results[0, 1] = [0, 0, 1, 1]
    _, ax = matplotlib.pyplot.subplots()
    assert fl.plotting.plot_phase(diagram, ax=ax, colorbar=False) is ax
    assert not ax.lines and ax.get_legend() is None and len(ax.figure.axes) == 1


def test_edges_enclose_their_centres():
    np.testing.assert_allclose(_edges([1, 3, 7]), [0, 2, 5, 9])
    np.testing.assert_allclose(_edges([4]), [3.5, 4.5])
