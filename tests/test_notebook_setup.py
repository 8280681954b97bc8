"""Set-up, figures and animations as a notebook stores them, and the player in a real browser."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import chapters
import matplotlib
import nbclient
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import flatlib as fl
from flatlib import notebook

CELLS = [
    "import flatlib as fl\nfl.setup_notebook()",
    "import jax.numpy as jnp\nimport matplotlib.pyplot as plt\nprint(jnp.zeros(1).dtype)",
    """fig, ax = plt.subplots()
ax.plot([0, 1], [0, 1], label="$k$")
fl.show(fig, r"Figure 4.1. A norm $\\lVert X\\rVert_*$.", alt="A rising line.")
print(plt.get_fignums())""",
    """def draw(fig, t):
    ax = fig.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 5))
    ax.plot([0, 1], [0, t])
fl.animate(draw, 5, "Figure 4.2. A line rises.", alt='A line "rises" < 5.', fps=20, still=2)
print(plt.get_fignums())""",
    "fig, ax = plt.subplots()\nfl.show(fig, 'No number', alt='Nothing.')",
]


def execute():
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(
        cells=[new_code_cell(source) for source in CELLS], metadata={"kernelspec": kernel}
    )
    nbclient.NotebookClient(notebook, timeout=300, allow_errors=True).execute()
    nbformat.validate(notebook)
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture(scope="module")
def outputs():
    return execute()


# ------------------------------------------------------------------ what is stored


def test_setup_prints_versions_and_turns_on_float64(outputs):
    assert [output.output_type for output in outputs[0]] == ["stream"]
    assert re.fullmatch(
        r"flatlib \S+, JAX \S+, NumPy \S+, Python \d+\.\d+\.\d+, .+\n", outputs[0][0].text
    )
    assert outputs[1][0].text == "float64\n"


def test_show_stores_image_alternative_and_caption(outputs):
    figure, caption, after = outputs[2]
    text = r"Figure 4.1. A norm $\lVert X\rVert_*$."
    assert figure.metadata == {
        "image/png": {"alt": "A rising line."},
        "flatlib": {"role": "figure", "caption": text, "alt": "A rising line."},
    }
    assert figure.data["text/plain"] == "A rising line."
    assert set(figure.data) == {"image/png", "text/plain"}
    assert caption.data == {"text/markdown": f"*{text}*", "text/plain": text}
    assert caption.metadata == {"flatlib": {"role": "caption", "caption": text}}
    assert after.text == "[]\n"  # the figure is closed: it will not be shown twice


def test_the_image_is_opaque_light_and_free_of_versions(outputs):
    from PIL import Image

    data = base64.b64decode(outputs[2][0].data["image/png"])
    image = Image.open(io.BytesIO(data))
    assert image.getpixel((2, 2))[:3] == (0xF8, 0xF8, 0xF5)
    assert image.convert("RGBA").getextrema()[3] == (255, 255)
    assert 600 <= image.width <= 720
    assert b"Software" not in data and b"matplotlib" not in data


class Parser(HTMLParser):
    """Collects tags, and checks that they are nested."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], {}

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.text.setdefault(len(self.tags) - 1, data)


def test_animate_stores_valid_markup(outputs):
    animation, caption, after = outputs[3]
    alt, text = 'A line "rises" < 5.', "Figure 4.2. A line rises."
    assert animation.metadata == {"flatlib": {"role": "animation", "caption": text, "alt": alt}}
    assert animation.data["text/plain"] == alt
    assert caption.data["text/markdown"] == f"*{text}*"
    assert after.text == "[]\n"

    parser = Parser()
    parser.feed(animation.data["text/html"])
    parser.close()
    assert not parser.open
    (figure, image, listing, style, script) = parser.tags
    assert figure[0] == "figure" and figure[1]["class"] == "fl-animation"
    assert figure[1]["data-fps"] == "20" and figure[1]["data-label"] == "Figure 4.2"
    assert listing == ("script", {"type": "application/json", "class": "fl-frames"})
    assert (style, script) == (("style", {}), ("script", {}))
    frames = json.loads(parser.text[2])
    assert len(frames) == 5 == len(set(frames))
    assert all(frame.startswith("data:image/webp;base64,") for frame in frames)
    # Where scripts are off, the still is all there is.
    assert image[1]["src"] == frames[2] and image[1]["alt"] == alt
    assert not re.search(r"https?://", animation.data["text/html"])


def test_outputs_are_the_same_in_every_run(outputs):
    assert execute()[:4] == outputs[:4]


def test_forty_frames_are_small():
    import numpy as np

    def draw(fig, t):
        ax = fig.subplots()
        x = np.linspace(0, 10, 200)
        for k in range(3):
            ax.plot(x, np.sin(x + t / 5 + k), label=f"$k = {k}$")
        ax.set(xlim=(0, 10), ylim=(-1, 1), xlabel="iteration", ylabel="value", title=f"$t = {t}$")
        ax.legend(loc="upper right")

    with matplotlib.rc_context(notebook.STYLE):
        images, size = notebook._render(draw, [0, 7], None)
    assert 40 * 4 / 3 * max(map(len, images)) < 700_000  # as stored, in base64
    assert size == (540, 342)


# ------------------------------------------------------------------ what is refused


def test_captions_need_a_number_and_alternatives_words(outputs):
    assert outputs[4][0].ename == "ValueError" and "Figure N.M." in outputs[4][0].evalue
    fig = matplotlib.figure.Figure()
    with pytest.raises(ValueError, match="alt"):
        fl.show(fig, "Figure 1.1. A caption.", alt=" ")
    with pytest.raises(ValueError, match="single line"):
        fl.show(fig, "Figure 1.1. A\ncaption.", alt="A line.")
    with pytest.raises(TypeError, match="Axes"):
        fl.show(fig.subplots(), "Figure 1.1. A caption.", alt="A line.")


def test_animations_need_frames():
    good = ("Figure 1.1. A caption.", "A line.")
    with pytest.raises(ValueError, match="frames"):
        fl.animate(lambda fig, t: None, 0, *good)
    with pytest.raises(ValueError, match="still"):
        fl.animate(lambda fig, t: None, 3, *good, still=3)
    with pytest.raises(ValueError, match="fps"):
        fl.animate(lambda fig, t: None, 3, *good, fps=0)


def test_outside_a_notebook_the_caption_is_printed(capsys):
    fl.show(matplotlib.figure.Figure(), "Figure 1.1. A caption.", alt="A line.")
    fl.animate(lambda fig, t: None, 3, "Figure 1.2. Another.", alt="A line.")
    assert capsys.readouterr().out == "Figure 1.1. A caption.\nFigure 1.2. Another.\n"


# ------------------------------------------------------------------ the player


@pytest.fixture
def open_page(browser, outputs, tmp_path):
    """Opens a page with the animation in it; fails on any console error."""
    contexts, errors = [], []

    def opened(body=None, fake_time=False, **settings):
        contexts.append(browser.new_context(viewport={"width": 376, "height": 700}, **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        file = tmp_path / "page.html"
        body = body or outputs[3][0].data["text/html"]
        file.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">{body}')
        if fake_time:
            page.clock.install(time=0)
        page.goto(file.as_uri())
        if fake_time:
            page.wait_for_timeout(1000)  # real time, in which the frames are decoded
            page.clock.pause_at(3600)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def counter(page):
    return page.inner_text(".fl-controls span")


def test_plays_to_the_end_and_again(open_page):
    page = open_page()
    button = page.get_by_role("button", name="Play Figure 4.2")
    assert counter(page) == "3 / 5"
    page.wait_for_timeout(300)
    assert counter(page) == "3 / 5"  # it never starts by itself
    button.click()
    page.wait_for_function("document.querySelector('.fl-controls span').textContent == '5 / 5'")
    page.get_by_role("button", name="Play Figure 4.2").wait_for()
    page.get_by_role("button", name="Play Figure 4.2").click()
    page.wait_for_function("document.querySelector('.fl-controls span').textContent == '2 / 5'")


def test_pauses(open_page):
    page = open_page(fake_time=True)
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(60)  # a frame lasts 50 ms
    assert counter(page) == "4 / 5"
    page.get_by_role("button", name="Pause Figure 4.2").click()
    page.clock.run_for(5000)
    assert counter(page) == "4 / 5"
    assert page.get_by_role("button", name="Play Figure 4.2").is_visible()


def test_keyboard(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    for key, expected in (
        ("ArrowRight", "4 / 5"),
        ("ArrowLeft", "3 / 5"),
        ("End", "5 / 5"),
        ("ArrowRight", "5 / 5"),
        ("Home", "1 / 5"),
        ("ArrowLeft", "1 / 5"),
    ):
        page.keyboard.press(key)
        assert counter(page) == expected
    page.keyboard.press("Tab")
    slider = page.get_by_role("slider", name="Frame of Figure 4.2")
    assert slider.evaluate("slider => slider == document.activeElement")
    page.keyboard.press("ArrowRight")
    assert counter(page) == "2 / 5" and slider.input_value() == "1"
    assert slider.get_attribute("aria-valuetext") == "frame 2 of 5"
    shown = page.get_attribute("figure img", "src")
    listed = page.evaluate("JSON.parse(document.querySelector('.fl-frames').textContent)[1]")
    assert shown == listed
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.fl-controls span').textContent == '5 / 5'")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")
    page.keyboard.press("Space")  # on the button, where the browser itself turns it into a click
    page.wait_for_function("document.querySelector('.fl-controls span').textContent == '5 / 5'")


def test_slider(open_page):
    page = open_page()
    page.get_by_role("slider").fill("4")
    assert counter(page) == "5 / 5"


def test_reduced_motion_plays_one_frame_a_second(open_page):
    page = open_page(fake_time=True, reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(950)
    assert counter(page) == "3 / 5"  # at 20 frames a second it would be over
    page.clock.run_for(100)
    assert counter(page) == "4 / 5"


def test_without_scripts_only_the_still_is_there(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator("figure img").is_visible()
    assert page.locator(".fl-controls").count() == 0


def test_frames_may_be_files_and_are_loaded_when_reached(open_page, outputs, tmp_path):
    markup = outputs[3][0].data["text/html"]
    frames = json.loads(re.search(r'class="fl-frames">(.*?)</script>', markup, re.DOTALL)[1])
    names = [f"frame{i}.webp" for i in range(len(frames))]
    for name, frame in zip(names, frames, strict=True):
        (tmp_path / name).write_bytes(base64.b64decode(frame.split(",")[1]))
    markup = markup.replace(f'<img src="{frames[2]}"', f'<img src="{names[2]}"')
    listing = re.compile(r'(class="fl-frames">).*?(</script>)', re.DOTALL)
    markup = listing.sub(lambda match: match[1] + json.dumps(names) + match[2], markup)
    page = open_page('<div style="height: 5000px">Far above.</div>' + markup)
    requested = []
    page.on("request", lambda request: requested.append(request.url.rsplit("/")[-1]))
    page.wait_for_timeout(300)
    assert requested == []
    page.locator("figure").scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    assert set(names) - {names[2]} <= set(requested)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('.fl-controls span').textContent == '5 / 5'")
    assert page.get_attribute("figure img", "src") == "frame4.webp"
    assert page.evaluate("document.querySelector('figure img').naturalWidth") == 540


def test_two_players_on_a_page_do_not_disturb_each_other(open_page, outputs):
    markup = outputs[3][0].data["text/html"]
    page = open_page(markup + markup.replace("Figure 4.2", "Figure 4.3"))
    assert page.locator(".fl-controls").count() == 2
    page.get_by_role("button", name="Play Figure 4.3").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.fl-controls span')].map(c => c.textContent).join() == "
        "'3 / 5,5 / 5'"
    )


def test_fits_a_phone_and_can_be_touched(open_page):
    page = open_page()
    assert page.evaluate("document.documentElement.scrollWidth") <= 376
    box = page.get_by_role("button").bounding_box()
    assert box["height"] >= 44 and box["width"] >= 44


def test_the_astrology_package_is_recognised(tmp_path):
    """The set-up cell, run where another `flatlib` comes first, says how to undo that."""
    chapter = nbformat.read(chapters.paths()[0], as_version=4)
    (tmp_path / "flatlib").mkdir()
    (tmp_path / "flatlib" / "__init__.py").write_text("chart = None\n")
    (tmp_path / "cell.py").write_text(chapter.cells[1].source)
    outcome = subprocess.run(
        [sys.executable, "cell.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert outcome.returncode != 0
    assert "astrology" in outcome.stderr and "pip uninstall -y flatlib" in outcome.stderr
