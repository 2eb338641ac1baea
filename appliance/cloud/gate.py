"""The gate towards the cloud, for the request path: looks at the switch, asks the policy, gives the permit."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.cloud.switch import is_off
from appliance.deployment import CloudTerms, Engine
from appliance.errors import ApplianceError
from appliance.policy.cloud import DATA_HEADER, Permit, answer_limit, data_class, may_send
from appliance.policy.principals import Principal

Headers = Iterable[tuple[bytes, bytes]]


class CloudGate:
    """Who may send what. Only calls for models of the cloud come here."""

    def __init__(self, terms: CloudTerms | None) -> None:
        self.terms = terms

    @property
    def is_off(self) -> bool:
        """Whether nobody may send anything now."""
        return self.terms is None or is_off(self.terms.switch)

    def refusal(self, principal: Principal, headers: Headers) -> ApplianceError | None:
        """Why a request must not leave the box, cloud-off or cloud-not-allowed; None when it may."""
        switch_is_off = self.terms is not None and is_off(self.terms.switch)
        said = data_class(value.decode("latin-1") for name, value in headers if name == DATA_HEADER)
        return may_send(self.terms, principal, said, switch_is_off)

    def permit(self, principal: Principal, headers: Headers, engine: Engine, max_tokens: int | None) -> Permit:
        """The word that this request may be sent to this model, for an answer of `max_tokens` or the model's limit.

        Raises cloud-off or cloud-not-allowed.
        """
        refusal = self.refusal(principal, headers)
        if refusal is not None:
            raise refusal
        return Permit(answer_limit(engine, max_tokens))
