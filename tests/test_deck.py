"""The slides: they build, show figures that exist, take 40 to 50 minutes, and fit their boxes."""

import re
import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import chapters
import pages
import pytest
from bs4 import BeautifulSoup

BUILDER = chapters.ROOT / "tools" / "deck.py"
SOURCE = chapters.ROOT / "deck" / "deck.md"
SHOWN = re.findall(r"^```\{chapter-figure\} (\S+)$", SOURCE.read_text(), re.MULTILINE)

LOOK = r"""async () => {
  await MathJax.startup.promise;
  const problems = [];
  for (let i = 0; i < Reveal.getTotalSlides(); i++) {
    Reveal.slide(i);
    const slide = Reveal.getCurrentSlide();
    const say = (problem) => problems.push(`slide ${i + 1}: ${problem}`);
    if (!slide.offsetHeight) say("it is not shown");
    const images = [...slide.querySelectorAll("img")];
    await Promise.all(images.map((image) => image.decode().catch(() => say("no image"))));
    for (const wrong of slide.querySelectorAll('mjx-merror, mjx-assistive-mml [mathcolor="red"]'))
      say(`a wrong formula: ${wrong.textContent}`);
    for (const math of slide.querySelectorAll(".math"))
      if (!math.querySelector("mjx-container")) say(`no formula: ${math.textContent}`);
    for (const element of slide.querySelectorAll(":scope *:not(aside, aside *)")) {
      if (element.closest("mjx-container *:not(mjx-math)")) continue;
      const box = element.getBoundingClientRect();
      if (!box.width) continue;
      const bottom = element.matches(".part") ? 720 : 682;
      if (box.left < 0 || box.top < 0 || box.right > 1280 || box.bottom > bottom)
        say(`${element.tagName} overflows, to ${box.right | 0} x ${box.bottom | 0}: ` +
          element.textContent.trim().slice(0, 50));
    }
  }
  return problems;
}"""


def build(folder, builder=BUILDER):
    return subprocess.run(
        [sys.executable, str(builder), str(folder)], capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def deck(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides") / "deck"
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def slides(deck):
    page = BeautifulSoup((deck / "index.html").read_text(), "html.parser")
    return page.select(".slides > section > section")


def test_every_slide_makes_a_claim_and_has_notes(slides):
    assert 28 <= len(slides) <= 36
    for slide in slides:
        title = slide.select_one("h1").get_text()
        assert len(title.split()) >= 4, title
        notes = slide.select_one("aside.notes").get_text()
        for sign in ("Say:", "Likely question:", "Answer:"):
            assert sign in notes, title
    titles = [slide.select_one("h1").get_text() for slide in slides]
    assert len(set(titles)) == len(titles)


def test_the_talk_takes_45_minutes_or_so(slides):
    seconds = [int(slide["data-timing"]) for slide in slides]
    assert 40 * 60 <= sum(seconds) <= 50 * 60
    notes = slides[-1].select_one("aside.notes").get_text()
    assert f"until minute {sum(seconds) / 60:g}." in notes


def test_every_figure_is_shown_with_its_alternative(deck, slides):
    assert len(SHOWN) >= 20
    images = [image for slide in slides for image in slide.select("img")]
    assert len(images) == len(SHOWN)
    for image in images:
        assert image["alt"].strip()
        assert (deck / image["src"]).is_file()


def test_a_figure_that_is_gone_stops_the_build_with_its_number(tmp_path):
    """A copy of the builder reads a source with one more figure, which no notebook holds."""
    (tmp_path / "deck").mkdir()
    shutil.copytree(SOURCE.parent / "_static", tmp_path / "deck" / "_static")
    (tmp_path / "deck" / "deck.md").write_text("# A claim\n\n```{chapter-figure} 99.1\n```\n")
    program = (
        f"import sys, pathlib; sys.path.insert(0, {str(BUILDER.parent)!r}); import deck; "
        f"deck.SOURCE = pathlib.Path({str(tmp_path / 'deck')!r}); "
        f"deck.build(pathlib.Path({str(tmp_path / 'out')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0
    assert "Figure 99.1" in done.stderr


def test_no_picture_is_stored_beside_the_source():
    kinds = {path.suffix for path in SOURCE.parent.rglob("*") if path.is_file()}
    assert kinds == {".md", ".css"}


def test_the_slides_can_be_printed(deck, slides):
    content = (deck / "deck.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == len(slides)


def look(browser, folder):
    """What is wrong with the slides in a folder, as text."""
    server = pages.serve(folder)
    problems = []

    def allow(route):
        address = route.request.url
        if address.startswith(("data:", "blob:")) or urlsplit(address).hostname == "127.0.0.1":
            route.continue_()
        else:
            problems.append(f"the slides ask for {address}")
            route.abort()

    with browser.new_context(viewport={"width": 1280, "height": 720}) as context:
        page = context.new_page()
        page.route("**/*", allow)
        page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
        page.goto(f"{server.url}/index.html", wait_until="load")
        problems += page.evaluate(LOOK)
    server.shutdown()
    server.server_close()
    return problems


def test_slides_fit_and_formulas_are_set(browser, deck):
    problems = look(browser, deck)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("</h1>", "</h1>" + "<p>long</p>" * 20, "overflows"),
        (r"f(L,R)=\frac1m", r"f_1_2=\frac1m", "a wrong formula"),
        (r"f(L,R)=\frac1m", r"\hspace{30em}f=\frac1m", "MJX-MATH overflows"),
        ("</h1>", '</h1><img src="https://example.org/a.png" alt="a">', "ask for"),
    ],
    ids=["overflow", "formula", "wide formula", "address"],
)
def test_what_is_wrong_is_seen(browser, deck, tmp_path, right, wrong, problem):
    shutil.copytree(deck, tmp_path / "deck")
    index = tmp_path / "deck" / "index.html"
    assert right in index.read_text()
    index.write_text(index.read_text().replace(right, wrong, 1))
    assert any(problem in text for text in look(browser, tmp_path / "deck"))
