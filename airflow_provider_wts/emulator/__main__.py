"""``python -m airflow_provider_wts.emulator``: a local WTS Chat service until it is interrupted."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from airflow_provider_wts.emulator.running import Emulator

_DESCRIPTION = """\
A local WTS Chat service: real HTTP, all 109 operations, messages to nobody. Point an Airflow connection at it and
rehearse a campaign. Chatbots run scripts, contacts answer, and nothing leaves this machine.
"""

_EPILOG = """\
See what customers see, in a browser: http://127.0.0.1:8095/

Look and drive it over HTTP, no token needed:
  curl http://127.0.0.1:8095/_emulator/state
  curl --json '{"advance": 3600}' http://127.0.0.1:8095/_emulator/clock
  curl --json '{"from": "+5511999990001", "text": "Oi"}' http://127.0.0.1:8095/_emulator/contact-reply
  curl --json '{"kind": "status", "status": 503, "times": 3}' http://127.0.0.1:8095/_emulator/faults
  curl --json '{"skipped_send": "refuse"}' http://127.0.0.1:8095/_emulator/switches
  curl --json '{"contacts": 1000}' http://127.0.0.1:8095/_emulator/seed
  curl -X POST http://127.0.0.1:8095/_emulator/reset

A seed file is a JSON object such as
  {"chatbots": [{"name": "Oferta", "steps": [{"message": "Oi {{contact.name}}"}, {"wait": 5}, {"complete": {}}]}],
   "contacts": [{"name": "Carla", "phone": "+5511999998888"}],
   "behaviours": {"+5511999998888": {"replies": ["Quero"], "delay": 2}, "*": {"replies": []}},
   "switches": {"rate_limits": false}}
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator until it is interrupted; return the exit status.

    :param arguments: the command line; that of the process by default.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    try:
        emulator = Emulator(
            host=options.host,
            port=options.port,
            token=options.token,
            seed=options.seed,
            speed=options.speed,
            latency=options.latency / 1000,
            default_seed=not options.empty,
            names=options.name,
        )
        for path in options.seed_file:
            emulator.service.seed(_seed_data(path))
        for setting in options.switch:
            name, _, value = setting.partition("=")
            emulator.switches.change({name: _switch_value(value)})
        emulator.start()
    except (ModuleNotFoundError, OSError, ValueError, KeyError, TypeError) as problem:
        sys.stderr.write(f"The emulator did not start: {problem}\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    connection = json.dumps({"conn_type": "wts", "password": emulator.token, "host": emulator.url})
    sys.stdout.write(f"WTS Chat emulator at {emulator.url}  AIRFLOW_CONN_WTS_DEFAULT='{connection}'\n")
    sys.stdout.flush()
    try:
        stop.wait()
    finally:
        emulator.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_wts.emulator",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8095, help="port, 0 = a free one (default: %(default)s)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="further host name to answer to, such as a Docker service; repeatable",
    )
    parser.add_argument("--token", default="pn_emulator", help="API token to accept (default: %(default)s)")
    parser.add_argument(
        "--speed", type=_positive, default=1.0, help="emulated seconds per real second (default: %(default)s)"
    )
    parser.add_argument(
        "--latency", type=_positive, default=0.0, metavar="MS", help="milliseconds to add to each answer"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same number gives the same IDs (default: %(default)s)")
    parser.add_argument(
        "--seed-file", action="append", default=[], metavar="FILE.json", help="add objects from this file; repeatable"
    )
    parser.add_argument("--empty", action="store_true", help="start without the default channels, chatbots and so on")
    parser.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="change a switch; repeatable"
    )
    levels = ("debug", "info", "warning", "error")
    parser.add_argument("--log-level", type=str.lower, choices=levels, default="warning", help="default: %(default)s")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> float:
    number = float(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be a number of at least 0")
    return number


def _seed_data(path: str) -> dict[str, Any]:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"{path}: is not valid JSON: {problem}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path}: must be a JSON object.")
    return data


def _switch_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
