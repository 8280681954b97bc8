"""The built book in a browser: how every page looks, and what a reader does. `make site-check`."""

import itertools

import browsing
import chapters
import pages
import pytest
from browsing import screen

SITE = chapters.ROOT / "_build" / "html"
FOLDERS = ("book", "notebooks")
PAGES = sorted(str(p.relative_to(SITE)) for f in FOLDERS for p in (SITE / f).glob("*.html"))
PAGES += ["genindex.html", "search.html"]
CHAPTERS = [chapters.read(path) for path in chapters.paths()]
LAST_BOX = {f"notebooks/{c.path.stem}.html": c.statements[-1].anchor for c in CHAPTERS}
SCREENS = {"desktop": 1280, "phone": 360}


@pytest.fixture(scope="module")
def server():
    assert (SITE / "index.html").exists(), "there is no book: run `make book`"
    server = pages.serve(SITE)
    yield server
    server.shutdown()
    server.server_close()


# Every page -----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", SCREENS.values(), ids=SCREENS)
@pytest.mark.parametrize("path", PAGES)
def test_page(browser, server, path, width):
    # A phone comes to a chapter by a link to its last statement, a wide screen from the top.
    place = f"{path}#{LAST_BOX[path]}" if path in LAST_BOX and width < 600 else path
    with screen(browser, width) as context:
        problems = browsing.visit(context, server, place)
    assert not problems, "\n".join([path, *problems])


def test_a_dark_page_is_dark(browser, server):
    colors = {}
    for scheme in ("light", "dark"):
        with screen(browser, color_scheme=scheme) as context:
            page = browsing.open_page(context, server, "book/index.html").page
            colors[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colors["light"] == "rgb(255, 255, 255)" and colors["dark"] != colors["light"]


# What a reader does ---------------------------------------------------------------------------


def chapter_with(what):
    """The address of a chapter that holds some piece of HTML."""
    return next(path for path in PAGES if path in LAST_BOX and what in (SITE / path).read_text())


ANIMATION = 'figure class="fl-animation"'


def test_search_finds_label_noise(browser, server):
    with screen(browser) as context:
        page = browsing.open_page(context, server, "book/index.html").page
        assert "12_algorithms.html" in browsing.first_found(page, "label noise")
        field, icon = ".bd-search-container input", ".bd-search-container .fa-magnifying-glass"
        assert not browsing.covered(page, field, icon)
        page.add_style_tag(content=f"{field} {{ padding-left: 0 !important }}")
        assert browsing.covered(page, field, icon)
        page.locator("#search-results li a").first.click()
        assert page.locator("h1").first.inner_text().startswith("12.")


def test_a_search_for_nothing_finds_nothing(browser, server):
    with screen(browser) as context:
        page = browsing.open_page(context, server, "book/index.html").page
        assert browsing.first_found(page, "xyzzy") is None


def test_copy_takes_the_code_of_the_cell(browser, server):
    with screen(browser, permissions=["clipboard-read", "clipboard-write"]) as context:
        path = f"notebooks/{CHAPTERS[0].path.stem}.html"
        page = browsing.open_page(context, server, path).page
        # The first cell, the set-up, is folded.
        for number, cell in enumerate(CHAPTERS[0].code[1:3]):
            place = page.locator("div.cell:not(.tag_setup) div.cell_input").nth(number)
            assert browsing.copied(page, place).strip() == cell.source.strip()


def test_boxes_solutions_and_the_way_past_the_side_bar_work_by_keyboard(browser, server):
    path = chapter_with("<summary>Solution")
    with screen(browser) as context:
        page = browsing.open_page(context, server, path).page
        assert browsing.tab_to(page, "#pst-skip-link a", most=1)
        page.keyboard.press("Enter")
        assert page.url.endswith("#main-content")
        assert browsing.tab_to(page, ".fl-box .headerlink")
        box = page.evaluate("document.activeElement.closest('.fl-box').id")
        page.keyboard.press("Enter")
        assert page.url.endswith(f"#{box}")
        assert not page.evaluate("look.landing()")
        page.goto(f"{server.url}/{path}#exercises")
        assert browsing.tab_to(page, "details > summary")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.parentElement.open")


def test_a_wide_formula_scrolls_by_keyboard(browser, server):
    with screen(browser, 360) as context:
        page = browsing.open_page(context, server, chapter_with(ANIMATION)).page
        wide = page.locator("div.math[tabindex]").first
        wide.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(500)
        assert wide.evaluate("element => element.scrollLeft") > 0
        assert page.evaluate("scrollX") == 0


def test_an_animation_obeys_the_keyboard(browser, server):
    with screen(browser) as context:
        page = browsing.open_page(context, server, chapter_with(ANIMATION)).page
        figure = page.locator("figure.fl-animation").first
        button, slider = figure.locator("button"), figure.locator("input[type=range]")
        button.focus()
        page.keyboard.press("Enter")
        assert browsing.moves(figure, 1500)
        page.keyboard.press("Enter")
        assert not browsing.moves(figure, 500)
        assert browsing.tab_to(page, "figure.fl-animation input", most=1)
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert slider.input_value() == "1"


def test_reduced_motion_is_one_picture_a_second(browser, server):
    path = chapter_with(ANIMATION)
    gaps = {}
    for motion in ("reduce", "no-preference"):
        with screen(browser, reduced_motion=motion) as context:
            page = browsing.open_page(context, server, path).page
            figure = page.locator("figure.fl-animation").first
            figure.locator("button").click()
            times = browsing.moves(figure, 3500)
            gaps[motion] = min(after - before for before, after in itertools.pairwise(times))
    assert gaps["reduce"] > 900 > gaps["no-preference"]


def test_an_animation_shows_a_still_where_scripts_are_off(browser, server):
    with screen(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{server.url}/{chapter_with(ANIMATION)}")
        figure = page.locator("figure.fl-animation").first
        figure.scroll_into_view_if_needed()
        assert figure.locator("img").is_visible()
        assert figure.locator("button").count() == 0


def test_an_explorable_obeys_the_keyboard(browser, server):
    with screen(browser, 360) as context:
        page = browsing.open_page(context, server, "book/explore.html").page
        for figure in page.locator("figure.fl-explorable").all():
            before = figure.locator(".fl-panels").inner_html()
            figure.locator("input[type=range]").first.focus()
            page.keyboard.press("ArrowLeft")
            assert figure.locator(".fl-panels").inner_html() != before


def test_an_explorable_shows_a_still_where_scripts_are_off(browser, server):
    with screen(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{server.url}/book/explore.html")
        figures = page.locator("figure.fl-explorable").all()
        assert len(figures) == 3
        for figure in figures:
            assert figure.locator("svg .frame").first.is_visible()
            assert figure.locator("input, button, select").count() == 0
            assert figure.locator("noscript p").is_visible()


# Pages that are wrong on purpose --------------------------------------------------------------

MATHJAX = '<script src="/_static/mathjax/tex-chtml.js"></script>'
LONG = "abcdefgh" * 40
PLAYER = """<figure class="fl-animation" data-label="x" data-fps="5">
<img src="/favicon.svg" alt="x"><script class="fl-frames">["/favicon.svg", "/dot.svg"]</script>
"""
IDLE_PLAYER = PLAYER + "<button>Play</button>"
CHANGE = "document.querySelector('img').setAttribute('src', `/favicon.svg#${performance.now()}`)"
MOVE = "@keyframes a { to { left: 9px } } p { animation: a 1s infinite; position: relative }"
WRONG_PAGES = {
    "wrong formula": (MATHJAX + r'<div class="math">\[ \nosuch \]</div>', "formulas are wrong"),
    "tag in split": (
        MATHJAX + r'<div class="math">\[\begin{split}a\\b\tag{1}\end{split}\]</div>',
        "formulas are wrong",
    ),
    "formula left as source": ('<div class="math">\\[ x \\]</div>', "is not set"),
    "console error": ("<script>console.error('no')</script>", "console error: no"),
    "script error": ("<script>nothing()</script>", "script error"),
    "too wide": ('<article><div style="width: 3000px">x</div></article>', "scrolls sideways"),
    "formula that is cut": (
        MATHJAX + rf'<div class="math" style="overflow: hidden">\[ {LONG} \]</div>',
        "a wide formula does not scroll",
    ),
    "out of reach": (
        '<article><div style="overflow: auto"><p style="width: 3000px">x</p></div></article>',
        "the keyboard does not reach",
    ),
    "no alt": ('<img src="/favicon.svg">', "no alt text"),
    "no image": ('<img src="/none.png" alt="x">', "does not load"),
    "pale": ('<article><p style="color: #bbb; background: #fff">x</p></article>', "contrast"),
    "pale drawing": ('<article><svg><text y="20" fill="#ddd">x</text></svg></article>', "contrast"),
    "black on dark": (
        '<article style="background: #111"><img alt="x" src="/dot.svg"></article>',
        "not legible",
    ),
    "network": ('<script src="https://cdn.example.org/a.js"></script>', "asks for https"),
    "heavy": ('<img src="/heavy.bin" alt="x">', "the page weighs 1.60 MB"),
    "early": (
        "<p style='height: 2000px'></p><script>new Image().src = '/dot.svg'</script>" + PLAYER,
        "1 frames are loaded",
    ),
    "never": (PLAYER, "1 frames are not loaded when they are reached"),
    "no button": (PLAYER, "has no button"),
    "still": (IDLE_PLAYER, "does not play"),
    "restless": (
        IDLE_PLAYER + f"<script>onclick = () => setInterval(() => {CHANGE}, 50)</script>",
        "not pause",
    ),
    "moves by itself": (f"<style>{MOVE}</style><p>x</p>", "something moves by itself"),
    "glides": ("<style>html { scroll-behavior: smooth }</style>", "glides"),
    "button on paper": ("<button>x</button>", "BUTTON  is printed"),
    "dark on paper": (
        '<article style="background: #111"><p style="color: #eee">x</p></article>',
        "contrast 1.2: x (print)",
    ),
    "wide on paper": (f"<article><pre>{LONG}</pre></article>", "wider than the paper"),
    "cut on paper": (
        f"<article><pre tabindex=0 style='overflow: auto'>{LONG}</pre></article>",
        "wider than the paper",
    ),
    "no name": ("<main><button></button></main>", "axe: button-name"),
}


@pytest.fixture
def small_site(tmp_path):
    """A site of one page, whose HTML is given; it is served until the test ends."""
    (tmp_path / "_static").symlink_to(SITE / "_static")
    (tmp_path / "favicon.svg").symlink_to(chapters.ROOT / "book" / "_static" / "favicon.svg")
    (tmp_path / "dot.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="3"/></svg>'
    )
    (tmp_path / "heavy.bin").write_bytes(bytes(1_600_000))
    server = pages.serve(tmp_path)

    def write(html):
        icon = "<link rel='icon' href='/favicon.svg'>"
        (tmp_path / "page.html").write_text(f"<!doctype html><title>x</title>{icon}{html}")
        return server

    yield write
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("what", WRONG_PAGES)
def test_a_wrong_page_is_noticed(browser, small_site, what):
    html, problem = WRONG_PAGES[what]
    with screen(browser) as context:
        problems = browsing.visit(context, small_site(html), "page.html")
    assert any(problem in found for found in problems), problems


def test_a_box_below_something_else_is_noticed(browser, small_site):
    cover = '<div style="position: fixed; inset: 0 0 50%; background: #fff"></div>'
    for page, found in ((cover, True), ("", False)):
        html = f"{page}<p style='height: 2000px'></p><p id='x'>x</p><p style='height: 2000px'></p>"
        with screen(browser) as context:
            problems = browsing.visit(context, small_site(html), "page.html#x")
        assert any("lands elsewhere" in problem for problem in problems) == found


def test_a_link_that_the_keyboard_does_not_show_is_noticed(browser, small_site):
    for style, seen in (("opacity: 0", False), ("outline: none", False), ("", True)):
        html = f'<a href="#x" class="wanted" style="{style}">x</a>'
        with screen(browser) as context:
            page = browsing.open_page(context, small_site(html), "page.html").page
            assert browsing.tab_to(page, ".wanted", most=1) == seen
