"""Explorables: figures that a reader moves in the page, without a kernel or a server.

    ```{explorable} phase
    :alt: What the picture shows.

    The caption.
    ```

shows the explorable whose script is book/_static/explore/phase.js. The picture in the page is the
one that the script draws first, stored in book/stills by `make stills`; where scripts are off, and
on paper, it stays. Scripts and style sheet are loaded by the pages that have an explorable.
"""

import html
import json

import numpy as np
from chapters import ROOT
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

SCRIPTS = ROOT / "book" / "_static" / "explore"
STILLS = ROOT / "book" / "stills"


def phase():
    """The instances of Figure 14.3: outcomes as digits, by problem, program, size."""
    from flatlib import paper

    problems = []
    for problem in paper.PROBLEMS:
        with np.load(paper.DATA / f"figure3_{problem.__name__}.npz") as stored:
            sizes, counts = stored["sizes"].tolist(), stored["measurements"].tolist()
            trials = int(stored["trials"])
            results = np.moveaxis(
                stored["results"].astype(int), 2, 0
            )  # program, size, count, trial
        problems.append(
            {
                "name": problem.__name__.replace("_", " ").capitalize(),
                "sizes": sizes,
                "measurements": counts,
                "predicted": [round(float(paper.predicted(problem, d))) for d in sizes],
                "results": [["".join(map(str, s.ravel())) for s in w] for w in results],
            }
        )
    return {"trials": trials, "problems": problems}


DATA = {"phase": phase}


def sources(name):
    """The files that an explorable is made of."""
    data = (ROOT / "flatlib" / "data").glob("figure3_*.npz") if name in DATA else []
    return [STILLS / f"{name}.html", SCRIPTS / f"{name}.js", *data]


def figure(name, alt, panels):
    """The figure without its caption, as HTML. `panels` is the picture, as SVG."""
    data = ""
    if name in DATA:
        data = f'<script type="application/json">{json.dumps(DATA[name]())}</script>'
    label = html.escape(alt)
    return (
        f'<div class="fl-panels" role="img" aria-label="{label}">{panels}</div>{data}'
        "<noscript><p>This picture moves where scripts are on.</p></noscript>"
    )


class explorable(nodes.General, nodes.Element):
    """A figure with a script; its children are the caption."""


class Explorable(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required}  # noqa: RUF012

    def run(self):
        name = self.arguments[0]
        for path in sources(name):
            if not path.exists():
                raise self.error(f"the explorable {name!r} needs {path.relative_to(ROOT)}")
            self.env.note_dependency(str(path))
        if not self.options.get("alt"):
            raise self.error(f"the explorable {name!r} needs :alt:")
        still = (STILLS / f"{name}.html").read_text()
        node = explorable(name=name, markup=figure(name, self.options["alt"], still))
        node["ids"].append(f"explore-{name}")
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


def _open(translator, node):
    attributes = {"class": "fl-explorable", "data-name": node["name"]}
    translator.body.append(translator.starttag(node, "figure", **attributes))
    translator.body.append(node["markup"] + "<figcaption>")


def _close(translator, node):
    translator.body.append("</figcaption></figure>\n")


def _add_files(app, pagename, templatename, context, doctree):
    names = [node["name"] for node in doctree.findall(explorable)] if doctree else []
    if names:
        app.add_css_file("explore/explore.css")
        for name in ["explore", *names]:
            app.add_js_file(f"explore/{name}.js")


def setup(app):
    app.add_directive("explorable", Explorable)
    app.add_node(explorable, html=(_open, _close))
    app.connect("html-page-context", _add_files)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
