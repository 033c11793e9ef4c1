"""The documentation can be read in the repository, without a build."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path

import pytest

from airflow_provider_wts.provider_info import PROVIDER_INFO

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "generate_docs.py"))
TRANSLATIONS = runpy.run_path(str(ROOT / "tools" / "translations.py"))
PUBLIC = re.compile("Wts.*(Operator|Sensor)")
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


def test_every_operator_and_sensor_is_in_the_reference():
    reference = (ROOT / "docs" / "reference.md").read_text("utf-8")
    modules = [
        name for kind in ("operators", "sensors") for one in PROVIDER_INFO[kind] for name in one["python-modules"]
    ]
    names = {name for module in modules for name in vars(importlib.import_module(module)) if PUBLIC.fullmatch(name)}
    # Of a few operators of one file, whose reference repeats its parameters.
    names.remove("WtsSessionOperator")
    assert [name for name in sorted(names) if f"\n### {name}\n" not in reference] == []


def structure(page):
    """Return what a page and its translation share: levels of headings, rows of tables, and code."""
    text = re.sub(r"<!-- English: .*", "", page.read_text("utf-8"))
    code = re.findall(r"^ *```\w*\n(?:.|\n)*?^ *```$", text, re.MULTILINE)
    rest = re.sub(r"^ *```\w*\n(?:.|\n)*?^ *```$", "", text, flags=re.MULTILINE)
    return re.findall(r"^(#+|\|)(?= )", rest, re.MULTILINE), code


@pytest.mark.parametrize("page", sorted(TRANSLATIONS["PAGES"].glob("*.md")), ids=lambda page: page.name)
def test_a_translated_page_has_the_headings_tables_and_code_of_its_english_one(page):
    assert structure(page) == structure(TRANSLATIONS["english"](page)[0])


def test_a_translation_lags_behind_once_its_english_page_changes(tmp_path):
    english, translated = tmp_path / "page.md", tmp_path / "pt" / "page.md"
    translated.parent.mkdir()
    english.write_text("Now.\n")
    translated.write_text(f"Agora.\n\n<!-- English: ../page.md {TRANSLATIONS['digest'](english)} -->\n")
    assert TRANSLATIONS["lagging"](translated.parent) == {}
    english.write_text("Then.\n")
    assert TRANSLATIONS["lagging"](translated.parent) == {translated: english}
