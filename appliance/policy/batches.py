"""Batches as values: their states, the lines of their input, what is written of each line, and whose turn it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from appliance.policy.body import Form
from appliance.policy.rules import Rule, labels, one_of, text

MOST_LINES: Final = 50_000
MOST_FAULTS: Final = 100
LONGEST_ID: Final = 512
WINDOW_S: Final = 86_400
# The addresses whose requests a batch may hold.
ADDRESSES: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
_METADATA: Final = labels(16, 512)

FORM: Final = Form(
    {
        "input_file_id": text(100),
        "endpoint": one_of(*ADDRESSES),
        "completion_window": one_of("24h"),
        "metadata": Rule(_METADATA.check, _METADATA.words, _METADATA.schema),
    },
    ("input_file_id", "endpoint", "completion_window"),
    {"output_expires_after": "files are kept until they are deleted"},
)


class Status(StrEnum):
    """Where a batch stands."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED})
STOPPABLE: Final = frozenset({Status.VALIDATING, Status.IN_PROGRESS})
_STAMPED: Final = tuple(one for one in Status if one is not Status.VALIDATING)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a batch failed; `line` counts from 1, and is None where it is about the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


EXPIRED: Final = Fault("batch_expired", "This request was not answered before the batch's window was over.")
CANCELLED: Final = Fault("batch_cancelled", "The batch was cancelled before this request was answered.")


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch. `body` is JSON."""

    number: int
    custom_id: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch. Instants in whole seconds since 1970 UTC, but for `created_us`, in microseconds.

    It was made with the key `key_id` from `address`, with `headers` that hold for all of its lines. `ending` is
    what it becomes once its results are written, and `reason` what is then said of the lines that were not asked.
    `output` and `error` are the ids that its files of results will have. `lines_per_s` is its speed of late.
    """

    id: str
    owner: str
    team: str
    key_id: str
    address: str | None
    headers: tuple[tuple[str, str], ...]
    endpoint: str
    input_file_id: str
    output: str
    error: str
    created_us: int
    expires_at: int
    metadata: Mapping[str, str] | None = None
    status: Status = Status.VALIDATING
    stamps: Mapping[str, int] = field(default_factory=dict)
    total: int = 0
    completed: int = 0
    failed: int = 0
    lines_per_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    ending: Status = Status.COMPLETED
    reason: Fault | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED

    def moved(self, status: Status, now: int, **changes: Any) -> Batch:
        """This batch in another state since `now`."""
        return replace(self, status=status, stamps={**self.stamps, status.value: now}, **changes)

    def stopped(self, ending: Status, reason: Fault, now: int) -> Batch:
        """This batch, to be ended early."""
        status = Status.CANCELLING if ending is Status.CANCELLED else Status.FINALIZING
        faults = (*self.faults, reason) if ending is Status.FAILED else self.faults
        return self.moved(status, now, ending=ending, reason=reason, faults=faults)

    def shown(self) -> dict[str, Any]:
        """OpenAI's form."""
        faults = [
            {"code": one.code, "message": one.message, "param": one.param, "line": one.line} for one in self.faults
        ]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": {"object": "list", "data": faults} if faults else None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status.value,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_us // 1_000_000,
            "expires_at": self.expires_at,
            **{f"{one.value}_at": self.stamps.get(one.value) for one in _STAMPED},
            "request_counts": {"total": self.total, "completed": self.completed, "failed": self.failed},
            "metadata": self.metadata,
        }

    def to_json(self) -> bytes:
        """All of it, as it is kept."""
        return orjson.dumps(self)


def batch_from_json(data: bytes) -> Batch:
    """Read what `Batch.to_json` wrote; raises ValueError when it is not that."""
    try:
        said = orjson.loads(data)
        read = {
            "status": Status(said["status"]),
            "ending": Status(said["ending"]),
            "headers": tuple((name, value) for name, value in said["headers"]),
            "faults": tuple(Fault(**one) for one in said["faults"]),
            "reason": said["reason"] and Fault(**said["reason"]),
        }
        return Batch(**{**said, **read})
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a batch: {error}") from error


class Reader:
    """Reads the lines of one input, in order: what is wrong with each, by the rules for one batch."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._seen: set[str] = set()
        self.lines = 0

    def read(self, data: bytes, number: int) -> Line | Fault | None:
        """A line's request, or what is wrong with it; None for a blank one. `number` counts from 1."""
        if not data.strip():
            return None
        self.lines += 1
        try:
            said = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            return Fault("invalid_json_line", f"Line {number} is not JSON: {error}.", number)
        if type(said) is not dict:
            return Fault("invalid_json_line", f"Line {number} is not a JSON object.", number)
        found = self._wrong(said, number)
        if found is not None:
            return found
        self._seen.add(said["custom_id"])
        return Line(number, said["custom_id"], orjson.dumps(said["body"]))

    def _wrong(self, said: dict[str, Any], number: int) -> Fault | None:
        def fault(code: str, param: str, why: str) -> Fault:
            return Fault(code, f"Line {number}: {why}.", number, param)

        custom_id, body = said.get("custom_id"), said.get("body")
        if type(custom_id) is not str or not 1 <= len(custom_id) <= LONGEST_ID:
            return fault("missing_required_parameter", "custom_id", f"`custom_id` must be 1 to {LONGEST_ID} characters")
        if custom_id in self._seen:
            return fault("duplicate_custom_id", "custom_id", f"the custom_id '{custom_id}' stands in a line before")
        if said.get("method") != "POST":
            return fault("invalid_method", "method", '`method` must be "POST"')
        if said.get("url") != self._endpoint:
            return fault("invalid_url", "url", f"`url` must be {self._endpoint}, the endpoint of the batch")
        if type(body) is not dict:
            return fault("missing_required_parameter", "body", "`body` must be an object")
        if type(body.get("model")) is not str or not body["model"]:
            return fault("missing_required_parameter", "body.model", "`body` must name a model")
        if body.get("stream"):
            return fault("invalid_request", "body.stream", "a batch does not stream: leave `stream` out")
        return None


def answered(id: str, custom_id: str, status: int, request_id: str, body: bytes) -> bytes:
    """What is written of a line that was answered, be it with an error: one line of JSON, without its end."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = body.decode("utf-8", "replace")
    response = {"status_code": status, "request_id": request_id, "body": said}
    return orjson.dumps({"id": id, "custom_id": custom_id, "response": response, "error": None})


def unanswered(id: str, custom_id: str, reason: Fault) -> bytes:
    """What is written of a line that was not asked."""
    error = {"code": reason.code, "message": reason.message}
    return orjson.dumps({"id": id, "custom_id": custom_id, "response": None, "error": error})


def result_of(line: bytes) -> tuple[str, bool] | None:
    """The custom_id of a line that `answered` made, and whether it is a good answer; None for anything else."""
    try:
        said = orjson.loads(line)
        return str(said["custom_id"]), said["response"]["status_code"] == 200
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


# What passes by itself: nothing is wrong with the request.
_PASSING: Final = frozenset(
    {
        "queue-full",
        "queue-timeout",
        "engine-unavailable",
        "too-many-requests",
        "rate-limited",
        "budgets-unreadable",
        "ledger-unavailable",
        "audit-unavailable",
        "disk-full",
        "cloud-limit",
        "cloud-unavailable",
    }
)
# An engine that stops in mid-answer may do so because of the request itself.
_MOST_STOPS: Final = 3
_LONGEST_WAIT_S: Final = 60.0


def wait_for(code: str, hopeless: bool, retry_after_s: int | None, tries: int, left_s: float) -> float | None:
    """Seconds until a line that was refused is asked again; None when the refusal is its result.

    `tries` is how often it was asked by now, and `left_s` how long the batch may still take. `hopeless`: whoever
    refused it said that it is not worth trying again.
    """
    slower = min(2.0 ** min(tries - 1, 10), _LONGEST_WAIT_S)
    if code == "budget-exhausted":
        # The budget may be raised before it starts again, so this looks now and then.
        return slower if retry_after_s is not None and retry_after_s < left_s else None
    if code == "engine-stopped":
        return slower if tries < _MOST_STOPS else None
    if code not in _PASSING or hopeless:
        return None
    return min(max(slower, retry_after_s or 0), _LONGEST_WAIT_S)


Waiting = tuple[str, int, str]


def next_up(waiting: Iterable[Waiting], under_way: Mapping[str, int], served: Mapping[str, int]) -> Waiting | None:
    """Which batch gets the next line: of the person with the fewest lines under way, served longest ago, the oldest.

    `waiting` are person, creation and id of each batch with lines left, `under_way` lines by person, `served` the
    number of the turn that each person had last.
    """
    return min(waiting, key=lambda one: (under_way.get(one[0], 0), served.get(one[0], -1), one[1:]), default=None)
