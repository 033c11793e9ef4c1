"""What DAGs written for earlier releases import goes on working, and says where it is now."""

from __future__ import annotations

import importlib
import warnings

import pytest

#: Every public name of 0.1.0 whose module or name is another one now, and where it is.
MOVED = {
    "api.call.NOT_GIVEN": "api.wire.UNSET",
    "api.call.NotGiven": "api.wire.Unset",
    "api.call.Optional": "api.wire.Missing",
    "api.call.given": "api.wire.given",
    "api.call.given_or_left_out": "api.wire.given_or_left_out",
    "api.call.moment": "api.wire.parse_timestamp",
    "api.call.utc": "api.wire.utc",
    "api.outcome.Judgement": "api.outcome.Verdict",
    "api.phone.EXAMPLE": "api.addresses.EXAMPLE",
    "api.phone.number": "api.addresses.number",
    "api.phone.recipient": "api.addresses.recipient",
    "api.storage.put_content": "api.files.put_content",
    "emulator.account.Account": "emulator.state.Account",
    "emulator.recording.RecordedRequest": "emulator.service.RecordedRequest",
    "emulator.records.Session": "emulator.state.Session",
    "hooks.failures.readable_failures": "hooks.errors.task_failures",
    "hooks.panel_names.PanelNames": "hooks.names.PanelNames",
    "operators.batch.WtsSendChatbotBatchOperator": "operators.campaign.WtsSendChatbotBatchOperator",
    "operators.batch.WtsSendTemplateBatchOperator": "operators.campaign.WtsSendTemplateBatchOperator",
    "operators.batch.WtsSendTextBatchOperator": "operators.campaign.WtsSendTextBatchOperator",
    "operators.batch_base.WtsBatchOperator": "operators.campaign.WtsBatchOperator",
    "operators.card_content.WtsCardWriter": "operators.card.WtsCardWriter",
    "operators.card_note.WtsCreateCardNoteOperator": "operators.card.WtsCreateCardNoteOperator",
    "operators.card_note.WtsDeleteCardNoteOperator": "operators.card.WtsDeleteCardNoteOperator",
    "operators.card_note.WtsListCardNotesOperator": "operators.card.WtsListCardNotesOperator",
    "operators.chatbot_reading.WtsListChannelsOperator": "operators.chatbot.WtsListChannelsOperator",
    "operators.chatbot_reading.WtsListChatbotsOperator": "operators.chatbot.WtsListChatbotsOperator",
    "operators.contact_listing.WtsListContactsOperator": "operators.contact.WtsListContactsOperator",
    "operators.contact_saving.WtsSaveContactsOperator": "operators.contact.WtsSaveContactsOperator",
    "operators.conversations.WtsExportConversationsOperator": "operators.export.WtsExportConversationsOperator",
    "operators.message_base.WtsMessageOperator": "operators.sending.WtsMessageOperator",
    "operators.message_sending.WtsSendFileOperator": "operators.message.WtsSendFileOperator",
    "operators.message_sending.WtsSendTextOperator": "operators.message.WtsSendTextOperator",
    "operators.message_template.WtsScheduleMessageOperator": "operators.message.WtsScheduleMessageOperator",
    "operators.message_template.WtsSendTemplateOperator": "operators.template.WtsSendTemplateOperator",
    "operators.retry.use_retry_policy": "hooks.errors.use_retry_policy",
    "operators.session_reading.WtsGetSessionOperator": "operators.session.WtsGetSessionOperator",
    "operators.session_reading.WtsListSessionsOperator": "operators.session.WtsListSessionsOperator",
}

#: What the documents of 0.1.0 name, with no change.
KEPT = """
operators.chatbot: WtsSendChatbotOperator WtsSendChatbotBatchOperator WtsListChatbotsOperator WtsListChannelsOperator
operators.message: WtsSendTextOperator WtsSendFileOperator WtsSendTemplateOperator WtsSendTextBatchOperator
operators.message: WtsSendTemplateBatchOperator WtsScheduleMessageOperator WtsCancelScheduledMessageOperator
operators.message: WtsUploadFileOperator WtsGetMessageOperator WtsGetMessageStatusOperator WtsListMessagesOperator
operators.message: WtsListTemplatesOperator
operators.contact: WtsCreateContactOperator WtsUpdateContactOperator WtsGetContactOperator WtsListContactsOperator
operators.contact: WtsSaveContactsOperator WtsUpdateContactTagsOperator
operators.session: WtsGetSessionOperator WtsListSessionsOperator WtsChangeSessionStatusOperator
operators.session: WtsCompleteSessionOperator WtsTransferSessionOperator WtsAssignSessionOperator
operators.session: WtsUpdateSessionOperator WtsCreateSessionNoteOperator WtsExportConversationsOperator
operators.sequence: WtsListSequencesOperator WtsListSequenceContactsOperator WtsAddToSequenceOperator
operators.sequence: WtsRemoveFromSequenceOperator
operators.panel: WtsListPanelsOperator WtsGetPanelOperator WtsListCardsOperator WtsGetCardOperator
operators.panel: WtsCreateCardOperator WtsUpdateCardOperator WtsDuplicateCardOperator WtsListCardNotesOperator
operators.panel: WtsCreateCardNoteOperator WtsDeleteCardNoteOperator
operators.call: WtsCallOperator
operators.base: WtsOperator
operators.sending: WtsOnceOperator WtsSendingOperator
operators.listing: WtsListOperator
sensors.base: WtsSensor
sensors.session: WtsSessionSensor WtsSessionsSensor
sensors.message: WtsSessionReplySensor WtsMessageStatusSensor
triggers.session: WtsSessionTrigger WtsSessionsTrigger
triggers.message: WtsSessionReplyTrigger WtsMessageStatusTrigger
notifications.wts: WtsNotifier
links.session: WtsSessionLink
hooks.wts: WtsHook
api.call: Call
api.client: WtsClient
api.errors: WtsError WtsInvalidRequestError WtsNameError WtsRejectedError WtsAuthenticationError WtsNotFoundError
api.errors: WtsNotSentError WtsUnreachableError WtsRateLimitError WtsUnknownOutcomeError
emulator.running: Emulator
emulator.faults: Fault
emulator.switches: Switches
emulator.fixtures: wts_emulator
"""


def found(path: str) -> object:
    module, _, name = f"airflow_provider_wts.{path}".rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("old", MOVED)
def test_a_name_that_moved_is_found_at_its_old_place_with_a_warning(old):
    new = MOVED[old]
    # First: importing Airflow changes where warnings go.
    wanted = found(new)
    with pytest.warns(DeprecationWarning, match=rf"airflow_provider_wts\.{old} is now airflow_provider_wts\.{new}$"):
        assert found(old) is wanted


@pytest.mark.parametrize(
    "path",
    [
        f"{module}.{name}"
        for module, _, names in (line.partition(":") for line in KEPT.strip().splitlines())
        for name in names.split()
    ],
)
def test_a_documented_name_is_where_it_was_without_a_warning(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found(path)


def test_the_warning_names_the_line_that_imports():
    with pytest.warns(DeprecationWarning, match="operators.campaign") as caught:
        from airflow_provider_wts.operators.batch import WtsSendTextBatchOperator  # noqa: F401
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("module", ["operators.batch", "api.call"])
def test_a_name_that_never_was_is_an_ordinary_import_error(module):
    with pytest.raises(AttributeError, match="nothing"):
        found(f"{module}.nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("airflow_provider_wts.operators.nothing")
