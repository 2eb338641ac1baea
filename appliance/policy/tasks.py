"""What a program asks for in somebody's name without being asked: titles, tags, questions that might follow."""

from __future__ import annotations

import re
from typing import Final

# Those of the chat page. `function_calling` is the step before an answer that chooses a tool.
TASKS: Final = frozenset(
    {
        "autocomplete_generation", "emoji_generation", "follow_up_generation", "function_calling",
        "image_prompt_generation", "moa_response_generation", "query_generation", "tags_generation", "title_generation",
    }
)  # fmt: skip
# What the chat page asks for under a name that is none of these.
OTHER: Final = "other"
_WORD: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")


def task_of(said: str, *, by_chat_page: bool) -> str | None:
    """The task that the header `x-appliance-task` names; None where it is no task but a person who asks.

    The chat page always sends it, empty for a person. Whatever else it says is a task, so that one of a later release
    does not pass for a person. Other programs name tasks of their own, in small letters.
    """
    if by_chat_page:
        said = said.strip()
        return None if not said else said if said in TASKS else OTHER
    return said if _WORD.fullmatch(said) else None
