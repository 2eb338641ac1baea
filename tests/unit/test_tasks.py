"""What a program asks for in somebody's name."""

from __future__ import annotations

import pytest

from appliance.policy.tasks import OTHER, TASKS, task_of


@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_pages_tasks_are_known(task: str) -> None:
    assert task_of(task, by_chat_page=True) == task_of(f" {task} ", by_chat_page=True) == task


@pytest.mark.parametrize("said", ["chat", "Title_Generation", "title-generation", "\xfc", "x" * 5000, "{{TASK}}"])
def test_what_the_page_says_besides_is_a_task_and_never_a_person(said: str) -> None:
    assert task_of(said, by_chat_page=True) == OTHER


@pytest.mark.parametrize("said", ["", "  "])
def test_nothing_said_is_a_person(said: str) -> None:
    assert task_of(said, by_chat_page=True) is None
    assert task_of(said, by_chat_page=False) is None


@pytest.mark.parametrize(
    ("said", "task"), [("summary", "summary"), ("a-b_9", "a-b_9"), ("Summary", None), ("x" * 41, None), ("9", None)]
)
def test_other_programs_have_words_of_their_own(said: str, task: str | None) -> None:
    assert task_of(said, by_chat_page=False) == task
