"""The documentation can be read in the repository, without a build."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "generate_docs.py"))
PAGES = [page for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")) if "_build" not in page.parts]
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_a_page_is_plain_markdown(page):
    assert not re.findall(r"^(?:```|:::)\{.*", page.read_text("utf-8"), re.MULTILINE)


@pages
def test_a_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_a_snippet_is_the_code_of_the_example():
    marked = "<!-- example_dags/example_wts_call.py: {} -->\nold\n<!-- end -->"
    name = re.search(r"\[START (\w+)\]\n( *)(.*)", (ROOT / "example_dags" / "example_wts_call.py").read_text("utf-8"))
    assert f"```python\n{name[3]}\n" in TOOL["with_snippets"](marked.format(name[1]))
    with pytest.raises(SystemExit, match=r"example_wts_call.py has no \[START gone\]"):
        TOOL["with_snippets"](marked.format("gone"))
