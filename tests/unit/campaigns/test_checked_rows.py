"""A later try goes on with the rows that an earlier one checked, unless anything about them may have changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException
from campaign_tries import Killed

from airflow_provider_wts.campaigns.recipients import RowPlan
from airflow_provider_wts.campaigns.run import Campaign
from airflow_provider_wts.operators import campaign as campaign_module
from airflow_provider_wts.operators.message import WtsSendTemplateBatchOperator, WtsSendTextBatchOperator
from airflow_provider_wts.sending.rules import HeldBack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tries import Task

    from airflow_provider_wts.emulator.running import Emulator

#: Recipients in the file, and those of them who got the text before the first try was killed.
COUNT, BEFORE = 60, 46

#: Rows of the file: the recipients, one twice, and one without a number.
ROWS = COUNT + 2


def number(index: int) -> str:
    return f"+55119{10_000_000 + index:08d}"


class Tries:
    """Tries of a campaign of texts to the recipients in a file."""

    def __init__(self, emulator: Emulator, task: Task, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.emulator, self.task, self.folder, self.patch = emulator, task, folder, patch
        self.results = folder / "results.jsonl"
        self.kept = folder / "results.jsonl.checked"
        self.recipients = folder / "recipients.csv"
        self.write([*map(number, range(COUNT)), number(0), "nobody"])
        #: What the DAG brings along for templates.
        self.code: dict[str, Any] = {}
        self.params: dict[str, Any] = {}
        #: Rows that the last try checked.
        self.checked = 0
        self._chunks_left: int | None = None
        self._end: BaseException = Killed()
        permit, recipient = Campaign.permit, RowPlan.recipient

        def dying(campaign: Campaign) -> None:
            if self._chunks_left is not None:
                if not self._chunks_left:
                    raise self._end
                self._chunks_left -= 1
            permit(campaign)

        def counted(plan: RowPlan, row: Any) -> Any:
            self.checked += 1
            return recipient(plan, row)

        patch.setattr(Campaign, "permit", dying)
        patch.setattr(RowPlan, "recipient", counted)

    def write(self, numbers: list[str]) -> None:
        self.recipients.write_text("\n".join(["phone,name", *(f"{one},Customer {one[-4:]}" for one in numbers)]))

    def run(self, cls: Any = WtsSendTextBatchOperator, **parameters: Any) -> dict[str, Any]:
        self.checked = 0
        texts = {"row_text": "Olá {{ row.name }}!", "parallelism": 1} if cls is WtsSendTextBatchOperator else {}
        given = {
            "recipients_path": str(self.recipients),
            "row_to": "{{ row.phone }}",
            "results_path": str(self.results),
            "on_bad_row": "skip",
            "chunk_size": 2,
            **texts,
            **parameters,
        }
        dag = DAG("campaign", schedule=None, **self.code) if self.code else None
        operator = cls(task_id="send", dag=dag, **{name: one for name, one in given.items() if one is not None})
        return dict(operator.execute({**self.task.next_try(), "params": self.params}))

    def killed(self, chunks: int = BEFORE // 2, **parameters: Any) -> None:
        self._chunks_left = chunks
        with pytest.raises(Killed):
            self.run(**parameters)
        self._chunks_left = None

    def stopped(self, chunks: int = BEFORE // 2, **parameters: Any) -> dict[str, Any]:
        """Run a try that a person stops, and clear the task."""
        self._chunks_left, self._end = chunks, HeldBack("somebody stopped it")
        counts = self.run(**parameters)
        self._chunks_left, self._end = None, Killed()
        self.task.clear()
        return counts

    def received(self, count: int = COUNT) -> list[int]:
        self.emulator.advance(2)
        return [len(self.emulator.received(number(index))) for index in range(count)]

    def texts(self, index: int) -> list[str | None]:
        self.emulator.advance(2)
        return [one.text for one in self.emulator.received(number(index))]

    def statuses(self) -> dict[int, str]:
        return {line["line"]: line["status"] for line in map(json.loads, self.results.read_text().splitlines())}


@pytest.fixture
def tries(wts_connection: Emulator, make_task: type[Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tries:
    wts_connection.behave("*", replies=[])
    wts_connection.switches.change({"whatsapp_window": "off", "rate_limits": False})
    monkeypatch.setenv("AIRFLOW__WTS__LEDGER_PATH", f"file://{tmp_path}/ledger")
    return Tries(wts_connection, make_task(), tmp_path, monkeypatch)


# Nothing has changed --------------------------------------------------------------------------------------------------


def test_a_later_try_checks_no_row_again(tries: Tries) -> None:
    tries.killed()
    assert tries.checked == ROWS
    counts = tries.run()
    assert tries.checked == 0
    assert (counts["sent"], counts["bad_rows"], counts["duplicates"]) == (COUNT, 1, 1)
    assert tries.received() == [1] * COUNT
    first = range(2, COUNT + 2)
    assert tries.statuses() == {**dict.fromkeys(first, "sent"), COUNT + 2: "duplicate", COUNT + 3: "bad_row"}


def test_a_later_try_checks_no_row_of_a_query_again(tries: Tries, database: Any) -> None:
    rows = ", ".join(f"('{number(index)}', 'Ana')" for index in range(COUNT))
    database.write(
        "CREATE TABLE TABLE_NAME (phone VARCHAR(20), name VARCHAR(20))", f"INSERT INTO TABLE_NAME VALUES {rows}"
    )
    query = {"recipients_sql": f"SELECT * FROM {database.table} ORDER BY phone", "recipients_conn_id": "wts_db"}
    tries.killed(recipients_path=None, **query)
    assert tries.checked == COUNT
    assert tries.run(recipients_path=None, **query)["sent"] == COUNT
    assert tries.checked == 0
    assert tries.received() == [1] * COUNT


def test_rows_in_an_object_store_are_gone_on_with(tries: Tries, object_store: Any) -> None:
    # A folder of its own: the store in memory is shared by all tests of the process.
    address = f"memory://{tries.folder.name}/results.jsonl"
    tries.killed(results_path=address)
    assert object_store.isfile(f"/{tries.folder.name}/results.jsonl.checked")
    assert tries.run(results_path=address)["sent"] == COUNT
    assert tries.checked == 0
    assert tries.received() == [1] * COUNT
    assert sorted(name.rpartition("/")[2] for name in object_store.ls(f"/{tries.folder.name}", detail=False)) == [
        "results.jsonl",
        "results.jsonl.manifest.json",
    ]


def test_who_is_left_gets_the_message_as_the_first_try_wrote_it(tries: Tries) -> None:
    tries.code = {"user_defined_macros": {"now": lambda: "first"}}
    tries.killed(row_text="{{ now() }}")
    tries.code = {"user_defined_macros": {"now": lambda: "second"}}
    tries.run(row_text="{{ now() }}")
    assert tries.texts(0) == tries.texts(COUNT - 1) == ["first"]


def test_the_rows_are_there_before_the_first_request_and_gone_at_the_end(tries: Tries) -> None:
    tries.killed(0)
    assert tries.received() == [0] * COUNT
    assert tries.kept.is_file()
    (partial,) = tries.folder.glob("results.jsonl.*.part") or [tries.recipients]
    assert tries.kept.stat().st_mode == partial.stat().st_mode
    tries.run()
    assert not tries.kept.exists()
    assert tries.received() == [1] * COUNT


def test_a_clear_after_a_kill_goes_on_with_the_rows(tries: Tries) -> None:
    tries.killed()
    tries.task.clear()
    assert tries.run()["sent"] == COUNT
    assert tries.checked == 0
    assert tries.received() == [1] * COUNT


def test_a_clear_after_a_stop_goes_on_with_the_rows(tries: Tries) -> None:
    for chunks in (5, 6):
        tries.stopped(chunks)
        assert tries.kept.is_file()
    assert tries.run()["sent"] == COUNT
    assert tries.checked == 0
    assert tries.received() == [1] * COUNT
    assert not tries.kept.exists()


def test_a_campaign_that_is_killed_again_and_again_checks_once(tries: Tries) -> None:
    tries.killed(5)
    for _ in range(4):
        tries.killed(5)
        assert tries.checked == 0
    assert tries.run()["sent"] == COUNT
    assert tries.received() == [1] * COUNT


# Something has changed ------------------------------------------------------------------------------------------------


def _more(tries: Tries) -> dict[str, Any]:
    tries.write([*map(number, range(COUNT)), number(0), "nobody", number(COUNT)])
    return {}


def _earlier(tries: Tries) -> dict[str, Any]:
    tries.write([*map(number, reversed(range(COUNT + 1)))])
    return {}


def _connection(tries: Tries) -> dict[str, Any]:
    connection = {"conn_type": "wts", "host": tries.emulator.url, "password": tries.emulator.token}
    allowed = ",".join(map(number, range(COUNT)))
    connection["extra"] = {"allowed_recipients": allowed}  # type: ignore[assignment]
    tries.patch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))
    return {}


def _version(tries: Tries) -> dict[str, Any]:
    tries.patch.setattr(campaign_module, "__version__", "99")
    return {}


def _params(tries: Tries) -> dict[str, Any]:
    tries.params = {"greeting": "Oi"}
    return {}


def _copy(tries: Tries) -> dict[str, Any]:
    copy = tries.folder / "copy.csv"
    copy.write_bytes(tries.recipients.read_bytes())
    return {"recipients_path": str(copy)}


CHANGES = {
    "a row more": _more,
    "another order and a row more": _earlier,
    "another file": _copy,
    "a template": lambda tries: {"row_text": "Oi {{ row.name }}!"},
    "a key": lambda tries: {"row_key": "{{ row.phone }}"},
    "the encoding": lambda tries: {"recipients_encoding": "latin-1"},
    "the connection": _connection,
    "the version": _version,
    "the params": _params,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_try_that_finds_a_change_checks_all_rows(tries: Tries, change: Callable[[Tries], dict[str, Any]]) -> None:
    tries.killed()
    counts = tries.run(**change(tries))
    assert tries.checked >= COUNT
    everybody = COUNT + (change in (_more, _earlier))
    assert counts["sent"] == everybody
    assert tries.received(everybody) == [1] * everybody
    assert not tries.kept.exists()


def test_a_file_that_changes_between_a_stop_and_a_clear_is_checked(tries: Tries) -> None:
    assert tries.stopped()["sent"] == BEFORE
    _more(tries)
    assert tries.run()["sent"] == COUNT + 1
    assert tries.checked == ROWS + 1
    assert tries.received(COUNT + 1) == [1] * (COUNT + 1)
    assert not tries.kept.exists()


def test_a_file_that_is_refused_after_a_stop_and_then_restored_goes_on_with_the_rows(tries: Tries) -> None:
    tries.stopped()
    before = tries.recipients.read_bytes()
    tries.write([*map(number, range(COUNT)), "nobody else"])
    with pytest.raises(AirflowFailException, match=r"1 of 61 rows are bad\. Nothing more was sent"):
        tries.run(on_bad_row="fail")
    assert list(tries.statuses().values()).count("sent") == BEFORE
    tries.task.clear()
    tries.recipients.write_bytes(before)
    assert tries.run()["sent"] == COUNT
    assert tries.checked == 0
    assert tries.received() == [1] * COUNT


def test_what_a_changed_try_checked_is_gone_on_with(tries: Tries) -> None:
    tries.killed(10)
    _more(tries)
    tries.killed(10)
    assert tries.checked == ROWS + 1
    assert tries.run()["sent"] == COUNT + 1
    assert tries.checked == 0
    assert tries.received(COUNT + 1) == [1] * (COUNT + 1)


def test_a_changed_template_goes_to_those_who_are_left(tries: Tries) -> None:
    tries.killed()
    tries.run(row_text="Oi {{ row.name }}!")
    assert tries.texts(0) == ["Olá Customer 0000!"]
    assert tries.texts(COUNT - 1) == [f"Oi Customer 00{COUNT - 1}!"]


def test_a_template_that_has_another_variable_now_is_checked_with_all_rows(tries: Tries) -> None:
    given = {"cls": WtsSendTemplateBatchOperator, "template": "saudacao", "channel": "WhatsApp principal"}
    given |= {"row_parameters": {"nome": "{{ row.name }}"}, "row_text": None}
    tries.killed(5, **given)
    tries.killed(5, **given)
    assert tries.checked == 0
    template = next(one for one in tries.emulator.state.templates.by_creation() if one["name"] == "saudacao")
    template["params"] = [*template["params"], {**template["params"][0], "name": "valor"}]
    with pytest.raises(AirflowFailException, match="'valor' missing"):
        tries.run(**{**given, "on_bad_row": "fail"})


def test_code_of_the_dag_may_have_been_fixed_before_a_clear(tries: Tries) -> None:
    given = {"row_text": "{{ row.name | shout }}"}
    tries.code = {"user_defined_filters": {"shout": str.upper}}
    tries.killed(**given)
    tries.killed(1, **given)
    assert tries.checked == 0
    tries.task.clear()
    tries.code = {"user_defined_filters": {"shout": str.lower}}
    tries.run(**given)
    assert tries.checked == ROWS
    assert tries.texts(COUNT - 1) == [f"customer 00{COUNT - 1}"]
    assert tries.received() == [1] * COUNT


def test_a_clear_that_sends_again_checks_again(tries: Tries) -> None:
    tries.killed()
    tries.task.clear()
    assert tries.run(on_clear="resend")["sent"] == COUNT
    assert tries.checked == ROWS
    assert tries.received() == [2] * BEFORE + [1] * (COUNT - BEFORE)


# The file is not what was written -------------------------------------------------------------------------------------


def _replace(file: Path) -> None:
    """Put the rows of another campaign there."""
    file.write_text(f'[2, "+55|11{"9" * 9}", {{"text": "Oi"}}, ""]\n')


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "missing": lambda file: file.unlink(),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "a row less": lambda file: file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1])),
    "a letter changed": lambda file: file.write_text(file.read_text().replace("Customer 0059", "Customer 0058")),
    "empty": lambda file: file.write_text(""),
    "of another campaign": _replace,
    "a folder": _folder,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_is_not_what_was_written_is_not_used(
    tries: Tries, damage: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    tries.killed()
    damage(tries.kept)
    caplog.set_level("INFO")
    assert tries.run()["sent"] == COUNT
    assert tries.checked == ROWS
    assert "so all rows are checked again" in caplog.text
    assert tries.received() == [1] * COUNT
    assert tries.texts(COUNT - 1) == [f"Olá Customer 00{COUNT - 1}!"]


def test_a_snapshot_that_is_not_what_was_written_is_refused_all_the_same(tries: Tries, database: Any) -> None:
    rows = ", ".join(f"('{number(index)}', 'Ana')" for index in range(COUNT))
    database.write(
        "CREATE TABLE TABLE_NAME (phone VARCHAR(20), name VARCHAR(20))", f"INSERT INTO TABLE_NAME VALUES {rows}"
    )
    query = {
        "recipients_sql": f"SELECT * FROM {database.table}",
        "recipients_conn_id": "wts_db",
        "recipients_path": None,
    }
    tries.killed(**query)
    (snapshot,) = tries.folder.glob("results.jsonl.*.recipients.jsonl")
    snapshot.write_text(snapshot.read_text().replace("Ana", "Bia"))
    with pytest.raises(AirflowFailException, match="has changed"):
        tries.run(**query)
    snapshot.unlink()
    with pytest.raises(AirflowFailException, match="is missing"):
        tries.run(**query)


# Nothing is kept ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [{"results_path": None}, {"recipients_path": None, "recipients": [{"phone": number(1), "name": "Ana"}] * ROWS}],
    ids=["no results", "a list"],
)
def test_without_a_file_of_recipients_or_of_results_each_try_checks(tries: Tries, given: dict[str, Any]) -> None:
    tries.killed(0, **given)
    assert not tries.kept.exists()
    tries.run(**given)
    assert tries.checked == ROWS


def test_rows_that_cannot_be_kept_do_not_stop_a_campaign(tries: Tries, caplog: pytest.LogCaptureFixture) -> None:
    tries.kept.mkdir()
    tries.killed()
    assert "could not be stored" in caplog.text
    assert tries.run()["sent"] == COUNT
    assert tries.received() == [1] * COUNT


def test_a_dry_run_and_refused_rows_leave_nothing_behind(tries: Tries) -> None:
    tries.run(dry_run=True)
    assert not tries.kept.exists()
    with pytest.raises(AirflowFailException, match=f"1 of {ROWS} rows are bad"):
        tries.run(on_bad_row="fail")
    assert not tries.kept.exists()
