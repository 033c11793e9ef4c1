"""Builds the documentation: ``make docs``. It needs no network; Airflow has to be importable."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from airflow_provider_wts import __version__

# Importing Airflow writes to its home; the documentation has none.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="wts-docs-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

project = "airflow-provider-wts"
author = "The airflow-provider-wts authors"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
# benchmarks.md is a part of scale.md; wts-api is about the API and not about this package.
exclude_patterns = ["_build", "wts-api", "benchmarks.md"]

myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"airflow-provider-wts {version}"

# A reference to something that the reference does not hold is a mistake; exceptions go by their bare names.
nitpicky = True
nitpick_ignore_regex = [
    ("py:exc", ".*"),
    ("py:mod", r"airflow_provider_wts\.(api.*|emulator.*)"),
    ("py:meth", "list_call"),
]
