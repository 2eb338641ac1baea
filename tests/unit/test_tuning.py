"""The search for a better setting, with machines whose speed is a formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.arguments import DEFAULTS, Options
from appliance.engine.measure import Speed
from appliance.proof.settings import DIMENSIONS, GUESSES, KV_TYPES, Machine, Setting, differences, seconds
from appliance.proof.tuning import AS_IT_IS, LEAST_EACH, TOGETHER, Row, Search

START = Setting(threads=4, slots=4)
MACHINE = Machine(cores=4, logical=8, read=1024)
FLAT = Speed(prompt=400.0, alone=40.0, together=100.0)

Measure = Callable[[Setting], Speed]


def scaled(speed: Speed, factor: float) -> Speed:
    """All of it so much faster."""
    return Speed(speed.prompt * factor, speed.alone * factor, speed.together * factor)


def when(test: Callable[[Setting], bool], factor: float) -> Measure:
    """A machine that is so much faster with some settings."""
    return lambda setting: scaled(FLAT, factor) if test(setting) else FLAT


def accept(setting: Setting) -> str:
    """There is memory for everything."""
    return ""


def run(
    measured: Measure,
    start: Setting = START,
    machine: Machine = MACHINE,
    refuses: Measure | Callable[[Setting], str] = accept,
) -> Search:
    """A search to its end."""
    search = Search(start, machine, refuses)  # type: ignore[arg-type]
    while (setting := search.next_trial()) is not None:
        search.told(measured(setting))
    return search


def row_of(search: Search, change: str) -> Row:
    """The row of one change."""
    return next(row for row in search.rows if row.change == change)


@pytest.mark.parametrize(("factor", "kept"), [(1.049, False), (1.051, True), (0.8, False), (2.0, True)])
def test_a_change_is_kept_from_five_percent_on(factor: float, kept: bool) -> None:
    search = run(when(lambda setting: setting.threads == 3, factor))
    found = row_of(search, "threads 4 -> 3")
    assert found.kept is kept
    assert found.gain == pytest.approx(factor)
    assert bool(found.why) is not kept
    assert search.best == (replace(START, threads=3) if kept else START)
    assert search.gain == pytest.approx(factor if kept else 1.0)


def test_a_machine_to_which_all_is_the_same_stays_as_it_is() -> None:
    search = run(lambda setting: FLAT)
    assert search.best == START
    assert search.rows[0] == Row(AS_IT_IS, START, kept=True, speed=FLAT)
    assert {row.why for row in search.rows[1:]} == {"no gain of 5 %"}
    assert differences(START, search.best) == {}
    tried = {name for row in search.rows[1:] for name in differences(START, row.setting)}
    assert tried == {one.name for one in DIMENSIONS}


def test_before_and_after_are_measured_in_turn_and_once_more_before_a_change_is_kept() -> None:
    asked: list[int] = []
    fast = when(lambda setting: setting.threads == 3, 1.5)
    machine = replace(MACHINE, cores=4, logical=4, read=100)

    def measured(setting: Setting) -> Speed:
        asked.append(setting.threads)
        return fast(setting)

    run(measured, machine=machine)
    assert asked[:7] == [4, 4, 3, 4, 3, 4, 3]


def test_what_is_hopeless_is_measured_once() -> None:
    asked: list[int] = []

    def measured(setting: Setting) -> Speed:
        asked.append(setting.threads)
        return when(lambda one: one.threads == 2, 0.5)(setting)

    run(measured)
    assert asked.count(2) == 1


def test_gains_add_up_and_are_measured_together_at_last() -> None:
    def measured(setting: Setting) -> Speed:
        return scaled(FLAT, (1.2 if setting.threads == 8 else 1) * (1.3 if setting.options.micro_batch == 1024 else 1))

    search = run(measured)
    assert (search.rows[-1].change, search.rows[-1].kept) == (TOGETHER, True)
    assert search.gain == pytest.approx(1.2 * 1.3)
    assert differences(START, search.best) == {"threads": 8, "micro_batch": 1024}


def test_changes_that_are_no_good_together_are_dropped() -> None:
    """Each looked better when it was tried, and at last they are not, as after a passing disturbance."""
    search = Search(START, MACHINE, accept)
    while (setting := search.next_trial()) is not None:
        over = search.change == TOGETHER
        search.told(FLAT if over else scaled(FLAT, 1.2 ** len(differences(START, setting))))
    assert search.rows[-1].change == TOGETHER
    assert not search.rows[-1].kept
    assert sum(row.kept for row in search.rows) > 2
    assert (search.best, search.gain) == (START, 1.0)


def test_a_passing_disturbance_neither_keeps_a_change_nor_hides_one() -> None:
    """Every other measurement is slowed down by a third, whoever's turn it is."""
    turns = count()

    def measured(setting: Setting) -> Speed:
        speed = when(lambda one: one.options.guess == "ngram-mod", 1.3)(setting)
        return scaled(speed, 1.0 if next(turns) % 3 else 0.92)

    search = run(measured)
    assert differences(START, search.best) == {"guess": "ngram-mod"}


def test_a_long_disturbance_of_what_there_is_makes_no_change_look_good() -> None:
    """Calm at first; then others take a third of the machine, and whoever needs fewer threads suffers less."""
    turns = count()

    def measured(setting: Setting) -> Speed:
        return FLAT if next(turns) == 0 else scaled(FLAT, 0.8 if setting.threads == 3 else 0.65)

    search = run(measured)
    assert row_of(search, "threads 4 -> 3").why == "no faster than before, at a calmer moment"
    assert search.best == START


def test_noise_alone_hardly_ever_looks_like_a_gain() -> None:
    kept = 0
    for seed in range(30):
        noise = Random(seed)
        search = run(lambda setting, noise=noise: scaled(FLAT, 1 - 0.04 * noise.random()))  # type: ignore[misc]
        kept += search.best != START
    assert kept == 0


def test_what_does_not_fit_is_told_and_never_asked_for() -> None:
    def refuses(setting: Setting) -> str:
        return "needs 9 GiB" if setting.slots > 4 or setting.options.micro_batch > 1024 else ""

    asked: list[Setting] = []

    def measured(setting: Setting) -> Speed:
        asked.append(setting)
        return scaled(FLAT, setting.slots)

    search = run(measured, machine=replace(MACHINE, read=4096), refuses=refuses)
    assert row_of(search, "slots 4 -> 8").why == "needs 9 GiB"
    assert row_of(search, "micro-batch 512 -> 2048").why == "needs 9 GiB"
    assert not any(refuses(setting) for setting in asked)


def test_what_the_settings_file_decides_is_left_alone() -> None:
    search = run(lambda setting: FLAT, machine=replace(MACHINE, fixed=frozenset({"threads", "slots", "kv"})))
    assert {name for row in search.rows for name in differences(START, row.setting)} == {
        "flash", "micro_batch", "guess", "reading_threads", "batch"
    }  # fmt: skip


def test_sizes_that_the_measured_prompt_cannot_tell_apart_are_not_tried() -> None:
    search = run(lambda setting: FLAT, machine=replace(MACHINE, read=300))
    assert [row.change for row in search.rows if "batch" in row.change] == [
        "micro-batch 512 -> 128",
        "micro-batch 512 -> 256",
    ]


def test_flash_attention_is_not_switched_off_where_the_cache_needs_it() -> None:
    search = run(lambda setting: FLAT, start=replace(START, kv="q8_0"))
    assert not [row for row in search.rows if "flash" in row.change]


def test_more_slots_are_kept_while_everybody_still_has_enough() -> None:
    def measured(setting: Setting) -> Speed:
        return Speed(400.0, 40.0, 10.0 * setting.slots**0.6)

    search = run(measured, start=replace(START, slots=2))
    each = measured(search.best).together / search.best.slots
    assert search.best.slots == 4
    assert each >= LEAST_EACH
    assert "with all slots busy each would get 4.4 tok/s" in {row.why for row in search.rows}


def test_where_nobody_has_enough_already_more_slots_are_not_kept() -> None:
    search = run(lambda setting: Speed(40.0, 4.0, 1.0 * setting.slots**0.6))
    assert search.best.slots <= START.slots


def test_a_gain_for_all_is_not_paid_for_by_one_person_alone() -> None:
    search = run(lambda setting: Speed(400, 36, 200) if setting.threads == 2 else FLAT)
    assert row_of(search, "threads 4 -> 2").why == "slower for one person"
    search = run(lambda setting: Speed(400, 60, 90) if setting.options.guess else FLAT)
    assert row_of(search, "guessing ahead none -> ngram-mod").why == "slower when all slots are busy"


def test_a_setting_that_does_not_start_is_told_and_passed_over() -> None:
    search = Search(START, MACHINE, accept)
    while (setting := search.next_trial()) is not None:
        if setting.kv == "q8_0":
            search.failed("The engine does not start.")
        else:
            search.told(FLAT)
    assert row_of(search, "KV cache f16 -> q8_0") == Row(
        "KV cache f16 -> q8_0", replace(START, kv="q8_0"), why="The engine does not start."
    )


def test_a_search_that_is_stopped_early_keeps_what_it_has_found() -> None:
    search = Search(START, MACHINE, accept)
    fast = when(lambda setting: setting.threads == 3, 1.5)
    for _ in range(12):
        setting = search.next_trial()
        assert setting is not None
        search.told(fast(setting))
    assert search.next_trial() is not None
    assert search.best == replace(START, threads=3)
    assert search.gain == pytest.approx(1.5)


def test_it_says_about_how_much_there_is_to_try() -> None:
    search = Search(START, MACHINE, accept)
    first = search.about
    while search.next_trial() is not None:
        search.told(FLAT)
    assert search.about == len(search.rows)
    assert abs(first + 1 - len(search.rows)) <= 1


@st.composite
def machines(draw: st.DrawFn) -> Measure:
    """A machine without noise, on which every value of every thing has a factor of its own."""
    seed = draw(st.integers(0, 2**32))
    factors: dict[tuple[str, object], tuple[float, float, float]] = {}
    random = Random(seed)

    def measured(setting: Setting) -> Speed:
        speed = [400.0, 40.0, 100.0]
        for one in DIMENSIONS:
            key = (one.name, one.value(setting))
            found = factors.setdefault(key, tuple(random.uniform(0.7, 1.4) for _ in range(3)))  # type: ignore[arg-type]
            speed = [value * factor for value, factor in zip(speed, found, strict=True)]
        return Speed(*speed)

    return measured


@given(machines(), st.integers(1, 16), st.integers(1, 16), st.sampled_from([64, 512, 4096]), st.integers(1, 200))
def test_the_result_is_never_worse_than_the_start_and_never_beyond_the_memory(
    measured: Measure, cores: int, slots: int, read: int, room: int
) -> None:
    start = Setting(cores, slots)

    def size(setting: Setting) -> int:
        return setting.slots * (2 if setting.kv == "f16" else 1) + setting.options.micro_batch // 64

    def refuses(setting: Setting) -> str:
        return "too large" if size(setting) > max(room, size(start)) else ""

    asked = []

    def noted(setting: Setting) -> Speed:
        asked.append(setting)
        return measured(setting)

    search = run(noted, start=start, machine=Machine(cores, cores * 2, read), refuses=refuses)
    assert not any(refuses(setting) for setting in asked)
    assert all(setting.threads >= 1 and 1 <= setting.slots <= 64 for setting in asked)
    assert all(setting.options.guess in GUESSES and setting.kv in KV_TYPES for setting in asked)
    gain = seconds(measured(start)) / seconds(measured(search.best))
    assert gain >= 1.05 or search.best == start
    assert search.gain == pytest.approx(gain)


def test_a_setting_is_stored_as_what_differs_from_the_default() -> None:
    best = Setting(2, 8, "q8_0", Options(flash="off", batch=512))
    assert differences(START, best) == {"threads": 2, "slots": 8, "kv": "q8_0", "flash": "off", "batch": 512}
    assert START.options == DEFAULTS
