"""The file of a message: an address, an id, or a file that has to be uploaded first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators import parameters

if TYPE_CHECKING:
    from airflow_provider_wts.api.call import Call, Optional
    from airflow_provider_wts.api.messages import QuickContent
    from airflow_provider_wts.api.sends import SendTo
    from airflow_provider_wts.hooks.wts import WtsHook

KINDS = ("image", "audio", "video", "document")

_EXAMPLE = "A good value is 'https://example.com/invoice.pdf', or 's3://aws_default@bucket/invoices/118.pdf'."

#: What stands in a request that is only shown, for a file that is only uploaded when it is sent.
NOT_UPLOADED = "(id of the file, which is uploaded when it is sent)"


class OutgoingFile:
    """A file as the user named it. One that has to be uploaded is uploaded right before the message goes out.

    Not sooner: a later try that finds its message sent needs no file, which may be gone by then.

    :param hook: the hook of the task's connection.
    :param value: public address, id, local path, or any other address that ``ObjectStoragePath`` takes.
    :param parameter: the parameter's name, for errors.
    :param name: name under which it is uploaded.
    :param mime_type: its MIME type, where it is known.
    :param check: whether to look at once if there is such a file.
    :raises WtsInvalidRequestError: when nothing is given, or the check finds no such file.
    """

    def __init__(
        self,
        hook: WtsHook,
        value: Any,
        *,
        parameter: str = "file",
        name: Any = None,
        mime_type: Any = None,
        check: bool = True,
    ) -> None:
        from airflow_provider_wts.hooks.names import is_uuid

        given = parameters.text(parameter, value)
        if not isinstance(given, str) or not given.strip():
            raise WtsInvalidRequestError(f"{parameter}: is empty. {_EXAMPLE}")
        self._hook = hook
        self._parameter = parameter
        self._name = parameters.filter_text("file_name", name) or None
        self._mime_type = parameters.filter_text("mime_type", mime_type) or None
        self._kind: str | None = None
        self._uploaded: str | None = None
        self.given = given.strip()
        self.is_address = self.given.lower().startswith(("http://", "https://"))
        if self.is_address:
            self.given = encoded_address(self.given)
        self.is_local = not self.is_address and not is_uuid(self.given)
        if self.is_local and check:
            from airflow_provider_wts.hooks.files import Source

            Source.of(self.given, parameter=parameter)

    def kind(self, given: Any) -> str:
        """Return what the file is sent as.

        :param given: one of :data:`KINDS`, or nothing: then the name tells.
        :raises WtsInvalidRequestError: when it is none of them, or nothing tells.
        """
        chosen = parameters.filter_choice("kind", given, KINDS)
        self._kind = chosen if isinstance(chosen, str) else self._told_kind()
        return self._kind

    def upload(self) -> None:
        """Upload the file where it has to be.

        :raises WtsInvalidRequestError: when there is no such file.
        """
        if self.is_local and self._uploaded is None:
            saved = self._hook.upload(
                self.given,
                file_type=self._uploaded_as(),
                name=self._name,
                mime_type=self._mime_type,
                parameter=self._parameter,
            )
            from airflow_provider_wts.api.answers import required

            self._uploaded = str(required(saved, "id", "save_file"))

    @property
    def reference(self) -> str:
        """The address or id by which the API knows the file, once it is uploaded."""
        return (self._uploaded or NOT_UPLOADED) if self.is_local else self.given

    def put_into(self, content: QuickContent) -> None:
        """Name the file in the content of a quick send.

        :param content: the content.
        """
        if self.is_address:
            content["file_url"] = self.given
        else:
            content["file_id"] = self.reference

    def _told_kind(self) -> str:
        from airflow_provider_wts.hooks.files import file_type_of

        told = self._told_type()
        if told is None and not self.is_local:
            what = "this address" if self.is_address else "an id"
            raise WtsInvalidRequestError(
                f"kind: {what} does not tell it. Good values are {', '.join(map(repr, KINDS))}."
            )
        kind = file_type_of(told).lower()
        return kind if kind in KINDS else "document"

    def _told_type(self) -> str | None:
        from airflow_provider_wts.hooks.files import mime_type_of

        if self._mime_type or (not self.is_address and not self.is_local):
            return self._mime_type
        return mime_type_of(self._name or (urlsplit(self.given).path if self.is_address else self.given))

    def _uploaded_as(self) -> str | None:
        """Return the type of an upload: the platform transforms images and videos, and leaves documents alone."""
        from airflow_provider_wts.hooks.files import file_type_of

        told = file_type_of(self._told_type())
        if self._kind == "document":
            return "DOCUMENT" if told in ("IMAGE", "AUDIO", "VIDEO") else told
        return self._kind.upper() if self._kind else None


def encoded_address(address: str) -> str:
    """Return an address as it travels: blanks and accents percent-encoded, and what is encoded already left alone.

    :param address: a public http(s) address, as people copy it.
    :raises WtsInvalidRequestError: when it has no host.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        ascii_host = ""
    if not ascii_host or any(character.isspace() for character in parts.netloc):
        raise WtsInvalidRequestError(f"file: {address!r} is not a valid address. {_EXAMPLE}")
    netloc = parts.netloc.replace(host, ascii_host) if host != ascii_host else parts.netloc
    encoded = (_encoded(part) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, netloc, *encoded))


def _encoded(part: str) -> str:
    # A percent sign that begins no code is one itself.
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", part), safe="%!$&'()*+,/:;=?@[]~")


def media_call(kind: str, reference: str, text: Optional[str], send: SendTo) -> Call[Any]:
    """Return the call of the send family for a file.

    :param kind: one of :data:`KINDS`.
    :param reference: address or id.
    :param text: caption.
    :param send: where it goes, and how.
    """
    from airflow_provider_wts.api import sends

    if kind == "audio":
        return sends.send_audio(reference, **send)
    call = {"image": sends.send_image, "video": sends.send_video, "document": sends.send_document}[kind]
    return call(reference, text=text, **send)
