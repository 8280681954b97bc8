r"""Mathematics: equation numbers that work and can be linked, and MathJax served with the site.

Sphinx wraps display mathematics that contains `\\` in `split`, inside which MathJax refuses the
`\tag` of a numbered equation. Here display mathematics reaches MathJax as it is written. An
equation with `\tag{4.3}` gets the identifier `eq-4-3`, and "(4.3)" in the text of the page links to
it; likewise "Figure 4.1" links to its figure. MathJax itself is copied out of a Python package, so
the book needs no network.
"""

import importlib.util
import re
from pathlib import Path

from chapters import TAG
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.fileutil import copy_asset

REFERENCE = re.compile(r"(?P<eq>\(\d+\.\d+\))|(?P<fig>Figure \d+\.\d+)(?!\.?\d)")
MATHJAX = "mathjax/tex-chtml.js"


def identifier(prefix, number):
    """The identifier of a numbered equation or figure: ("eq", "4.3") becomes "eq-4-3"."""
    return f"{prefix}-{number.replace('.', '-')}"


class DisplayMath(SphinxPostTransform):
    """Emit display mathematics unwrapped, with an identifier where it is numbered."""

    default_priority = 20
    formats = ("html",)

    def run(self, **kwargs):
        for block in list(self.document.findall(nodes.math_block)):
            tex = block.astext()
            if found := TAG.search(tex):
                block["ids"].append(identifier("eq", found.group("number")))
            block.children = [nodes.Text(rf"\[{tex}\]")]
            block["nowrap"] = True


class Punctuation(SphinxPostTransform):
    """Keep a formula and the comma behind it, or the bracket before it, on one line."""

    default_priority = 40
    formats = ("html",)

    def run(self, **kwargs):
        for formula in list(self.document.findall(nodes.math)):
            parent = formula.parent
            position = parent.index(formula)
            before = (
                _split(parent, position - 1, r"(?P<far>.*?)(?P<near>[(\[“]*)") if position else ""
            )
            after = _split(parent, position + 1, r"(?P<near>[-–,.;:!?)\]”’]*)(?P<far>.*)")
            if before or after:
                words = [nodes.Text(before), formula.deepcopy(), nodes.Text(after)]
                formula.replace_self(nodes.inline("", "", *words, classes=["fl-nowrap"]))


def _split(parent, position, pattern):
    """Cut what matches `near` off a piece of text beside a formula, and return it."""
    if position >= len(parent) or not isinstance(parent[position], nodes.Text):
        return ""
    found = re.fullmatch(pattern, parent[position].astext(), re.DOTALL)
    parent[position] = nodes.Text(found["far"])
    return found["near"]


class NumberLinks(SphinxPostTransform):
    """Link "(4.3)" and "Figure 4.1" in the text to the equation or figure of the same page."""

    default_priority = 30
    formats = ("html",)

    def run(self, **kwargs):
        identifiers = {
            name
            for node in self.document.findall(nodes.Element)
            if isinstance(node, nodes.math_block | nodes.figure)
            for name in node["ids"]
        }
        for text in list(self.document.findall(nodes.Text)):
            if _is_prose(text):
                pieces = list(_linked(text.astext(), identifiers))
                if len(pieces) > 1:
                    text.parent.replace(text, pieces)


def _is_prose(text):
    """Whether a piece of text lies in a paragraph, outside links, code and mathematics."""
    ancestor = text.parent
    while ancestor is not None and not isinstance(ancestor, nodes.paragraph):
        if isinstance(ancestor, nodes.reference | nodes.literal | nodes.math | nodes.caption):
            return False
        if isinstance(ancestor, nodes.raw | nodes.literal_block | nodes.title | nodes.math_block):
            return False
        ancestor = ancestor.parent
    return ancestor is not None


def _linked(text, identifiers):
    position = 0
    for found in REFERENCE.finditer(text):
        prefix, number = found.lastgroup, re.search(r"\d+\.\d+", found.group()).group()
        target = identifier(prefix, number)
        if target in identifiers:
            yield nodes.Text(text[position : found.start()])
            yield nodes.reference("", found.group(), refid=target, internal=True)
            position = found.end()
    yield nodes.Text(text[position:])


def _copy_mathjax(app, error):
    if error is None and app.builder.format == "html":
        package = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]
        target = Path(app.outdir) / "_static" / "mathjax"
        copy_asset(str(Path(package) / "static" / "mathjax"), str(target), excluded=_is_unused)


def _is_unused(path):
    """Parts of MathJax that no page asks for: other inputs and outputs, speech but in English."""
    other_language = re.search(r"mathmaps/(?!base|en|nemeth)", path)
    other_format = re.search(r"(^|/)(svg|mml|adaptors)\b|asciimath|-full|-svg|mml-|node-", path)
    return bool(other_language or other_format)


def setup(app):
    app.config.mathjax_path = MATHJAX
    app.add_post_transform(DisplayMath)
    app.add_post_transform(NumberLinks)
    app.add_post_transform(Punctuation)
    app.connect("build-finished", _copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
