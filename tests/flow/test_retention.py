"""Old calls are put together by day: whoever sums sees the same as before, to the token, whatever is cut off."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.audit import reading
from appliance.doctor.checks import books
from appliance.doctor.run import examine
from appliance.ledger import usage
from appliance.ledger.rollup import roll_up
from appliance.store import schema
from appliance.store.sessions import session
from appliance.units import now_us
from tests.support.asking import load
from tests.support.box import Box, ask, environment, wait_until
from tests.support.doctored import CALL, DAY_US, configure, copied, ids, used, write

SETTLE = (
    "UPDATE call SET settled_at = started_at + 1, outcome = ?, principal = ?, model = ?, task = ?, route = ?,"
    " prompt_tokens = ?, cached_tokens = ?, completion_tokens = ?, cost = ?, first_token_ms = ?, total_ms = ?,"
    " energy_mj = ? WHERE request_id = ?"
)
COUNT = "SELECT (SELECT count(*) FROM call), (SELECT sum(calls) FROM call_day)"


def old(number: int, seed: int) -> list[tuple[str, tuple[object, ...]]]:
    """Calls of the days 500 to 380 ago, of all kinds; every tenth was never settled."""
    chance = random.Random(seed)
    made: list[tuple[str, tuple[object, ...]]] = []
    for place in range(number):
        id = f"old-{seed}-{place}"
        made.append((CALL, (id, now_us() - chance.randint(380 * 24, 500 * 24) * 3_600_000_000)))
        first = chance.choice([None, chance.randint(1, 999)])
        tokens = (chance.randint(0, 9999), chance.randint(0, 99), chance.randint(0, 999), chance.randint(0, 10**9))
        who = (chance.choice("ab"), chance.choice("mn"), chance.choice([None, "title"]), chance.choice([None, "code"]))
        outcome = chance.choice(["complete", "complete", "failed", "cancelled"])
        if place % 10:
            values = (outcome, *who, *tokens, first, chance.randint(1000, 9999), chance.choice([None, 5]), id)
            made.append((SETTLE, values))
    return made


def sums(database: Path) -> list[Any]:
    """All that is summed over the ledger, and the days that budgets begin with."""
    with session(database) as opened:
        seen = [usage.totals(opened), usage.routes(opened), usage.tasks(opened)]
    with closing(schema.read_only(database)) as connection:
        days = connection.execute("SELECT * FROM usage_day ORDER BY 1, 2, 3, 4, 5, 6").fetchall()
        cost = "(SELECT coalesce(sum({0}), 0) FROM call) + (SELECT coalesce(sum({0}), 0) FROM call_day)"
        whole = connection.execute(
            f"SELECT {', '.join(cost.format(name) for name in ('cost', 'energy_mj'))}"
        ).fetchone()
    return [*(sorted(rows, key=str) for rows in seen), days, whole]


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box that was used."""
    return used(tmp_path_factory.mktemp("pattern"))


@pytest.fixture
def file(tmp_path: Path, pattern: Path) -> Path:
    """The database of such a box of the test's own."""
    return copied(pattern, tmp_path).database


@pytest.mark.parametrize("step", [1, 7, 2000])
def test_not_a_token_is_lost(file: Path, step: int) -> None:
    write_all(file, old(120, step))
    before, border = sums(file), now_us() - 400 * DAY_US
    with closing(schema.read_only(file)) as connection:
        expected = connection.execute(
            "SELECT count(*) FROM call WHERE settled_at IS NOT NULL AND started_at < ?", (border - border % DAY_US,)
        ).fetchone()[0]
    assert expected > 50
    assert roll_up(file, border, step) == expected
    assert sums(file) == before
    with closing(schema.read_only(file)) as connection:
        assert connection.execute(COUNT).fetchone() == (123 - expected, expected)
    assert roll_up(file, border, step) == 0
    # A later border adds to days that are there.
    assert roll_up(file, border + 10 * DAY_US, step) > 0
    assert sums(file) == before


def write_all(file: Path, statements: list[tuple[str, tuple[object, ...]]]) -> None:
    with closing(schema.connect(file)) as connection:
        connection.execute("BEGIN")
        for statement, values in statements:
            connection.execute(statement, values)
        connection.execute("COMMIT")


def test_killed_in_the_middle_nothing_is_lost_or_counted_twice(file: Path) -> None:
    write_all(file, old(1500, 1))
    before = sums(file)
    program = (
        "import sys; from pathlib import Path; from appliance.ledger.rollup import roll_up;"
        "roll_up(Path(sys.argv[1]), 2**62, 1)"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", program, str(file)], env=environment())

    def has_begun() -> bool:
        with closing(schema.read_only(file)) as connection:
            return bool(connection.execute("SELECT count(*) FROM call_day").fetchone()[0])

    wait_until(has_begun, what="the first day")
    child.send_signal(signal.SIGKILL)
    child.wait()
    with closing(schema.read_only(file)) as connection:
        assert connection.execute(COUNT).fetchone()[0] > 150, "it was in the middle"
    assert sums(file) == before
    roll_up(file, 2**62)
    assert sums(file) == before


def test_when_a_key_was_last_used_is_still_known_by_day(file: Path) -> None:
    write_all(file, old(20, 2))
    with closing(schema.read_only(file)) as connection:
        newest = connection.execute("SELECT max(started_at) FROM call WHERE settled_at IS NOT NULL").fetchone()[0]
    roll_up(file, 2**62)
    write_all(file, [("DELETE FROM call", ())])
    with session(file) as opened:
        after = usage.last_used(opened, {"key-1": 0, "key-2": 0})
    assert after == {"key-1": newest - newest % DAY_US}


def test_the_doctor_finds_old_calls_and_puts_them_together(tmp_path: Path, pattern: Path) -> None:
    home = copied(pattern, tmp_path)
    write(home, *old(60, 3))
    assert "calls-old" in ids(books.CHECK, home)
    configure(home, "[retention]\ncalls_days = 600")
    assert "calls-old" not in ids(books.CHECK, home)
    configure(home)
    result = examine(home, fix=True, checks=(books.CHECK,))
    (said,) = result.mended
    (act,) = [one for one in reading.newest(home, 9) if one["action"] == "calls-put-together"]
    assert said.startswith(f"{act['facts']['calls']} old calls were put together")
    assert {finding.id for _, finding in result.findings} == {"calls-open"}, "and the books agree"


@pytest.mark.slow
def test_people_are_served_meanwhile_and_all_is_on_record(served: Box) -> None:
    key = served.key()
    file = served.state / "appliance.db"
    # While it serves, nobody but the gateway gives a call its number.
    served.stop()
    write_all(file, old(8000, 4))
    served.serve()
    before = sums(file)[0]
    with load(lambda: served.post(ask("tokens=1"), key)[0], threads=4) as said:
        wait_until(lambda: len(said) > 10, what="first answers")
        assert roll_up(file, 2**62) > 7000
        count = len(said)
        wait_until(lambda: len(said) > count + 10, what="more answers")
    assert set(said) == {200}
    after = sums(file)[0]
    (ours,) = [row for row in after if row not in before]
    assert ours["calls"] == len(said)
