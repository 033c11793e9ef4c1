"""Make ``airflow_provider_wts/api/types.py``, TypedDicts of the API's answers, from the contract.

Every property may be missing or null in a real answer, whatever the contract says, so every key is optional, and
every object and array may be ``None``. Only what the package imports is in it, and what that refers to.

Run: ``python tools/generate_types.py``. ``--check`` needs no generator: the module says what it was made from.
"""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_wts.api import contract

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_wts"
TARGET = PACKAGE / "api" / "types.py"

HEADER = '''"""TypedDicts of the API's answers, generated from the contract by ``tools/generate_types.py``; do not edit.

Every key may be missing, and real answers may carry more keys than these.
"""

# Digest of what it was made from and of all that follows: {digest}
'''


def name_of(schema_name: str) -> str:
    """Return the Python name of a schema: the vendor's without ``Public`` and ``DTO``."""
    return schema_name.removeprefix("Public").replace("DTO", "").replace("PublicPageList", "Page") or schema_name


def references(node: Any) -> list[str]:
    """Return the names of the schemas that a node refers to."""
    if isinstance(node, dict):
        own = [node["$ref"].rpartition("/")[2]] if "$ref" in node else []
        return own + [name for value in node.values() for name in references(value)]
    if isinstance(node, list):
        return [name for item in node for name in references(item)]
    return []


def lenient(node: Any) -> Any:
    """Return a schema in which nothing is required and references lead to our names."""
    if isinstance(node, list):
        return [lenient(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {"anyOf": [{"$ref": f"#/$defs/{name_of(node['$ref'].rpartition('/')[2])}"}, {"type": "null"}]}
    dropped = {"required", "additionalProperties", "default", "format", "pattern"}
    kept = {key: lenient(value) for key, value in node.items() if key not in dropped}
    extra = node.get("additionalProperties")
    if extra not in (None, False):
        kept["additionalProperties"] = lenient(extra)
    if isinstance(kept.get("enum"), list):
        # Unknown values occur: an enum says what is documented, and a plain string is what may come.
        del kept["enum"]
        kept.setdefault("type", "string")
    if isinstance(kept.get("items"), dict) and "anyOf" in kept["items"]:
        kept["items"] = kept["items"]["anyOf"][0]
    return kept


def imported() -> set[str]:
    """Return the names that the package imports from the module."""
    return {
        alias.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "airflow_provider_wts.api.types"
        for alias in node.names
    }


def answer_schemas() -> dict[str, Any]:
    """Return the schemas of the imported names, and all that these refer to, by Python name."""
    schemas: dict[str, Any] = {}
    for operation in contract.operations().values():
        schemas = {**contract.document(operation.service)["components"]["schemas"], **schemas}
    wanted = imported()
    waiting = [schema_name for schema_name in schemas if name_of(schema_name) in wanted]
    found: dict[str, Any] = {}
    while waiting:
        schema_name = waiting.pop()
        if name_of(schema_name) not in found:
            found[name_of(schema_name)] = lenient(schemas[schema_name])
            waiting += references(schemas[schema_name])
    return dict(sorted(found.items()))


def source_text() -> str:
    """Return what the module is made from."""
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": answer_schemas()})


def with_digest(body: str) -> str:
    """Return the text of the module: its body, and a digest by which a change of either side shows."""
    digest = hashlib.sha256((source_text() + body).encode()).hexdigest()
    return HEADER.replace("{digest}", digest) + body


def generated() -> str:
    """Return the text of the module."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "answers.json"), Path(folder, "types.py")
        source.write_text(source_text(), encoding="utf-8")
        command = [
            *("datamodel-codegen", "--input", str(source), "--input-file-type", "jsonschema"),
            *("--output", str(target), "--output-model-type", "typing.TypedDict", "--disable-timestamp"),
            *("--target-python-version", "3.11", "--use-union-operator", "--use-standard-collections"),
            *("--formatters", "ruff-format"),
        ]
        subprocess.run(command, check=True)
        return with_digest("\n" + target.read_text(encoding="utf-8").partition("\n\n")[2])


def main() -> int:
    """Write the module, or with ``--check`` say whether it is stale."""
    if "--check" not in sys.argv:
        TARGET.write_text(generated(), encoding="utf-8")
        print(f"wrote {TARGET.name}")
        return 0
    text = TARGET.read_text(encoding="utf-8")
    if with_digest(text[len(HEADER.replace("{digest}", 64 * "0")) :]) == text:
        return 0
    print(f"{TARGET.name} is not what the contract and the imports make; run make types")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
