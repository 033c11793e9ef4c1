"""Builds the documentation: ``make docs``. It needs no network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_wts import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "airflow-provider-wts"
author = "The airflow-provider-wts authors"
project_copyright = author
version = release = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
# wts-api is about the API and not about this package.
exclude_patterns = ["_build", "wts-api"]

myst_heading_anchors = 3

html_theme = "furo"
html_title = f"airflow-provider-wts {version}"


def with_contents(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make the lists of pages in ``index.md``, which is plain Markdown, the contents that Sphinx shows at the side."""
    if page == "index":
        for title, section in re.findall(r"^## (.+)\n((?:.|\n)*?)(?=^## |\Z)", source[0], re.MULTILINE):
            pages = "\n".join(dict.fromkeys(re.findall(r"\]\(([\w/-]+)\.md\)", section)))
            if pages:
                source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Add what this page adds to Sphinx.

    :param app: Sphinx.
    """
    app.connect("source-read", with_contents)
