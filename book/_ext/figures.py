"""The outputs of the code cells: figures with captions, animations, and the folded set-up cell.

`fl.show` stores an image and its text alternative, then the caption as an output of its own; here
the two become one figure with the identifier `fig-4-1`. `fl.animate` stores its frames inside the
notebook, so that it plays anywhere; in the book the frames move into files, which the player loads
when the reader comes near.
"""

import base64
import hashlib
import re
from pathlib import Path

from chapters import CAPTION
from docutils import nodes
from mathematics import identifier
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.osutil import relative_uri

# On a phone the words in a figure with more pixels than this would be too small to read.
WIDE = 800

FRAME = re.compile(r"data:image/(?P<kind>webp|png);base64,(?P<data>[A-Za-z0-9+/=]+)")


class Figures(SphinxTransform):
    """Join an image or animation with the caption below it."""

    default_priority = 420

    def apply(self, **kwargs):
        for bundle in list(self.document.findall(_is_bundle)):
            picture = _part(bundle, "image/png") or _part(bundle, "text/html")
            caption = _caption_below(bundle) if picture else None
            if caption is None:
                continue
            number = CAPTION.match(caption.astext()).group("number")
            if _part(bundle, "image/png"):
                picture[0]["alt"] = _part(bundle, "text/plain")[0].astext()
                picture[0]["loading"] = "lazy"
            figure = nodes.figure("", *picture, classes=["fl-figure"])
            if _part(bundle, "image/png") and self._width(picture[0]) > WIDE:
                figure["classes"].append("fl-wide-figure")
            figure["ids"].append(identifier("fig", number))
            figure += nodes.caption("", "", *caption.children)
            caption_bundle = bundle.parent[bundle.parent.index(bundle) + 1]
            bundle.parent.remove(caption_bundle)
            bundle.replace_self(figure)

    def _width(self, picture):
        """The width of a PNG image in pixels."""
        _, path = self.env.relfn2path(picture["uri"], self.env.docname)
        return int.from_bytes(Path(path).read_bytes()[16:20], "big")


class SetUp(SphinxTransform):
    """Fold the set-up cell, which is the same in every chapter."""

    default_priority = 430

    def apply(self, **kwargs):
        for cell in self.document.findall(nodes.container):
            if "tag_setup" in cell["classes"]:
                cell["hide_mode"] = "all"
                cell["prompt_show"] = cell["prompt_hide"] = "Set-up: install and import the library"


class Animations(SphinxPostTransform):
    """Write the frames of an animation into files and point the player there."""

    default_priority = 50
    formats = ("html",)

    def run(self, **kwargs):
        for raw in list(self.document.findall(nodes.raw)):
            if "fl-animation" in raw.astext():
                markup = FRAME.sub(self._write, raw.astext())
                markup = markup.replace("<img ", '<img loading="lazy" ', 1)
                raw.replace_self(nodes.raw("", markup, format="html"))

    def _write(self, frame):
        content = base64.b64decode(frame.group("data"))
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.{frame.group('kind')}"
        folder = Path(self.app.outdir) / self.app.builder.imagedir
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        page = self.app.builder.get_target_uri(self.env.docname)
        return relative_uri(page, f"{self.app.builder.imagedir}/{name}")


def _is_bundle(node):
    """Whether a node holds the forms (image, HTML, text) of one output of a code cell."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"


def _part(bundle, kind):
    return next((part.children for part in bundle if part.get("mime_type") == kind), [])


def _caption_below(bundle):
    """The node with the words of the caption below an output, or None."""
    following = bundle.parent.index(bundle) + 1
    if following == len(bundle.parent) or not _is_bundle(bundle.parent[following]):
        return None
    markdown = _part(bundle.parent[following], "text/markdown")
    if not markdown or not CAPTION.match(markdown[0].astext()):
        return None
    return next(iter(markdown[0].findall(nodes.emphasis)), markdown[0])


def setup(app):
    app.add_transform(Figures)
    app.add_transform(SetUp)
    app.add_post_transform(Animations)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
