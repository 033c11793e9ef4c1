"""``python -m airflow_provider_wts doctor``: the doctor on every version of Airflow."""

from __future__ import annotations

import argparse

from airflow_provider_wts.cli.doctor import run


def main() -> int:
    """Run the command that the arguments name, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_wts")
    commands = parser.add_subparsers(required=True, metavar="doctor")
    doctor = commands.add_parser("doctor", help="check everything that a send needs, and suggest fixes")
    doctor.add_argument("conn_id", nargs="?", default="wts_default", help="ID of the connection (default: wts_default)")
    doctor.add_argument("--json", action="store_true", help="print the checks as JSON")
    args = parser.parse_args()
    return run(args.conn_id, as_json=args.json)


if __name__ == "__main__":
    raise SystemExit(main())
