"""Lists of people as spreadsheets write them; every mistake is told at once, by its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.roles import Role
from appliance.policy.roster import MOST_PEOPLE, Entry, read

ANNA = Entry(2, "anna@example.com", "Anna Krahl", Role.ADMIN, ("sales", "Vertrieb Süd"))
BEN = Entry(3, "ben@example.com", "Ben", Role.STAFF, ())


@pytest.mark.parametrize(
    "text",
    [
        'email,name,role,groups\nanna@example.com,Anna Krahl,admin,"sales,Vertrieb Süd"\nben@example.com,,,\n',
        "email;name;role;groups\r\nAnna@Example.com; Anna Krahl ;Admin;sales|Vertrieb Süd\r\nben@example.com;Ben\r\n",
        'Groups\tRole\tName\tEmail\n"sales;Vertrieb Süd"\tadmin\tAnna Krahl\tanna@example.com\n\t\t\tben@example.com',
    ],
    ids=["commas", "excel in german", "tabs in any order"],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_list_is_read_as_whatever_program_wrote_it(text: str, mark: bytes) -> None:
    assert read(mark + text.encode()) == ((ANNA, BEN), ())


def test_only_the_address_must_be_there() -> None:
    found, faults = read(b"email\n\n  \nanna.krahl@example.com\n")
    assert found == (Entry(4, "anna.krahl@example.com", "Anna Krahl", Role.STAFF, ()),)
    assert faults == ()


def test_the_line_that_tells_excel_what_divides_the_columns_is_passed_over() -> None:
    found, _ = read(b'\xef\xbb\xbf"sep=;"\r\nemail;role\r\nben@example.com;staff\r\n')
    assert found == (Entry(3, "ben@example.com", "Ben", Role.STAFF, ()),)


def test_all_mistakes_are_told_at_once_by_line() -> None:
    _, faults = read(
        b"email,name,role,groups\n"
        b"anna@example.com,Anna,boss,*\n"
        b"ben,Ben,staff,\n"
        b"ANNA@example.com,Anna again,staff,\n"
        b"carla@example.com,Carla,staff,sales,more\n"
    )
    assert [str(fault) for fault in faults] == [
        "line 2: There is no role 'boss'",
        "line 2: '*' cannot be the name of a group: it has one of , ; | *",
        "line 3: 'ben' is no e-mail address",
        "line 4: anna@example.com stands in line 2 already",
        "line 5: it has 5 columns instead of 4",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1: the first line must name the columns: email,name,role,groups"),
        (b"name,role\nAnna,staff\n", "line 1: the first line must name the columns"),
        (b"email,phone\n", "line 1: the first line must name the columns"),
        (b"email,email\n", "line 1: the first line must name the columns"),
        ("email,name\nj@example.com,Jürgen\n".encode("cp1252"), "line 2: this is not UTF-8: in Excel, save it as"),
        (b'email,name\nben@example.com,"Ben\n', "line 2: this is no CSV"),
        (b"email\n" + b"a@example.com\n" * (MOST_PEOPLE + 1), f"line {MOST_PEOPLE + 2}: a list has at most 10,000"),
    ],
)
def test_a_file_that_is_no_list_says_so(data: bytes, said: str) -> None:
    found, faults = read(data)
    assert found == ()
    assert str(faults[0]).startswith(said)


def test_a_name_over_two_lines_does_not_shift_the_numbers() -> None:
    _, faults = read(b'email,name\nanna@example.com,"Anna\nKrahl"\nben,Ben\n')
    assert [str(fault) for fault in faults] == ["line 4: 'ben' is no e-mail address"]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_have_mistakes(data: bytes) -> None:
    found, faults = read(b"email,groups\n" + data)
    assert all(isinstance(entry, Entry) for entry in found)
    assert all(fault.line >= 1 for fault in faults)
