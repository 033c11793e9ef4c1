"""Operators for contacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional, given
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.hooks.failures import readable_failures
from airflow_provider_wts.operators import contact_fields, parameters
from airflow_provider_wts.operators.base import WtsOperator
from airflow_provider_wts.operators.contact_listing import WtsListContactsOperator
from airflow_provider_wts.operators.contact_saving import SaveRules, WtsSaveContactsOperator
from airflow_provider_wts.operators.recipients import refuse_unless_allowed
from airflow_provider_wts.operators.sending import WtsOnceOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api import contacts as calls
    from airflow_provider_wts.api.types import Contact
    from airflow_provider_wts.sending.reconcile import Trace

__all__ = [
    "WtsCreateContactOperator",
    "WtsGetContactOperator",
    "WtsListContactsOperator",
    "WtsSaveContactsOperator",
    "WtsUpdateContactOperator",
    "WtsUpdateContactTagsOperator",
]

_FIELD_RENDERERS = dict.fromkeys(("tags", "portfolios", "sequences", "custom_fields", "metadata"), "json")


class _ContactWriteOperator(WtsOperator):
    """What creating and updating share: the fields of a contact."""

    prose: ClassVar[frozenset[str]] = frozenset({"name", "annotation", "custom_fields"})
    template_fields: Sequence[str] = (*WtsOperator.template_fields, *contact_fields.FIELDS, "tag_operation")

    def __init__(
        self,
        *,
        name: Optional[str] = NOT_GIVEN,
        phone_number: Optional[str] = NOT_GIVEN,
        email_address: Optional[str] = NOT_GIVEN,
        instagram: Optional[str] = NOT_GIVEN,
        annotation: Optional[str] = NOT_GIVEN,
        tags: Optional[Sequence[str] | str] = NOT_GIVEN,
        tag_operation: str | NotGiven = NOT_GIVEN,
        portfolios: Optional[Sequence[str] | str] = NOT_GIVEN,
        sequences: Optional[Sequence[str] | str] = NOT_GIVEN,
        custom_fields: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
        metadata: Optional[Mapping[str, Any] | str] = NOT_GIVEN,
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


class WtsCreateContactOperator(_ContactWriteOperator, WtsOnceOperator):
    """Create a contact, or update or return the one that exists.

    Calls ``create_contact``. What is left out is not sent. What the API does with a contact that exists where neither
    ``upsert`` nor ``get_if_exists`` is set is not documented.

    :param name: the contact's name, at most 255 characters (templated).
    :param phone_number: number in any usual spelling; without a country code it is read as Brazilian (templated).
    :param email_address: its e-mail address. It is not called ``email``, because that is where Airflow itself writes
        to when a task fails (templated).
    :param instagram: its Instagram user (templated).
    :param annotation: free text (templated).
    :param tags: names or ids of tags; one or a list. An unknown name is refused (templated).
    :param tag_operation: with ``upsert``: ``add`` to the tags that are there (default), ``remove`` from them, or
        ``replace`` them (templated).
    :param portfolios: names or ids of portfolios (templated).
    :param sequences: names or ids of sequences to put the contact into. They write to it, so where the answer is lost,
        nothing is repeated by itself, whatever ``upsert`` and ``get_if_exists`` say; ``on_unknown`` decides
        (templated).
    :param custom_fields: values by key or name, an object or its JSON text; an unknown field is refused, because the
        API would drop it silently (templated, deep).
    :param metadata: object kept with the contact, or its JSON text; merged by key, ``null`` removes a key
        (templated, deep).
    :param upsert: update the contact where it exists (templated).
    :param upsert_fields: with ``upsert``: what an update may change, such as ``["name", "tags"]``; without it what
        is given, so that an update clears nothing (templated).
    :param get_if_exists: return the contact where it exists, and change nothing (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the contact.
    :raises AirflowFailException: when the input is impossible, the API refuses, or the outcome is unknown.
    """

    template_fields: Sequence[str] = (
        *_ContactWriteOperator.template_fields,
        "on_unknown",
        "on_clear",
        "upsert",
        "upsert_fields",
        "get_if_exists",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {**_FIELD_RENDERERS, "upsert_fields": "json"}

    def __init__(
        self,
        *,
        upsert: Optional[bool | str] = NOT_GIVEN,
        upsert_fields: Optional[Sequence[str] | str] = NOT_GIVEN,
        get_if_exists: Optional[bool | str] = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.upsert = upsert
        self.upsert_fields = upsert_fields
        self.get_if_exists = get_if_exists

    def execute(self, context: Context) -> Contact:
        """Create the contact.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import contacts as calls

        self.open_ledger(context)
        with readable_failures():
            rules = SaveRules.read(self.upsert, self.upsert_fields, self.tag_operation, self.get_if_exists)
            fields = self._fields()
            if all(parameters.missing(fields.get(field)) for field in ("name", *contact_fields.IDENTIFIERS)):
                raise WtsInvalidRequestError(
                    "phone_number: is empty, and so are name, email_address and instagram; one of them is needed."
                )
            if fields.get("sequences"):
                refuse_unless_allowed(self.hook, "phone_number", fields.get("phone_number"))
            contact = contact_fields.resolved(fields, self.hook.names)
            call = calls.create_contact(**contact, **rules.options(contact))
        answer = self.run_once(context, recipient=_who(contact), build=lambda _: call, trace=self._trace(contact))
        contact_fields.report_dropped(self.log, contact["custom_fields"], answer)
        self.log.info("Contact %s is saved.", (answer or {}).get("id"))
        return answer

    def _trace(self, contact: Mapping[str, Any]) -> Trace | None:
        from airflow_provider_wts.sending.reconcile import ByPhone, Harmless

        phone = contact.get("phone_number")
        # That there is such a contact says nothing of its sequences, and putting it into one twice may write twice.
        if not phone or contact.get("sequence_ids"):
            return None
        finds_itself = parameters.flag("upsert", self.upsert) or parameters.flag("get_if_exists", self.get_if_exists)
        return Harmless() if finds_itself else ByPhone(str(phone))


def _who(contact: Mapping[str, Any]) -> str:
    """Return what tells a new contact from others: its number, address or user, else its name."""
    return next(str(contact[name]) for name in ("phone_number", "email", "instagram", "name") if contact.get(name))


class WtsUpdateContactOperator(_ContactWriteOperator, WtsOnceOperator):
    """Change a contact; what is left out stays as it is.

    Calls ``update_contact``, or ``update_contact_by_phone``. ``None`` and ``""`` clear a text, ``[]`` a list.

    :param contact_id: id of the contact; this or ``phone`` (templated).
    :param phone: number of the contact, in any usual spelling (templated).
    :param name: new name, at most 255 characters (templated).
    :param phone_number: new number, in any usual spelling (templated).
    :param email_address: new e-mail address; not called ``email``, which is Airflow's own parameter (templated).
    :param instagram: new Instagram user (templated).
    :param annotation: free text (templated).
    :param tags: names or ids of tags; one or a list. An unknown name is refused (templated).
    :param tag_operation: ``add`` to the tags that are there (default), ``remove`` from them, or ``replace`` them; to
        clear them: ``tags=[]`` and ``replace`` (templated).
    :param portfolios: names or ids of portfolios; whether they replace those that are there is not documented
        (templated).
    :param sequences: names or ids of sequences. They write to the contact, so where the answer is lost, nothing is
        repeated by itself: ``on_unknown`` decides. It and ``on_clear`` are of no effect without sequences (templated).
    :param custom_fields: values by key or name, an object or its JSON text; an unknown field is refused
        (templated, deep).
    :param metadata: merged by key, ``null`` removes a key; an object or its JSON text (templated, deep).
    :param status: ``ACTIVE``, ``ARCHIVED`` or ``BLOCKED`` (templated).
    :param picture_url: address of its picture (templated).
    :param utm: where it came from: an object with ``source``, ``medium``, ``campaign``, ``content``, ``headline``,
        ``term``, ``referralUrl`` (templated, deep).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the contact.
    :raises AirflowFailException: when the input is impossible, there is no such contact, or the API refuses.
    """

    template_fields: Sequence[str] = (
        *_ContactWriteOperator.template_fields,
        "on_unknown",
        "on_clear",
        "contact_id",
        "phone",
        "status",
        "picture_url",
        "utm",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {**_FIELD_RENDERERS, "utm": "json"}

    def __init__(
        self,
        *,
        contact_id: str | None = None,
        phone: str | None = None,
        status: Optional[str] = NOT_GIVEN,
        picture_url: Optional[str] = NOT_GIVEN,
        utm: Mapping[str, Any] | str | NotGiven = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contact_id = contact_id
        self.phone = phone
        self.status = status
        self.picture_url = picture_url
        self.utm = utm

    def execute(self, context: Context) -> Contact:
        """Change the contact.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import contacts as calls

        if not parameters.missing(self.sequences):
            self.open_ledger(context)
        with readable_failures():
            contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
            fields = self._fields()
            changes: calls.ContactChanges = {
                "status": parameters.choice("status", self.status, contact_fields.STATUSES),
                "picture_url": parameters.text("picture_url", self.picture_url),
                "utm": contact_fields.utm(self.utm),
                "tags_operation": self._tags_operation(fields),
            }
            if fields.get("sequences"):
                refuse_unless_allowed(self.hook, "phone", phone or None, contact_id=contact_id)
            if not fields and not given(**{key: changes[key] for key in ("status", "picture_url", "utm")}):
                raise WtsInvalidRequestError("Nothing is to be changed: give at least one field of the contact.")
            changes = {**contact_fields.resolved(fields, self.hook.names), **changes}
            call = (
                calls.update_contact(contact_id, **changes)
                if contact_id is not None
                else calls.update_contact_by_phone(phone, **changes)
            )
        if call.repeatable:
            answer = self.run_call(call)
        else:
            answer = self.run_once(context, recipient=contact_id or phone, build=lambda _: call, trace=None)
        contact_fields.report_dropped(self.log, changes["custom_fields"], answer)
        return answer

    def _tags_operation(self, fields: Mapping[str, Any]) -> str | NotGiven:
        if "tags" in fields:
            return contact_fields.tag_operation(self.tag_operation)
        if parameters.missing(self.tag_operation):
            return NOT_GIVEN
        raise WtsInvalidRequestError("tag_operation: says what happens to tags, and no tags are given.")


class WtsGetContactOperator(WtsOperator):
    """Read a contact.

    Calls ``get_contact``, or ``get_contact_by_phone``.

    :param contact_id: id of the contact; this or ``phone`` (templated).
    :param phone: number of the contact, in any usual spelling (templated).
    :param include_details: ``Tags``, ``CustomFields``, ``Portfolios``; one or a list (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the contact.
    :raises AirflowFailException: when the input is impossible, there is no such contact, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "contact_id", "phone", "include_details")
    template_fields_renderers: ClassVar[dict[str, str]] = {"include_details": "json"}

    def __init__(
        self,
        *,
        contact_id: str | None = None,
        phone: str | None = None,
        include_details: Sequence[str] | str | NotGiven = NOT_GIVEN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.contact_id = contact_id
        self.phone = phone
        self.include_details = include_details

    def execute(self, context: Context) -> Contact:
        """Read the contact.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import contacts as calls

        with readable_failures():
            contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
            details = parameters.details(self.include_details, contact_fields.DETAILS)
            call = (
                calls.get_contact(contact_id, include_details=details)
                if contact_id is not None
                else calls.get_contact_by_phone(phone, include_details=details)
            )
        return self.run_call(call)


class WtsUpdateContactTagsOperator(WtsOperator):
    """Add, remove or replace the tags of a contact.

    Calls ``update_contact_tags``, or ``update_contact_tags_by_phone``.

    :param tags: names or ids of tags; one or a list. An unknown name is refused. ``[]`` goes with ``replace`` only,
        and removes all (templated).
    :param tag_operation: ``add``, ``remove`` or ``replace`` (templated).
    :param contact_id: id of the contact; this or ``phone`` (templated).
    :param phone: number of the contact, in any usual spelling (templated).
    :param wts_conn_id: id of the Airflow connection (templated).
    :return: the contact.
    :raises AirflowFailException: when the input is impossible, there is no such contact, or the API refuses.
    """

    template_fields: Sequence[str] = (*WtsOperator.template_fields, "tags", "tag_operation", "contact_id", "phone")
    template_fields_renderers: ClassVar[dict[str, str]] = {"tags": "json"}

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

    def execute(self, context: Context) -> Contact:
        """Change the tags.

        :param context: the task's context.
        """
        from airflow_provider_wts.api import contacts as calls

        with readable_failures():
            contact_id, phone = contact_fields.whom(self.contact_id, self.phone)
            operation = contact_fields.tag_operation(self.tag_operation)
            tags = parameters.texts("tags", self.tags)
            if not isinstance(tags, list) or (not tags and operation != "ReplaceAll"):
                raise WtsInvalidRequestError("tags: is empty. Give names or ids, or [] with tag_operation='replace'.")
            tag_ids = contact_fields.ids("tags", tags, self.hook.names.tag)
            call = (
                calls.update_contact_tags(contact_id, tag_ids=tag_ids, operation=operation)
                if contact_id is not None
                else calls.update_contact_tags_by_phone(phone, tag_ids=tag_ids, operation=operation)
            )
        return self.run_call(call)
