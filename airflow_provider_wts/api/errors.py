"""The errors of calls, by what the caller can do about them.

``WtsError``
    ``WtsInvalidRequestError``: refused by this provider before anything was sent. Change the input.
        ``WtsNameError``: a name matches nothing, or more than one thing.
    ``WtsRejectedError``: the API refused the request, and would refuse it again.
        ``WtsAuthenticationError``: the API refused the token.
        ``WtsNotFoundError``: something in the request does not exist.
    ``WtsNotSentError``: nothing reached the API, so a later retry is safe.
        ``WtsUnreachableError``: the address is wrong: no such host, nothing listening, an untrusted certificate.
        ``WtsRateLimitError``: the account's rate limit is used up.
    ``WtsUnknownOutcomeError``: the request was sent, but got no usable answer. It may have taken effect.
        ``WtsUnexpectedAnswerError``: the answer does not match the API's contract.
    ``WtsIncompleteListError``: a list was read, but may be incomplete.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Maximum length of a value and of a reason in an error or log line, and maximum values of a list.
_MAX_LENGTH, _MAX_REASON, _MAX_VALUES = 200, 600, 5

# The form of any account's token. The account's own token is hidden everywhere.
_MASKED = "pn_[A-Za-z0-9_-]{16,}"


def without_tokens(text: str) -> str:
    """Mask everything that looks like a token, because people paste tokens into fields that are not secret."""
    return re.sub(_MASKED, "***", text)


def quoted(*values: object) -> str:
    """Return values for errors and log lines: text in quotes, and long values shortened."""
    shown = [_shortened(without_tokens(repr(value))) for value in values[:_MAX_VALUES]]
    return ", ".join(shown + ["..."] * (len(values) > _MAX_VALUES))


def reason_of(error: object) -> str:
    """Return the message of another library's error, shortened, and without the file name of an ``OSError``."""
    return _shortened(without_tokens(str(getattr(error, "strerror", None) or error)), _MAX_REASON)


def _shortened(text: str, limit: int = _MAX_LENGTH) -> str:
    return text if len(text) <= limit else f"{text[: limit - 50]}...{text[-40:]}"


class WtsError(Exception):
    """Base class of all errors that this provider raises about the API.

    :param message: what happened and what to do next; without tokens, phone numbers or message texts.
    :param operation_id: the operation that was called, if any.
    """

    def __init__(self, message: str, *, operation_id: str | None = None) -> None:
        super().__init__(without_tokens(message))
        self.operation_id = operation_id


class WtsInvalidRequestError(WtsError, ValueError):
    """The input is not a valid request. Nothing was sent."""


@contextmanager
def needs_extra(parameter: str, package: str, extra: str, instead: str = "") -> Iterator[None]:
    """Turn a failed import into an error that names the extra to install.

    :param parameter: the parameter that needs the package.
    :param instead: an alternative, at the end of the error's last sentence.
    :raises WtsInvalidRequestError: when the package cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise WtsInvalidRequestError(
            f"{parameter}: needs the package {package!r}, which cannot be imported: {reason_of(error)}. Nothing was "
            f"sent. Install it with pip install 'airflow-provider-wts[{extra}]'{instead}."
        ) from None


class WtsNameError(WtsInvalidRequestError):
    """A name matches nothing, or more than one thing. The message lists the candidates."""


class WtsRejectedError(WtsError):
    """The API refused the request, and would refuse it again.

    :param status: HTTP status of the answer.
    :param key: the API's machine-readable code, such as ``ENTITY_NOT_FOUND``.
    :param text: the API's own message, in Portuguese.
    :param short_id: the error's short ID, which WTS Chat's support asks for.
    """

    def __init__(
        self,
        message: str,
        *,
        operation_id: str | None = None,
        status: int | None = None,
        key: str | None = None,
        text: str | None = None,
        short_id: str | None = None,
    ) -> None:
        super().__init__(message, operation_id=operation_id)
        self.status = status
        self.key = key
        self.text = text
        self.short_id = short_id
        #: Whether an earlier attempt of the call got no usable answer, so that this may be about its effect.
        self.in_doubt = False


class WtsAuthenticationError(WtsRejectedError):
    """The token is missing, wrong, deleted, or not allowed to do this."""


class WtsNotFoundError(WtsRejectedError):
    """Something in the request does not exist in this account."""


class WtsNotSentError(WtsError):
    """No byte of the request reached the API, or the API reports that it did nothing. A later retry is safe."""


class WtsUnreachableError(WtsNotSentError):
    """The address cannot be reached: no such host, nothing listening, or an untrusted certificate.

    :param passing: whether a retry in a few seconds may help; not so for a certificate.
    """

    def __init__(self, message: str, *, operation_id: str | None = None, passing: bool = True) -> None:
        super().__init__(message, operation_id=operation_id)
        self.passing = passing


class WtsRateLimitError(WtsNotSentError):
    """The account's rate limit is used up, and did not reset in the time allowed for waiting.

    :param retry_after: seconds until a retry makes sense.
    """

    def __init__(self, message: str, *, operation_id: str | None = None, retry_after: float) -> None:
        super().__init__(message, operation_id=operation_id)
        self.retry_after = retry_after


class WtsUnknownOutcomeError(WtsError):
    """The request was sent, but got no usable answer. It may have taken effect.

    :param status: HTTP status, if an answer began.
    :param repeatable: whether making the same call again does no harm.
    """

    def __init__(
        self,
        message: str,
        *,
        operation_id: str | None = None,
        status: int | None = None,
        repeatable: bool = False,
    ) -> None:
        super().__init__(message, operation_id=operation_id)
        self.status = status
        self.repeatable = repeatable


class WtsUnexpectedAnswerError(WtsUnknownOutcomeError):
    """The answer does not match the API's contract: a field has another type, or a required one is missing.

    :param field: the field that is wrong or missing, if it is a single one.
    :param repeatable: whether making the same call again does no harm.
    """

    def __init__(
        self,
        message: str,
        *,
        operation_id: str | None = None,
        field: str | None = None,
        status: int | None = None,
        repeatable: bool = False,
    ) -> None:
        super().__init__(message, operation_id=operation_id, status=status, repeatable=repeatable)
        self.field = field


class WtsIncompleteListError(WtsError):
    """A list was read several times, but rows may be missing: it kept changing, or has fewer rows than its count."""
