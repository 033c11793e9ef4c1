"""Files: the three steps of an upload, and what a message shows of its file."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_wts.emulator.answers import Request, answer, handles
from airflow_provider_wts.emulator.clock import TICKS
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account

UPLOADS = "/_upload/"
"""The path that the content of a file is uploaded to; the real service uses storage on another host."""


@handles("get_file_upload_url")
def _upload_url(request: Request) -> dict[str, Any]:
    account, query = request.account, request.query
    name = query["Name"]
    values = {
        "name": name,
        "type": query["Type"],
        "mimeType": query.get("MimeType") or _mime_type(name),
        "expires": account.clock.now() + int(account.switches.upload_seconds * TICKS),
    }
    upload = account.new(account.uploads, values)
    return {"tempFileId": upload.id, "urlUpload": f"{account.address}{UPLOADS}{upload.id}?signature=emulated"}


@handles("save_file")
def _save(request: Request) -> dict[str, Any]:
    account = request.account
    upload = account.uploads.need(request.body["tempFileId"])
    if upload["content"] is None:
        raise Refusal("FORM_ERROR", "O conteúdo do arquivo não foi enviado.")
    file = account.files.find(upload["fileId"])
    if file is None:
        file = account.new(account.files, file_values(upload["name"], upload["content"], upload["mimeType"]))
        if upload["type"] != "UNDEFINED":
            file["type"] = upload["type"]
        upload["fileId"] = file.id
    return answer(request, file, key=f"{account.id}/{file.id}{file['extension']}")


def file_values(name: str, content: bytes, mime_type: str | None = None) -> dict[str, Any]:
    """Return the properties of a file."""
    mime_type = mime_type or _mime_type(name)
    kind = _kind(mime_type)
    return {
        "name": name,
        "extension": PurePosixPath(name).suffix.lower(),
        "mimeType": mime_type,
        "type": "DOCUMENT" if kind == "UNDEFINED" else kind,
        "size": len(content),
        "content": content,
    }


def take_upload(account: Account, identifier: str, content: bytes, *, authorized: bool) -> tuple[int, str]:
    """Take the content of a file, as the storage of the real service does; return status and text.

    :param authorized: whether the request carried ``Authorization``, which the storage refuses.
    """
    if authorized:
        account.violation("The token was sent to the upload URL; that host is not the API's.")
        return 400, "Only one auth mechanism allowed"
    upload = account.uploads.find(identifier)
    if upload is None:
        return 404, "NoSuchKey"
    if account.clock.now() > upload["expires"]:
        return 403, "Request has expired"
    upload["content"] = content
    return 200, ""


def message_files(account: Account, references: Iterable[str]) -> list[dict[str, Any]]:
    """Return the files of a message by their IDs or public URLs."""
    return [_message_file(account, reference) for reference in references]


def message_file(account: Account, reference: str | None) -> dict[str, Any] | None:
    """Return the file of a message by its ID or public URL, if it has one."""
    return _message_file(account, reference) if reference else None


def message_type(files: Sequence[Mapping[str, Any]]) -> str:
    """Return the type of a message by its files."""
    if not files:
        return "TEXT"
    kind = str(files[0]["type"])
    return kind if kind in ("IMAGE", "AUDIO", "VIDEO") else "DOCUMENT"


def _message_file(account: Account, reference: str) -> dict[str, Any]:
    if reference.lower().startswith(("http://", "https://")):
        name = PurePosixPath(urlsplit(reference).path).name or "file"
        file, identifier, url = file_values(name, b""), account.new_id(), reference
    else:
        kept = account.files.need(reference)
        file, identifier, url = kept.values, kept.id, f"{account.address}/_files/{kept.id}"
    return {
        **{name: file[name] for name in ("name", "extension", "mimeType", "size")},
        "id": identifier,
        "companyId": account.id,
        "userId": None,
        "type": _kind(file["mimeType"]),
        "publicUrl": url,
        "publicUrlDownload": url,
        "isThumbnail": False,
    }


def _mime_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _kind(mime: str) -> str:
    group, _, name = mime.partition("/")
    if group in ("image", "audio", "video"):
        return group.upper()
    if name == "pdf":
        return "PDF"
    if "excel" in name or "spreadsheet" in name:
        return "EXCEL"
    return "WORD" if "word" in name else "UNDEFINED"
