"""Numbered statements as boxes, and links to anchors.

A notebook marks a statement with an anchor and a quotation that opens with its number:

    <a id="thm-relaxation"></a>

    > **Theorem 4.2 (Relaxation).** Text.

which reads well in every viewer. Here the quotation becomes a box with a class for its kind, an
identifier and a permalink. Every `<a id>` is registered with MyST, so that `[text](#thm-x)` and
`[text](04_convex_program.ipynb#thm-x)` resolve, and a link to an anchor that is not there stops
the build, as a broken link to a section does.
"""

import re

from chapters import ANCHOR, PREFIXES
from docutils import nodes
from sphinx.transforms import SphinxTransform

OPENING = re.compile(rf"({'|'.join(PREFIXES)}) \d+\.\d+( \(.+\))?\.$", re.DOTALL)


class Boxes(SphinxTransform):
    """Turn quotations that open with the number of a statement into boxes."""

    default_priority = 400

    def apply(self, **kwargs):
        for quote in list(self.document.findall(nodes.block_quote)):
            opening = _opening(quote)
            if opening is None:
                continue
            kind = opening.astext().split(" ", 1)[0]
            anchor = _take_anchor(quote) or identifier(opening.astext())
            box = nodes.container(classes=["fl-box", f"fl-{kind.lower()}"], ids=[anchor])
            title = nodes.paragraph(classes=["fl-box-title"])
            title += opening.children
            last = title.children[-1]
            title.replace(last, nodes.Text(last.astext().removesuffix(".")))
            title += _permalink(anchor, f"this {kind.lower()}")
            quote[0].remove(opening)
            if not quote[0].astext().strip():
                quote.pop(0)
            box += [title, *quote.children]
            quote.replace_self(box)


class Anchors(SphinxTransform):
    """Register every `<a id>` as a target of links, after the boxes have taken theirs."""

    default_priority = 410

    def apply(self, **kwargs):
        names = [
            found.group(1)
            for raw in self.document.findall(nodes.raw)
            if (found := re.match(r'<a id="([^"]+)">', raw.astext()))
        ]
        boxes = self.document.findall(nodes.container)
        names += [box["ids"][0] for box in boxes if "fl-box" in box["classes"]]
        slugs = {name: (None, name, name) for name in names}
        # MyST looks here for links within a page, and in the metadata for links between pages.
        self.document.myst_slugs = getattr(self.document, "myst_slugs", {}) | slugs
        metadata = self.env.metadata[self.env.docname]
        metadata["myst_slugs"] = metadata.get("myst_slugs", {}) | slugs


def _opening(quote):
    """The bold opening of a numbered statement, or None for any other quotation."""
    opening = next(iter(quote.findall(nodes.strong)), None)
    is_number = opening is not None and OPENING.match(opening.astext())
    begins = is_number and quote.astext().lstrip().startswith(opening.astext())
    return opening if begins and opening.parent is quote[0] else None


def _take_anchor(quote):
    """Remove the paragraph `<a id="..."></a>` above a quotation and return its identifier."""
    siblings = quote.parent.children
    position = siblings.index(quote)
    above = siblings[position - 1] if position else None
    found = isinstance(above, nodes.paragraph) and ANCHOR.fullmatch(above.astext().strip())
    if not found:
        return ""
    quote.parent.remove(above)
    return found.group("id")


def identifier(title):
    """The identifier of a statement without an anchor: "Remark 4.3." becomes "remark-4-3"."""
    kind, number = title.removesuffix(".").split(" ")[:2]
    return f"{kind.lower()}-{number.replace('.', '-')}"


def _permalink(anchor, what):
    link = f'<a class="headerlink" href="#{anchor}" title="Link to {what}">#</a>'
    return nodes.raw("", link, format="html")


def setup(app):
    app.add_transform(Boxes)
    app.add_transform(Anchors)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
