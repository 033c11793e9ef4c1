"""Names of what belongs to a panel become ids: the panel, its steps, tags, custom fields and lost reasons.

Apart from :mod:`airflow_provider_wts.hooks.names`, since these names mean something only within their panel. Panels,
steps and tags come from one list, which is asked for once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api import panels
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.errors import WtsNameError
from airflow_provider_wts.hooks.names import field_key, is_uuid, keyed, match

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_wts.api.call import Call


class PanelNames:
    """Looks up names within panels.

    :param listed: returns all items of a list call, remembered under a name.
    """

    def __init__(self, listed: Callable[[str, Call[Any]], list[dict[str, Any]]]) -> None:
        self._listed = listed

    def panel(self, text: str) -> str:
        """Return the id of a panel.

        :param text: title or key as WTS Chat shows it, or id.
        :raises WtsNameError: when none or several panels match.
        """
        if is_uuid(text):
            return text.strip()
        panel = match("panel", text, _alive(self._panels()), lambda item: [item.get("title"), item.get("key")])
        return str(required(panel, "id", "list_panels"))

    def panel_of_step(self, step_id: str) -> str:
        """Return the id of the panel that a step belongs to.

        :param step_id: id of the step.
        :raises WtsNameError: when no panel has the step.
        """
        for panel in self._panels():
            if any(_same(step, step_id) for step in panel.get("steps") or []):
                return str(required(panel, "id", "list_panels"))
        raise WtsNameError(f"There is no step with the id {step_id} in this account.")

    def step(self, text: str, panel_id: str) -> str:
        """Return the id of a step.

        :param text: title as WTS Chat shows it, or id.
        :param panel_id: its panel.
        :raises WtsNameError: when none or several steps of the panel match.
        """
        if is_uuid(text):
            return text.strip()
        steps = _alive(self._panel(panel_id).get("steps") or [])
        return str(required(match("step", text, steps, lambda item: [item.get("title")]), "id", "list_panels"))

    def tag(self, text: str, panel_id: str) -> str:
        """Return the id of a tag of a panel; the tags of contacts are others.

        :param text: name as WTS Chat shows it, or id.
        :param panel_id: its panel.
        :raises WtsNameError: when none or several tags of the panel match.
        """
        if is_uuid(text):
            return text.strip()
        tags = self._panel(panel_id).get("tags") or []
        return str(required(match("panel tag", text, tags, lambda item: [item.get("name")]), "id", "list_panels"))

    def custom_fields(self, values: Mapping[str, Any], panel_id: str) -> dict[str, Any]:
        """Return the values of custom fields by key. The API drops unknown keys silently, so they are refused here.

        :param values: values by key or by name as WTS Chat shows it; a key wins over another field's name.
        :param panel_id: the panel whose cards have the fields.
        :raises WtsNameError: when the panel has no such field, or several of that name.
        :raises WtsInvalidRequestError: when two entries mean the same field.
        """
        found = self._listed(f"custom fields of {panel_id}", panels.list_panel_custom_fields(panel_id))
        return keyed(values, lambda text: field_key(text, found))

    def lost_reason(self, text: str, panel_id: str) -> str:
        """Return the id of a reason for which a card can be lost.

        :param text: reason as WTS Chat shows it, or id.
        :param panel_id: a panel of type ``SALES``.
        :raises WtsNameError: when none or several reasons of the panel match.
        """
        if is_uuid(text):
            return text.strip()
        reasons = self._listed(f"lost reasons of {panel_id}", panels.list_panel_lost_reasons(panel_id))
        reason = match("lost reason", text, reasons, lambda item: [item.get("description")])
        return str(required(reason, "id", "list_panel_lost_reasons"))

    def _panel(self, panel_id: str) -> dict[str, Any]:
        for panel in self._panels():
            if _same(panel, panel_id):
                return panel
        raise WtsNameError(f"There is no panel with the id {panel_id} in this account.")

    def _panels(self) -> list[dict[str, Any]]:
        return self._listed("panels", panels.list_panels(include_details=["Steps", "Tags"]))


def _same(item: dict[str, Any], identity: str) -> bool:
    return str(item.get("id", "")).lower() == identity.strip().lower()


def _alive(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what is archived: WTS Chat's own drop-downs do not offer it, and its id still works."""
    return [item for item in items if not item.get("archived")]
