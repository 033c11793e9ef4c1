"""The notifier: sends people the outcome of a DAG, a task or a deadline over WTS Chat."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_wts.api.errors import WtsAuthenticationError, WtsError, WtsInvalidRequestError, WtsNotSentError
from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.hooks.templates import RenderedParameters
from airflow_provider_wts.hooks.wts import WtsHook

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_wts.api.call import Call


#: Seconds for a notification, including all recipients and waits, because the task waits for it.
DEADLINE = 30.0


class WtsNotifier(RenderedParameters, BaseNotifier):
    """Send a text, a template or a chatbot from a callback.

    For ``on_failure_callback`` and the other callbacks of DAGs and tasks, for ``sla_miss_callback`` (Airflow 2.11), and
    with ``AsyncCallback`` for deadline alerts (Airflow 3.1 and later).

    **A callback has no ledger.** Airflow may run a callback twice, or not at all if its process dies, so the message
    may arrive twice or not at all. If it must arrive exactly once, use a task with ``WtsSendTextOperator`` or another
    send operator. A send with an unknown outcome is not repeated.

    The notification takes at most 30 s, because the task waits for its callback. Blank recipients are skipped, and
    several spellings of one person count as one recipient. The log shows who was notified.

    Failures are logged, and never fail the run. On official WhatsApp channels, a text reaches only people who wrote
    within the last 24 hours; for others, use a template.

    :param to: recipient, or a list of them: phone numbers in any common format, or ``@handle``. Required (templated).
    :param text: the text; give exactly one of this, ``template`` and ``chatbot`` (templated).
    :param template: name or ID of a template (templated).
    :param parameters: values by the name of the template's variable (templated, deep).
    :param chatbot: name or key of a chatbot to start (templated).
    :param session_metadata: object stored with the session of the template or chatbot (templated, deep).
    :param channel: channel to send from: its name, ID, number or ``@handle``; default: the connection's channel. A
        template needs one (templated).
    :param wts_conn_id: ID of the Airflow connection (templated).
    :param kwargs: what Airflow's ``BaseNotifier`` takes.
    """

    never_blank: ClassVar[frozenset[str]] = RenderedParameters.never_blank | {"parameters"}
    prose: ClassVar[frozenset[str]] = frozenset({"text", "parameters"})

    def __init__(
        self,
        *,
        to: str | Sequence[str],
        text: str | None = None,
        template: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        chatbot: str | None = None,
        session_metadata: Mapping[str, Any] | None = None,
        channel: str | None = None,
        wts_conn_id: str = WtsHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.text = text
        self.template = template
        self.parameters = parameters
        self.chatbot = chatbot
        self.session_metadata = session_metadata
        self.channel = channel
        self.wts_conn_id = wts_conn_id

    def __call__(self, *args: Any) -> None:
        """Render the templates and send; errors are logged.

        :param args: the context, or what Airflow 2.11 hands to ``sla_miss_callback``.
        """
        try:
            super().__call__(*args)
        except Exception:
            # For example, an error in a template.
            self.log.exception("The notification was not sent.")

    def __await__(self) -> Generator[Any, None, None]:
        """Render the templates and send, off the event loop; errors are logged."""
        try:
            yield from super().__await__()
        except Exception:
            self.log.exception("The notification was not sent.")

    def notify(self, context: Context) -> None:
        """Send to all recipients within 30 s; a failure for one does not stop the others.

        If the token is refused or the host cannot be reached, the remaining recipients are not tried.
        """
        try:
            send, recipients = self._prepared(time.monotonic() + DEADLINE)
        except Exception as error:
            self._failed("The notification was not sent", error)
            return
        notified: list[str] = []
        for place, to in enumerate(recipients):
            try:
                answer = send(to)
            except Exception as error:
                self._failed(f"The notification did not reach {to}", error)
                if isinstance(error, (WtsAuthenticationError, WtsNotSentError)):
                    if rest := ", ".join(recipients[place + 1 :]):
                        self.log.error("The notification was not tried for %s, because nothing can be sent.", rest)
                    break
            else:
                notified.append(to)
                self.log.info("Notified %s: %s.", to, answer.get("id"))
        self.log.info(
            "Notified %s of %s recipients: %s.", len(notified), len(recipients), ", ".join(notified) or "nobody"
        )

    async def async_notify(self, context: Context) -> None:
        """Send to all recipients from a thread: the event loop belongs to all triggers."""
        await asyncio.to_thread(self.notify, context)

    def _prepared(self, until: float) -> tuple[Callable[[str], dict[str, Any]], list[str]]:
        """Return a function that sends, and the recipients, after checking what is the same for all of them."""
        from airflow_provider_wts.api import messages, parameters

        self.refuse_vanished()
        for name in ("text", "parameters", "session_metadata"):
            # The text of an exception may have colours, and an alert must not be lost for them.
            setattr(self, name, parameters.without_control_characters(getattr(self, name)))
        given = [name for name in ("text", "template", "chatbot") if not parameters.missing(getattr(self, name))]
        if len(given) != 1:
            raise WtsInvalidRequestError(f"text, template, chatbot: give exactly one of them, not {given or 'none'}.")
        recipients = self._recipients()
        hook = WtsHook(self.wts_conn_id)
        hook.client.stop_at(until)
        build = self._call(hook, hook.channel(self.channel))

        def send(to: str) -> dict[str, Any]:
            answer = dict(hook.run(build(hook.recipient(to))) or {})
            if failure := messages.failure_of(answer):
                raise WtsError(f"{failure}.")
            return answer

        return send, recipients

    def _recipients(self) -> list[str]:
        """Return the recipients without blanks, each person once in any spelling."""
        from airflow_provider_wts.api import parameters
        from airflow_provider_wts.api.addresses import identity_of

        listed = parameters.items("to", self.to)
        given = listed if isinstance(listed, list) else []
        filled = [one for one in given if not parameters.missing(one)]
        if not filled:
            raise WtsInvalidRequestError("to: is empty. Example: ['+55 11 99999-8888'].")
        if blank := len(given) - len(filled):
            self.log.warning("to: %s of %s recipients are blank and are skipped.", blank, len(given))
        texts = [str(one) for one in parameters.texts("to", filled) or []]
        return list({identity_of(text): text for text in reversed(texts)}.values())[::-1]

    def _call(self, hook: WtsHook, channel: str | None) -> Callable[[str], Call[Any]]:
        from airflow_provider_wts.api import chatbots, parameters, sends, templates
        from airflow_provider_wts.hooks.names import checked_template

        # JSON may write control characters as escapes.
        unpacked = parameters.unpacked("session_metadata", self.session_metadata)
        unpacked = parameters.without_control_characters(unpacked)
        metadata = parameters.metadata("session_metadata", unpacked) or UNSET
        if not parameters.missing(self.chatbot):
            key = hook.names.chatbot(str(self.chatbot))
            return lambda to: chatbots.send_chatbot(
                bot_key=key, to=to, from_=channel or UNSET, session_metadata=metadata
            )
        if not parameters.missing(self.template):
            sender = templates.needed_channel(channel)
            filling = templates.template_parameters("parameters", self.parameters or UNSET)
            template_id = checked_template(
                hook.names, str(self.template), sender, filling, has_file=False, check=True, log=self.log
            )
            return lambda to: sends.send_template(
                to, sender, template_id, parameters=filling, session_metadata=metadata
            )
        text = parameters.needed_text("text", self.text)
        sends.warn_if_long(self.log, "text", text, sends.MAX_TEXT)
        return lambda to: sends.send_text(text, to=to, from_=channel or UNSET)

    def _failed(self, what: str, error: Exception) -> None:
        # A traceback helps only with unexpected errors.
        self.log.error("%s: %s", what, error, exc_info=None if isinstance(error, WtsError) else error)
