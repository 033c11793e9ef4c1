"""Files of exported conversations: JSON Lines, or Parquet with typed columns."""

from __future__ import annotations

import io
import json
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_provider_wts.api.call import moment
from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow.sdk import ObjectStoragePath

_LOCAL = ("", "file", "local")

# What the contract says of sessions and messages. The columns stay the same whatever an answer holds, so that all
# files of a table fit together; what the contract does not know stands in the column "other".
_SESSION_TEXTS = (
    *("id", "status", "statusDescription", "companyId", "contactId", "channelId", "departmentId", "userId", "botId"),
    *("title", "number", "origin", "type", "channelType", "windowStatus", "previewUrl"),
    *("lastMessageText", "timeService", "timeWait"),
)
_SESSION_MOMENTS = (
    *("createdAt", "updatedAt", "startAt", "endAt", "firstResponseAt"),
    *("lastInteractionDate", "lastMessageOut", "lastMessageIn"),
)
_SESSION_OBJECTS = (
    *("contactDetails", "agentDetails", "channelDetails", "departmentDetails", "classification", "utm", "metadata"),
)
_MESSAGE_TEXTS = (
    *("id", "type", "direction", "status", "origin", "senderId", "templateId", "userId", "refId", "text", "fileId"),
    "failedReason",
)
_MESSAGE_MOMENTS = ("createdAt", "updatedAt", "timestamp", "readContactAt")
_MESSAGE_OBJECTS = ("details", "filesIds")

#: What a column of whole numbers holds.
_LARGEST = 2**63


def write_rows(path: ObjectStoragePath, rows: Sequence[Mapping[str, Any]], file_format: str) -> None:
    """Write rows to a file; it is there when it is complete.

    :param path: the file.
    :param rows: sessions with their messages.
    :param file_format: ``jsonl`` or ``parquet``.
    """
    content = _parquet_file(rows) if file_format == "parquet" else b"".join(line(row) for row in rows)
    write_whole(path, content)


def write_whole(path: ObjectStoragePath, content: bytes) -> None:
    """Write a file: on a local disk through a rename, in an object store in one request.

    :param path: the file.
    :param content: its content.
    """
    local = path.protocol in _LOCAL
    if local:
        # Object stores have no folders, and some would take this for the order to make a bucket.
        path.parent.mkdir(parents=True, exist_ok=True)
    target = path.with_name(f"{path.name}.new") if local else path
    with cast("IO[bytes]", target.open("wb")) as file:  # type: ignore[no-untyped-call]
        file.write(content)
    if local:
        target.replace(path)


def read_rows(path: ObjectStoragePath) -> list[dict[str, Any]]:
    """Read a JSON Lines file.

    :param path: the file.
    """
    with cast("IO[bytes]", path.open("rb")) as file:  # type: ignore[no-untyped-call]
        return [json.loads(row) for row in file.read().splitlines()]


def line(row: Mapping[str, Any]) -> bytes:
    """Return an object as one line of JSON.

    :param row: the object.
    """
    # ASCII with escapes: no reader can take it for another encoding, or a character inside for a line's end.
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def need_parquet() -> None:
    """Say at once where Parquet files cannot be written.

    :raises WtsInvalidRequestError: when pyarrow is not installed.
    """
    _parquet()


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise WtsInvalidRequestError(
            "file_format: 'parquet' needs pyarrow, which is not installed. Install the extra: pip install "
            "'airflow-provider-wts[parquet]', or write 'jsonl'."
        ) from None
    return parquet


def _parquet_file(rows: Sequence[Mapping[str, Any]]) -> bytes:
    parquet = _parquet()
    import pyarrow

    at = pyarrow.timestamp("us", tz="UTC")
    text = pyarrow.string()

    def fields(texts: Sequence[str], moments: Sequence[str], objects: Sequence[str]) -> list[Any]:
        kinds = [(texts, text), (moments, at), ((*objects, "other"), text)]
        return [pyarrow.field(name, kind) for names, kind in kinds for name in names]

    message = pyarrow.struct(fields(_MESSAGE_TEXTS, _MESSAGE_MOMENTS, _MESSAGE_OBJECTS))
    schema = pyarrow.schema(
        [
            *fields(_SESSION_TEXTS, _SESSION_MOMENTS, _SESSION_OBJECTS),
            pyarrow.field("unreadCount", pyarrow.int64()),
            pyarrow.field("messages", pyarrow.list_(message)),
        ]
    )
    table = pyarrow.Table.from_pylist([_session(row) for row in rows], schema=schema)
    content = io.BytesIO()
    parquet.write_table(table, content, compression="zstd")
    return content.getvalue()


def _session(row: Mapping[str, Any]) -> dict[str, Any]:
    count = row.get("unreadCount")
    fits = type(count) is int and -_LARGEST <= count < _LARGEST
    rest = {name: value for name, value in row.items() if name != "messages" and (name != "unreadCount" or not fits)}
    return {
        **_columns(rest, _SESSION_TEXTS, _SESSION_MOMENTS, _SESSION_OBJECTS),
        "unreadCount": count if fits else None,
        "messages": [
            _columns(message, _MESSAGE_TEXTS, _MESSAGE_MOMENTS, _MESSAGE_OBJECTS)
            for message in row.get("messages") or ()
        ],
    }


def _columns(
    row: Mapping[str, Any], texts: Sequence[str], moments: Sequence[str], objects: Sequence[str]
) -> dict[str, Any]:
    other = {name: value for name, value in row.items() if name not in (*texts, *moments, *objects)}
    return {
        **{name: None if row.get(name) is None else str(row[name]) for name in texts},
        **{name: _moment(row.get(name)) for name in moments},
        **{name: None if row.get(name) is None else json.dumps(row[name], ensure_ascii=False) for name in objects},
        "other": json.dumps(other, ensure_ascii=False) if other else None,
    }


def _moment(value: Any) -> datetime | None:
    found = moment(value) if value else None
    return found if found is not None and found.year < 9999 else None
