"""The operator that saves many contacts, and the rules for those that exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional, given
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import contact_fields, parameters
from airflow_provider_wts.operators.recipients import refuse_unless_allowed
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.contacts import ContactFields, SaveOptions
    from airflow_provider_wts.api.types import Contact
    from airflow_provider_wts.sending.parts import Parts

#: The most ids in the answer of a task; Airflow keeps it in its database.
_IDS_IN_ANSWER = 1000


class WtsSaveContactsOperator(WtsOnceOperator):
    """Save many contacts: create those that are new, update those that exist.

    Calls ``batch_save_contacts``, once per 100 contacts. All rows are checked before the first call; a bad one is
    named by its index, and nothing is saved. Rows that hold the same fields go out together, because a call says once
    for all its contacts which fields an update may change. When a call fails, the ones before it have taken effect;
    saving them again does no harm. Rows with ``sequences`` are another matter, since these write to the contact: they
    go out last, and each once over all tries of the task. ``on_unknown`` and ``on_clear`` are for them alone.

    :param contacts: the contacts, a list of objects or its JSON text. Their keys: ``name``, ``phone_number``,
        ``email`` or ``email_address``, ``instagram``, ``annotation``, ``tags``, ``portfolios``, ``sequences``,
        ``custom_fields``, ``metadata``, as in ``WtsCreateContactOperator``. One of number, e-mail
        address and Instagram user has to be there (templated, deep).
    :param upsert: update contacts that exist; ``True`` unless ``get_if_exists`` is set. Whether the API updates them
        even where it is ``False`` is not documented (templated).
    :param upsert_fields: what an update may change, such as ``["name", "tags"]``; without it what a row gives, so
        that an update clears nothing (templated).
    :param tag_operation: what an update does to tags: ``add`` (default), ``remove`` or ``replace`` (templated).
    :param get_if_exists: leave contacts that exist as they are (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: ``saved`` (contacts), ``calls``, and ``contact_ids`` in the order of the API's answers; ``None`` in their
        place when there are more than 1,000.
    :raises AirflowFailException: when a row is impossible, the API refuses, or the outcome of a call is unknown.
    """

    template_fields: Sequence[str] = (
        *WtsOnceOperator.template_fields,
        "contacts",
        "upsert",
        "upsert_fields",
        "tag_operation",
        "get_if_exists",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"contacts": "json", "upsert_fields": "json"}

    def __init__(
        self,
        *,
        contacts: Sequence[Mapping[str, Any]] | str,
        upsert: Optional[bool | str] = NOT_GIVEN,
        upsert_fields: Optional[Sequence[str] | str] = NOT_GIVEN,
        tag_operation: str | NotGiven = NOT_GIVEN,
        get_if_exists: Optional[bool | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contacts = contacts
        self.upsert = upsert
        self.upsert_fields = upsert_fields
        self.tag_operation = tag_operation
        self.get_if_exists = get_if_exists

    def execute(self, context: Context) -> dict[str, Any]:
        """Save the contacts.

        :param context: the task's context.
        """
        from airflow_provider_wts.sending.parts import chunks

        self.open_ledger(context)
        with readable_failures():
            rules = SaveRules.read(
                self.upsert, self.upsert_fields, self.tag_operation, self.get_if_exists, default=True
            )
            contacts = list(self._contacts())
            plain = list(chunks((one for one in contacts if not one.get("sequence_ids")), rules.group))
            starting = self._starting(context, [one for one in contacts if one.get("sequence_ids")], rules)
            saved = _Saved()
            for chunk in plain:
                saved.add(self.hook.run(_save(chunk, rules)))
                self.log.info("Call %s: %s contacts are saved.", saved.calls, f"{saved.count:,}")
            if starting is not None:
                for part in starting.parts:
                    saved.add(starting.send(part, lambda chunk: _save(chunk, rules)))
                    self.log.info("Call %s: %s contacts are saved.", saved.calls, f"{saved.count:,}")
                starting.finish()
        return saved.answer()

    def _contacts(self) -> Iterator[ContactFields]:
        rows = contact_rows(self.contacts)
        for index, row in enumerate(rows):
            if row.get("sequences"):
                refuse_unless_allowed(self.hook, f"contacts[{index}].phone_number", row.get("phone_number"))
        for index, row in enumerate(rows):
            yield contact_fields.resolved(row, self.hook.names, prefix=f"contacts[{index}].")

    def _starting(
        self, context: Context, contacts: list[ContactFields], rules: SaveRules
    ) -> Parts[ContactFields] | None:
        """Return the contacts that are put into sequences, each once over all tries of the task."""
        from airflow_provider_wts.sending.parts import Parts

        if not contacts:
            return None
        members: dict[str, ContactFields] = {}
        for contact in contacts:
            if members.setdefault(_identity(contact), contact) is not contact:
                raise WtsInvalidRequestError(
                    f"contacts: {_name(contact)} and {_name(members[_identity(contact)])} are one contact, which would "
                    "be put into sequences twice. Give one row for it."
                )
        return Parts(
            self._once(context),
            self.hook,
            context,
            what="sequences",
            members=members,
            alike=rules.group,
            name=_name,
            resend=self.on_unknown == "resend",
        )


class _Saved:
    """What the calls answered so far."""

    def __init__(self) -> None:
        self.count = 0
        self.calls = 0
        self._ids: list[str | None] = []

    def add(self, answer: list[Contact] | None) -> None:
        """Take the answer of a call in.

        :param answer: the contacts.
        """
        self.calls += 1
        self.count += len(answer or [])
        self._ids += [contact.get("id") for contact in answer or []]

    def answer(self) -> dict[str, Any]:
        """Return the answer of the task."""
        ids = self._ids if len(self._ids) <= _IDS_IN_ANSWER else None
        return {"saved": self.count, "calls": self.calls, "contact_ids": ids}


class SaveRules:
    """What happens where a contact exists.

    :param upsert: update it.
    :param fields: what an update may change, by the API's names; ``NOT_GIVEN``: what is given.
    :param tag_operation: what happens to tags, as updates spell it.
    :param get_if_exists: return it and change nothing.
    """

    def __init__(
        self,
        upsert: Optional[bool],
        fields: Optional[list[str]],
        tag_operation: str,
        get_if_exists: Optional[bool],
    ) -> None:
        self.upsert = upsert
        self.fields = fields
        self.tag_operation = tag_operation
        self.get_if_exists = get_if_exists

    @classmethod
    def read(
        cls, upsert: Any, upsert_fields: Any, tag_operation: Any, get_if_exists: Any, *, default: bool = False
    ) -> SaveRules:
        """Check the rendered parameters.

        :param upsert: ``True``, ``False`` or their text.
        :param upsert_fields: names of fields.
        :param tag_operation: ``add``, ``remove`` or ``replace``.
        :param get_if_exists: ``True``, ``False`` or their text.
        :param default: whether the call updates where ``upsert`` is not given.
        :raises WtsInvalidRequestError: when they are impossible, or contradict each other.
        """
        updates = parameters.flag("upsert", upsert)
        gets = parameters.flag("get_if_exists", get_if_exists)
        if gets is True and updates is True:
            raise WtsInvalidRequestError(
                "get_if_exists: contradicts upsert; which of them wins is not documented. Set one of them."
            )
        if default and updates in (NOT_GIVEN, None) and gets is not True:
            updates = True
        fields = contact_fields.mask("upsert_fields", upsert_fields)
        for name, value in (("upsert_fields", upsert_fields), ("tag_operation", tag_operation)):
            if updates is not True and value is not NOT_GIVEN and value is not None:
                raise WtsInvalidRequestError(f"{name}: says what an update does, so it needs upsert=True.")
        if fields == []:
            raise WtsInvalidRequestError("upsert_fields: is empty. Leave it out, or set get_if_exists.")
        return cls(updates, fields, contact_fields.tag_operation(tag_operation), gets)

    def options(self, contact: ContactFields) -> SaveOptions:
        """Return the options for a contact.

        :param contact: the contact as the API takes it.
        """
        options: SaveOptions = {}
        if isinstance(self.upsert, bool):
            options["upsert"] = self.upsert
        if isinstance(self.get_if_exists, bool):
            options["get_if_exists"] = self.get_if_exists
        if self.upsert is True:
            # Left out it means every field, and nobody documents whether what is not given is then cleared.
            options["upsert_fields"] = self.mask(contact)
            if contact.get("tag_ids", NOT_GIVEN) is not NOT_GIVEN:
                options["upsert_tag_operation"] = contact_fields.upsert_spelling(self.tag_operation)
        return options

    def group(self, contact: ContactFields) -> Hashable:
        """Return what contacts of one call have in common: what an update of them may change, and having tags.

        :param contact: the contact as the API takes it.
        """
        tagged = contact.get("tag_ids", NOT_GIVEN) is not NOT_GIVEN
        return (tagged, *(self.mask(contact) if self.upsert else ()))

    def mask(self, contact: ContactFields) -> list[str]:
        """Return what an update of a contact may change.

        :param contact: the contact as the API takes it.
        """
        from airflow_provider_wts.api.contacts import changed_fields, contact_item

        return self.fields if isinstance(self.fields, list) else changed_fields(contact_item(contact))


def contact_rows(value: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch, checked; nothing is looked up.

    :param value: a list of objects, or the list as JSON text; ``email`` may stand for ``email_address`` in them.
    :raises WtsInvalidRequestError: naming the row and the field.
    """
    rows = parameters.items("contacts", value)
    if not isinstance(rows, list):
        raise WtsInvalidRequestError("contacts: is empty. Give a list of objects; [] saves nothing.")
    checked = [_row(index, row) for index, row in enumerate(rows)]
    contact_fields.refuse_twins(checked)
    return checked


def _save(contacts: list[ContactFields], rules: SaveRules) -> Call[list[Contact]]:
    from airflow_provider_wts.api.contacts import batch_save_contacts, contact_item

    return batch_save_contacts([contact_item(contact) for contact in contacts], **rules.options(contacts[0]))


def _name(contact: ContactFields) -> str:
    """Return what tells a contact from others: its number, else its address, else its user."""
    return next(str(contact[name]) for name in ("phone_number", "email", "instagram") if contact.get(name))


def _identity(contact: ContactFields) -> str:
    """Return what stays the same however a contact is written."""
    from airflow_provider_wts.api.addresses import identity_of

    return identity_of(_name(contact).strip().removeprefix("@"))


def _row(index: int, row: Any) -> dict[str, Any]:
    prefix = f"contacts[{index}]"
    if not isinstance(row, Mapping):
        raise WtsInvalidRequestError(f"{prefix}: must be an object, not {type(row).__name__}.")
    unknown = [str(name) for name in row if name not in (*contact_fields.FIELDS, "email")]
    if unknown:
        known = ", ".join(contact_fields.FIELDS)
        raise WtsInvalidRequestError(f"{prefix}: has {', '.join(map(repr, unknown))}; known are {known}.")
    if "email" in row and "email_address" in row:
        raise WtsInvalidRequestError(f"{prefix}: has both email and email_address. Leave one of them out.")
    named = {"email_address" if name == "email" else name: value for name, value in row.items()}
    checked = contact_fields.checked(given(**named), prefix=f"{prefix}.")
    if all(parameters.missing(checked.get(field)) for field in contact_fields.IDENTIFIERS):
        raise WtsInvalidRequestError(
            f"{prefix}: has neither phone_number nor email_address nor instagram, so that saving it again would make "
            "another contact."
        )
    return checked
