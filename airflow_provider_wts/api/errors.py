"""What can go wrong with a call, by what the caller can do about it.

``WtsError``
    ``WtsInvalidRequestError``: refused here, before anything was sent. Change the input.
        ``WtsNameError``: a name that matches nothing, or more than one thing.
    ``WtsRejectedError``: the API refused. The same request will be refused again.
        ``WtsAuthenticationError``: the token is refused.
        ``WtsNotFoundError``: what the request names does not exist.
    ``WtsNotSentError``: nothing reached the API, so trying again later is safe.
        ``WtsUnreachableError``: the address itself is wrong: no such host, nothing listens, a bad certificate.
        ``WtsRateLimitError``: the account's limit is used up.
    ``WtsUnknownOutcomeError``: the request was sent and no usable answer came: it may have taken effect.
        ``WtsUnexpectedAnswerError``: an answer came that is not what the contract promises.
    ``WtsIncompleteListError``: a list was read, and cannot be shown to be complete.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The most characters of a value and of a reason in an error or in a line of the log, and the most values of a list.
_LONGEST, _LONGEST_REASON, _MOST = 200, 600, 5

# The account's own token is hidden wherever it is; this is the form of any account's.
_TOKEN = re.compile("pn_[A-Za-z0-9_-]{16,}")


def without_tokens(text: str) -> str:
    """Return a text without what has the form of a token: people paste tokens into fields that are no secrets.

    :param text: words that are not ours.
    """
    return _TOKEN.sub("***", text)


def quoted(*values: object) -> str:
    """Return values as errors and lines of the log show them: text in quotes, and shortened if it is long.

    :param values: the values.
    """
    return ", ".join(
        [_shortened(without_tokens(repr(value))) for value in values[:_MOST]] + ["..."] * (len(values) > _MOST)
    )


def reason_of(error: object) -> str:
    """Return what another library says went wrong: without the file that the operating system names, and shortened.

    :param error: its error, or what to say.
    """
    return _shortened(without_tokens(str(getattr(error, "strerror", None) or error)), _LONGEST_REASON)


def _shortened(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 50]}...{text[-40:]}"


class WtsError(Exception):
    """The root of everything that this provider raises about the API.

    :param message: what happened and what to do next; holds no token, phone number or message text.
    :param operation_id: the operation that was called, where one was.
    """

    def __init__(self, message: str, *, operation_id: str | None = None) -> None:
        super().__init__(without_tokens(message))
        self.operation_id = operation_id


class WtsInvalidRequestError(WtsError, ValueError):
    """The input cannot become a valid request. Nothing was sent."""


@contextmanager
def needs_extra(parameter: str, package: str, extra: str, instead: str = "") -> Iterator[None]:
    """Import a package that an extra installs, or say which one.

    :param parameter: what needs it, for the error.
    :param instead: what to do without it, at the end of the sentence.
    :raises WtsInvalidRequestError: when it is not installed, or damaged.
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

    :param message: what happened and what to do next.
    :param operation_id: the operation that was called.
    :param status: HTTP status of the answer.
    :param key: the API's machine-readable code, such as ``ENTITY_NOT_FOUND``.
    :param text: the API's own words, in Portuguese.
    :param short_id: the short id of the error, which the vendor's support asks for.
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


class WtsAuthenticationError(WtsRejectedError):
    """The token is missing, wrong, deleted, or not allowed to do this."""


class WtsNotFoundError(WtsRejectedError):
    """What the request names does not exist in this account."""


class WtsNotSentError(WtsError):
    """No byte of the request reached the API, or the API says that it did nothing. Trying again later is safe."""


class WtsUnreachableError(WtsNotSentError):
    """The address leads nowhere: no such host, nothing listens there, or its certificate is not trusted.

    :param message: what happened and what to do next.
    :param operation_id: the operation that was called.
    :param passing: whether another try in a few seconds makes sense; not so for a certificate.
    """

    def __init__(self, message: str, *, operation_id: str | None = None, passing: bool = True) -> None:
        super().__init__(message, operation_id=operation_id)
        self.passing = passing


class WtsRateLimitError(WtsNotSentError):
    """The account's rate limit is used up, and waiting for it took longer than allowed.

    :param message: what happened and what to do next.
    :param operation_id: the operation that was called.
    :param retry_after: seconds after which another try makes sense.
    """

    def __init__(self, message: str, *, operation_id: str | None = None, retry_after: float) -> None:
        super().__init__(message, operation_id=operation_id)
        self.retry_after = retry_after


class WtsUnknownOutcomeError(WtsError):
    """The request was sent, and no usable answer came. It may have taken effect.

    :param message: what happened and what to do next.
    :param operation_id: the operation that was called.
    :param status: HTTP status, where an answer began.
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
    """The answer has another shape than the contract promises: a field of another type, or none that is needed.

    :param message: what happened and what to do next.
    :param operation_id: the operation that was called.
    :param field: the field that is wrong or missing, where it is one.
    :param status: HTTP status.
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
    """A list was read several times, and rows may still be missing: it kept changing, or shows less than its count."""
