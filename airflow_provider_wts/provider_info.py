"""The provider's metadata for Airflow.

The connection form is defined once: Airflow 3 reads it from :data:`PROVIDER_INFO`, and Airflow 2.11 from the hook's
methods, which derive it from :data:`CONNECTION_FIELDS` and :data:`UI_FIELD_BEHAVIOUR`.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "wts"
HOOK_NAME = "WTS Chat"

# Only strings, integers and booleans: Airflow 2.11 has widgets for these, and any other type drops the whole form.
# Examples are in the descriptions, because Airflow 3 drops the placeholders of extra fields.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "channel": {
        "label": "Channel",
        "description": "Channel to send from if a task does not name one: its name, ID, number or @handle. "
        "Example: +55 11 4000-1234",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds for one request, including the response. Default: 60",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "rate_limit_percent": {
        "label": "Rate limit percent",
        "description": "Percentage of the account's rate limits that this Airflow may use, 1 to 100. Default: 100",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 100},
    },
    "rate_limit_conn_id": {
        "label": "Rate limit connection",
        "description": "ID of a Redis connection through which all workers share the rate limits. Without it, each "
        "process keeps its own count.",
        "schema": {"type": ["string", "null"]},
    },
    "rate_limit_key": {
        "label": "Rate limit key",
        "description": "A name for the account. Connections with the same key share their rate limits. Without it, "
        "each token has its own. Example: loja-centro",
        "schema": {"type": ["string", "null"]},
    },
    "send_limit_is_separate": {
        "label": "Sends count apart",
        "description": "Sends count only against their own limit, not against the account's. This is not documented; "
        "set it only if WTS Chat confirmed it.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "allow_http": {
        "label": "Allow http",
        "description": "Allow a base URL without TLS on another machine. The token then travels unencrypted, also "
        "to a proxy of the environment; for test networks only.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "allowed_recipients": {
        "label": "Allowed recipients",
        "description": "For staging: send only to these numbers and @handles, separated by commas. Empty: no "
        "restriction. Example: +55 11 99999-8888, @maria.silva",
        "schema": {"type": ["string", "null"]},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "Path of a CA bundle file on the workers. Example: /etc/ssl/company.pem",
        "schema": {"type": ["string", "null"]},
    },
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "API token", "host": "Base URL"},
    "placeholders": {"password": "pn_...", "host": "https://api.wts.chat", "port": "443"},
}

PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-wts",
    "name": "WTS Chat",
    "description": "`WTS Chat <https://wts.chat/>`__, also sold as flw.chat and Helena: customer service over "
    "WhatsApp, Instagram and Messenger.",
    "integrations": [
        {
            "integration-name": "WTS Chat",
            "external-doc-url": "https://docs.wts.chat/",
            "tags": ["service"],
        }
    ],
    "connection-types": [
        {
            "connection-type": CONNECTION_TYPE,
            "hook-class-name": "airflow_provider_wts.hooks.wts.WtsHook",
            "hook-name": HOOK_NAME,
            "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            "conn-fields": CONNECTION_FIELDS,
        }
    ],
    "hooks": [
        {"integration-name": "WTS Chat", "python-modules": ["airflow_provider_wts.hooks.wts"]},
    ],
    "operators": [
        {
            "integration-name": "WTS Chat",
            "python-modules": [
                "airflow_provider_wts.operators.call",
                "airflow_provider_wts.operators.chatbot",
                "airflow_provider_wts.operators.contact",
                "airflow_provider_wts.operators.message",
                "airflow_provider_wts.operators.campaign_outcome",
                "airflow_provider_wts.operators.panel",
                "airflow_provider_wts.operators.sequence",
                "airflow_provider_wts.operators.session",
            ],
        },
    ],
    "sensors": [
        {
            "integration-name": "WTS Chat",
            "python-modules": ["airflow_provider_wts.sensors.message", "airflow_provider_wts.sensors.session"],
        },
    ],
    "triggers": [
        {
            "integration-name": "WTS Chat",
            "python-modules": [
                "airflow_provider_wts.triggers.events",
                "airflow_provider_wts.triggers.message",
                "airflow_provider_wts.triggers.session",
            ],
        },
    ],
    "config": {
        "wts": {
            "description": "Settings of the WTS Chat provider.",
            "options": {
                "allowed_files": {
                    "description": "Folders and addresses, separated by commas, from which files may be sent to "
                    "customers. An address without a path allows its whole scheme. Links and '..' are resolved "
                    "first. Empty: any file that the worker can read.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "/data/campaigns, s3://my-bucket/reports",
                    "default": "",
                },
                "ledger_path": {
                    "description": "Folder, at any ObjectStoragePath, for the ledger of what tasks sent, by which a "
                    "retry resends only what did not go out. Empty: Airflow's task state store on Airflow 3.3 and "
                    "later, and no ledger before Airflow 3.3.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "s3://my-bucket/wts-ledger",
                    "default": "",
                },
                "deployment": {
                    "description": "Name that distinguishes this Airflow from others that share ledger_path. Empty: "
                    "derived from the base_url of Airflow's API.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "production",
                    "default": "",
                },
                "effect_lag": {
                    "description": "Seconds that WTS Chat may take to show the effect of a request. A send whose "
                    "response was lost is repeated only after this time, or after the timeout of the request if that "
                    "is longer.",
                    "version_added": "0.2.0",
                    "type": "float",
                    "example": "300",
                    "default": "120",
                },
                "hash_key": {
                    "description": "Secret key of the hashes that stand for people: in outcomes with private=True, in "
                    "suppression lists and in the counts of max_per_contact. Empty: the API token of the connection, "
                    "so that a new token gives other hashes.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "sensitive": True,
                    "example": None,
                    "default": "",
                },
                "results_path": {
                    "description": "Folder, at any ObjectStoragePath, for the results of campaigns without "
                    "results_path: one file per task instance. Empty: only the first recipients who were not "
                    "reached are named, in the log and in XCom.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "s3://my-bucket/wts-results",
                    "default": "",
                },
            },
        }
    },
    "cli": ["airflow_provider_wts.cli.definition.get_wts_cli_commands"],
    "notifications": ["airflow_provider_wts.notifications.wts.WtsNotifier"],
    "extra-links": ["airflow_provider_wts.links.session.WtsSessionLink"],
}
