"""Keep the site free of addresses of other servers: nothing is fetched when a page is read.

Jupyter Book loads the script of Thebe, a live-code service that this book does not use, whose
address lies on a content delivery network. It is taken out of every page.
"""


def _without_thebe(app, pagename, templatename, context, doctree):
    for files in ("script_files", "css_files"):
        context[files] = [file for file in context[files] if "thebe" not in _describe(file)]


def _describe(file):
    return f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', '')}".lower()


def _without_thebe_configuration(app, doctree, docname):
    for raw in list(doctree.findall(lambda node: node.tagname == "raw")):
        if "thebe" in raw.astext() or "kernelName" in raw.astext():
            raw.parent.remove(raw)


def setup(app):
    app.connect("html-page-context", _without_thebe, priority=900)
    app.connect("doctree-resolved", _without_thebe_configuration, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
