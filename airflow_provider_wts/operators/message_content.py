"""What a message consists of: rendered parameters become parts of a call, or a clear error. Nothing is sent here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.parameters import is_missing
from airflow_provider_wts.operators import parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk.types import Logger

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.messages import QuickContent, QuickSend
    from airflow_provider_wts.api.sends import DepartmentReference, SendOptions, SendTo, UserReference
    from airflow_provider_wts.sending.key import Mark

#: Seconds of "typing..." that the API takes at most.
MOST_TYPING = 25

#: Characters that WhatsApp shows of a text, and of the caption of a file. The API names no limit.
MOST_TEXT, MOST_CAPTION = 4096, 1024

# Meta refuses values of templates with a line break, a tab, or more than four spaces in a row.
_REFUSED_BLANKS = re.compile(r"\s*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*|\s{5,}")

#: Statuses of templates, as the contract has them, with which none may be sent.
_NOT_SENDABLE = frozenset(("draft", "disapproved", "inrevision", "paused", "disabled", "deleted"))

#: Files of templates. "UNDEFINED" is a template without one; no value leaves it open.
_MEDIA = frozenset(("image", "video", "document"))


class Envelope(NamedTuple):
    """Where a message goes, and how.

    :param to: recipient, as the API spells it; ``None`` for a message into a session.
    :param session_id: the session; ``None`` for a message to a recipient.
    :param channel: number or handle to send from; ``None`` leaves it to the platform or to the session.
    :param options: what happens to the session.
    :param sender_id: the caller's own id.
    :param callback_url: called when the message goes out or fails.
    :param bot_key: key of the bot that takes over when the contact answers.
    :param synchronous: whether to wait for the channel's answer.
    """

    to: str | None
    session_id: str | None
    channel: str | None
    options: SendOptions
    sender_id: Optional[str] = NOT_GIVEN
    callback_url: Optional[str] = NOT_GIVEN
    bot_key: str | None = None
    synchronous: bool = False

    @property
    def quick(self) -> bool:
        """Whether only the older quick sends can express this."""
        return self.synchronous or self.bot_key is not None

    @property
    def recipient(self) -> str:
        """What identifies the send beside its task."""
        return str(self.session_id or self.to)

    def send_to(self, mark: Mark, *, reply_to: Optional[str] = NOT_GIVEN, delay: Optional[int] = NOT_GIVEN) -> SendTo:
        """Return what a call of the send family says besides its content.

        :param mark: stands as ``senderId`` where the caller has no id of its own.
        :param reply_to: id of the message that is replied to.
        :param delay: seconds of "typing...".
        """
        common = {"callback_url": self.callback_url, "ref_id": reply_to, "delay_typing": delay}
        send = cast("SendTo", {**self.options, **common})
        send["sender_id"] = mark.key if self.sender_id is NOT_GIVEN else self.sender_id
        if self.session_id is not None:
            send["session_id"] = self.session_id
        else:
            send["to"] = self.to
        if self.channel is not None:
            send["from_"] = self.channel
        return send

    def quick_call(self, content: QuickContent) -> Call[Any]:
        """Return the call of the quick sends.

        :param content: what the message says.
        """
        from airflow_provider_wts.api import messages

        if self.session_id is not None:
            if self.synchronous:
                return messages.send_session_message_sync(self.session_id, **content)
            return messages.send_session_message(self.session_id, **content)
        send = cast("QuickSend", {**content, **self.options})
        if self.channel is not None:
            send["from_"] = self.channel
        if self.bot_key is not None:
            send["bot_key"] = self.bot_key
        if self.synchronous:
            return messages.send_message_sync(str(self.to), **send)
        return messages.send_message(str(self.to), **send)


def needed_text(name: str, value: Any) -> str:
    """Return the text of a message as it stands, blanks at its ends included.

    :param name: the parameter's name, for the error.
    :param value: the text.
    :raises WtsInvalidRequestError: when nothing is in it.
    """
    found = parameters.text(name, value)
    if not isinstance(found, str) or not found.strip():
        raise WtsInvalidRequestError(f"{name}: is empty. A good value is 'Olá! Sua fatura vence amanhã.'.")
    return found


def warn_if_long(log: Logger, name: str, value: object, most: int) -> None:
    """Warn about a text that is longer than WhatsApp shows.

    :param log: where the warning goes.
    :param name: the parameter's name.
    :param value: the text, or nothing.
    :param most: the most characters.
    """
    if isinstance(value, str) and len(value) > most:
        log.warning(
            "%s: has %s characters, and WhatsApp takes %s. WTS Chat names no limit, so it is sent as it is.",
            name,
            f"{len(value):,}",
            f"{most:,}",
        )


def delay_typing(value: Any) -> int | NotGiven | None:
    """Return the seconds of "typing...".

    :param value: a whole number from 0 to 25, or its text.
    :raises WtsInvalidRequestError: when it is something else.
    """
    return parameters.whole("delay_typing", value, least=0, most=MOST_TYPING)


def department(value: Any) -> DepartmentReference | NotGiven:
    """Return a department as sends name it; the API takes the name itself, so nothing is looked up.

    :param value: name or id.
    :raises WtsInvalidRequestError: when it is blank or no text.
    """
    from airflow_provider_wts.hooks.names import is_uuid

    found = parameters.named("department", value)
    if not isinstance(found, str):
        return NOT_GIVEN
    return {"id": found} if is_uuid(found) else {"name": found}


def user(value: Any, lookup: Callable[[str], str]) -> UserReference | NotGiven:
    """Return a user as sends name one: by id, e-mail address or phone number; a name is looked up.

    :param value: name, id, e-mail address or phone number.
    :param lookup: finds the id of a name.
    :raises WtsInvalidRequestError: when it is blank or no text.
    """
    from airflow_provider_wts.api.addresses import looks_like_number, number
    from airflow_provider_wts.hooks.names import is_uuid

    found = parameters.named("user", value)
    if not isinstance(found, str):
        return NOT_GIVEN
    if is_uuid(found):
        return {"id": found}
    if looks_like_number(found):
        return {"phoneNumber": number(found, name="user")}
    if "@" in found and " " not in found:
        return {"email": found}
    return {"id": lookup(found)}


def template_parameters(name: str, value: Any) -> dict[str, str] | NotGiven | None:
    """Return the values of a template's variables. The API takes text, so numbers become text.

    Meta refuses line breaks, tabs and more than four spaces in a row: each becomes one space.

    :param name: the parameter's name, for the error.
    :param value: values by the name of the variable, or the object as JSON text.
    :raises WtsInvalidRequestError: when it is no object, or a value is empty, or neither text nor a number.
    """
    good = """A good value is {"nome": "Maria", "valor": "149,90"}."""
    if value is NOT_GIVEN or value is None:
        return value
    if isinstance(value, str):
        if not value.strip():
            return NOT_GIVEN
        try:
            # Numbers stay as they are written: 149.90 must not become 149.9 in front of a customer.
            value = json.loads(value, parse_float=str)
        except (ValueError, RecursionError) as error:
            raise WtsInvalidRequestError(f"{name}: is no JSON: {error}. {good}") from None
    if not isinstance(value, Mapping):
        raise WtsInvalidRequestError(f"{name}: must be an object, not {type(value).__name__}. {good}")
    return {_variable(name, key): _filling(f"{name}[{key!r}]", one, good) for key, one in value.items()}


def check_sendable(template: Mapping[str, Any]) -> None:
    """Refuse a template that is known not to be approved. One whose status is unknown is sent.

    :param template: the template, as the list shows it.
    :raises WtsInvalidRequestError: when it is not approved.
    """
    status = template.get("status")
    if isinstance(status, str) and status.replace("_", "").lower() in _NOT_SENDABLE:
        raise WtsInvalidRequestError(
            f"template: {template.get('name')!r} is not approved, its status is {status!r}. Nothing was sent. Wait for "
            "its approval in WTS Chat, or send another template."
        )


def check_media(template: Mapping[str, Any], *, has_file: bool) -> None:
    """Refuse a template with media without its file, and a file on a template that has none.

    :param template: the template, as the list shows it.
    :param has_file: whether a file is given.
    :raises WtsInvalidRequestError: when it is one of both.
    """
    kind = str(template.get("fileType") or "").lower()
    if kind in _MEDIA and not has_file:
        raise WtsInvalidRequestError(
            f"file: template {template.get('name')!r} needs one of the kind {kind}. Nothing was sent. Example: "
            "'https://example.com/invoice.pdf'"
        )
    if kind == "undefined" and has_file:
        raise WtsInvalidRequestError(
            f"file: template {template.get('name')!r} is a text and takes none. Nothing was sent. Leave the file out."
        )


def check_template(template: Mapping[str, Any], given: Mapping[str, str | None] | NotGiven | None) -> None:
    """Refuse parameters that do not fit a template.

    :param template: the template, as the list shows it.
    :param given: values by the name of the variable.
    :raises WtsInvalidRequestError: when a variable has no value, or there is no such variable.
    """
    listed = template.get("params")
    known = [str(one["name"]) for one in listed or () if isinstance(one, Mapping) and one.get("name")]
    if not isinstance(listed, list) or (not known and "{{" in str(template.get("text") or "")):
        # The list does not tell the variables.
        return
    values_ = given or {}
    # A variable that is given as null has no value.
    absent = [name for name in known if values_.get(name) is None]
    extra = [name for name in values_ if name not in known]
    if not absent and not extra:
        return
    what = [f"{' and '.join(map(repr, absent))} missing"] if absent else []
    what += [f"{' and '.join(map(repr, extra))} unknown"] if extra else []
    takes = f"It takes {', '.join(map(repr, known))}" if known else "It takes no parameters"
    raise WtsInvalidRequestError(f"parameters: template {template.get('name')!r}: {', '.join(what)}. {takes}.")


def filled_template(template: Mapping[str, Any], given: Mapping[str, str | None] | NotGiven | None) -> str:
    """Return the text of a template with its variables filled in, for the log.

    :param template: the template, as the list shows it.
    :param given: values by the name of the variable.
    """
    text = str(template.get("text") or "")
    for name, value in (given or {}).items():
        text = text.replace("{{" + name + "}}", str(value))
    return text


def _variable(name: str, key: Any) -> str:
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise WtsInvalidRequestError(f"{name}: the key {key!r} is no name of a variable.")
    return str(key)


def _filling(name: str, value: Any, good: str) -> str:
    if is_missing(value):
        raise WtsInvalidRequestError(f"{name}: has no value, which Meta refuses. Nothing was sent. {good}")
    if isinstance(value, str):
        return _REFUSED_BLANKS.sub(" ", value.strip())
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return str(value)
    hint = " Write it as text, in a row with '| as_br'." if isinstance(value, date) else ""
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}.{hint} {good}")
