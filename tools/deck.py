"""Build the slides of a seminar from deck/deck.md into _build/deck, and print them to a PDF file.

Usage: python tools/deck.py [FOLDER]

The folder holds the whole presentation, reveal.js and MathJax included: open its index.html, with
or without a network. deck.pdf is written beside it where Chromium is installed.

This file is also the Sphinx extension that the build loads. It knows three directives:

- `chapter-figure` shows a figure of the chapters by its number, "5.2", out of the stored output of
  the notebook, with the text alternative that is stored there. An animation gives its still. The
  content of the directive stands beside a tall figure and below a wide one; `:beside:` and
  `:below:` decide otherwise, and `:from:` cuts off the given upper share of the picture.
- `part` names the part of the talk that begins with this slide.
- `notes` gives the minutes of a slide, and what the speaker says. It comes last.
"""

import base64
import functools
import hashlib
import html
import io
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "_ext"))
import browser
import chapters
from docutils import nodes
from docutils.parsers.rst import directives
from PIL import Image
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx_revealjs.nodes import revealjs_section

SOURCE = chapters.ROOT / "deck"
TARGET = chapters.ROOT / "_build" / "deck"
WIDTH, HEIGHT = 1280, 720
WIDE = 1.7  # width over height from which on the words stand below a figure

SETTINGS = {
    "project": "Flat minima and generalization",
    "extensions": ["myst_parser", "sphinx.ext.mathjax", "sphinx_revealjs", "mathematics", "deck"],
    "root_doc": "deck",
    "myst_enable_extensions": ["colon_fence", "dollarmath"],
    "suppress_warnings": ["myst.header"],
    "html_copy_source": False,
    "html_use_index": False,
    # Formulas are set while most slides are hidden, where no font can be measured.
    "mathjax3_config": {"chtml": {"matchFontHeight": False}},
    "revealjs_static_path": ["_static"],
    "revealjs_css_files": ["deck.css"],
    "revealjs_style_theme": "white",
    "revealjs_script_plugins": [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}],
    "revealjs_script_conf": {
        "width": WIDTH,
        "height": HEIGHT,
        "margin": 0,
        "center": False,
        "controls": False,
        "hash": True,
        "slideNumber": "c/t",
        "transition": "none",
        "scrollActivationWidth": None,
        "pdfMaxPagesPerSlide": 1,
    },
}


def main(target):
    build(target)
    print(f"The slides are ready: open {target / 'index.html'} (the key S shows the notes)")
    if browser.find():
        print_to_pdf(target)
        print(f"For printing: {target / 'deck.pdf'}")


def build(target):
    """Write the presentation into the folder `target`, afresh."""
    shutil.rmtree(target, ignore_errors=True)
    doctrees = target.with_name(f".{target.name}-doctrees")
    try:
        app = Sphinx(
            SOURCE,
            None,
            target,
            doctrees,
            "revealjs",
            confoverrides=SETTINGS,
            status=None,
            freshenv=True,
            warningiserror=True,
        )
        app.build(force_all=True)
    finally:
        shutil.rmtree(doctrees, ignore_errors=True)
    if app.statuscode:
        raise SystemExit("The slides could not be built.")
    (target / "deck.html").rename(target / "index.html")


def print_to_pdf(target):
    """Print the slides, one a page."""
    with browser.launch() as chromium:
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{(target / 'index.html').resolve().as_uri()}?print-pdf", wait_until="load")
        page.evaluate("MathJax.startup.promise")
        page.wait_for_selector(".pdf-page")
        page.pdf(
            path=target / "deck.pdf",
            width=f"{WIDTH}px",
            height=f"{HEIGHT}px",
            print_background=True,
        )


# Figures of the chapters ----------------------------------------------------------------------


@functools.cache
def stored_figures():
    """The outputs that show the figures of the notebooks, by number."""
    read = map(chapters.read, chapters.paths())
    return {number: output for chapter in read for number, output in chapter.pictures.items()}


def _picture(data):
    """The bytes of a stored figure, or of the still of a stored animation."""
    if "image/png" in data:
        return base64.b64decode(data["image/png"])
    still = re.search(r'<img src="data:image/\w+;base64,([A-Za-z0-9+/=]+)"', data["text/html"])
    return base64.b64decode(still[1])


class ChapterFigure(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {  # noqa: RUF012
        "beside": directives.flag,
        "below": directives.flag,
        "from": float,
    }

    def run(self):
        number = self.arguments[0]
        if number not in stored_figures():
            raise ExtensionError(f"no notebook holds a Figure {number}, which the slides show")
        output = stored_figures()[number]
        about = output["metadata"]["flatlib"]
        picture = Image.open(io.BytesIO(_picture(output["data"]))).convert("RGB")
        if upper := self.options.get("from"):
            picture = picture.crop((0, round(upper * picture.height), *picture.size))
        address = self._write(picture)
        beside = "beside" in self.options or (
            "below" not in self.options and picture.width < WIDE * picture.height
        )
        figure = (
            f'<img src="{address}" alt="{html.escape(about["alt"])}" '
            f'width="{picture.width}" height="{picture.height}">'
            f'<p class="source">Figure {number} of the course</p>'
        )
        words = nodes.container(classes=["words"])
        self.state.nested_parse(self.content, self.content_offset, words)
        self.env.temp_data.setdefault("captions", []).append(about["caption"])
        return [
            nodes.container(
                "",
                nodes.raw("", f'<div class="picture">{figure}</div>', format="html"),
                *([words] if self.content else []),
                classes=["figure-beside" if beside else "figure-below"],
            )
        ]

    def _write(self, picture):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        name = f"{hashlib.sha256(buffer.getvalue()).hexdigest()[:20]}.png"
        folder = Path(self.env.app.outdir) / "_images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(buffer.getvalue())
        return f"_images/{name}"


# Parts and notes ------------------------------------------------------------------------------


class Part(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        self.env.temp_data["part"] = self.arguments[0]
        return []


class talk_notes(nodes.General, nodes.Element):
    """The notes of a slide, with its part and its minutes."""


class Notes(SphinxDirective):
    required_arguments = 1
    has_content = True

    def run(self):
        minutes = float(self.arguments[0])
        part = self.env.temp_data.get("part", "")
        node = talk_notes(part=part, minutes=minutes)
        self.state.nested_parse(self.content, self.content_offset, node)
        for caption in self.env.temp_data.pop("captions", []):
            node += nodes.paragraph("", caption)
        footer = nodes.raw("", f'<p class="part">{html.escape(part)}</p>', format="html")
        # reveal.js paces the speaker by this attribute, in seconds.
        pace = revealjs_section(**{"data-timing": str(round(60 * minutes))})
        return [pace, footer, node]


def _clock(app, document):
    """Put the time at the head of the notes: of the slide, of its part, and since the start."""
    every = list(document.findall(talk_notes))
    elapsed = 0
    for notes in every:
        elapsed += notes["minutes"]
        total = sum(other["minutes"] for other in every if other["part"] == notes["part"])
        notes.insert(
            0,
            nodes.paragraph(
                "",
                f"{notes['part']}: {total:g} min in all. This slide: {notes['minutes']:g} min, "
                f"until minute {elapsed:g}.",
            ),
        )


def _open_notes(translator, node):
    translator.body.append('<aside class="notes mathjax_ignore">\n')


def _close_notes(translator, node):
    translator.body.append("</aside>\n")


def setup(app):
    app.add_directive("chapter-figure", ChapterFigure)
    app.add_directive("part", Part)
    app.add_directive("notes", Notes)
    app.add_node(talk_notes, revealjs=(_open_notes, _close_notes))
    app.connect("doctree-read", _clock)
    return {"version": "1"}


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
