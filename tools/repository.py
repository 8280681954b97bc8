"""Move the course to another address: badges, links, set-up cells, citation, configuration.

Usage: python tools/repository.py https://github.com/OWNER/NAME [TAG]

The address that holds now stands in _config.yml. Every tracked text file that mentions it, or the
address where GitHub Pages serves the book, is changed. With a tag, set-up cells and pages install
that release (pyproject.toml must carry its version).
"""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import publication

GITHUB = re.compile(r"https://github\.com/(?P<slug>[\w.-]+/[\w.-]+?)(?:\.git)?/?$")


def main(arguments):
    if not arguments or not GITHUB.match(arguments[0]) or len(arguments) > 2:
        sys.exit("Usage: make repository URL=https://github.com/OWNER/NAME [TAG=v1.0.0]")
    changed = move(ROOT, *arguments)
    print(f"Changed {len(changed)} files:", *changed, sep="\n  ")


def current(root):
    """OWNER/NAME of the repository, from the address in _config.yml."""
    url = yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"]
    return GITHUB.match(url)["slug"]


def move(root, url, tag=None):
    """Replace the address, and the tag if one is given, in all tracked files; their names."""
    old_slug = current(root)
    slug = GITHUB.match(url)["slug"]
    changed = []
    for name in tracked(root):
        path = root / name
        try:
            text = path.read_text(encoding="utf8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        new = re.sub(rf"(?<![\w-]){re.escape(old_slug)}(?![\w-])", slug, text)
        new = new.replace(book_address(old_slug), book_address(slug))
        old_folder, folder = (s.split("/")[1] for s in (old_slug, slug))
        new = re.sub(rf"^cd {re.escape(old_folder)}$", f"cd {folder}", new, flags=re.MULTILINE)
        if tag:
            new = re.sub(
                rf"(git\+https://github\.com/{re.escape(slug)})@v[\d.]+\d", rf"\1@{tag}", new
            )
            # In a notebook the quotation marks of the set-up cell are escaped.
            quote = r'\\?"'
            address = rf"(REPOSITORY, TAG = {quote}[^\"\\]+{quote}, {quote})[^\"\\]+"
            new = re.sub(address, rf"\g<1>{tag}", new)
        if new != text:
            path.write_text(new, encoding="utf8")
            changed.append(name)
    return changed


def book_address(slug):
    """Where GitHub serves the book of a repository, without a stroke at the end."""
    return publication.pages_address(f"https://github.com/{slug}").rstrip("/")


def tracked(root):
    command = ["git", "-C", str(root), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name]


if __name__ == "__main__":
    main(sys.argv[1:])
