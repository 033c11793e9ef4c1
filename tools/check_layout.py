"""Check that the rooms of the package import only downwards, and that no files import each other in a circle.

Imports inside functions count. Imports for types only count between rooms, and not for circles.

Run: ``python tools/check_layout.py [PACKAGE]``.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_wts"

_HOOKS = {"hooks", "api"}
_MIDDLE = {"sending", "waiting", "notifications", *_HOOKS}

#: What the files of a room may import, besides each other.
MAY_IMPORT: dict[str, set[str]] = {
    "api": set(),
    "links": set(),
    "hooks": {"api"},
    "sending": _HOOKS,
    "waiting": _HOOKS,
    "notifications": _HOOKS,
    "campaigns": _MIDDLE,
    "triggers": _MIDDLE,
    "operators": {"campaigns", "triggers", "links", *_MIDDLE},
    "sensors": {"campaigns", "triggers", "links", *_MIDDLE},
    "cli": {"sending", *_HOOKS},
    "__main__": {"cli"},
    # The local service shares the contract with the client, and nothing that the client decides.
    "emulator": {"api.contract"},
}


def imports(path: Path, modules: set[str], *, types: bool) -> set[str]:
    """Return the modules of the package that a file imports, with or without those for types only."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if not types and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found.update(submodules or {node.module})
        pending += ast.iter_child_nodes(node)
    return found & modules


def problems(package: Path) -> list[str]:
    """Return what is wrong with the imports of a package, one sentence each."""
    modules = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in package.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {name: imports(path, set(modules), types=False) - {name} for name, path in modules.items()}
    found = []
    for name, path in sorted(modules.items()):
        room = name.split(".")[1] if name.count(".") else ""
        allowed = MAY_IMPORT.get(room, set())
        open_to_it = tuple(f"{package.name}.{place}." for place in (room, "provider_info", "moved", *allowed))
        found += [
            f"{name} imports {other}: {room} may import {', '.join(sorted(allowed)) or 'no other room'}."
            for other in sorted(imports(path, set(modules), types=True))
            if room and other.count(".") and not f"{other}.".startswith(open_to_it)
        ]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"Files import each other in a circle: {' -> '.join(error.args[1])}.")
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
    print("\n".join(wrong) or "Rooms import only downwards, and no files import each other.")
    sys.exit(bool(wrong))
