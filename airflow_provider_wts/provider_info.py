"""All that Airflow shows of this provider, as one dict.

The connection form is here once. Airflow 3 reads it from this dict, and Airflow 2.11 from the hook's methods,
which derive it from :data:`CONNECTION_FIELDS` and :data:`UI_FIELD_BEHAVIOUR`.
"""

from __future__ import annotations

from typing import Any

CONNECTION_TYPE = "wts"
HOOK_NAME = "WTS Chat"

# Text, whole number and yes/no only: Airflow 2.11 has widgets for these, and another kind drops the whole form.
# The examples are in the descriptions, because Airflow 3 drops the placeholders of such fields.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "channel": {
        "label": "Channel",
        "description": "Channel to send from where a task names none: its name, id, number or @handle. "
        "Example: +55 11 4000-1234",
        "schema": {"type": ["string", "null"]},
    },
    "timeout": {
        "label": "Timeout",
        "description": "Seconds for one request, the answer included. Default: 60",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "rate_limit_percent": {
        "label": "Rate limit percent",
        "description": "Part of the account's rate limits that this Airflow may use, 1 to 100. Default: 100",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 100},
    },
    "rate_limit_conn_id": {
        "label": "Rate limit connection",
        "description": "Id of a Redis connection through which all workers share the rate limits. Without it every "
        "process counts alone.",
        "schema": {"type": ["string", "null"]},
    },
    "rate_limit_key": {
        "label": "Rate limit key",
        "description": "A name for the account, the same in all connections to it: they then count its requests "
        "together. Without it every token counts apart. Example: loja-centro",
        "schema": {"type": ["string", "null"]},
    },
    "send_limit_is_separate": {
        "label": "Sends count apart",
        "description": "Sends count against their own limit only, and not against the account's, too. Set it if WTS "
        "Chat said so: it is not documented.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "allow_http": {
        "label": "Allow http",
        "description": "Allow a base URL without TLS that is not on this machine. The token then travels in the "
        "clear, also to a proxy that the environment names; for test networks only.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "allowed_recipients": {
        "label": "Allowed recipients",
        "description": "For staging: send to these numbers and @handles and to nobody else, separated by commas. "
        "Empty: no restriction. Example: +55 11 99999-8888, @maria.silva",
        "schema": {"type": ["string", "null"]},
    },
    "ca_bundle": {
        "label": "CA bundle",
        "description": "Path, on the workers, of a file with certificate authorities. Example: /etc/ssl/company.pem",
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
                    "description": "Folders and addresses, separated by commas, out of which files may be sent to "
                    "customers. An address without a path allows its whole scheme. Links and '..' are followed "
                    "first. Empty: any file that the worker can read.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "/data/campaigns, s3://my-bucket/reports",
                    "default": "",
                },
                "ledger_path": {
                    "description": "Folder, as any ObjectStoragePath, where tasks keep what they sent, so that a "
                    "retry sends nothing twice. Empty: Airflow's task state store on 3.3 and later, and no ledger "
                    "below.",
                    "version_added": "0.1.0",
                    "type": "string",
                    "example": "s3://my-bucket/wts-ledger",
                    "default": "",
                },
                "deployment": {
                    "description": "Name of this Airflow among those that share ledger_path. Empty: made from the "
                    "address of Airflow's API, base_url.",
                    "version_added": "0.2.0",
                    "type": "string",
                    "example": "production",
                    "default": "",
                },
                "effect_lag": {
                    "description": "Seconds that WTS Chat may take to show what a request did. A send whose answer was "
                    "lost is made again only after so long, or after the timeout of the request if that is longer.",
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
                    "description": "Folder, as any ObjectStoragePath, for the results of campaigns that name no "
                    "results_path: a file for each task instance. Empty: only the first recipients who were not "
                    "reached are named, in the log and in the XCom.",
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
