"""Make ``airflow_provider_wts/api/types.py``, TypedDicts of the API's answers, from the contract.

Every property may be missing or null in a real answer, whatever the contract says, so every key is optional, and
every object and array may be ``None``.

Run: ``python tools/generate_types.py`` (``--check`` only compares).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_wts.api import contract

TARGET = Path(__file__).resolve().parent.parent / "airflow_provider_wts" / "api" / "types.py"

HEADER = '''"""TypedDicts of the API's answers, generated from the contract by ``tools/generate_types.py``; do not edit.

Every key may be missing, and real answers may carry more keys than these.
"""
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


def answer_schemas() -> dict[str, Any]:
    """Return all schemas that answers are made of, by Python name."""
    found: dict[str, Any] = {}
    for operation in contract.operations().values():
        schemas = contract.document(operation.service)["components"]["schemas"]
        waiting = references(operation.answer_schema)
        while waiting:
            schema_name = waiting.pop()
            if name_of(schema_name) not in found:
                found[name_of(schema_name)] = lenient(schemas[schema_name])
                waiting += references(schemas[schema_name])
    return dict(sorted(found.items()))


def generated() -> str:
    """Return the text of the module."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": answer_schemas()}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "answers.json"), Path(folder, "types.py")
        source.write_text(json.dumps(schema), encoding="utf-8")
        command = [
            *("datamodel-codegen", "--input", str(source), "--input-file-type", "jsonschema"),
            *("--output", str(target), "--output-model-type", "typing.TypedDict", "--disable-timestamp"),
            *("--target-python-version", "3.11", "--use-union-operator", "--use-standard-collections"),
            *("--formatters", "ruff-format"),
        ]
        subprocess.run(command, check=True)
        text = target.read_text(encoding="utf-8")
    return HEADER + "\n" + text.partition("\n\n")[2]


def main() -> int:
    """Write the module, or with ``--check`` say whether it is stale."""
    text = generated()
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv:
        print(f"stale: {TARGET.name}; run python tools/generate_types.py")
        return 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
