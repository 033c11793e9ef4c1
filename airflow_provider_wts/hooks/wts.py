"""The hook: an Airflow connection becomes a client of the WTS Chat API."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, conf

from airflow_provider_wts import __version__
from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import (
    WtsAuthenticationError,
    WtsError,
    WtsInvalidRequestError,
    WtsNameError,
    WtsNotSentError,
    WtsRejectedError,
    quoted,
)
from airflow_provider_wts.api.wire import is_missing
from airflow_provider_wts.provider_info import CONNECTION_FIELDS, CONNECTION_TYPE, HOOK_NAME, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_wts.api.call import Call
    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.api.types import FileV2
    from airflow_provider_wts.api.wire import Missing
    from airflow_provider_wts.hooks.connection import WtsConnection
    from airflow_provider_wts.hooks.names import Names

T = TypeVar("T")


@contextmanager
def named_connection(conn_id: str, where: str) -> Iterator[None]:
    """Turn Airflow's error about a missing connection into one that says where its ID comes from.

    :param where: the parameter or extra with the ID.
    :raises WtsNotSentError: when there is no such connection. The task's retries apply, because Airflow reports one as
        missing also if its API server or secrets backend fails.
    """
    try:
        yield
    except AirflowNotFoundException:
        raise WtsNotSentError(
            f"There is no Airflow connection {quoted(conn_id)}, which {where} names, or Airflow cannot read it. "
            "No request was made. Create it, or name another one. In the environment or a secrets backend, it must be "
            "valid JSON or a URI."
        ) from None


class WtsHook(BaseHook):
    """Calls the WTS Chat API with the settings of an Airflow connection.

    :param wts_conn_id: ID of a connection of type ``wts``.
    :param client_settings: further parameters of the client, such as ``sleep`` and ``rate_limit_wait``.
    """

    conn_name_attr = "wts_conn_id"
    default_conn_name = "wts_default"
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self,
        wts_conn_id: str = default_conn_name,
        *,
        client_settings: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.wts_conn_id = wts_conn_id
        self._client_settings = dict(client_settings or {})

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the connection form, for Airflow 2.11; later versions read the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, PasswordField, StringField
        from wtforms.validators import NumberRange, Optional

        widgets: dict[str, Any] = {}
        for name, field in CONNECTION_FIELDS.items():
            schema = field["schema"]
            label, description = lazy_gettext(field["label"]), field["description"]
            if "boolean" in schema["type"]:
                widgets[name] = BooleanField(label, description=description, default=schema.get("default"))
            elif "integer" in schema["type"]:
                bounds = NumberRange(min=schema.get("minimum"), max=schema.get("maximum"))
                widgets[name] = IntegerField(
                    label, widget=BS3TextFieldWidget(), validators=[Optional(), bounds], description=description
                )
            elif schema.get("format") == "password":
                widgets[name] = PasswordField(label, widget=BS3PasswordFieldWidget(), description=description)
            else:
                widgets[name] = StringField(label, widget=BS3TextFieldWidget(), description=description)
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and hidden fields of the connection form, for Airflow 2.11."""
        return {key.replace("-", "_"): value for key, value in UI_FIELD_BEHAVIOUR.items()}

    @cached_property
    def connection(self) -> WtsConnection:
        """The settings of the connection.

        :raises WtsInvalidRequestError: naming the field with an invalid value.
        """
        from airflow_provider_wts.hooks.connection import WtsConnection

        if is_missing(self.wts_conn_id):
            raise WtsInvalidRequestError(
                f"wts_conn_id: must not be blank, but is {quoted(self.wts_conn_id)}. Nothing was sent. Give the ID of "
                "a connection, or omit it. Example: 'wts_default'."
            )
        with named_connection(self.wts_conn_id, "the parameter 'wts_conn_id'"):
            found = self.get_connection(self.wts_conn_id)
        return WtsConnection.read(found)

    @cached_property
    def client(self) -> WtsClient:
        """The client.

        :raises WtsInvalidRequestError: when the token or base URL is invalid.
        """
        from airflow.providers.common.compat.sdk import mask_secret

        from airflow_provider_wts.api.budget import Budget
        from airflow_provider_wts.api.client import WtsClient, checked_token
        from airflow_provider_wts.hooks import metrics

        connection = self.connection
        redis_url, redis_options = self.rate_limit_server
        token = checked_token(connection.token)
        mask_secret(token)
        return WtsClient(
            token,
            base_url=connection.base_url,
            timeout=connection.timeout,
            ca_bundle=connection.ca_bundle,
            allow_http=connection.allow_http,
            user_agent=_user_agent(connection.base_url),
            observer=metrics.request_metrics(),
            budget=Budget(
                self.account,
                percent=connection.rate_limit_percent,
                redis_url=redis_url,
                redis_options=redis_options,
                send_limit_is_separate=connection.send_limit_is_separate,
            ),
            **self._client_settings,
        )

    @cached_property
    def account(self) -> str:
        """Identifies the account, for shared counts. It reveals neither the address nor the token."""
        from airflow_provider_wts.api.budget import account_key
        from airflow_provider_wts.api.client import checked_token

        connection = self.connection
        return account_key(connection.base_url, checked_token(connection.token), name=connection.rate_limit_key)

    @property
    def hash_key(self) -> bytes:
        """The key for hashes of people: ``[wts] hash_key``, or else the connection's token."""
        return (conf.get("wts", "hash_key", fallback="").strip() or self.connection.token).encode()

    @cached_property
    def names(self) -> Names:
        """Looks up names in the account, so that a DAG can use them instead of IDs."""
        from airflow_provider_wts.hooks.names import Names

        return Names(self.client.items)

    def get_conn(self) -> WtsClient:
        """Return the client."""
        return self.client

    def run(self, call: Call[T], *, before_write: Callable[[], None] | None = None) -> T:
        """Perform a call.

        :param call: the call, from a function of :mod:`airflow_provider_wts.api`.
        :param before_write: called before each write of a request, including the last one, when all waiting is over
            and the connection is open. An exception it raises ends the call: a request has no effect without its last
            byte.
        :return: the API's answer, parsed.
        :raises WtsError: see :mod:`airflow_provider_wts.api.errors`.
        """
        return self.client.perform(call, before_write=before_write)

    def pages(self, call: Call[T], *, page_size: int = 100) -> Iterator[T]:
        """Iterate over the pages of a list.

        :param call: a call of a paged operation.
        :param page_size: items per page, 1 to 100.
        :return: the pages, as the API sends them.
        :raises WtsError: see :mod:`airflow_provider_wts.api.errors`.
        """
        return self.client.pages(call, page_size=page_size)

    def upload(
        self,
        path: str,
        *,
        file_type: str | None = None,
        name: str | None = None,
        mime_type: str | None = None,
        parameter: str = "file",
    ) -> FileV2:
        """Upload a file in the API's three steps. The file is streamed; uploading it again does no harm.

        :param path: local path, or any address that ``ObjectStoragePath`` supports.
        :param file_type: ``IMAGE``, ``AUDIO``, ``VIDEO``, ``PDF``, ``EXCEL``, ``WORD``, ``DOCUMENT``, or ``UNDEFINED``
            to leave it to the platform; inferred from the name if omitted. The platform converts images and videos for
            the channels, but not documents.
        :param name: name that the customer sees; the file's own name if omitted.
        :param mime_type: MIME type; inferred from the name if omitted.
        :param parameter: name of the parameter with ``path``, for errors.
        :return: the file; its ``id`` can be used in any number of messages.
        :raises WtsInvalidRequestError: when there is no such file, or it is empty.
        :raises WtsError: see :mod:`airflow_provider_wts.api.errors`.
        """
        from airflow_provider_wts.hooks.files import upload

        return upload(self.client, path, file_type=file_type, name=name, mime_type=mime_type, parameter=parameter)

    def recipient(self, to: object) -> str:
        """Return a recipient as WTS Chat spells it.

        :param to: phone number in any usual spelling, or ``@handle``.
        :raises WtsInvalidRequestError: when it is neither, or when the connection does not allow it.
        """
        from airflow_provider_wts.api.addresses import recipient
        from airflow_provider_wts.hooks.contacts import refuse_unless_allowed

        spelled = recipient(to)
        refuse_unless_allowed(self, "to", spelled)
        return spelled

    def channel(self, channel: Missing[str]) -> str | None:
        """Return the number or handle to send from.

        :param channel: name, ID, number or ``@handle`` of a channel; if blank, the connection's channel.
        :return: the value of ``from``; ``None`` if neither names a channel.
        :raises WtsNameError: when none or several channels match.
        """
        chosen = parameters.filter_text("channel", channel) or self.connection.channel
        return self.names.channel(chosen) if chosen else None

    def test_connection(self) -> tuple[bool, str]:
        """Check everything that a task would use: the API, the channel, the CA bundle, and the rate limits' Redis.

        :return: whether the connection works, and a sentence for people to read.
        """
        from airflow_provider_wts.api.directory import list_channels
        from airflow_provider_wts.hooks.names import Names

        try:
            channels = self.client.perform_once(list_channels())
            if self.connection.channel:
                # The first detects an unknown number, the second an unknown ID.
                names = Names(lambda call: channels)
                names.channel(self.connection.channel)
                names.channel_id(self.connection.channel)
        except WtsAuthenticationError as error:
            return False, f"The server was reached, but it refuses the token. {error}"
        except WtsNameError as error:
            return False, f"The API answers, but the connection's channel cannot be used. {error}"
        except WtsRejectedError as error:
            return False, f"{error}{self._advice_about_path()}"
        except WtsError as error:
            return False, str(error)
        if problem := self.client.problem_of_shared_limits():
            conn_id = self.connection.rate_limit_conn_id
            return False, (
                f"The API answers, but the Redis server of the connection {quoted(conn_id)} does not ({problem}). "
                "Check its host, port, password and TLS, or clear the rate limit connection."
            )
        return True, f"Connected to {self.client.base_url}. The account has {len(channels)} channel(s)."

    def _advice_about_path(self) -> str:
        """Return advice on whether the API answers without the path of the base URL."""
        from airflow_provider_wts.api.client import WtsClient, checked_token
        from airflow_provider_wts.api.directory import list_channels

        connection, parts = self.connection, urlsplit(self.client.base_url)
        if not parts.path:
            return ""
        root = f"{parts.scheme}://{parts.netloc}"
        client = WtsClient(
            checked_token(connection.token),
            base_url=root,
            timeout=connection.timeout,
            ca_bundle=connection.ca_bundle,
            allow_http=connection.allow_http,
        )
        try:
            client.perform_once(list_channels())
        except WtsError:
            return f" The base URL has the path {quoted(parts.path)}; check whether the API is below it."
        return f" The API is not at the path {quoted(parts.path)} of the base URL. Set the base URL to {root}."

    @cached_property
    def rate_limit_server(self) -> tuple[str | None, dict[str, Any]]:
        """The URL of the Redis server of ``rate_limit_conn_id``, if any, and the options of its client."""
        from airflow_provider_wts.hooks.connection import redis_server

        conn_id = self.connection.rate_limit_conn_id
        if not conn_id:
            return None, {}
        with named_connection(conn_id, "the extra 'rate_limit_conn_id' of the connection " + repr(self.wts_conn_id)):
            return redis_server(self.get_connection(conn_id))


def _user_agent(base_url: str) -> str:
    """Return the user agent, with the DAG run only for an emulator on this machine, whose page shows it."""
    from airflow_provider_wts.api.client import checked_base_url
    from airflow_provider_wts.api.transport import is_loopback

    name = f"airflow-provider-wts/{__version__}"
    dag_id, run_id = os.environ.get("AIRFLOW_CTX_DAG_ID"), os.environ.get("AIRFLOW_CTX_DAG_RUN_ID")
    url = urlsplit(checked_base_url(base_url, allow_http=True))
    # Check the scheme first, so that a remote host's name is not resolved for each client.
    if not dag_id or not run_id or url.scheme != "http" or not is_loopback(url.hostname or ""):
        return name
    return f"{name} (dag={quote(dag_id, safe='')}; run={quote(run_id, safe='')})"
