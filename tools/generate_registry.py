"""Writes ``.airflow-registry.yaml`` out of the provider info and the docstrings.

python tools/generate_registry.py            writes it
python tools/generate_registry.py --check    fails where it is not up to date
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from airflow_provider_wts import get_provider_info

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".airflow-registry.yaml"

_HEAD = """\
# For the Apache Airflow Provider Registry. Made by tools/generate_registry.py; do not edit.

package-name: {package}
display-name: {name}
description: >-
  Send chatbots, messages and CRM changes to customers over WhatsApp, Instagram and Messenger with WTS Chat, wait for
  what they do, and bring it back. Each message exactly once.
docs-url: https://pypi.org/project/{package}/
"""


def rendered() -> str:
    """Return the file as it should be."""
    info = get_provider_info()
    parts = [_HEAD.format(package=info["package-name"], name=info["name"])]
    for kind in ("operators", "sensors", "hooks", "triggers"):
        modules = [module for entry in info[kind] for module in entry["python-modules"]]
        parts.append(_listed(kind, [f"{module}.{name}" for module in modules for name in _public(module)]))
    for kind in ("notifications", "extra-links"):
        parts.append(_listed(kind, info.get(kind, [])))
    return "\n".join(part for part in parts if part)


def _public(module: str) -> list[str]:
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None) or [
        name
        for name, value in vars(loaded).items()
        if inspect.isclass(value) and value.__module__ == module and name.startswith("Wts")
    ]
    return sorted(names)


def _listed(kind: str, paths: list[str]) -> str:
    if not paths:
        return ""
    lines = [f"{kind}:"]
    for path in paths:
        module, _, name = path.rpartition(".")
        lines += [
            f"  - module: {path}",
            f"    description: {_quoted(_sentence(importlib.import_module(module), name))}",
        ]
    return "\n".join(lines) + "\n"


def _sentence(module: Any, name: str) -> str:
    doc = inspect.cleandoc(getattr(module, name).__doc__ or "")
    return " ".join(doc.split("\n\n")[0].split()).replace("``", "`")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main() -> int:
    """Write or check; return the exit code."""
    text = rendered()
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
        print(f"{TARGET.name} is not up to date: run python tools/generate_registry.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
