"""A call as data: what goes into its path, query and body, and what is refused."""

from __future__ import annotations

import enum
import json
import pickle
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given as given_that
from hypothesis import settings
from hypothesis import strategies as st

from airflow_provider_wts.api.call import Call
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.wire import UNSET, given, given_or_left_out, utc

ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
BRAZIL = timezone(timedelta(hours=-3))


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Kind(enum.Enum):
    ONE = "one"


def body_of(body: object) -> Any:
    return Call("send_text", body=body).json_body


class TestBody:
    @pytest.mark.parametrize("value", [None, False, 0, "", [], {}, 0.0])
    def test_holds_an_empty_value_as_it_is(self, value: object) -> None:
        assert body_of(given(text=value, to=UNSET)) == {"text": value}

    def test_is_missing_where_none_was_given(self) -> None:
        assert Call("list_channels").content is None

    def test_may_be_null(self) -> None:
        assert Call("send_text", body=None).content == b"null"

    @pytest.mark.parametrize(
        ("value", "wire"),
        [
            (datetime(2026, 3, 1, 9, tzinfo=BRAZIL), "2026-03-01T12:00:00Z"),
            (datetime(2026, 3, 1, 9, 0, 0, 1500, tzinfo=UTC), "2026-03-01T09:00:00.001500Z"),
            (date(2026, 3, 1), "2026-03-01"),
            (Colour.RED, "red"),
            (Size.BIG, 3),
            (Kind.ONE, "one"),
            (UUID(ID), ID),
            (Decimal("3"), 3),
            (Decimal("3.5"), 3.5),
            ((1, 2), [1, 2]),
            ({"b", "a"}, ["a", "b"]),
            (MappingProxyType({"a": {"b": 1}}), {"a": {"b": 1}}),
            ("ção 😀", "ção 😀"),
            (True, True),
        ],
    )
    def test_writes_what_json_does_not_know(self, value: object, wire: object) -> None:
        written = body_of({"x": value})["x"]
        assert written == wire
        assert type(written) is type(wire)

    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("inf"),
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("Infinity"),
            b"bytes",
            object(),
            "\ud800",
            datetime(2026, 3, 1),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=3))),
            {(1, 2): 3},
            UNSET,
            [UNSET],
        ],
    )
    def test_that_cannot_be_written_is_refused(self, value: object) -> None:
        with pytest.raises(WtsInvalidRequestError, match="send_text"):
            body_of({"x": value})

    def test_that_holds_itself_is_refused(self) -> None:
        body: dict[str, Any] = {}
        body["x"] = body
        with pytest.raises(WtsInvalidRequestError):
            body_of(body)

    def test_that_is_too_deep_is_refused(self) -> None:
        body: list[Any] = []
        for _ in range(100_000):
            body = [body]
        with pytest.raises(WtsInvalidRequestError):
            body_of(body)

    @settings(deadline=None)
    @given_that(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
            | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abç"), inner, max_size=3),
        )
    )
    def test_of_json_values_goes_out_as_it_is(self, value: Any) -> None:
        content = Call("send_text", body=value).content
        assert content is not None
        assert json.loads(content) == value


class TestPath:
    def test_values_are_encoded(self) -> None:
        assert Call("get_contact_by_phone", {"phone": "+55|11 9/9?#"}).url_path.endswith("/%2B55%7C11%209%2F9%3F%23")

    @pytest.mark.parametrize(("value", "wire"), [(UUID(ID), ID), (7, "7"), (Colour.RED, "red"), (Kind.ONE, "one")])
    def test_values_may_be_other_than_text(self, value: object, wire: str) -> None:
        assert Call("get_session", {"id": value}).url_path.endswith(f"/{wire}")

    @pytest.mark.parametrize("value", ["", "  ", None, UNSET, ".", "..", "\ud800", ["a"], {"a": 1}, b"a", object()])
    def test_a_value_that_would_call_another_path_is_refused(self, value: object) -> None:
        with pytest.raises(WtsInvalidRequestError, match="get_session"):
            _ = Call("get_session", {"id": value}).url_path

    def test_a_missing_value_is_refused(self) -> None:
        with pytest.raises(WtsInvalidRequestError, match="'id'"):
            _ = Call("get_session").url_path


class TestQuery:
    @pytest.mark.parametrize(
        ("value", "pairs"),
        [
            (True, ["true"]),
            (False, ["false"]),
            (5, ["5"]),
            ("a b", ["a b"]),
            ("", [""]),
            (None, []),
            (UNSET, []),
            ([], []),
            (["A", "B"], ["A", "B"]),
            ([True, None, 1], ["true", "1"]),
            (("A",), ["A"]),
            (Colour.RED, ["red"]),
            ([Kind.ONE, Size.BIG], ["one", "3"]),
            (datetime(2026, 3, 1, 9, tzinfo=BRAZIL), ["2026-03-01T12:00:00Z"]),
            (UUID(ID), [ID]),
            (Decimal("2"), ["2"]),
        ],
    )
    def test_values_are_spelt_as_the_api_reads_them(self, value: object, pairs: list[str]) -> None:
        assert Call("list_sessions", query={"X": value}).query_pairs == [("X", text) for text in pairs]

    def test_an_object_is_spelt_by_member(self) -> None:
        call: Call[Any] = Call("list_sessions", query={"Metadata": {"order": "17", "none": None}})
        assert call.query_pairs == [("Metadata[order]", "17")]

    @pytest.mark.parametrize(
        "value", ["\ud800", b"x", object(), float("nan"), [["nested"]], {"a": {"b": 1}}, datetime(2026, 3, 1)]
    )
    def test_a_value_that_cannot_be_written_is_refused(self, value: object) -> None:
        with pytest.raises(WtsInvalidRequestError):
            _ = Call("list_sessions", query={"X": value}).query_pairs

    def test_what_was_not_given_is_no_problem(self) -> None:
        assert Call("list_sessions", query={"Status": UNSET, "PageNumber": None}).problems() == []


class TestPage:
    def test_goes_into_the_query(self) -> None:
        call: Call[Any] = Call("list_sessions", query={"Status": ["PENDING"]}).at_page(3, 50)
        assert call.query == {"Status": ["PENDING"], "PageNumber": 3, "PageSize": 50}

    def test_goes_into_the_body_of_filter_contacts(self) -> None:
        call: Call[Any] = Call("filter_contacts", body={"name": "Ana"}).at_page(2, 10)
        assert call.body == {"name": "Ana", "pageNumber": 2, "pageSize": 10}
        assert Call("filter_contacts").at_page(1).body == {"pageNumber": 1}

    def test_leaves_the_size_of_the_call(self) -> None:
        call: Call[Any] = Call("list_sessions", query={"PageSize": 20}).at_page(2)
        assert call.query == {"PageSize": 20, "PageNumber": 2}

    def test_leaves_the_first_call_alone(self) -> None:
        call: Call[Any] = Call("list_sessions")
        call.at_page(2)
        assert call.query == {}

    def test_of_what_is_not_paged_is_refused(self) -> None:
        with pytest.raises(WtsInvalidRequestError, match="not paged"):
            Call("list_channels").at_page(1)


def test_an_unknown_operation_is_refused_with_its_neighbours() -> None:
    with pytest.raises(WtsInvalidRequestError, match="send_text"):
        _ = Call("send_txt").operation


def test_what_may_be_repeated_comes_from_the_contract() -> None:
    flags = [(call.repeatable, call.reads) for call in map(Call, ("list_channels", "complete_session", "send_text"))]
    assert flags == [(True, True), (True, False), (False, False)]


def test_a_repr_tells_no_value() -> None:
    assert repr(Call("send_text", {"a": "secret"}, {"b": "secret"}, {"c": "secret"})) == "Call('send_text')"


def test_not_given_survives_a_pickle_and_is_false() -> None:
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert not UNSET
    assert given_or_left_out(a=UNSET) is UNSET
    assert given(from_=1, to=None) == {"from": 1, "to": None}


def test_a_naive_moment_is_refused_with_a_good_value() -> None:
    with pytest.raises(WtsInvalidRequestError, match="-03:00"):
        utc(datetime(2026, 3, 1))


def test_importing_what_operators_need_is_light() -> None:
    heavy = ["requests", "urllib3", "limits", "jsonschema", "tenacity", "phonenumbers"]
    code = (
        "import sys; import airflow_provider_wts.api.call, airflow_provider_wts.api.errors; "
        f"print([name for name in {heavy!r} + ['dataclasses'] if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr
