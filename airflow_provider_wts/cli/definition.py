"""The command ``airflow wts``, on Airflow versions that load commands from providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand


def get_wts_cli_commands() -> list[CLICommand]:
    """Return the command group ``wts``."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand

    def doctor(args: Any) -> None:
        from airflow_provider_wts.cli.doctor import run

        raise SystemExit(run(args.conn_id, as_json=args.json))

    # Airflow's Arg has no types.
    arg: Any = Arg
    conn_id = arg(("conn_id",), nargs="?", default="wts_default", help="ID of the connection (default: wts_default)")
    as_json = arg(("--json",), action="store_true", help="print the checks as JSON")
    return [
        GroupCommand(
            name="wts",
            help="WTS Chat",
            subcommands=(
                ActionCommand(
                    name="doctor",
                    help="Check everything that a send needs, and suggest fixes; messages no customer",
                    func=doctor,
                    args=(conn_id, as_json),
                ),
            ),
        )
    ]
