"""What the documentation of WTS Chat leaves open, as switches: each selects one reading, and its default is a guess.

A client is correct if it works under every reading. ``Switches`` also holds the sizes and delays of the real service
that are not documented.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal


@dataclass
class Switches:
    """The readings an emulator follows; change an attribute at any time.

    :param skipped_send: what ``send_chatbot`` answers when an option makes it skip: ``session`` = 200 with the session
        as it is, ``empty`` = 200 with ``{}``, ``null`` = 200 with ``null``, ``refuse`` = 500 with an envelope.
    :param skipped_queued_status: the status that a queued chatbot gets when it is skipped.
    :param statuses_in_progress: the session statuses that ``skipIfInProgress`` counts.
    :param skip_beats_force: whether ``skipIfInProgress`` wins if ``forceStartSession`` is true as well.
    :param unsuitable_bot: starting a bot that is reactive, archived, unpublished or not for the API.
    :param opened_session_status: the status of a session that a send opens.
    :param answered_session_status: the status of a session after the contact's first message.
    :param reactivated_session_status: the status of a completed session that the contact's message reopens.
    :param session_metadata: whether the session metadata of a send is merged into the existing one, or replaces it.
    :param contact_metadata_of_send: the same for the contact metadata of a bot send.
    :param bot_id_after_run: whether a session's ``botId`` is cleared or kept when the bot ends.
    :param unasked_statuses: which sessions ``list_sessions`` returns if no status is asked for: all, or only those that
        are neither hidden nor completed.
    :param session_change_date: whether what a send does to a session moves its ``updatedAt``.
    :param ninth_digit: whether a send to a Brazilian mobile number reaches the contact that is stored with or without
        the ninth digit; ``get_contact_by_phone`` compares exactly in either case.
    :param metadata_in_session_list: whether the items of ``list_sessions`` carry ``metadata``.
    :param metadata_needs_details: whether a session shows ``metadata`` only if some detail was asked for.
    :param details_not_asked: how a detail looks that was not asked for; the contract does not know null.
    :param null_objects: whether properties that are objects are null even if they were asked for.
    :param batch_order: whether ``results`` of a batch keep the order of the request.
    :param batch_partial_failure: one bad entry in a batch: 200 with a FAILED entry, or 400 for the whole batch.
    :param batch_limit: the maximum number of entries in a batch.
    :param sender_id_in_messages: whether messages show the ``senderId`` of the send.
    :param sender_id_finds_send: whether the status calls accept a ``senderId`` instead of the ID.
    :param date_bounds: whether date filters include the bound itself.
    :param messages_touch_session: whether a message moves the session's ``updatedAt``.
    :param whatsapp_window: free text outside the 24-hour window on official WhatsApp channels: ``warn`` = let through,
        recorded as a violation unless a bot wrote it; ``refuse`` = 500; ``fail`` = 200, then the message FAILED;
        ``off`` = let through.
    :param sequence_add_twice: adding a contact that is already in the sequence: update its membership, or refuse.
    :param unknown_tag_names: an unknown name in ``tagNames``: create the tag, drop the name, or refuse.
    :param duplicate_contact: creating a contact that exists, without an option: refuse, or return the existing one.
    :param update_without_fields: an update without ``fields`` writes nothing, or everything that was given.
    :param named_but_not_sent: a property that ``fields`` names and the body lacks: cleared, or kept.
    :param unknown_target: an unknown user or department of a send into an open session, which uses neither: refused, or
        ignored.
    :param queued_session_id: whether a queued send into an open session shows its ``sessionId`` from the start.
    :param media_template_without_file: a media template that is sent without its file: sent anyway, 200 and then
        FAILED, or refused.
    :param long_typing: a ``delayTyping`` over 25 seconds: refused, or cut to 25.
    :param assigned_session_status: the status of an open session after it was assigned: IN_PROGRESS, or as it was.
    :param transferred_session_status: the status of an open session after a transfer: PENDING for a department and
        IN_PROGRESS for a user, or as it was.
    :param batch_cancel_unknown: an unknown ID among the scheduled messages to cancel: refuse all, or skip it.
    :param portfolio_unknown_phone: a number without a contact among those to add to a portfolio: create the contact,
        skip the number, or refuse all.
    :param empty_batches: whether a batch without entries is answered, or refused.
    :param deleted_messages: whether a deleted message or note can still be read, as DELETED, or is missing.
    :param duplicate_tag: creating or renaming a tag to a name that is taken.
    :param duplicate_phone: changing a contact's number to that of another contact.
    :param duplicate_email: giving a contact or an agent the e-mail address of another one.
    :param blank_notes: whether a note without files may have an empty or blank text.
    :param not_found_status: the HTTP status of a missing object.
    :param refusal_status: the HTTP status of a business refusal.
    :param bad_body_status: the HTTP status of a request that does not fit the contract.
    :param phone_spellings: ``any`` = pipe, plus sign or bare digits with the country code; ``pipe`` = only with a pipe.
    :param status_code_in_envelope: ``seen`` = as observed (401 an integer, 500 a string in capitals), or one kind only.
    :param problem_details: whether the send family answers 4xx with ``ProblemDetails`` instead of the envelope.
    :param extra_properties: whether answers carry a property that the contract does not declare.
    :param omit_nulls: whether answers omit properties that are null.
    :param status_url: whether ``statusUrl`` is relative or absolute.
    :param order_direction_spelling: ``contract`` = the enum, ``short`` = "desc" or "asc", as observed once.
    :param page_out_of_range: whether a page number or size outside the contract's bounds is refused, or moved to the
        nearest bound.
    :param page_zero: whether page 0 means page 1, or is refused.
    :param page_past_end: a page after the last one: empty items, or refused.
    :param query_names_ignore_case: whether ``pagesize`` is accepted for ``PageSize``.
    :param empty_query_values: whether a query parameter without a value is ignored, or refused.
    :param enum_case: whether an enum value is accepted in any case, or in the contract's only.
    :param date_without_zone: whether a date without a time zone is read as UTC, or refused.
    :param null_for_object: whether ``null`` for an object is ignored, or refused.
    :param bad_body_key: key of the envelope of a request that does not fit the contract.
    :param wrong_method_status: the HTTP status of a known path with a wrong method.
    :param trailing_slash: whether a slash at the end of the path is accepted, or makes the path unknown.
    :param strict: whether properties that the contract does not know are refused instead of recorded.
    :param sync_gives_up_after: seconds, emulated or real, after which a synchronous send returns the last known state.
    :param timestamp_digits: digits of the fraction of a second, 0 to 7, or ``varied``.
    :param rate_limits: whether the rate limits apply.
    :param account_requests: requests of the account in 5 minutes.
    :param burst_requests: requests of the account in 5 seconds.
    :param send_requests: requests of the send family in 2 minutes.
    :param sends_count_account_wide: whether the send family also counts against the limits of the account.
    :param send_limit_per_operation: whether each operation of the send family has its own counter.
    :param window: whether the windows slide, or restart at fixed times.
    :param retry_after: whether a 429 carries ``Retry-After``.
    :param queue_seconds: how long a queued send waits before it is processed.
    :param sent_seconds: how long it then takes until SENT.
    :param delivered_seconds: how long from SENT to DELIVERED.
    :param read_seconds: how long from DELIVERED to READ.
    :param scheduled_messages: whether the account has the feature.
    :param upload_seconds: how long an upload URL is valid.
    :param recorded_requests: how many requests are kept; older ones are dropped, and still counted.
    :param webhooks_to: ``loopback`` = posts go to loopback addresses only, others are recorded; ``none`` = never.
    """

    skipped_send: Literal["session", "empty", "null", "refuse"] = "session"
    skipped_queued_status: Literal["FAILED", "DELETED", "SENT", "QUEUED", "PROCESSING"] = "FAILED"
    statuses_in_progress: tuple[str, ...] = ("STARTED", "PENDING", "IN_PROGRESS")
    skip_beats_force: bool = True
    unsuitable_bot: Literal["refuse", "run"] = "refuse"
    opened_session_status: Literal["STARTED", "PENDING", "IN_PROGRESS"] = "STARTED"
    answered_session_status: Literal["STARTED", "PENDING", "IN_PROGRESS"] = "IN_PROGRESS"
    reactivated_session_status: Literal["STARTED", "PENDING", "IN_PROGRESS"] = "PENDING"
    session_metadata: Literal["merge", "replace"] = "merge"
    contact_metadata_of_send: Literal["merge", "replace"] = "merge"
    bot_id_after_run: Literal["cleared", "kept"] = "cleared"
    unasked_statuses: Literal["all", "visible"] = "all"
    session_change_date: Literal["moves", "stays"] = "moves"
    ninth_digit: Literal["exact", "either"] = "exact"
    metadata_in_session_list: bool = True
    metadata_needs_details: bool = False
    details_not_asked: Literal["absent", "null", "always"] = "absent"
    null_objects: bool = False
    batch_order: Literal["kept", "shuffled"] = "kept"
    batch_partial_failure: Literal["entries", "all"] = "entries"
    batch_limit: int = 100
    sender_id_in_messages: bool = True
    sender_id_finds_send: bool = False
    date_bounds: Literal["inclusive", "exclusive"] = "inclusive"
    messages_touch_session: bool = True
    whatsapp_window: Literal["warn", "refuse", "fail", "off"] = "warn"
    sequence_add_twice: Literal["update", "refuse"] = "update"
    unknown_tag_names: Literal["create", "drop", "refuse"] = "create"
    duplicate_contact: Literal["refuse", "return"] = "refuse"
    update_without_fields: Literal["nothing", "given"] = "nothing"
    named_but_not_sent: Literal["clear", "keep"] = "clear"
    unknown_target: Literal["refuse", "ignore"] = "refuse"
    queued_session_id: Literal["null", "known"] = "null"
    media_template_without_file: Literal["send", "fail", "refuse"] = "send"
    long_typing: Literal["refuse", "cut"] = "refuse"
    assigned_session_status: Literal["IN_PROGRESS", "kept"] = "IN_PROGRESS"
    transferred_session_status: Literal["moves", "kept"] = "moves"
    batch_cancel_unknown: Literal["refuse", "skip"] = "refuse"
    portfolio_unknown_phone: Literal["create", "skip", "refuse"] = "create"
    empty_batches: Literal["accept", "refuse"] = "accept"
    deleted_messages: Literal["shown", "missing"] = "shown"
    duplicate_tag: Literal["refuse", "accept"] = "refuse"
    duplicate_phone: Literal["refuse", "accept"] = "refuse"
    duplicate_email: Literal["accept", "refuse"] = "accept"
    blank_notes: Literal["refuse", "accept"] = "refuse"
    not_found_status: Literal[500, 404] = 500
    refusal_status: Literal[500, 400, 422] = 500
    bad_body_status: Literal[400, 422] = 400
    phone_spellings: Literal["any", "pipe"] = "any"
    status_code_in_envelope: Literal["seen", "integer", "name"] = "seen"
    problem_details: bool = False
    extra_properties: bool = False
    omit_nulls: bool = False
    status_url: Literal["relative", "absolute"] = "relative"
    order_direction_spelling: Literal["contract", "short"] = "contract"
    page_out_of_range: Literal["refuse", "clamp"] = "refuse"
    page_zero: Literal["first", "refuse"] = "first"
    page_past_end: Literal["empty", "refuse"] = "empty"
    query_names_ignore_case: bool = False
    empty_query_values: Literal["ignore", "refuse"] = "ignore"
    enum_case: Literal["any", "exact"] = "any"
    date_without_zone: Literal["utc", "refuse"] = "utc"
    null_for_object: Literal["ignore", "refuse"] = "ignore"
    bad_body_key: Literal["FORM_ERROR", "BAD_REQUEST", "none"] = "FORM_ERROR"
    wrong_method_status: Literal[404, 405] = 404
    trailing_slash: Literal["accept", "refuse"] = "accept"
    strict: bool = False
    sync_gives_up_after: float = 25.0
    timestamp_digits: Literal["varied", "0", "1", "2", "3", "4", "5", "6", "7"] = "varied"
    rate_limits: bool = True
    account_requests: int = 1000
    burst_requests: int = 200
    send_requests: int = 1000
    sends_count_account_wide: bool = True
    send_limit_per_operation: bool = False
    window: Literal["sliding", "fixed"] = "sliding"
    retry_after: bool = False
    queue_seconds: float = 0.2
    sent_seconds: float = 0.5
    delivered_seconds: float = 1.0
    read_seconds: float = 5.0
    scheduled_messages: bool = True
    upload_seconds: float = 3600.0
    recorded_requests: int = 10_000
    webhooks_to: Literal["loopback", "none"] = "loopback"

    def __setattr__(self, name: str, value: object) -> None:
        # A misspelled value must not act as the other choice.
        super().__setattr__(name, _accepted(name, value))

    def change(self, changes: Mapping[str, object]) -> None:
        """Set several switches by name, all or none; a wrong name or value raises ``ValueError``."""
        accepted = {name: _accepted(name, value) for name, value in changes.items()}
        for name, value in accepted.items():
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Return all switches by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@cache
def _kinds() -> dict[str, Any]:
    return typing.get_type_hints(Switches)


def _accepted(name: str, value: object) -> object:
    if name not in _kinds():
        raise ValueError(f"{name!r} is not a switch. It must be one of {sorted(_kinds())}.")
    kind = _kinds()[name]
    origin = typing.get_origin(kind)
    if origin is Literal:
        choices = typing.get_args(kind)
        if value not in choices and str(value) in choices:
            return str(value)
        if value not in choices:
            raise ValueError(f"Switch {name!r} must be one of {list(choices)}, not {value!r}.")
    elif origin is tuple:
        if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
            raise ValueError(f"Switch {name!r} must be a list of texts, not {value!r}.")
        return tuple(value)
    elif kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"Switch {name!r} must be true or false, not {value!r}.")
    else:
        return _accepted_number(name, value, whole=kind is int)
    return value


def _accepted_number(name: str, value: object, *, whole: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ValueError(f"Switch {name!r} must be a number of at least 0, not {value!r}.")
    if whole and int(value) != value:
        raise ValueError(f"Switch {name!r} must be a whole number, not {value!r}.")
    return int(value) if whole else float(value)
