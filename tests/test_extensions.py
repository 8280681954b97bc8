"""The extensions of the book, on a small book: what they make, and what stops the build."""

import shutil
import subprocess
import sys

import chapters
import pages
import pytest
import reference
import synthetic


@pytest.fixture
def small_book(tmp_path):
    """A book of two small chapters; building it returns the exit code and what was said."""
    needed = ["_config.yml", "pyproject.toml", "book/_ext", "book/_static/course.css"]
    for name in [*needed, "book/changes.md"]:
        source, target = chapters.ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    shutil.copy(chapters.ROOT / "book" / "_static" / "favicon.svg", tmp_path / "book" / "_static")
    (tmp_path / "book" / "references.bib").write_text("")
    (tmp_path / "book" / "index.md").write_text("# A small book\n\n```{chapter-cards}\n```\n")
    (tmp_path / "book" / "claims.md").write_text("# Claims\n\n```{claims-ledger}\n```\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/claims\n- file: book/changes\n"
        "- file: notebooks/01_small\n- file: notebooks/02_other\n"
    )
    (tmp_path / "notebooks").mkdir()
    first = synthetic.chapter(tmp_path / "notebooks", 1, "small")
    second = synthetic.chapter(tmp_path / "notebooks", 2, "other")

    def build(*options):
        synthetic.write(first)
        synthetic.write(second)
        run = "from jupyter_book.cli.main import main; main()"
        command = [sys.executable, "-c", run, "build", "-W", "-q", *options, str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True)
        return result.returncode, result.stdout + result.stderr

    return first, tmp_path / "_build" / "html", build


def test_a_small_book_builds(small_book):
    _, folder, build = small_book
    code, said = build()
    assert code == 0, said
    built = pages.read_site(folder)
    page = built.pages["notebooks/01_small.html"]
    assert [box["id"] for box in page.select(".fl-box")] == ["def-map", "thm-main", "ex-first"]
    assert page.find(id="eq-1-2") and page.find("a", href="#eq-1-2")
    assert page.select_one("figure#fig-1-1 img")["alt"] == "A point."
    assert r"\begin{split}" not in str(page)
    ledger = built.pages["book/claims.html"].get_text()
    assert "a norm |X|_*" in ledger and "1e-12" in ledger and "proved" in ledger
    assert not [p for path in built.pages for p in pages.broken_links(built, path)]


@pytest.mark.parametrize("target", ["#thm-none", "02_other.ipynb#thm-none", "09_none.ipynb"])
def test_a_broken_link_stops_the_build(small_book, target):
    first, _, build = small_book
    first.notebook.cells[2].source += f"\n\n[Broken]({target})\n"
    code, said = build()
    assert code != 0 and target.split("#")[-1].split(".")[0] in said


def test_a_link_to_a_statement_of_another_chapter_resolves(small_book):
    first, folder, build = small_book
    first.notebook.cells[2].source += "\n\n[The other theorem](02_other.ipynb#thm-main)\n"
    code, said = build()
    assert code == 0, said
    page = pages.read_site(folder).pages["notebooks/01_small.html"]
    assert page.find("a", href="02_other.html#thm-main")


PUBLISHED = "https://flat-minima.github.io/flat-minima-course"


def test_a_link_to_the_published_book_stays_inside_the_book(small_book):
    first, folder, build = small_book
    first.notebook.cells[2].source += (
        f"\n\n[A theorem]({PUBLISHED}/notebooks/02_other.html#thm-main),"
        f" [a page]({PUBLISHED}/book/claims.html#claims-chapter-1), [the front]({PUBLISHED}/),"
        f" [elsewhere]({PUBLISHED}-2/book/none.html)\n"
    )
    code, said = build()
    assert code == 0, said
    built = pages.read_site(folder)
    page = built.pages["notebooks/01_small.html"]
    for target in ("02_other.html#thm-main", "../book/claims.html#claims-chapter-1"):
        assert "external" not in page.find("a", href=target)["class"]
    assert page.find("a", href="../book/index.html", string="the front")
    assert page.find("a", href=f"{PUBLISHED}-2/book/none.html")
    assert not list(pages.broken_links(built, "notebooks/01_small.html"))


@pytest.mark.parametrize("target", ["book/none.html", "book/claims.html#none"])
def test_a_broken_link_to_the_published_book_stops_the_build(small_book, target):
    first, _, build = small_book
    first.notebook.cells[2].source += f"\n\n[Broken]({PUBLISHED}/{target})\n"
    code, said = build()
    assert code != 0 and "none" in said


def test_the_link_check_finds_what_does_not_answer(small_book):
    first, folder, build = small_book
    config = folder.parents[1] / "_config.yml"
    only_here = 'linkcheck_ignore: ["https:"]'
    config.write_text(config.read_text().replace("linkcheck_retries: 3", only_here))
    server = pages.serve(chapters.ROOT)
    try:
        text = first.notebook.cells[2].source
        first.notebook.cells[2].source = f"{text}\n\n[There]({server.url}/README.md)\n"
        code, said = build("--builder", "linkcheck")
        assert code == 0, said
        first.notebook.cells[2].source = f"{text}\n\n[Not there]({server.url}/none.md)\n"
        code, said = build("--builder", "linkcheck")
        assert code != 0 and "none.md" in said
    finally:
        server.shutdown()
        server.server_close()


DOCSTRING = """\
The norm |X|_F of `X`, with A* and D_1.

It is defined by

    |X|_F^2 = sum_ij X_ij^2

everywhere.

Parameters
----------
X, Y : arrays
    of the same shape

Raises
------
ValueError if X* is wrong."""

AS_MARKUP = """\
The norm \\|X\\|_F of ``X``, with A\\* and D_1.

It is defined by

::

    |X|_F^2 = sum_ij X_ij^2

everywhere.

**Parameters**

- ``X``, ``Y``: arrays
  of the same shape

**Raises**

ValueError if X\\* is wrong."""


def test_a_docstring_is_read_as_plain_text():
    assert "\n".join(reference.convert(DOCSTRING.split("\n"))) == AS_MARKUP


@pytest.mark.parametrize(
    ("directive", "missing"),
    [("{explorable} none\n:alt: A picture.", "none.js"), ("{explorable} depth", ":alt:")],
)
def test_an_explorable_without_its_parts_stops_the_build(small_book, directive, missing):
    _, folder, build = small_book
    book = folder.parents[1] / "book"
    for part in ("stills", "_static/explore"):
        shutil.copytree(chapters.ROOT / "book" / part, book / part)
    (book / "stills" / "none.html").touch()
    page = f"# A small book\n\n```{directive}\n\nA caption.\n```\n"
    (book / "index.md").write_text(page)
    code, said = build()
    assert code != 0 and missing in said
    page = page.replace("none", "depth").replace("depth\n\n", "depth\n:alt: A picture.\n\n")
    (book / "index.md").write_text(page)
    code, said = build()
    assert code == 0, said
    figure = pages.read_site(folder).pages["book/index.html"].select_one("figure.fl-explorable")
    assert figure.select_one("svg") and "A caption." in figure.select_one("figcaption").get_text()
