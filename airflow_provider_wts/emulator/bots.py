"""Chatbots: each runs a script of steps in a session.

A step is an object with exactly one of these keys:

``{"message": "Olá {{contact.name}}"}`` writes; with ``"template": "<name>"`` it is a template message.
``{"wait": 5}`` waits emulated seconds.
``{"ask": "Nota de 0 a 10?", "save_as": "nota", "timeout": 60}`` asks, and stores the answer in the session's metadata;
after ``timeout`` emulated seconds without an answer it goes on, or ends the script with ``"on_timeout": "end"``.
``{"metadata": {"etapa": "fim"}}`` writes session metadata.
``{"classification": {"category": "WON", "description": "Pago", "amount": 10}}`` classifies the session.
``{"transfer": {"department": "Vendas"}}`` or ``{"transfer": {"agent": "ana@exemplo.com.br"}}`` hands it over.
``{"status": "PENDING"}`` sets the session's status.
``{"complete": {"reactivate": false}}`` completes the session.
``{"fail": "reason"}`` ends the script at once, as a broken chatbot would.

Texts know ``{{contact.name}}``, ``{{contact.phone}}``, ``{{answer}}`` and ``{{metadata.<name>}}`` (of the session, else
of the contact).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.emulator import conversation, webhooks
from airflow_provider_wts.emulator.answers import NOTHING
from airflow_provider_wts.emulator.errors import Refusal
from airflow_provider_wts.emulator.state import Account, Chatbot, Delivery, Session, log

_STEPS = {"message", "wait", "ask", "metadata", "classification", "transfer", "status", "complete", "fail"}
_PLACE = re.compile(r"\{\{\s*([\w.\-]+)\s*\}\}")


def start(
    account: Account, session: Session, bot: Chatbot, item: Mapping[str, Any] = NOTHING, *, send_id: str | None = None
) -> None:
    """Start a chatbot in a session; one that runs there stops.

    :param item: the request for it, or the entry of a batch, with ``senderId`` and ``callbackUrl``.
    :param send_id: the send that starts it.
    """
    if session.run is not None:
        session.run.stop()
    run = BotRun(account, session, bot)
    session.run = run
    session["botId"] = bot.id
    account.touch_session(session)
    to, at, sender_id = conversation.address_of(session), account.now_text(), item.get("senderId")
    account.deliver(Delivery(to, "chatbot", at, sender_id, send_id, session_id=session.id, bot=bot["name"]))
    content = {"id": send_id, "sessionId": session.id, "status": "STARTED", "senderId": sender_id, "failedReason": None}
    webhooks.call_back(account, item.get("callbackUrl"), content)
    account.agenda.after(0, run.go_on)


def check_steps(steps: object) -> list[dict[str, Any]]:
    """Return the steps of a script from a seed file, or raise ``ValueError``."""
    if not isinstance(steps, list):
        raise ValueError("steps: must be a list.")
    for number, step in enumerate(steps):
        if not isinstance(step, dict) or len(_STEPS & step.keys()) != 1:
            raise ValueError(f"steps[{number}]: must be an object with exactly one of {sorted(_STEPS)}.")
    return steps


class BotRun:
    """A chatbot that runs in a session."""

    def __init__(self, account: Account, session: Session, bot: Chatbot) -> None:
        self.account = account
        self.session = session
        self.bot = bot
        self.asked = False
        self._position = 0
        self._answer: str | None = None
        self._stopped = False

    def go_on(self) -> None:
        """Do steps until one waits or the script ends."""
        while not self._stopped:
            if self._position >= len(self.bot.steps):
                self.stop()
                return
            step = self.bot.steps[self._position]
            name = next(iter(_STEPS & step.keys()))
            try:
                getattr(self, f"_{name}")(step)
            except Refusal as refusal:
                log.warning("Chatbot %r stops at step %d: %s", self.bot["name"], self._position + 1, refusal.text)
                self.stop()
            if name in ("wait", "ask"):
                return
            self._position += 1

    def stop(self) -> None:
        """End the run."""
        self._stopped = True
        self.asked = False
        if self.session.run is self:
            self.session.run = None
            if self.account.switches.bot_id_after_run == "cleared":
                self.session["botId"] = None
            self.account.touch_session(self.session)

    def answered(self, text: str) -> None:
        """Take the contact's answer to what the script asked."""
        step = self.bot.steps[self._position]
        self.asked = False
        self._answer = text
        if step.get("save_as"):
            self._keep({step["save_as"]: text})
        self._position += 1
        self.account.agenda.after(0, self.go_on)

    def _keep(self, metadata: Mapping[str, Any]) -> None:
        self.session["metadata"] = {**self.session["metadata"], **metadata}
        self.account.touch_session(self.session)

    # The steps ------------------------------------------------------------------------------------------------------

    def _message(self, step: Mapping[str, Any]) -> None:
        template = None
        if step.get("template"):
            template = next((t for t in self.account.templates if t["name"] == step["template"]), None)
        content = conversation.Content(self._fill(step["message"]), template=template)
        conversation.company_writes(self.account, self.session, content, bot=self.bot["name"])

    def _wait(self, step: Mapping[str, Any]) -> None:
        self._position += 1
        self.account.agenda.after(float(step["wait"]), self.go_on)

    def _ask(self, step: Mapping[str, Any]) -> None:
        self._message({**step, "message": step["ask"]})
        self.asked = True
        position = self._position
        behaviour = self.account.behaviour_of(conversation.address_of(self.session))
        reply = behaviour.next_reply() if behaviour.fails is None else None

        def still_asked() -> bool:
            return self.asked and self._position == position

        def reply_now() -> None:
            if still_asked() and reply is not None:
                conversation.answer_in(self.account, self.session, reply)

        def give_up() -> None:
            if still_asked():
                self.asked = False
                self._position = len(self.bot.steps) if step.get("on_timeout") == "end" else position + 1
                self.go_on()

        if reply is not None:
            self.account.agenda.after(behaviour.delay, reply_now)
        if step.get("timeout") is not None:
            self.account.agenda.after(float(step["timeout"]), give_up)

    def _metadata(self, step: Mapping[str, Any]) -> None:
        filled = {
            name: self._fill(value) if isinstance(value, str) else value for name, value in step["metadata"].items()
        }
        self._keep(filled)

    def _classification(self, step: Mapping[str, Any]) -> None:
        given = step["classification"]
        self.session["classification"] = {
            "id": self.account.new_id(),
            "category": given.get("category", "OTHER"),
            "categoryDescription": given.get("description"),
            "amount": float(given.get("amount", 0)),
            "categoryName": given.get("name"),
        }
        self.account.touch_session(self.session)

    def _transfer(self, step: Mapping[str, Any]) -> None:
        target = step["transfer"]
        if "department" in target:
            department = self.account.department_of({"name": target["department"]})
            self.session["departmentId"] = department.id if department else None
            self.session["userId"] = None
            conversation.set_status(self.account, self.session, "PENDING")
        else:
            self.session["userId"] = self.account.user_of({"email": target["agent"]})
            conversation.set_status(self.account, self.session, "IN_PROGRESS")

    def _status(self, step: Mapping[str, Any]) -> None:
        conversation.set_status(self.account, self.session, step["status"])

    def _complete(self, step: Mapping[str, Any]) -> None:
        given = step["complete"]
        # If this is the last step, the chatbot ends before the session does.
        if self._position + 1 >= len(self.bot.steps):
            self.stop()
        reactivate = isinstance(given, dict) and bool(given.get("reactivate"))
        conversation.complete(self.account, self.session, stop_bot=False, reactivate=reactivate)

    def _fail(self, step: Mapping[str, Any]) -> None:
        log.info("Chatbot %r fails, as its script says: %s", self.bot["name"], step["fail"])
        self.stop()

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            kind, _, name = match[1].partition(".")
            found: Any = None
            if match[1] == "answer":
                found = self._answer
            elif kind == "contact":
                found = self.session.contact["phoneNumber" if name == "phone" else name]
            elif kind == "metadata":
                found = self.session["metadata"].get(name, self.session.contact["metadata"].get(name))
            return "" if found is None else str(found)

        return _PLACE.sub(value, text)
