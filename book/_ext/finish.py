"""The finished page: room for its pictures, roles that hold, and icons drawn once.

Every picture states its size, so that nothing jumps when it is loaded late. What docutils and the
theme write beyond need is taken back: a role that promises another form than the bibliography has,
and the script that draws the icons of the theme a second time. Its fonts draw them too, and the
script is a third of the weight of a page.
"""

import functools
import re
from pathlib import Path

import imagesize

IMAGE = re.compile(r'<img (?=[^>]*\bsrc="[^"]*_images/(?P<name>[^"]+)")')
# The entries of such a list stand between links that name them, where only items are allowed.
LIST_OF_CITATIONS = '<div role="list" class="citation-list">'
ICONS = "scripts/fontawesome.js"


def _finish(app, pagename, templatename, context, doctree):
    body = context.get("body", "").replace(LIST_OF_CITATIONS, '<div class="citation-list">')
    context["body"] = IMAGE.sub(functools.partial(_with_size, app.builder), body)


def _with_size(builder, image):
    # Sphinx copies the pictures of the sources later; the frames of animations are there already.
    there = Path(builder.outdir, builder.imagedir, image["name"])
    source = next((s for s, name in builder.images.items() if name == image["name"]), there)
    width, height = imagesize.get(Path(builder.srcdir) / source)
    return f'<img width="{width}" height="{height}" '


def _without_second_icons(app, error):
    script = Path(app.outdir) / "_static" / ICONS
    if error is None and script.exists():
        script.write_text("// The fonts of the theme draw its icons.\n")


def setup(app):
    app.connect("html-page-context", _finish)
    app.connect("build-finished", _without_second_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
