"""Outcomes of campaigns whose passes are killed again and again: all rows are what the service knew at ``observed_at``.

What the service knows is read from its objects and messages, between two passes, and not from the API. Environment
variables: ``WTS_CHAOS_OUTCOMES`` (recipients, default 300), ``WTS_CHAOS_OUTCOME_KILLS`` (default 5),
``WTS_CHAOS_SEED`` (default: a random one, printed).
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import uuid
from bisect import bisect_right
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from databases import Server
from forked_tries import Tasks
from outcome_task import POINTS

from airflow_provider_wts.api import budget
from airflow_provider_wts.api.chatbots import queue_chatbot_batch
from airflow_provider_wts.api.wire import parse_timestamp
from airflow_provider_wts.campaigns.outcomes import COLUMNS
from airflow_provider_wts.emulator import conversation
from airflow_provider_wts.emulator.crud import merged
from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.hooks.wts import WtsHook
from airflow_provider_wts.operators.chatbot import WtsSendChatbotBatchOperator
from airflow_provider_wts.operators.message import WtsSendTextBatchOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PEOPLE = int(os.environ.get("WTS_CHAOS_OUTCOMES", "300"))
KILLS = int(os.environ.get("WTS_CHAOS_OUTCOME_KILLS", "5"))
SEED = int(os.environ.get("WTS_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
#: Passes that are not killed, after each of which all rows are compared.
PASSES = max(3, KILLS // 4)
MOST_LOOKUPS = 5000
BOT = "Falar com atendente"

LISTS = "list_sessions"


def number(index: int) -> str:
    return f"+55|119{10_000_000 + index:08d}"


class Campaigns:
    """What was sent, and what goes on in the conversations.

    :param emulator: the service.
    :param chance: what happens.
    :param folder: where results are.
    :param people: recipients in all.
    """

    def __init__(self, emulator: Emulator, chance: random.Random, folder: Path, people: int) -> None:
        self._emulator = emulator
        self._chance = chance
        self._folder = folder
        self._people = people
        self._account = emulator.state
        self.manifests: list[str] = []
        #: Those whose metadata changed since the last whole pass: what is replaced before anybody read it is lost.
        self._marked: set[int] = set()
        # Marked sends that may be doubled, others that look like those of another campaign, and held-out people.
        self.marked, self.others = range(people * 7 // 10), range(people * 7 // 10, people)

    # Before and during the send --------------------------------------------------------------------------------------

    def send(self) -> None:
        """Send campaigns of several kinds to people of whom a quarter has a past."""
        for index in range(0, self._people, 4):
            self._emulator.contact_writes(number(index), "Bom dia")
        with self._account.lock:
            for session in self._account.sessions.by_creation()[::3]:
                session["metadata"] = {"etapa": "inicio"}
                if self._chance.random() < 0.4:
                    conversation.complete(self._account, session, stop_bot=True, reactivate=True)
        self._emulator.advance(3600)
        skipped = self.others[: len(self.others) // 3]
        texts = self.others[len(skipped) : -max(1, len(self.others) // 20)]
        waiting = self.others[len(skipped) + len(texts) :]
        rows = [{"id": f"A-{index}", "to": number(index)} for index in self.marked]
        rows += [{"id": "bad", "to": "12"}, {"id": "twice", "to": number(0)}]
        given = {"row_key": "{{ row.id }}", "row_to": "{{ row.to }}", "holdout": 0.05}
        self._send("marked", rows, chatbot=BOT, row_session_metadata={"plano": "Órgão €"}, **given)
        self._send("skipped", map(number, skipped), chatbot=BOT, skip_if_in_progress=True)
        self._send("texts", map(number, texts), cls=WtsSendTextBatchOperator, row_text="Oi", channel="+55|1140028922")
        self._emulator.switches.queue_seconds = 10**8
        self._send("waiting", map(number, waiting), chatbot=BOT)
        self._emulator.switches.queue_seconds = 0

    def _send(self, run_id: str, recipients: Any, *, cls: Any = WtsSendChatbotBatchOperator, **parameters: Any) -> None:
        path = f"{self._folder}/{run_id}.jsonl"
        task_instance = SimpleNamespace(
            dag_id="campaign", run_id=run_id, task_id="send", map_index=-1, try_number=1, max_tries=0
        )
        task_instance.xcom_push = lambda key, value: None
        run = SimpleNamespace(start_date=datetime.now(UTC) - timedelta(seconds=1), clear_number=0)
        task = cls(task_id="send", recipients=list(recipients), results_path=path, on_bad_row="skip", **parameters)
        task.execute({"ti": task_instance, "dag_run": run})
        self.manifests.append(f"{path}.manifest.json")

    # What goes on ----------------------------------------------------------------------------------------------------

    def go_on(self, share: float) -> None:
        """Let things happen to a share of the people."""
        doubled: list[int] = []
        later: list[int] = []
        for index in self._chance.sample(range(self._people), max(1, int(self._people * share))):
            action = self._chance.choice(("write", "write", "end", "again", "answer", "assign", "double", "later"))
            if action in ("answer", "double", "later"):
                if index in self._marked:
                    continue
                self._marked.add(index)
            if action == "double" and index in self.marked:
                doubled.append(index)
            elif action in ("double", "later"):
                later.append(index)
            else:
                with self._account.lock:
                    self._happens(action, index)
        self._batch([(number(index), self._key_of(index)) for index in doubled if self._key_of(index)], force=True)
        for force in (True, False):
            half = [index for place, index in enumerate(later) if place % 2 == force]
            self._batch([(number(index), str(uuid.UUID(int=self._chance.getrandbits(128)))) for index in half], force)

    def seen(self) -> None:
        """Note that a whole pass has read what there was."""
        self._marked.clear()

    def _happens(self, action: str, index: int) -> None:
        contact = self._account.contact_by_address(number(index))
        session = contact.sessions[-1] if contact is not None and contact.sessions else None
        if action == "write" or session is None:
            self._emulator.contact_writes(number(index), "Sim")
        elif action == "end":
            conversation.complete(self._account, session, stop_bot=True, reactivate=self._chance.random() < 0.5)
        elif action == "again":
            conversation.complete(self._account, session, stop_bot=True)
            self._emulator.contact_writes(number(index), "Outra coisa")
        elif action == "answer":
            given = {"nota": str(self._chance.randrange(10)), "x": None}
            kept = self._emulator.switches.session_metadata
            session["metadata"] = merged(session["metadata"], given, kept)
            session["classification"] = {"category": "WON", "amount": self._chance.choice((0, 10.5, 99.99, 0.1))}
            self._account.touch(self._account.sessions, session)
        else:
            session["userId"] = self._chance.choice(self._account.agents.by_creation())["userId"]
            session["departmentId"] = self._chance.choice(self._account.departments.by_creation()).id
            self._account.touch(self._account.sessions, session)

    def _key_of(self, index: int) -> str | None:
        line = self._lines.get(number(index))
        return line.get("send_key") if line else None

    @property
    def _lines(self) -> dict[str, dict[str, Any]]:
        if not hasattr(self, "_read_lines"):
            lines = Path(f"{self._folder}/marked.jsonl").read_text().splitlines()
            self._read_lines = {line["to"]: line for line in map(json.loads, lines) if line["to"]}
        return self._read_lines

    def _batch(self, sends: list[tuple[str, str]], force: bool) -> None:
        bot = next(bot for bot in self._account.chatbots.by_creation() if bot["name"] == BOT)
        for begin in range(0, len(sends), 100):
            messages = [
                {"to": to, "sender_id": key, "session_metadata": {f"airflow_send_{key[:8]}": key}}
                for to, key in sends[begin : begin + 100]
            ]
            WtsHook().run(queue_chatbot_batch(bot["key"], messages, force_start_session=force))

    # What is true ----------------------------------------------------------------------------------------------------

    def truth(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return all rows as they are now, by campaign and key; ``asked`` is what the status of the send says."""
        with self._account.lock:
            self._account.agenda.run_due()
            sends: dict[str, list[Any]] = {}
            for send in self._account.sends.by_creation():
                sends.setdefault(send["senderId"], []).append(send)
            campaigns = [
                (json.loads(Path(one).read_text()), Path(one.removesuffix(".manifest.json")).read_text().splitlines())
                for one in self.manifests
            ]
            lines = [(about, json.loads(line)) for about, lines in campaigns for line in lines]
            begun = min(parse_timestamp(line["sent_at"]) for _, line in lines if line.get("send_key"))
            rows = {}
            for about, line in lines:
                key = line.get("row_key") or line.get("to") or f"line:{line['line']}"
                row = dict.fromkeys(COLUMNS)
                row |= {name: about[name] for name in ("campaign_id", "dag_id", "run_id", "task_id", "map_index")}
                row |= {"generation": 0, "row_key": key, "line": line["line"], "recipient": line.get("to")}
                row |= {"send_status": line["status"], "reason": line.get("reason"), "api_id": line.get("id")}
                row |= {"send_key": line.get("send_key"), "ended": False, "asked": None}
                if line["status"] == "holdout":
                    row |= self._of_holdout(line["to"], begun)
                elif line.get("send_key"):
                    row |= self._of_send(line, sends[line["send_key"]])
                else:
                    row["ended"] = True
                rows[about["campaign_id"], key] = row
            return rows

    def _at(self, ticks: int) -> datetime:
        return parse_timestamp(self._emulator.clock.text(ticks)).astimezone(UTC)

    def _of_holdout(self, to: str, begun: datetime) -> dict[str, Any]:
        contact = self._account.contact_by_address(to)
        sessions = contact.sessions if contact is not None else []
        # The list of sessions shows of each one the last message.
        last = [self._at(one.last_in) for one in sessions if one.last_in and self._at(one.last_in) >= begun]
        return {
            "replied": bool(last),
            "last_reply_at": max(last, default=None),
            "later_sessions": sum(self._at(one.created) > begun for one in sessions),
        }

    def _of_send(self, line: dict[str, Any], sends: list[Any]) -> dict[str, Any]:
        own = next(send for send in sends if send.id == line["id"])
        sent_at = parse_timestamp(line["sent_at"])
        assert timedelta(0) <= self._at(own.created) - sent_at < timedelta(minutes=10)
        row = {
            "sent_at": sent_at,
            "asked": own.message["status"] if own.message else own["status"],
            "failed": own.message["failedReason"] if own.message else own["failedReason"],
            "marked_sessions": 0,
        }
        sessions = [self._account.sessions.find(one) for one in {send["sessionId"] for send in sends} if one]
        if not sessions:
            return row
        session = max(sessions, key=lambda one: one.created)
        existing = self._at(session.created) < sent_at
        replies = [self._at(one.created) for one in session.messages if one["direction"] == "FROM_HUB"]
        replies = [one for one in replies if not existing or one >= sent_at]
        ended_at = parse_timestamp(session["endAt"]).astimezone(UTC) if session["endAt"] else None
        ended = session["status"] == "COMPLETED" and (not existing or ended_at >= sent_at)
        department = self._account.departments.find(session["departmentId"])
        classification = session["classification"] or {}
        answers = {name: one for name, one in session["metadata"].items() if not name.startswith("airflow_send_")}
        since = max(self._at(session.created), sent_at)
        return row | {
            "session_id": session.id,
            "session_status": session["status"],
            "session_created_at": self._at(session.created),
            "existing_session": existing,
            "marked_sessions": len(sessions),
            "later_sessions": sum(
                self._at(one.created) > since for one in session.contact.sessions if one not in sessions
            ),
            "replied": bool(replies),
            "last_reply_at": max(replies, default=None),
            "completed_at": ended_at if ended else None,
            "last_interaction_at": max((self._at(one.created) for one in session.messages), default=None),
            "agent": next((a["name"] for a in self._account.agents if a["userId"] == session["userId"]), None),
            "department": department["name"] if department else None,
            "classification": classification.get("category"),
            "amount": classification.get("amount"),
            "answers": json.dumps(answers, ensure_ascii=False, sort_keys=True),
            "ended": ended,
        }


class History:
    """What was true, and from when on: nothing changes between two notes but what goes on in between."""

    def __init__(self) -> None:
        self._since: list[datetime] = []
        self._rows: list[dict[tuple[str, str], dict[str, Any]]] = []

    def note(self, since: datetime, rows: dict[tuple[str, str], dict[str, Any]]) -> None:
        """Note what is true from a time on."""
        self._since.append(since)
        self._rows.append(rows)

    def problems(self, found: dict[tuple[str, str], dict[str, Any]], *, asked: bool) -> Iterator[str]:
        """Say which rows are not what was true when they were observed, and is true now.

        :param found: the rows.
        :param asked: whether the status of each message was asked for.
        """
        if found.keys() != self._rows[-1].keys():
            missing, more = self._rows[-1].keys() - found.keys(), found.keys() - self._rows[-1].keys()
            yield f"rows missing: {missing}, rows too many: {more}"
        for key, row in found.items():
            place = bisect_right(self._since, row["observed_at"]) - 1
            for when in {place, len(self._rows) - 1}:
                if when < 0:
                    yield f"{key} was observed at {row['observed_at']}, before there was anything"
                    continue
                true = self._rows[when].get(key)
                if true is not None and (wrong := self._wrong(row, true, key, asked=asked and when != place)):
                    yield f"{key} at {row['observed_at']}, {len(self._rows) - 1 - when} days ago: {wrong}"

    def _wrong(self, row: dict[str, Any], true: dict[str, Any], key: Any, *, asked: bool) -> dict[str, Any]:
        status = row["message_status"]
        earlier = [rows[key] for rows in self._rows]
        expected = {name: true[name] for name in COLUMNS if name != "observed_at"}
        # Without detail="messages", a status is that of the last lookup, if there was one.
        was = true if asked else next((one for one in earlier if one["asked"] == status), {})
        expected["message_status"] = was.get("asked") if (true["send_key"] and status is not None) or asked else None
        expected["failed_reason"] = was.get("failed") if status is not None else None
        expected["final"] = true["ended"] or status == "FAILED"
        return {name: (row[name], one) for name, one in expected.items() if row[name] != one}


def typed(name: str, value: Any) -> Any:
    """Return a cell of a file or a table as Python has it."""
    kind = COLUMNS[name]
    if value is None:
        return None
    if kind == "time":
        value = datetime.fromisoformat(value) if isinstance(value, str) else value
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if kind == "flag":
        return bool(value)
    return float(value) if isinstance(value, Decimal) else value


class Follower:
    """Passes over the campaigns, some of them killed, and what they write.

    :param tasks: starts passes.
    :param server: where the table is.
    :param settings: for each pass.
    :param folder: where the file is.
    :param now: returns what time it is there.
    """

    def __init__(
        self, tasks: Tasks, server: Server, settings: dict[str, Any], folder: Path, now: Callable[[], datetime]
    ) -> None:
        self._tasks = tasks
        self._now = now
        self._server = server
        self._folder = folder
        self.table = f"chaos_{uuid.uuid4().hex[:8]}"
        self.file = folder / "outcomes.jsonl"
        given = {"outcomes_path": str(self.file), "outcomes_table": self.table, "outcomes_conn_id": "wts_db"}
        given |= {"rate_limit_percent": 100, "max_lookups": MOST_LOOKUPS, **settings.pop("parameters")}
        self._settings = {**settings, "server": list(server), "parameters": given}
        self.seconds, self._tries = 2.0, 0

    def killed(self, death: dict[str, Any]) -> bool:
        """Make a pass that is to be killed, and return whether it was."""
        outcome = self._start(death).outcome(600)
        assert outcome == {"error": "killed"} or "result" in outcome, outcome
        return "error" in outcome

    def whole(self) -> dict[str, Any]:
        """Make a whole pass, and return its answer."""
        begun = time.monotonic()
        outcome = self._start(None).outcome(600)
        self.seconds = time.monotonic() - begun
        assert "result" in outcome, outcome
        return dict(outcome["result"])

    def _start(self, death: dict[str, Any] | None) -> Any:
        self._tries += 1
        ahead = (self._now() - datetime.now(UTC)).total_seconds()
        result = f"{self._folder}/try-{self._tries}.json"
        return self._tasks.start({**self._settings, "death": death, "ahead": ahead, "result": result})

    def in_file(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the rows of the file."""
        rows = [json.loads(line) for line in self.file.read_text().splitlines()]
        return self._by_key([{name: typed(name, row[name]) for name in COLUMNS} for row in rows])

    def in_table(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the rows of the table."""
        with closing(self._server.connect()) as connection, closing(connection.cursor()) as cursor:
            if self._server.kind == "postgresql":
                cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM {self.table}")
            cells = cursor.fetchall()
        return self._by_key([{n: typed(n, value) for n, value in zip(COLUMNS, row, strict=True)} for row in cells])

    @staticmethod
    def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        found = {(row["campaign_id"], row["row_key"]): row for row in rows}
        assert len(found) == len(rows)
        return found

    def damage(self, how: str) -> None:
        """Let somebody change what was written."""
        statements = {
            "emptied": f"DELETE FROM {self.table}",
            "dropped": f"DROP TABLE {self.table}",
            "thinned": f"DELETE FROM {self.table} WHERE line > 20",
            "changed": f"UPDATE {self.table} SET session_status = 'x', replied = NULL WHERE line < 30",
            "more": f"UPDATE {self.table} SET row_key = 'nobody' WHERE line = 7",
        }
        with closing(self._server.connect()) as connection:
            connection.cursor().execute(statements[how])
            connection.commit()
        if how == "emptied":
            self.file.unlink()

    def close(self) -> None:
        """Remove the table."""
        with closing(self._server.connect()) as connection:
            connection.cursor().execute(f"DROP TABLE IF EXISTS {self.table}")
            connection.commit()


@pytest.fixture(scope="module")
def tasks() -> Iterator[Tasks]:
    started = Tasks("outcome_task.py")
    yield started
    started.close()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Emulator]:
    """A service of which the test knows what happens in it, and that has no limits."""
    with Emulator(seed=SEED) as emulator:
        emulator.behave("*", replies=[])
        emulator.switches.change({"whatsapp_window": "off", "queue_seconds": 0, "rate_limits": False})
        emulator.switches.recorded_requests = 200_000
        for name in ("ACCOUNT_LIMITS", "SEND_LIMITS"):
            monkeypatch.setattr(budget, name, (budget.Limit(10**6, 300, name),))
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection(emulator)))
        monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
        yield emulator


def connection(emulator: Emulator) -> dict[str, Any]:
    return {"conn_type": "wts", "host": emulator.url, "password": emulator.token}


def death(chance: random.Random, seconds: float) -> dict[str, Any]:
    point = chance.choice(("sometime", "sometime", "sometime", *POINTS))
    nth = chance.randrange(1, 4 if point != "request" else 12)
    return {"point": point, "seconds": chance.uniform(0, seconds), "nth": nth, "after": chance.random() < 0.5}


def changed_since(emulator: Emulator, ticks: int) -> int:
    # A session in which somebody wrote changed, too.
    since = emulator.clock.text(ticks)
    with emulator.state.lock:
        sessions = emulator.state.sessions.by_creation()
        return sum(one.updated >= ticks or (one["lastInteractionDate"] or "") >= since for one in sessions)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("kept", "detail", "kind"),
    [
        ("merge", "sessions", "sqlite"),
        ("merge", "sessions", "mariadb"),
        ("replace", "sessions", "sqlite"),
        ("replace", "sessions", "postgresql"),
        ("replace", "messages", "sqlite"),
    ],
)
def test_all_rows_are_what_the_service_knew(
    service: Emulator,
    tasks: Tasks,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kept: str,
    detail: str,
    kind: str,
) -> None:
    server = Server(kind, str(tmp_path))
    server.check()
    chance = random.Random(f"{SEED}:{kept}:{detail}:{kind}")
    # Each message is one request per pass.
    people = PEOPLE if detail == "sessions" else min(PEOPLE, 1000)
    service.switches.change({"session_metadata": kept, "messages_touch_session": chance.random() < 0.5})
    campaigns = Campaigns(service, chance, tmp_path, people)
    campaigns.send()
    given = {"campaign": campaigns.manifests, "detail": detail}
    settings = {"connection": connection(service), "parameters": given}
    follower = Follower(tasks, server, settings, tmp_path, service.clock.datetime)
    story = Story(service, campaigns, follower, chance, asked=detail == "messages")
    try:
        for number_of_pass in range(PASSES):
            story.day(kills=KILLS // PASSES + (number_of_pass < KILLS % PASSES))
        story.nothing_happens()
    except BaseException as failure:
        failure.add_note(f"WTS_CHAOS_SEED={SEED} WTS_CHAOS_OUTCOMES={PEOPLE} WTS_CHAOS_OUTCOME_KILLS={KILLS}")
        raise
    finally:
        follower.close()
    with capsys.disabled():
        sys.stdout.write(f"\n{kept}, {detail}, {kind}: seed {SEED}, {story.words()}\n")
    assert story.kills == KILLS


class Story:
    """Days on which things happen, each followed by passes, the last of which is whole."""

    def __init__(
        self, emulator: Emulator, campaigns: Campaigns, follower: Follower, chance: random.Random, *, asked: bool
    ) -> None:
        self._emulator = emulator
        self._campaigns = campaigns
        self._follower = follower
        self._chance = chance
        self._asked = asked
        self._history = History()
        self._seen_until = 0
        self.kills = self._passes = self._lists = self._lookups = self._rows = 0
        self._worst = 0.0

    def words(self) -> str:
        """Say what there was."""
        return (
            f"{self._rows} rows, {self._passes} whole passes, {self.kills} kills, {self._lists} lists and "
            f"{self._lookups} lookups; the longest pass took {self._worst:.1f} s"
        )

    def day(self, kills: int) -> None:
        """Let things happen, let passes be killed, and compare what a whole one writes."""
        self._happens(0.5)
        if self._passes and self._chance.random() < 0.7:
            self._follower.damage(self._chance.choice(("emptied", "dropped", "thinned", "changed", "more")))
        while kills:
            if self._chance.random() < 0.3:
                self._happens(0.05)
            # A pass that ends before it is killed is one more.
            was_killed = self._counted(lambda: self._follower.killed(death(self._chance, self._follower.seconds)))
            self.kills += was_killed
            kills -= was_killed
        self._whole()

    def nothing_happens(self) -> None:
        """Make one more pass: it changes nothing."""
        before = self._follower.in_table()
        self._emulator.advance(600)
        self._whole()
        for rows in (before, after := self._follower.in_table()):
            for row in rows.values():
                del row["observed_at"]
        assert before == after

    def _happens(self, share: float) -> None:
        self._emulator.advance(self._chance.randrange(600, 7200))
        self._campaigns.go_on(share)
        self._emulator.advance(30)
        since = self._emulator.clock.datetime()
        # What comes of it, such as that a message is read, comes in this time.
        self._emulator.advance(600)
        self._history.note(since, self._campaigns.truth())

    def _whole(self) -> None:
        result = self._counted(self._follower.whole)
        self._campaigns.seen()
        self._seen_until = self._emulator.clock.now()
        self._worst = max(self._worst, self._follower.seconds)
        self._passes += 1
        for name, rows in (("file", self._follower.in_file()), ("table", self._follower.in_table())):
            problems = list(self._history.problems(rows, asked=self._asked))
            assert not problems, f"{name}: {len(problems)} rows are wrong\n" + "\n".join(problems[:10])
            assert (result["rows"], result["final"]) == (len(rows), sum(row["final"] for row in rows.values()))
        self._rows = result["rows"]

    def _counted(self, run: Callable[[], Any]) -> Any:
        """Make a pass, and check that it asks no more than it may."""
        self._emulator.service.recorder.clear()
        # Four minutes are read again, for what shows late.
        changed = changed_since(self._emulator, self._seen_until - 250 * 10**7)
        answer = run()
        made = self._emulator.requests
        lists = sum(one.operation_id == LISTS and "ContactId" not in dict(one.query) for one in made)
        assert lists <= changed / 100 + 2
        self._lists += lists
        self._lookups += len(made) - lists
        if not self._asked:
            assert len(made) - lists <= MOST_LOOKUPS + 5
        return answer
