"""The doctor: one screen that shows what works in a setup, what does not, and what to do. It messages no customer."""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_wts.api.errors import WtsError
from airflow_provider_wts.api.wire import CLOCK_SLACK
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import Connection

OK, WARNING, PROBLEM = "ok", "warning", "problem"

#: Status of a check, what was found, and what to do, if anything.
Found: TypeAlias = tuple[str, str] | tuple[str, str, str]

_SIGNS = {OK: "ok", WARNING: "warn", PROBLEM: "FAIL"}


@dataclass(frozen=True)
class Check:
    """What one check found.

    :param name: what was checked.
    :param status: ``ok``, ``warning``, or ``problem``: a send would fail, or would not be protected.
    :param found: what was found.
    :param advice: what to do, if anything.
    """

    name: str
    status: str
    found: str
    advice: str = ""


class DoctorHook(WtsHook):
    """A hook that finds its connection outside a task, too: in the environment, a secrets backend or the database."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """Return a connection.

        :param conn_id: its ID.
        """
        from airflow.models.connection import Connection as Stored

        return Stored.get_connection_from_secrets(conn_id)


def run(conn_id: str, *, as_json: bool = False) -> int:
    """Print what the doctor finds.

    :param conn_id: ID of the Airflow connection.
    :param as_json: print a JSON list instead of the screen.
    :return: 1 if something would break a send, else 0.
    """
    found = list(checks(conn_id))
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2))
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            print(f"{_SIGNS[check.status]:>4}  {check.name:<{width}}  {check.found}")
            if check.advice:
                print(f"      {'':<{width}}  -> {check.advice}")
    return int(any(check.status == PROBLEM for check in found))


def checks(conn_id: str) -> Iterator[Check]:
    """Check everything that a send needs.

    :param conn_id: ID of the Airflow connection.
    """
    yield _check("versions", _airflow)
    hook = DoctorHook(conn_id)
    connection = _check("connection", _connection, hook)
    yield connection
    if connection.status != PROBLEM:
        yield _check("channels", _channels, hook)
        yield _check("clock", _clock, hook)
        yield _check("rate limits", _rate_limits, hook)
        yield _check("templates", _templates, hook)
    yield _check("ledger", _ledger)
    yield _check("triggerer", _triggerer)


def _check(name: str, check: Callable[..., Found], *hook: WtsHook) -> Check:
    try:
        return Check(name, *check(*hook))
    except WtsError as error:
        return Check(name, PROBLEM, str(error))
    except Exception as error:
        return Check(name, PROBLEM, f"{type(error).__name__}: {error}")


def _airflow() -> Found:
    from airflow import __version__ as version

    release = tuple(int(part) for part in version.split(".")[:2])
    found = f"Airflow {version}, Python {'.'.join(map(str, sys.version_info[:3]))}"
    if release < (3, 3):
        return (
            OK,
            f"{found}: no task state store, no retry policies",
            "Set [wts] ledger_path, so that a retry knows what was sent. A rate limit is retried after retry_delay.",
        )
    return OK, found


def _connection(hook: WtsHook) -> Found:
    works, words = hook.test_connection()
    if not works:
        return PROBLEM, words, "Fix the Airflow connection, then run this again."
    if hook.connection.allowed_recipients:
        return (
            WARNING,
            f"{words} Only {len(hook.connection.allowed_recipients)} recipient(s) are allowed.",
            "Clear 'Allowed recipients' in production.",
        )
    return OK, words


def _channels(hook: WtsHook) -> Found:
    from airflow_provider_wts.api.directory import list_channels

    names = [str(one.get("numberFormatted") or one.get("number") or one.get("id")) for one in hook.run(list_channels())]
    if not names:
        return PROBLEM, "The account has no channel.", "Connect a channel in WTS Chat."
    return OK, f"{len(names)}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"


def _clock(hook: WtsHook) -> Found:
    apart = abs((hook.client.now() - datetime.now(UTC)).total_seconds())
    found = f"The clocks of this machine and WTS Chat differ by {apart:.0f} s."
    if apart > CLOCK_SLACK.total_seconds():
        return PROBLEM, found, "Set this machine's clock, for example with NTP."
    return WARNING if apart > 30 else OK, found, "Set this machine's clock." if apart > 30 else ""


def _rate_limits(hook: WtsHook) -> Found:
    conn_id = hook.connection.rate_limit_conn_id
    if conn_id is None:
        return (
            OK,
            f"Each process may use {hook.connection.rate_limit_percent} % of the account's limits.",
            "If several workers send at the same time, set 'Rate limit connection' to a Redis connection.",
        )
    if problem := hook.client.problem_of_shared_limits():
        return PROBLEM, f"The Redis server of {conn_id!r} does not respond ({problem})."
    from airflow_provider_wts.api.transport import is_loopback

    server = hook.get_connection(conn_id)
    tls = "rediss" in (server.conn_type, (server.host or "").split("://")[0]) or server.extra_dejson.get("ssl")
    if not tls and not is_loopback((server.host or "localhost").rpartition("://")[2]):
        return WARNING, f"The Redis server of {conn_id!r} responds, without TLS.", "Use rediss://."
    return OK, f"The Redis server of {conn_id!r} responds{', with TLS' if tls else ''}."


def _templates(hook: WtsHook) -> Found:
    from airflow_provider_wts.api.templates import is_sendable, list_templates

    listed = list(hook.client.items(list_templates()))
    bad = [f"{one.get('name')} ({one.get('status')})" for one in listed if not is_sendable(one)]
    if bad:
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        return WARNING, f"{len(bad)} of {len(listed)} cannot be sent: {', '.join(bad[:10])}{more}"
    return OK, f"{len(listed)}, none paused or rejected."


def _ledger() -> Found:
    from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

    from airflow_provider_wts.hooks.context import TaskIdentity
    from airflow_provider_wts.sending.ledger import Fence, FileStore

    root = conf.get("wts", "ledger_path", fallback="").strip()
    if not root:
        return _state_store()
    folder = ObjectStoragePath(root) / f"doctor-{uuid.uuid4().hex}"
    store = FileStore(str(folder), TaskIdentity("doctor", "doctor", "doctor", -1))
    try:
        first, second = Fence(store, try_number=1), Fence(store, try_number=2)
        first.hold()
        second.hold()
        second.check()
    finally:
        if folder.exists():
            folder.fs.rm(folder.path, recursive=True)
    return OK, f"{root} is writable, and a later try takes over from an earlier one."


def _state_store() -> Found:
    from airflow.providers.common.compat.sdk import conf

    try:
        has_store = hasattr(import_module("airflow.sdk"), "NEVER_EXPIRE")
    except ImportError:
        # Airflow 2 has no such module.
        has_store = False
    if not has_store:
        return (
            WARNING,
            "This Airflow keeps no ledger: a retry asks WTS Chat before it sends, and a clear never sends again.",
            f"Set [wts] ledger_path to a folder that all workers can reach. Example: file://{tempfile.gettempdir()}/wts",
        )
    if conf.getboolean("state_store", "clear_on_success", fallback=False):
        return (
            WARNING,
            "Airflow clears the task state store when a task succeeds.",
            "Set [state_store] clear_on_success to False, or set [wts] ledger_path.",
        )
    return OK, "Airflow's task state store."


def _triggerer() -> Found:
    from airflow.jobs.job import most_recent_job

    try:
        job = most_recent_job("TriggererJob")
    except Exception as error:
        return WARNING, f"Airflow's database cannot be read here ({type(error).__name__})."
    if job is None or not job.is_alive():
        return WARNING, "No triggerer is alive.", "Start one, or set deferrable=False. Deferred tasks wait until then."
    return OK, f"alive, on {job.hostname}"
