"""What is done about a refusal, whoever it is told to."""

from __future__ import annotations

from appliance.errors import ApplianceError
from appliance.gateway.box import Box
from appliance.http.asgi import Request

# Of all refusals these are denials: no right, or no budget. The others are mistakes.
_DENIALS = frozenset({401, 403})
_BUDGETS = frozenset({"budget-exhausted", "budget-too-small", "rate-limited", "too-many-requests"})


async def refused(box: Box, request: Request, error: ApplianceError) -> None:
    """Count it; and have it on the audit log, before the answer, that somebody was denied something.

    Raises audit-unavailable.
    """
    box.metrics.refused(error.code)
    if error.kind.http in _DENIALS or error.code in _BUDGETS:
        await box.audit.deny(request.actor or request.peer or "", error.code, request.scope["path"], request.id)
