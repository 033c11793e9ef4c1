"""Make ``airflow_provider_wts/api/contract/*.json`` from the YAML contracts in ``docs/wts-api``.

JSON loads in a millisecond, YAML in half a second. Prose is omitted; what may be repeated is added, because it
is our reading of the operation, which no schema holds.

Run: ``python tools/generate_contract.py`` (``--check`` only compares).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "docs" / "wts-api"
TARGET = ROOT / "airflow_provider_wts" / "api" / "contract"
SERVICES = ("chat", "core", "crm")

# What a second identical request does. Default by method: GET reads; PUT and DELETE set a state, so doing it twice
# leaves the same state; POST acts once more. These POSTs are exceptions.
EFFECTS = {
    "filter_contacts": "read",
    "update_contact_tags": "idempotent",
    "update_contact_tags_by_phone": "idempotent",
    "add_portfolio_contact": "idempotent",
    "add_portfolio_contacts_batch": "idempotent",
    "send_typing": "idempotent",
    "cancel_scheduled_message": "idempotent",
    "batch_cancel_scheduled_messages": "idempotent",
    "logout_agent": "idempotent",
    "update_agent_status": "idempotent",
    "update_agent_departments": "idempotent",
    # A second save of one upload makes a second file id at worst; nobody sees it.
    "save_file": "idempotent",
}
EFFECT_BY_METHOD = {"get": "read", "put": "idempotent", "delete": "idempotent", "post": "once"}

# The 13 operations that carry the limit of their own (1,000 requests in 2 minutes).
SEND_LIMIT_PREFIX = "/chat/v1/send/"
SEND_LIMIT_EXEMPT = {"send_typing"}


def without_prose(node: Any) -> Any:
    """Drop every ``description`` that is text; a property may well be named so, and then it is an object."""
    if isinstance(node, dict):
        return {
            key: without_prose(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
        }
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    return node


def contract_of(service: str) -> str:
    """Return one service's contract as JSON text."""
    document = without_prose(yaml.safe_load((SOURCE / f"{service}.yaml").read_text(encoding="utf-8")))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation_id = operation["operationId"]
            operation["x-effect"] = EFFECTS.get(operation_id, EFFECT_BY_METHOD[method])
            operation["x-send-limit"] = path.startswith(SEND_LIMIT_PREFIX) and operation_id not in SEND_LIMIT_EXEMPT
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def main() -> int:
    """Write the files, or with ``--check`` say which of them are stale."""
    stale = []
    for service in SERVICES:
        text, target = contract_of(service), TARGET / f"{service}.json"
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        stale.append(target.name)
        if "--check" not in sys.argv:
            target.write_text(text, encoding="utf-8")
            print(f"wrote {target.relative_to(ROOT)}")
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run python tools/generate_contract.py")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
