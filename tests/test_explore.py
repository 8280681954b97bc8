"""The explorables: what they compute, and that the stored stills are what they draw."""

import re

import explore
import jax
import numpy as np
import pytest
import stills
from scipy.optimize import linprog

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
    """l, r and the trace that the words name."""
    return [float(number) for number in re.findall(r"-?\d+\.\d+", say(page))]


def roll(page, steps):
    page.get_by_role("button", name="Roll").click()
    page.wait_for_function(
        "steps => parseInt(document.querySelector('p').textContent.split('after ')[1]) > steps",
        arg=steps,
    )
    page.get_by_role("button", name="Pause").click()


def test_the_trace_is_that_of_the_hessian(alone):
    page = alone("hyperbola")
    for key in ("Home", "PageUp", "End"):
        slider(page, "Start").press(key)
        l, r, trace = numbers(page)  # noqa: E741
        assert abs(l * r - 1) < 0.05
        hessian = jax.hessian(lambda w: (w[0] * w[1] - 1) ** 2)(np.array([l, r]))
        assert abs(trace / np.trace(hessian) - 1) < 0.01


def test_without_noise_the_ball_stays_and_with_noise_it_rolls_to_the_flat_point(alone):
    page = alone("hyperbola")
    start = numbers(page)
    slider(page, "Noise").press("Home")
    roll(page, 300)
    assert numbers(page) == start
    slider(page, "Noise").press("End")
    roll(page, 3000)
    l, r, trace = numbers(page)  # noqa: E741
    assert trace < start[2] / 3
    assert abs(trace / (2 * np.hypot(l**2 - r**2, 2)) - 1) < 0.05  # (1.1), at the same imbalance
    page.get_by_role("button", name="Back").click()
    assert numbers(page) == start


def test_the_ball_can_be_dragged(alone):
    page = alone("hyperbola")
    box = page.locator(".fl-handle").bounding_box()
    center = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    start = numbers(page)
    page.mouse.move(center[0] - 18, center[1])  # where the ball is held makes no difference
    page.mouse.down()
    page.mouse.move(center[0] - 17, center[1])
    assert numbers(page) == start
    page.mouse.move(center[0] - 0.6 * center[0], center[1] - 5, steps=3)
    l, r, _ = numbers(page)  # noqa: E741
    assert l < start[0] / 2 and abs(l * r - 1) < 0.02
    page.mouse.up()
    box = page.locator(".fl-handle").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2, steps=3)  # over the ball, let go
    assert numbers(page)[:2] == [l, r]


def test_a_held_ball_does_not_roll_on(alone):
    page = alone("hyperbola")
    slider(page, "Noise").press("Home")
    page.get_by_role("button", name="Roll").click()
    page.locator(".fl-handle").hover()
    assert page.get_by_role("button", name="Pause").is_visible()
    page.mouse.down()
    assert page.get_by_role("button", name="Roll").is_visible()


def test_the_words_are_read_aloud_only_at_rest(alone):
    page = alone("hyperbola")
    words = page.locator(".fl-readout")
    assert words.get_attribute("aria-live") == "polite"
    page.get_by_role("button", name="Roll").click()
    page.wait_for_function("document.querySelector('p').textContent.includes('steps')")
    assert words.get_attribute("aria-live") == "off"
    page.get_by_role("button", name="Pause").click()
    assert words.get_attribute("aria-live") == "polite"


def test_a_script_that_fails_leaves_the_still(browser, monkeypatch, tmp_path):
    for path in explore.SCRIPTS.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace("let l, r, steps", "nothing();"))
    monkeypatch.setattr(explore, "SCRIPTS", tmp_path)
    with pytest.raises(RuntimeError, match=r"hyperbola\.js"):
        stills.open_alone(browser, "hyperbola")
    page = browser.contexts[-1].pages[-1]
    assert page.locator(".fl-panels").inner_text() == "What the script must take away."
    assert page.locator(".fl-explorable-controls").count() == 0
    page.close()


def test_the_ball_obeys_reduced_motion(alone):
    page = alone("hyperbola")
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        "moves = []; began = performance.now();"
        "new MutationObserver(() => moves.push(performance.now() - began))"
        ".observe(document.querySelector('p'), { childList: true });"
    )
    page.get_by_role("button", name="Roll").click()
    page.wait_for_function("moves.length === 3")
    assert page.evaluate("moves[2]") > 2900


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
    page.locator("svg").nth(1).locator("g rect").nth(9 * 15).click()
    assert "d = 50" in say(page) and "Flat recovers 0 of 10, the nuclear norm 0." in say(page)
    page.locator("svg").first.get_by_text("size d").click()
    assert "d = 50" in say(page)


# Depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2.25, 3, 5.5, 12])
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
        assert found["residual"] < 1e-9 and abs(found["gap"]) < 1e-8
        prices = [weights @ np.abs(x) ** p for x in (np.array(found["x"]), np.array(reference.X))]
        assert abs(prices[0] / prices[1] - 1) < 1e-8
        assert np.abs(np.array(found["x"]) - reference.X).max() < 1e-6


def test_the_simplex_method_finds_the_least_sum(alone):
    """Sparse data are degenerate; the linear programs are compared with another solver."""
    page = alone("depth")
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m = 4 + seed % 21
        A, truth = rng.standard_normal((m, 24)), np.zeros(24)
        truth[rng.choice(24, 3, replace=False)] = rng.uniform(1, 2, 3)
        found = page.evaluate(
            "([A, b]) => explore.flattest(A, b, 2)", [A.tolist(), (A @ truth).tolist()]
        )
        costs, x = np.sum(A**2, axis=0), np.array(found["x"])
        program = linprog(np.r_[costs, costs], A_eq=np.c_[A, -A], b_eq=A @ truth, bounds=(0, None))
        assert found["residual"] < 1e-10 and found["gap"] < 1e-8
        assert abs(costs @ np.abs(x) / program.fun - 1) < 1e-8


def test_an_answer_that_is_not_the_minimum_is_not_shown(alone):
    page = alone("depth")
    page.evaluate("() => { window.right = explore.leastSum; }")
    page.evaluate("() => { explore.leastSum = (B, b) => right(B, b.map((v) => 2 * v)); }")
    slider(page, "Depth").press("Home")
    assert say(page).startswith("This case was not solved")
    page.evaluate(
        "() => { explore.leastSum = (B, b) => ({ ...right(B, b), lambda: b.map(() => 0) }); }"
    )
    slider(page, "Measurements").press("ArrowRight")
    assert say(page).startswith("This case was not solved")
    page.evaluate(  # as cheap as the solution, and it does not fit
        "() => { explore.leastSum = (B, b) => {"
        " const found = right(B, b); return { ...found, y: found.y.map((v) => -v) }; }; }"
    )
    slider(page, "Measurements").press("ArrowRight")
    assert say(page).startswith("This case was not solved")


def test_depth_two_keeps_the_zeros_and_depth_three_loses_them(alone):
    page = alone("depth")
    slider(page, "Depth").press("Home")
    exact = "21 of 21 zeros are kept, largest entry there 0; relative error 0."
    assert say(page) == f"Depth 2, p = 1.00: {exact}"
    for _ in range(3):
        slider(page, "Depth").press("ArrowRight")
        assert "(between two networks), p = 1." in say(page)
        assert ": none of 21 zeros is kept" in say(page)
    slider(page, "Depth").press("ArrowRight")
    assert say(page).startswith("Depth 3, p = 1.33: none of 21 zeros is kept")
    slider(page, "Measurements").press("End")
    assert say(page).endswith(exact)
    before = page.locator(".fl-panels").inner_html()
    page.get_by_role("button", name="New instance").click()
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


def test_entries_beyond_the_frame_are_named(alone):
    page = alone("depth")
    edges = page.evaluate(
        "() => { const f = document.querySelectorAll('.frame')[1];"
        " const [y, h] = ['y', 'height'].map((a) => Number(f.getAttribute(a)));"
        " return [y + (0.1 / 6) * h, y + (5.9 / 6) * h]; }"
    )
    seen = set()
    for _ in range(12):
        page.get_by_role("button", name="New instance").click()
        for m in ("6", "24"):
            slider(page, "Measurements").fill(m)
            slider(page, "Depth").fill("2")
            places = page.evaluate(
                "[...document.querySelectorAll('svg')[1].querySelectorAll('.ball')]"
                ".map((e) => Number(e.getAttribute('cy')))"
            )
            beyond = any(abs(place - edge) < 0.2 for place in places for edge in edges)
            assert ("Some entries leave the frame." in say(page)) == beyond
            seen.add(beyond)
    assert seen == {True, False}
