"""Operators for contacts: create, update, save many, get, list, tags."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from airflow_provider_wts import api
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsUnknownOutcomeError, quoted
from airflow_provider_wts.api.wire import UNSET, Missing, Unset, given, is_missing, parse_timestamp, visible
from airflow_provider_wts.hooks.contacts import refuse_unless_allowed
from airflow_provider_wts.hooks.errors import task_failures
from airflow_provider_wts.operators import contact_fields
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.listing import WtsListOperator
from airflow_provider_wts.operators.query import WtsQueryOperator
from airflow_provider_wts.operators.sending import RefusesBackfill

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from datetime import datetime

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.contacts import ContactFields, SaveOptions
    from airflow_provider_wts.api.types import Contact
    from airflow_provider_wts.campaigns.query import Snapshot
    from airflow_provider_wts.sending.membership import SequenceMembers
    from airflow_provider_wts.sending.reconcile import Trace


class ContactWriter(WtsOperator):
    """Base of the operators that write a contact.

    :param name: the contact's name, at most 255 characters (templated).
    :param phone_number: phone number in any common format; without a country code, it is taken as Brazilian
        (templated).
    :param email_address: email address. The parameter is not called ``email``, because that is Airflow's own
        (templated).
    :param instagram: Instagram user (templated).
    :param annotation: free text (templated).
    :param tags: names or IDs of tags; one or a list. An unknown name is refused (templated).
    :param tag_operation: ``add`` to the existing tags (default), ``remove`` from them, or ``replace`` them (templated).
    :param portfolios: names or IDs of portfolios (templated).
    :param sequences: names or IDs of sequences to add the contact to. They message the contact, so if the response is
        lost, the request is not repeated automatically: ``on_unknown`` decides (templated).
    :param custom_fields: values by key or name: an object or its JSON text. An unknown field is refused, because the
        API would drop it silently (templated, deep).
    :param metadata: object stored with the contact, or its JSON text. It is merged by key; ``null`` removes a key
        (templated, deep).
    """

    prose: ClassVar[frozenset[str]] = frozenset({"name", "annotation", "custom_fields"})

    def __init__(
        self,
        *,
        name: Missing[str] = UNSET,
        phone_number: Missing[str] = UNSET,
        email_address: Missing[str] = UNSET,
        instagram: Missing[str] = UNSET,
        annotation: Missing[str] = UNSET,
        tags: Missing[Sequence[str] | str] = UNSET,
        tag_operation: str | Unset = UNSET,
        portfolios: Missing[Sequence[str] | str] = UNSET,
        sequences: Missing[Sequence[str] | str] = UNSET,
        custom_fields: Missing[Mapping[str, Any] | str] = UNSET,
        metadata: Missing[Mapping[str, Any] | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.phone_number = phone_number
        self.email_address = email_address
        self.instagram = instagram
        self.annotation = annotation
        self.tags = tags
        self.tag_operation = tag_operation
        self.portfolios = portfolios
        self.sequences = sequences
        self.custom_fields = custom_fields
        self.metadata = metadata

    def _fields(self) -> dict[str, Any]:
        """Return the fields that were given, checked; nothing is looked up yet."""
        return contact_fields.checked(given(**{field: getattr(self, field) for field in contact_fields.FIELDS}))


class WtsCreateContactOperator(ContactWriter, RefusesBackfill):
    """Create a contact, or update or return an existing one.

    Calls ``create_contact``. Parameters that you leave out are not sent. The API does not document what it does if the
    contact exists and neither ``upsert`` nor ``get_if_exists`` is set. For the contact's fields, from ``name`` to
    ``metadata``, see :class:`ContactWriter`; ``tag_operation`` needs ``upsert``. If the response to a request with
    ``sequences`` is lost, it is not repeated automatically, even with ``upsert`` or ``get_if_exists``.

    :param upsert: update the contact if it exists (templated).
    :param upsert_fields: with ``upsert``: fields that an update may change, such as ``["name", "tags"]``. Default: the
        fields that you give, so that an update clears nothing (templated).
    :param get_if_exists: return the contact unchanged if it exists (templated).
    :param allow_backfill: also add contacts to sequences in backfill runs. By default, the task fails in them if there
        are sequences, because they would message customers about the past (templated).
    :return: the contact.
    """

    def __init__(
        self,
        *,
        upsert: Missing[bool | str] = UNSET,
        upsert_fields: Missing[Sequence[str] | str] = UNSET,
        get_if_exists: Missing[bool | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.upsert = upsert
        self.upsert_fields = upsert_fields
        self.get_if_exists = get_if_exists

    def execute(self, context: Context) -> Contact:
        self.open_ledger(context)
        with task_failures():
            rules = SaveRules.read(self.upsert, self.upsert_fields, self.tag_operation, self.get_if_exists)
            fields = self._fields()
            if all(parameters.missing(fields.get(field)) for field in ("name", *contact_fields.IDENTIFIERS)):
                raise WtsInvalidRequestError(
                    "phone_number: is empty, and so are name, email_address and instagram. Give at least one of them."
                )
            if fields.get("sequences"):
                self.refuse_backfill(context)
                refuse_unless_allowed(self.hook, "phone_number", fields.get("phone_number"))
            contact = contact_fields.resolved(fields, self.hook.names)
            call = api.contacts.create_contact(**contact, **rules.options(contact))
            begun = self.hook.client.now()
        answer = self.run_once(
            context, recipient=_name(contact), build=lambda _: call, trace=self._trace(contact), place="the contact"
        )
        if rules.get_if_exists is not True or _is_new(answer, begun):
            contact_fields.report_dropped(self.log, contact["custom_fields"], answer)
        self.log.info("Contact %s is saved.", (answer or {}).get("id"))
        return answer

    def _trace(self, contact: Mapping[str, Any]) -> Trace | None:
        from airflow_provider_wts.sending.reconcile import ByPhone, Repeatable

        phone = contact.get("phone_number")
        # An existing contact does not show its sequences, and adding it to one twice may message it twice.
        if not phone or contact.get("sequence_ids"):
            return None
        finds_itself = parameters.flag("upsert", self.upsert) or parameters.flag("get_if_exists", self.get_if_exists)
        return Repeatable() if finds_itself else ByPhone(str(phone))


def _is_new(contact: Any, begun: datetime) -> bool:
    """Whether a contact was created by the call, by the server's clock."""
    created = parse_timestamp(contact.get("createdAt")) if isinstance(contact, dict) else None
    return created is not None and created >= begun - timedelta(seconds=2)


def _name(contact: Mapping[str, Any]) -> str:
    """Return what distinguishes a contact from others: its number, address or user, else its name."""
    return next(str(contact[name]) for name in ("phone_number", "email", "instagram", "name") if contact.get(name))


class WtsUpdateContactOperator(ContactWriter, RefusesBackfill):
    """Change a contact; parameters that you leave out change nothing.

    Calls ``update_contact``, or ``update_contact_by_phone``. ``None`` and ``""`` clear a text, ``[]`` a list. For the
    new values, from ``name`` to ``metadata``, see :class:`ContactWriter`. To remove all tags, use ``tags=[]`` with
    ``tag_operation="replace"``. The API does not document whether ``portfolios`` replace the existing ones.
    ``on_unknown`` and ``on_clear`` have no effect without ``sequences``.

    :param contact_id: ID of the contact; give this or ``phone`` (templated).
    :param phone: phone number of the contact, in any common format (templated).
    :param status: ``ACTIVE``, ``ARCHIVED`` or ``BLOCKED`` (templated).
    :param picture_url: URL of the contact's picture (templated).
    :param utm: where the contact came from: an object with ``source``, ``medium``, ``campaign``, ``content``,
        ``headline``, ``term``, ``referralUrl`` (templated, deep).
    :param allow_backfill: also add contacts to sequences in backfill runs. By default, the task fails in them if there
        are sequences, because they would message customers about the past (templated).
    :return: the contact.
    """

    def __init__(
        self,
        *,
        contact_id: str | None = None,
        phone: str | None = None,
        status: Missing[str] = UNSET,
        picture_url: Missing[str] = UNSET,
        utm: Mapping[str, Any] | str | Unset = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contact_id = contact_id
        self.phone = phone
        self.status = status
        self.picture_url = picture_url
        self.utm = utm

    def execute(self, context: Context) -> Contact:
        if not parameters.missing(self.sequences):
            self.open_ledger(context)
        with task_failures():
            self.refuse_vanished()
            contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
            fields = self._fields()
            changes: api.contacts.ContactChanges = {
                "status": parameters.choice("status", self.status, api.contacts.STATUSES),
                "picture_url": parameters.text("picture_url", self.picture_url),
                "utm": contact_fields.utm(self.utm),
                "tags_operation": self._tags_operation(fields),
            }
            if fields.get("sequences"):
                self.refuse_backfill(context)
                refuse_unless_allowed(self.hook, "phone", phone or None, contact_id=contact_id)
            if not fields and not given(**{key: changes[key] for key in ("status", "picture_url", "utm")}):
                raise WtsInvalidRequestError("There is nothing to change. Give at least one of the contact's fields.")
            changes = {**contact_fields.resolved(fields, self.hook.names), **changes}
            if contact_id is None:
                call = api.contacts.update_contact_by_phone(phone, **changes)
            else:
                call = api.contacts.update_contact(contact_id, **changes)
        if call.repeatable:
            answer = self.run_call(call)
        else:
            who = contact_id or phone
            answer = self.run_once(context, recipient=who, build=lambda _: call, place="the contact")
        contact_fields.report_dropped(self.log, changes["custom_fields"], answer)
        return answer

    def _tags_operation(self, fields: Mapping[str, Any]) -> str | Unset:
        if "tags" in fields:
            return contact_fields.tag_operation(self.tag_operation)
        if parameters.missing(self.tag_operation):
            return UNSET
        raise WtsInvalidRequestError("tag_operation: has no effect without tags. Give tags, or leave it out.")


class WtsGetContactOperator(WtsOperator):
    """Read a contact.

    Calls ``get_contact``, or ``get_contact_by_phone``.

    :param contact_id: ID of the contact; give this or ``phone`` (templated).
    :param phone: phone number of the contact, in any common format (templated).
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``; one or a list (templated).
    :return: the contact.
    """

    def __init__(
        self,
        *,
        contact_id: str | None = None,
        phone: str | None = None,
        include_details: Sequence[str] | str | Unset = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contact_id = contact_id
        self.phone = phone
        self.include_details = include_details

    def build_call(self) -> Call[Contact]:
        contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
        details = parameters.details(self.include_details, contact_fields.DETAILS)
        if contact_id is None:
            return api.contacts.get_contact_by_phone(phone, include_details=details)
        return api.contacts.get_contact(contact_id, include_details=details)


class WtsUpdateContactTagsOperator(WtsOperator):
    """Add, remove or replace the tags of a contact.

    Calls ``update_contact_tags``, or ``update_contact_tags_by_phone``.

    :param tags: names or IDs of tags; one or a list. An unknown name is refused. ``[]`` requires ``replace``, and
        removes all tags (templated).
    :param tag_operation: ``add``, ``remove`` or ``replace`` (templated).
    :param contact_id: ID of the contact; give this or ``phone`` (templated).
    :param phone: phone number of the contact, in any common format (templated).
    :return: the contact.
    """

    def __init__(
        self,
        *,
        tags: Sequence[str] | str,
        tag_operation: str = "add",
        contact_id: str | None = None,
        phone: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tags = tags
        self.tag_operation = tag_operation
        self.contact_id = contact_id
        self.phone = phone

    def build_call(self) -> Call[Contact]:
        contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
        operation = contact_fields.tag_operation(self.tag_operation)
        tags = parameters.texts("tags", self.tags)
        if not isinstance(tags, list) or (not tags and operation != "ReplaceAll"):
            raise WtsInvalidRequestError("tags: is empty. Give names or IDs, or [] with tag_operation='replace'.")
        tag_ids = contact_fields.ids("tags", tags, self.hook.names.tag)
        if contact_id is None:
            return api.contacts.update_contact_tags_by_phone(phone, tag_ids=tag_ids, operation=operation)
        return api.contacts.update_contact_tags(contact_id, tag_ids=tag_ids, operation=operation)


_ORIGINS = ("CREATED_BY_USER", "CREATED_FROM_HUB", "IMPORTED")


class WtsListContactsOperator(WtsListOperator):
    """List contacts: all pages, inline or as a file.

    Calls ``list_contacts``, or ``filter_contacts`` if there is a filter other than ``status`` and ``include_details``.
    An item must match all filters. For the shared parameters, from ``created_after`` to ``output_path``, see
    :class:`WtsListOperator`.

    :param status: ``ACTIVE`` (the API's default), ``ARCHIVED`` or ``BLOCKED`` (templated).
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``; one or a list (templated).
    :param text_filter: text to search for; the API does not document in which fields (templated).
    :param name: the contact's name (templated).
    :param phone_number: phone number, in any common format (templated).
    :param email_address: email address or a part of it; not called ``email``, because that is Airflow's own parameter
        (templated).
    :param instagram: Instagram user (templated).
    :param tags: names or IDs of tags; one or a list. The API does not document whether one or all must match
        (templated).
    :param portfolios: names or IDs of portfolios (templated).
    :param origin: ``CREATED_BY_USER``, ``CREATED_FROM_HUB`` or ``IMPORTED`` (templated).
    :param custom_fields: values by key or name of the field: an object or its JSON text (templated, deep).
    :param metadata: text or numbers by key: an object or its JSON text (templated, deep).
    :return: the contacts, or the manifest of the file.
    """

    def __init__(
        self,
        *,
        status: str | None = None,
        include_details: Sequence[str] | str | None = None,
        text_filter: str | None = None,
        name: str | None = None,
        phone_number: str | None = None,
        email_address: str | None = None,
        instagram: str | None = None,
        tags: Sequence[str] | str | None = None,
        portfolios: Sequence[str] | str | None = None,
        origin: str | None = None,
        custom_fields: Mapping[str, Any] | str | None = None,
        metadata: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.status = status
        self.include_details = include_details
        self.text_filter = text_filter
        self.name = name
        self.phone_number = phone_number
        self.email_address = email_address
        self.instagram = instagram
        self.tags = tags
        self.portfolios = portfolios
        self.origin = origin
        self.custom_fields = custom_fields
        self.metadata = metadata

    def list_call(self) -> Call[Any]:
        status = parameters.filter_choice("status", self.status, api.contacts.STATUSES)
        details = parameters.details(self.include_details, contact_fields.DETAILS)
        texts = ("text_filter", "name", "phone_number", "instagram")
        filters: dict[str, Any] = {
            **{name: parameters.filter_text(name, getattr(self, name)) for name in texts},
            "email": parameters.filter_text("email_address", self.email_address),
            "origin": parameters.filter_choice("origin", self.origin, _ORIGINS),
            "metadata": _texts("metadata", _filter_object("metadata", self.metadata)),
            "tag_ids": parameters.filter_list("tags", self.tags),
            "portfolio_ids": parameters.filter_list("portfolios", self.portfolios),
            "custom_fields": _filter_object("custom_fields", self.custom_fields),
        }
        if not given(**filters):
            return api.contacts.list_contacts(status=status, include_details=details)
        filters["phone_number"] = contact_fields.phone_number("phone_number", filters["phone_number"])
        # Last, so that an invalid value above takes no request.
        names = self.hook.names
        filters["tag_ids"] = contact_fields.ids("tags", filters["tag_ids"], names.tag)
        filters["portfolio_ids"] = contact_fields.ids("portfolios", filters["portfolio_ids"], names.portfolio)
        filters["custom_fields"] = contact_fields.custom_fields("custom_fields", filters["custom_fields"], names)
        return api.contacts.filter_contacts(status=status, include_details=details, **filters)


def _filter_object(name: str, value: Any) -> dict[str, Any] | Unset:
    if parameters.missing(value):
        return UNSET
    found = parameters.metadata(name, value)
    if not found:
        raise WtsInvalidRequestError(f"{name}: is empty, and would filter nothing. Leave it out.")
    return found


def _texts(name: str, found: dict[str, Any] | Unset) -> dict[str, str | None] | Unset:
    if found is UNSET:
        return UNSET
    return {
        key: None if value is None else str(parameters.text(f"{name}.{key}", value))
        for key, value in found.items()
        if value is None or not parameters.missing(value)
    }


#: The most IDs in the result of a task, because Airflow keeps it in its database.
_IDS_IN_ANSWER = 1000


class WtsSaveContactsOperator(WtsQueryOperator, RefusesBackfill):
    """Save many contacts: create new ones, and update existing ones.

    Calls ``batch_save_contacts``, once per 100 contacts. All rows are checked before the first call. If one is invalid,
    the error names its index, and nothing is saved. Each call holds rows with the same fields, because it names for all
    its contacts the fields that an update may change. If a call fails, the earlier ones have taken effect; saving them
    again does no harm. Rows with ``sequences`` are saved last, each once across all tries of the task, because
    sequences message the contact. So are all rows with ``upsert=False`` and without ``get_if_exists``, which might be
    created twice. ``on_unknown`` and ``on_clear`` apply only to these rows.

    :param contacts: the contacts: a list of objects or its JSON text. Their keys: ``name``, ``phone_number``, ``email``
        or ``email_address``, ``instagram``, ``annotation``, ``tags``, ``portfolios``, ``sequences``, ``custom_fields``,
        ``metadata``, as in ``WtsCreateContactOperator``. Each needs a phone number, an email address or an Instagram
        user. Give either this or ``recipients_sql`` (templated, deep).
    :param recipients_sql: query whose columns have these names, or a ``.sql`` file. Its rows are stored for later
        tries, in the folder of ``[wts] results_path`` or ``[wts] ledger_path``; without one, a later try runs the query
        again. Needs the extra ``sql`` (templated).
    :param upsert: update existing contacts; ``True`` unless ``get_if_exists`` is set. The API does not document whether
        it updates them even if this is ``False`` (templated).
    :param upsert_fields: fields that an update may change, such as ``["name", "tags"]``. Default: the fields of the
        row, so that an update clears nothing (templated).
    :param tag_operation: how an update applies tags: ``add`` (default), ``remove`` or ``replace`` (templated).
    :param get_if_exists: leave existing contacts unchanged (templated).
    :param allow_backfill: also save rows with ``sequences`` in backfill runs. By default, the task fails in them and
        saves nothing if a row has sequences, because they would message customers about the past (templated).
    :return: the number of contacts ``saved`` and of ``calls``, and ``contact_ids`` in the order of the API's responses,
        or ``None`` if there are more than 1,000.
    :raises AirflowFailException: when a row is invalid, the API refuses, or the outcome of a call is unknown.
    """

    def __init__(
        self,
        *,
        contacts: Missing[Sequence[Mapping[str, Any]] | str] = UNSET,
        upsert: Missing[bool | str] = UNSET,
        upsert_fields: Missing[Sequence[str] | str] = UNSET,
        tag_operation: str | Unset = UNSET,
        get_if_exists: Missing[bool | str] = UNSET,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contacts = contacts
        self.upsert = upsert
        self.upsert_fields = upsert_fields
        self.tag_operation = tag_operation
        self.get_if_exists = get_if_exists

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow_provider_wts.sending.membership import chunks, warn_of_missing

        self.open_ledger(context)
        with task_failures(), ExitStack() as stack:
            parts = self.upsert, self.upsert_fields, self.tag_operation, self.get_if_exists
            rules = SaveRules.read(*parts, default=True)
            if (self.query() is None) == is_missing(self.contacts):
                raise WtsInvalidRequestError("contacts, recipients_sql: give exactly one of them. Nothing was saved.")
            snapshot = self.queried(context, stack)
            contacts = list(self._contacts(snapshot))
            if any(one.get("sequence_ids") for one in contacts):
                self.refuse_backfill(context)
            plain = list(chunks((one for one in contacts if not rules.acts_again(one)), rules.group))
            once = self._saved_once(context, [one for one in contacts if rules.acts_again(one)], rules)
            if snapshot is not None:
                snapshot.keep()
            calls, ids = 0, list[str | None]()
            for rows, answer in self._saved(plain, once, rules):
                warn_of_missing(sum(bool(contact.get("id")) for contact in answer or []), [_name(row) for row in rows])
                calls += 1
                ids += [contact.get("id") for contact in answer or []]
                self.log.info("Call %s: %s contacts are saved.", calls, f"{len(ids):,}")
            if snapshot is not None:
                # From now on, a clear queries again.
                self._once(context).finish()
        return {"saved": len(ids), "calls": calls, "contact_ids": ids if len(ids) <= _IDS_IN_ANSWER else None}

    def _saved(
        self, plain: list[list[ContactFields]], once: SequenceMembers[ContactFields] | None, rules: SaveRules
    ) -> Iterator[tuple[list[ContactFields], list[Contact] | None]]:
        """Save the contacts, and return those of each call with its answer."""
        for chunk in plain:
            yield chunk, self._save_chunk(_save(chunk, rules))
        if once is not None:
            for group in once.groups:
                yield group.members, once.send(group, lambda chunk: _save(chunk, rules))
            once.finish()

    def _save_chunk(self, call: Call[list[Contact]]) -> list[Contact]:
        """Save contacts; again after a lost answer, which finds or updates what the first request saved."""
        try:
            return self.hook.run(call)
        except WtsUnknownOutcomeError:
            self.log.warning("batch_save_contacts: got no usable answer. Saving the same contacts again.")
        try:
            return self.hook.run(call)
        except WtsUnknownOutcomeError as error:
            raise WtsUnknownOutcomeError(
                "batch_save_contacts: two attempts got no usable answer. A retry saves the same contacts again, which "
                "does no harm.",
                operation_id=call.operation_id,
                repeatable=True,
            ) from error

    def _contacts(self, snapshot: Snapshot | None) -> Iterator[ContactFields]:
        rows = contact_rows(self.contacts if snapshot is None else [row.values for row in snapshot.rows()])
        for index, row in enumerate(rows):
            if row.get("sequences"):
                refuse_unless_allowed(self.hook, f"contacts[{index}].phone_number", row.get("phone_number"))
        for index, row in enumerate(rows):
            yield contact_fields.resolved(row, self.hook.names, prefix=f"contacts[{index}].")

    def _saved_once(
        self, context: Context, contacts: list[ContactFields], rules: SaveRules
    ) -> SequenceMembers[ContactFields] | None:
        """Return the contacts that are saved only once across all tries of the task."""
        from airflow_provider_wts.sending.membership import SequenceMembers

        if not contacts:
            return None
        members: dict[str, ContactFields] = {}
        for contact in contacts:
            if members.setdefault(_identity(contact), contact) is not contact:
                raise WtsInvalidRequestError(
                    f"contacts: {_name(contact)} and {_name(members[_identity(contact)])} are one contact, which would "
                    "be created or put into sequences twice. Give one row for it."
                )
        target = "sequences" if any(one.get("sequence_ids") for one in contacts) else "WTS Chat"
        return SequenceMembers(self._once(context), target=target, members=members, group_by=rules.group, name=_name)


class SaveRules(NamedTuple):
    """What happens if a contact exists.

    :param upsert: update it.
    :param fields: what an update may change, by the API's names; ``UNSET``: what is given.
    :param tag_operation: how tags are applied, as updates spell it.
    :param get_if_exists: return it and change nothing.
    """

    upsert: Missing[bool]
    fields: Missing[list[str]]
    tag_operation: str
    get_if_exists: Missing[bool]

    @classmethod
    def read(
        cls, upsert: Any, upsert_fields: Any, tag_operation: Any, get_if_exists: Any, *, default: bool = False
    ) -> SaveRules:
        """Check the rendered parameters.

        :param default: whether the call updates where ``upsert`` is not given.
        """
        updates = parameters.flag("upsert", upsert)
        gets = parameters.flag("get_if_exists", get_if_exists)
        if gets is True and updates is True:
            raise WtsInvalidRequestError(
                "get_if_exists: contradicts upsert, and the API does not document which one wins. Set one of them."
            )
        if default and updates in (UNSET, None) and gets is not True:
            updates = True
        fields = contact_fields.mask("upsert_fields", upsert_fields)
        for name, value in (("upsert_fields", upsert_fields), ("tag_operation", tag_operation)):
            if updates is not True and value is not UNSET and value is not None:
                raise WtsInvalidRequestError(f"{name}: has no effect without upsert=True. Set upsert, or leave it out.")
        if fields == []:
            raise WtsInvalidRequestError("upsert_fields: is empty. Leave it out, or set get_if_exists.")
        return cls(updates, fields, contact_fields.tag_operation(tag_operation), gets)

    def acts_again(self, contact: ContactFields) -> bool:
        """Whether saving a contact a second time may create it again, or message it again."""
        return bool(contact.get("sequence_ids")) or True not in (self.upsert, self.get_if_exists)

    def options(self, contact: ContactFields) -> SaveOptions:
        """Return the options for a contact."""
        options: SaveOptions = {}
        if isinstance(self.upsert, bool):
            options["upsert"] = self.upsert
        if isinstance(self.get_if_exists, bool):
            options["get_if_exists"] = self.get_if_exists
        if self.upsert is True:
            # Without it, every field is meant, and it is not documented whether missing fields are then cleared.
            options["upsert_fields"] = self.mask(contact)
            if contact.get("tag_ids", UNSET) is not UNSET:
                options["upsert_tag_operation"] = self.tag_operation.upper()
        return options

    def group(self, contact: ContactFields) -> Hashable:
        """Return what contacts of one call have in common: what an update of them may change, and having tags."""
        tagged = contact.get("tag_ids", UNSET) is not UNSET
        return (tagged, *(self.mask(contact) if self.upsert else ()))

    def mask(self, contact: ContactFields) -> list[str]:
        """Return what an update of a contact may change."""
        return (
            self.fields
            if isinstance(self.fields, list)
            else api.contacts.changed_fields(api.contacts.contact_item(contact))
        )


def contact_rows(value: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch, checked; ``email`` may be used for ``email_address`` in them."""
    rows = parameters.items("contacts", value)
    if not isinstance(rows, list):
        raise WtsInvalidRequestError("contacts: is empty. Give a list of objects; [] saves nothing.")
    checked = [_row(index, row) for index, row in enumerate(rows)]
    phones = [(f"contacts[{index}].phone_number", row.get("phone_number")) for index, row in enumerate(rows)]
    contact_fields.refuse_shortened(phones)
    contact_fields.refuse_twins(checked)
    return checked


def _save(rows: list[ContactFields], rules: SaveRules) -> Call[list[Contact]]:
    return api.contacts.batch_save_contacts([api.contacts.contact_item(row) for row in rows], **rules.options(rows[0]))


def _identity(contact: ContactFields) -> str:
    """Return what stays the same however a contact is written."""
    from airflow_provider_wts.api.addresses import identity_of, user_of

    return identity_of(user_of(_name(contact)))


def _is_gap(value: Any) -> bool:
    """Whether a value of a row is missing; blank text is there, and clears."""
    return is_missing(value) and not (isinstance(value, str) and not visible(value))


def _without_missing(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_missing(one) for key, one in value.items() if not _is_gap(one)}
    return value


def _row(index: int, row: Any) -> dict[str, Any]:
    from airflow_provider_wts.campaigns.garbled import garbled_cell

    prefix = f"contacts[{index}]"
    if not isinstance(row, Mapping):
        raise WtsInvalidRequestError(f"{prefix}: must be an object, not {type(row).__name__}.")
    unknown = [str(name) for name in row if name not in (*contact_fields.FIELDS, "email")]
    if unknown:
        known = ", ".join(contact_fields.FIELDS)
        raise WtsInvalidRequestError(f"{prefix}: has unknown fields: {quoted(*unknown)}. They must be among {known}.")
    if "email" in row and "email_address" in row:
        raise WtsInvalidRequestError(f"{prefix}: has both email and email_address. Leave one of them out.")
    if garbled := garbled_cell(row):
        raise WtsInvalidRequestError(f"{prefix}.{garbled}. Nothing was saved. Correct it at its source.")
    named = {"email_address" if name == "email" else name: value for name, value in row.items()}
    # A row comes from data, so a missing value counts as not given and must not clear a field.
    filled = {name: _without_missing(value) for name, value in named.items() if not _is_gap(value)}
    checked = contact_fields.checked(given(**filled), prefix=f"{prefix}.")
    if all(parameters.missing(checked.get(field)) for field in contact_fields.IDENTIFIERS):
        raise WtsInvalidRequestError(
            f"{prefix}: has no phone_number, email_address or instagram, so each save would create another contact. "
            "Nothing was saved. Give one of them."
        )
    return checked
