"""Calls about files: the first and the last step of an upload. Between them the content goes to a storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wts.api.call import NOT_GIVEN, Call, NotGiven, given

if TYPE_CHECKING:
    from airflow_provider_wts.api.types import FileV2, UrlUploadFileV2


def get_file_upload_url(
    name: str, file_type: str = "UNDEFINED", *, mime_type: str | NotGiven = NOT_GIVEN
) -> Call[UrlUploadFileV2]:
    """Begin an upload; answers where the content goes, and the id that ends the upload.

    :param name: file name with its extension.
    :param file_type: ``IMAGE``, ``AUDIO``, ``VIDEO``, ``PDF``, ``EXCEL``, ``WORD``, ``DOCUMENT``, or ``UNDEFINED``,
        which leaves it to the platform. Images and videos are transformed to suit the channels; documents are not.
    :param mime_type: MIME type; left out, the platform derives it.
    """
    return Call("get_file_upload_url", query=given(Type=file_type, Name=name, MimeType=mime_type))


def save_file(temp_file_id: str) -> Call[FileV2]:
    """End an upload; answers the file with its permanent id.

    :param temp_file_id: what :func:`get_file_upload_url` answered.
    """
    return Call("save_file", body={"tempFileId": temp_file_id})
