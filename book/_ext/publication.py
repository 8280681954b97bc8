"""What the published site needs, from the address in _config.yml and the version in pyproject.toml.

The book is served by GitHub Pages, at an address that follows from that of the repository (or at
`html: baseurl:` in _config.yml, a domain of one's own). From it come the canonical address of every
page, the sitemap, and the card and description that a link to the book shows elsewhere. The foot of
every page names the version and the day of the last commit.

A chapter that is open in Colab can reach a page of the book only by its published address. In the
book such a link stays inside the book, and one that leads nowhere stops the build.
"""

import datetime
import html
import os
import re
import subprocess
import textwrap
import time
import tomllib
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)

CARD = "_static/card.png"
CARD_ALT = "The title of the course, beside a curve of minima whose flattest point is a star."
DESCRIPTION_LENGTH = 200

FRONT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={page}">
<link rel="canonical" href="{address}{page}">
{tags}</head>
<body><a href="{page}">{title}</a></body>
</html>
"""


def pages_address(repository):
    """Where GitHub Pages serves the book of a repository, https://github.com/OWNER/NAME."""
    owner, name = repository.rstrip("/").removesuffix(".git").split("/")[-2:]
    if name == f"{owner}.github.io":
        return f"https://{name}/"
    return f"https://{owner}.github.io/{name}/"


def book_address(root):
    """Where the book is published: at `html: baseurl:` in _config.yml, or else on GitHub Pages."""
    config = yaml.safe_load((Path(root) / "_config.yml").read_text())
    own = config.get("html", {}).get("baseurl")
    return f"{own.rstrip('/')}/" if own else pages_address(config["repository"]["url"])


def version(root):
    return tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]["version"]


def day(root):
    """The day of the last commit; without git that of SOURCE_DATE_EPOCH, or else today."""
    command = ["git", "-C", root, "log", "-1", "--format=%cs"]
    try:
        commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        return datetime.date.fromisoformat(commit)
    except (OSError, subprocess.CalledProcessError):
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date()


def description(doctree):
    """The first paragraph of a page, shortened, with its formulas as plain text."""
    paragraphs = doctree.findall(nodes.paragraph)
    text = next((p.astext() for p in paragraphs if isinstance(p.parent, nodes.section)), "")
    text = re.sub(r"_(\d)", lambda found: chr(ord("₀") + int(found[1])), text)
    return textwrap.shorten(text, DESCRIPTION_LENGTH, placeholder=" …")


class PublishedLinks(SphinxPostTransform):
    """Lead a link to the published address of a page to that page in this book."""

    default_priority = 10

    def run(self, **kwargs):
        repository = self.config.html_theme_options["repository_url"]
        addresses = self.config.html_baseurl, pages_address(repository)
        for link in self.document.findall(nodes.reference):
            uri = link.get("refuri", "")
            if address := next((a for a in addresses if uri.startswith(a)), None):
                self._lead_inside(link, uri.removeprefix(address))

    def _lead_inside(self, link, target):
        path, _, place = target.partition("#")
        page = path.removesuffix(".html") or self.config.root_doc
        if page not in self.env.found_docs:
            logger.warning("the book has no page %r", path, location=link)
        elif place and place not in self._places(page):
            logger.warning("the page %r has no place %r", path, place, location=link)
        else:
            uri = self.app.builder.get_relative_uri(self.env.docname, page)
            link["refuri"] = f"{uri}#{place}" if place else uri
            link["internal"] = True

    def _places(self, page):
        """The identifiers that a link to a page may name."""
        doctree = self.env.get_doctree(page)
        markup = "".join(raw.astext() for raw in doctree.findall(nodes.raw))
        places = set(re.findall(r'\bid="([^"]+)"', markup))
        return places.union(*(node["ids"] for node in doctree.findall(nodes.Element)))


def _configure(app, config):
    """Settings of Sphinx and of two of its extensions that follow from the two sources."""
    config.html_baseurl = config.ogp_site_url = book_address(app.srcdir)
    config.ogp_site_name = config.html_title
    config.ogp_image = CARD
    config.ogp_image_alt = CARD_ALT
    config.ogp_custom_meta_tags = ['<meta name="twitter:card" content="summary_large_image" />']
    config.sitemap_url_scheme = "{link}"
    config.sitemap_excludes = ["search.html", "genindex.html", "py-modindex.html"]


def _describe(app, pagename, templatename, context, doctree):
    """Give a page its description and its foot."""
    if doctree:
        text = html.escape(description(doctree))
        context["meta"] = (context["meta"] or {}) | {"og:description": text}
        context["metatags"] += f'<meta name="description" content="{text}" />\n'
    changes, last = context["pathto"]("book/changes"), day(app.srcdir)
    context["theme_extra_footer"] = (
        f'<a href="{changes}">Version {version(app.srcdir)}</a> · {last.day} {last:%B %Y}'
    )


def _write_front(app, pagename, templatename, context, doctree):
    """Let the address of the site, too, show the card, before it leads to the first page."""
    if pagename == app.config.root_doc:
        front = FRONT.format(
            title=html.escape(app.config.html_title),
            page=app.builder.get_target_uri(pagename),
            address=app.config.html_baseurl,
            tags=context["metatags"],
        )
        (Path(app.outdir) / "index.html").write_text(front, encoding="utf8")


def _every_page(app, env):
    """Write every page in every build: the sitemap lists what is written, and feet must agree."""
    return env.found_docs


def ask_registry(app, uri):
    """Ask the registry of DOIs whether one exists: behind it, publishers turn robots away."""
    return re.sub(r"^https://doi\.org/(?=10\.)", "https://doi.org/api/handles/", uri)


def setup(app):
    app.setup_extension("sphinx_sitemap")
    app.setup_extension("sphinxext.opengraph")
    app.add_post_transform(PublishedLinks)
    app.connect("config-inited", _configure)
    app.connect("env-updated", _every_page)
    app.connect("html-page-context", _describe, priority=400)  # before the tags are written
    app.connect("html-page-context", _write_front, priority=600)
    app.connect("linkcheck-process-uri", ask_registry)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
