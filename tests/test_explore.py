"""The explorables: what they compute, and that the stored stills are what they draw."""

import re

import explore
import jax
import numpy as np
import pytest
import stills

import flatlib as fl
from flatlib import paper

NAMES = stills.names()


@pytest.fixture
def alone(browser):
    """Opens one explorable on a page of its own; a script error fails the test."""
    pages, errors = [], []

    def open_alone(name):
        page = stills.open_alone(browser, name)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        return page

    yield open_alone
    for page in pages:
        page.close()
    assert not errors


def say(page):
    return page.locator(".fl-readout").inner_text()


def slider(page, name):
    return page.get_by_role("slider", name=re.compile(f"^{name}"))


@pytest.mark.parametrize("name", NAMES)
def test_the_still_is_what_the_script_draws(browser, name):
    stored = (explore.STILLS / f"{name}.html").read_text()
    assert stills.still(browser, name) == stored, "run `make stills`"


def test_every_script_is_on_the_page():
    page = (explore.ROOT / "book" / "explore.md").read_text()
    assert sorted(re.findall(r"\{explorable\} (\w+)", page)) == NAMES


# The hyperbola --------------------------------------------------------------------------------


def numbers(page):
    number = r"(-?\d+\.\d+)"
    found = re.match(f"l = {number}, r = {number}: trace {number}", say(page))
    return [float(number) for number in found.groups()]


def test_the_trace_is_that_of_the_hessian(alone):
    page = alone("hyperbola")
    for key in ("Home", "PageUp", "End"):
        slider(page, "Position").press(key)
        l, r, trace = numbers(page)  # noqa: E741
        assert abs(l * r - 1) < 0.05
        hessian = jax.hessian(lambda w: (w[0] * w[1] - 1) ** 2)(np.array([l, r]))
        assert abs(trace / np.trace(hessian) - 1) < 0.01


def test_without_noise_the_ball_stays_and_with_noise_it_rolls_to_the_flat_point(alone):
    page = alone("hyperbola")
    start = numbers(page)
    slider(page, "Noise").press("Home")
    page.get_by_role("button", name="Roll").click()
    page.wait_for_function("/after \\d{3,} steps/.test(document.querySelector('p').textContent)")
    page.get_by_role("button", name="Pause").click()
    assert numbers(page) == start
    slider(page, "Noise").press("End")
    page.get_by_role("button", name="Roll").click()
    page.wait_for_function("/after \\d{4,} steps/.test(document.querySelector('p').textContent)")
    page.get_by_role("button", name="Pause").click()
    assert numbers(page)[2] < start[2] / 3
    page.get_by_role("button", name="Back").click()
    assert numbers(page) == start


def test_the_ball_can_be_dragged(alone):
    page = alone("hyperbola")
    box = page.locator(".fl-handle").bounding_box()
    start = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] - 500, start[1] - 10, steps=3)
    page.mouse.up()
    assert numbers(page)[0] < 3


def test_the_ball_obeys_reduced_motion(alone):
    page = alone("hyperbola")
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        "seen = 0; new MutationObserver(() => seen++)"
        ".observe(document.querySelector('p'), { childList: true });"
    )
    page.get_by_role("button", name="Roll").click()
    page.wait_for_timeout(1500)
    assert 1 <= page.evaluate("seen") <= 3


# The phase diagram ----------------------------------------------------------------------------


@pytest.mark.parametrize("problem", paper.PROBLEMS, ids=lambda problem: problem.__name__)
def test_the_counts_are_the_stored_ones(alone, problem):
    page = alone("phase")
    name = problem.__name__.replace("_", " ").capitalize()
    page.get_by_role("combobox").select_option(name)
    with np.load(paper.DATA / f"figure3_{problem.__name__}.npz") as stored:
        results, sizes, counts = (stored[k] for k in ("results", "sizes", "measurements"))
    fills = page.evaluate(
        "[...document.querySelectorAll('g rect')].map(r => r.getAttribute('fill'))"
    )
    fills = [fill for fill in fills if fill]
    frequency = np.moveaxis(np.mean(results == 0, axis=-1), -1, 0).ravel()
    stops = np.array([[0, 34, 78], [124, 123, 120], [254, 232, 56]])
    expected = [np.interp(frequency, [0, 0.5, 1], channel) for channel in stops.T]
    drawn = np.array([re.findall(r"\d+", fill) for fill in fills], float)
    assert np.abs(drawn - np.stack(expected, axis=-1)).max() <= 0.51  # rounding
    rng = np.random.default_rng(0)
    for i, j in zip(rng.integers(10, size=5), rng.integers(15, size=5), strict=True):
        slider(page, "Size").fill(str(i))
        slider(page, "Measurements").fill(str(j))
        flat, nuclear = np.sum(results[i, j] == 0, axis=-1)
        assert f"{name}, d = {sizes[i]}, m = {counts[i, j]} " in say(page)
        assert f"Flat recovers {flat} of 10, the nuclear norm {nuclear}." in say(page)
        signs = page.locator(".outcome").all_text_contents()
        outcomes = results[i, j].astype(int).ravel()
        assert signs == [{0: "●", 1: "×", 2: "◇", 3: "?"}[code] for code in outcomes]


def test_a_click_chooses_the_cell(alone):
    page = alone("phase")
    frame = page.locator("svg .frame").nth(1)
    box = frame.bounding_box()
    place = {"x": 0.95 * box["width"], "y": 0.97 * box["height"]}
    frame.click(position=place, force=True)  # the cells lie above the frame
    assert "d = 50" in say(page) and "Flat recovers 0 of 10, the nuclear norm 0." in say(page)


# Depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 2.25, 3, 5.5, 12])
def test_the_flattest_vector_is_that_of_the_library(alone, k):
    page = alone("depth")
    for seed, m in enumerate((4, 11, 14, 23)):
        rng = np.random.default_rng(seed)
        A, truth = rng.standard_normal((m, 24)), np.zeros(24)
        truth[rng.choice(24, 3, replace=False)] = rng.uniform(1, 2, 3)
        found = page.evaluate(
            "([A, b, k]) => explore.flattest(A, b, k)", [A.tolist(), (A @ truth).tolist(), k]
        )
        weights, p = np.sum(A**2, axis=0), 2 - 2 / k
        reference = fl.lp_solution(A, A @ truth, weights, p)
        assert found["residual"] < 1e-9
        prices = [weights @ np.abs(x) ** p for x in (np.array(found["x"]), np.array(reference.X))]
        assert abs(prices[0] / prices[1] - 1) < 1e-8
        assert np.abs(np.array(found["x"]) - reference.X).max() < 1e-6


def test_depth_two_keeps_the_zeros_and_depth_three_loses_them(alone):
    page = alone("depth")
    slider(page, "Depth").press("Home")
    assert "21 of 21 zeros are kept; largest entry there 0, relative error 0." in say(page)
    for _ in range(4):
        slider(page, "Depth").press("ArrowRight")
    assert "Depth 3, exponent 1.33: 0 of 21 zeros are kept" in say(page)
    slider(page, "Measurements").press("End")
    assert "relative error 0." in say(page)
    before = page.locator(".fl-panels").inner_html()
    page.get_by_role("button", name="Another vector").click()
    assert page.locator(".fl-panels").inner_html() != before


def test_the_ball_touches_the_line_at_the_least_penalty(alone):
    page = alone("depth")
    for k in ("2", "3", "8"):
        slider(page, "Depth").fill(k)
        marks = page.evaluate(
            "['.area', 'path.curve', '.ball'].map(s => document.querySelector('svg ' + s))"
            ".map(e => e.getAttribute('d') ?? `${e.getAttribute('cx')},${e.getAttribute('cy')}`)"
        )
        area, line, touch = (
            np.array([p.split(",") for p in m.strip("M").split("L")], float) for m in marks
        )
        along, (normal,) = line[1] - line[0], [np.array([1, -1]) * np.flip(line[1] - line[0])]
        normal = normal / np.hypot(*along)
        side = (area - line[0]) @ normal  # of the points of the ball, in pixels
        assert min(abs(side.min()), abs(side.max())) < 0.5
        assert abs((touch[0] - line[0]) @ normal) < 0.3
        assert np.hypot(*(area - touch[0]).T).min() < 3
