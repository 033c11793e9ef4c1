"""Writes into the Markdown pages what is kept elsewhere, so that they can be read in the repository without a build.

- The snippets of the example DAGs, between ``<!-- example_dags/x.py: name -->`` and ``<!-- end -->``. The DAG file has
  ``[START name]`` and ``[END name]``.
- ``docs/reference.md``, out of the docstrings.

python tools/generate_docs.py            writes them
python tools/generate_docs.py --check    fails where they are not up to date
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.wire import UNSET

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
PACKAGE = "airflow_provider_wts"

_SNIPPET = re.compile(r"(<!-- (example_dags/\w+\.py): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Title, introduction, and the modules as a DAG imports from them: all that is public there, or the classes named.
_SECTIONS: tuple[tuple[str, str, dict[str, tuple[str, ...]]], ...] = (
    ("Chatbots", "", {"operators.chatbot": ()}),
    ("Messages, templates, files", "", {"operators.message": ()}),
    ("Outcomes of campaigns", "", {"operators.campaign_outcome": ()}),
    ("Contacts", "", {"operators.contact": ()}),
    ("Sessions", "", {"operators.session": ()}),
    ("Sequences", "", {"operators.sequence": ()}),
    ("Panels and cards", "", {"operators.panel": ()}),
    ("Any operation", "", {"operators.call": ()}),
    ("Sensors", "", {"sensors.session": (), "sensors.message": ()}),
    ("Notifier", "", {"notifications.wts": ()}),
    (
        "What they share",
        "These bases hold the parameters and errors that many operators and sensors have in common.",
        {
            "operators.base": (),
            "operators.sending": (),
            "operators.query": (),
            "operators.campaign": ("WtsBatchOperator",),
            "operators.listing": (),
            "sensors.base": (),
        },
    ),
    (
        "Triggers",
        "The first one is for `AssetWatcher`, on Airflow 3. Operators and sensors create the others; a DAG needs none "
        "of them.",
        {"triggers.events": (), "triggers.session": (), "triggers.message": ()},
    ),
    ("Hook", "", {"hooks.wts": ()}),
    ("Errors", "", {"api.errors": ()}),
    (
        "Emulator",
        "",
        {"emulator.running": ("Emulator",), "emulator.faults": ("Fault",), "emulator.switches": ("Switches",)},
    ),
)
# The classes whose methods and properties a user calls: these, or all public ones.
_MEMBERS = {
    "WtsHook": ("run", "pages", "upload", "recipient", "channel", "names", "client", "test_connection"),
    "Emulator": (),
}


def with_snippets(page: str) -> str:
    """Return a page with its snippets as the example DAGs have them.

    :param page: text of the page.
    """

    def renewed(found: re.Match[str]) -> str:
        head, file, name, end = found.groups()
        marked = rf"^ *# \[START {name}\]\n(.*?)^ *# \[END {name}\]"
        code = re.search(marked, (ROOT / file).read_text("utf-8"), re.DOTALL | re.MULTILINE)
        if code is None:
            raise SystemExit(f"{file} has no [START {name}] and [END {name}]")
        return f"{head}```python\n{dedent(code[1]).strip()}\n```\n{end}"

    return _SNIPPET.sub(renewed, page)


def reference() -> str:
    """Return ``docs/reference.md`` as it should be."""
    sections = [
        (title, introduction, {module: _classes(module, names) for module, names in modules.items()})
        for title, introduction, modules in _SECTIONS
    ]
    known = {cls.__name__ for _, _, modules in sections for classes in modules.values() for cls in classes}
    parts = [
        "<!-- Made by tools/generate_docs.py out of the docstrings; do not edit. -->",
        '# Reference\n\nEverything that a DAG author writes. "(templated)" marks what Airflow renders.',
    ]
    for title, introduction, modules in sections:
        parts += [f"## {title}", introduction]
        for module, classes in modules.items():
            parts.append(f"From `{PACKAGE}.{module}`:")
            parts += [part for cls in classes for part in _of_class(cls, known)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return re.sub(r":(?:class|meth|func|mod|data):`~?(?:[\w.]+\.)?(\w+)`", lambda role: _link(role[1], known), text)


def _link(name: str, known: Collection[str]) -> str:
    return f"[{name}](#{name.lower()})" if name in known else f"`{name}`"


def _classes(module: str, names: Sequence[str]) -> list[type]:
    loaded = importlib.import_module(f"{PACKAGE}.{module}")
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", "") == loaded.__name__]
    offered = names or getattr(loaded, "__all__", own)
    ordered = [name for name in own if name in offered] + [name for name in offered if name not in own]
    return [getattr(loaded, name) for name in ordered if name in names or name.startswith("Wts")]


def _of_class(cls: type, known: Collection[str]) -> Iterator[str]:
    lineage = [one for one in cls.__mro__ if one.__module__.startswith(PACKAGE)]
    bases = [one.__name__ for one in lineage[1:] if one.__name__ in known]
    yield f"### {cls.__name__}"
    # The parameters of a base without an entry of its own stand with each class.
    yield from _markdown(cls, *(one for one in lineage[1:] if one.__name__ not in known))
    if bases:
        yield f"Further parameters: {', '.join(_link(name, known) for name in bases)}."
    for name in _MEMBERS.get(cls.__name__, ()) or (cls.__name__ in _MEMBERS and vars(cls)) or ():
        if not name.startswith("_"):
            yield f"#### {cls.__name__}.{name}"
            yield from _markdown(vars(cls)[name])


def _markdown(described: object, *bases: type) -> Iterator[str]:
    """Yield the docstring of a class, function or property: its text, then parameters, result and errors."""
    fields: dict[str, dict[str, str]] = {"param": {}, "return": {}, "raises": {}}
    defaults: dict[str, str] = {}
    for one in (described, *bases):
        text, *found = re.split(r"^:(param|return|raises)\b", inspect.cleandoc(one.__doc__ or ""), flags=re.MULTILINE)
        if one is described:
            yield text.replace("``", "`").strip()
        defaults = _defaults(vars(one).get("__init__") if isinstance(one, type) else one) | defaults
        for kind, field in zip(found[::2], found[1::2], strict=True):
            name, _, words = (part.strip() for part in field.partition(":"))
            if one is described or kind == "param":
                fields[kind].setdefault(name, words)
    for title, entries in zip(("Parameters", "Returns", "Raises"), fields.values(), strict=True):
        lines = []
        for name, words in entries.items():
            label = f"`{name}`{defaults.get(name, '')}: " if name not in ("", "kwargs") else ""
            lines.append("- " + label + re.sub(r"\n +", "\n  ", words.replace("``", "`")))
        if lines:
            yield f"{title}:\n\n" + "\n".join(lines)


def _defaults(function: Any) -> dict[str, str]:
    """Return what follows the name of each parameter."""
    shown = {}
    for parameter in inspect.signature(inspect.unwrap(function)).parameters.values() if callable(function) else ():
        default = parameter.default
        if default is parameter.empty:
            shown[parameter.name] = " (required)"
        elif default is not None and default is not UNSET:
            shown[parameter.name] = f" (default `{default!r}`)"
    return shown


def main() -> int:
    """Write the pages, or with ``--check`` say which of them are stale."""
    pages = {
        page: reference() if page == REFERENCE else with_snippets(page.read_text("utf-8"))
        for page in sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
    }
    stale = [page for page, text in pages.items() if page.read_text("utf-8") != text]
    check = "--check" in sys.argv
    for page in stale:
        print(f"{'stale' if check else 'wrote'}: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(pages[page], "utf-8")
    if stale and check:
        print("Run: python tools/generate_docs.py")
    return int(bool(stale and check))


if __name__ == "__main__":
    raise SystemExit(main())
