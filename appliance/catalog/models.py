"""The catalogue's rows as values, read from its TOML text."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from appliance.errors import ApplianceError


@dataclass(frozen=True, slots=True)
class Model:
    """One model file. `size` in bytes, `context` in tokens, as trained.

    `source` says where it comes from (`pypi:NAME==VERSION`); for an archive, `member` is the
    file inside and `archive_sha256` the archive's own hash. A `trial` model proves that the
    box works and is not meant for work.
    """

    id: str
    title: str
    role: str
    licence: str
    context: int
    source: str
    size: int
    sha256: str
    quantization: str
    archive_sha256: str = ""
    member: str = ""
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models, in the order of the file."""

    models: tuple[Model, ...]

    def get(self, model_id: str) -> Model:
        """A model by its id. Raises model-unknown."""
        for model in self.models:
            if model.id == model_id:
                return model
        known = ", ".join(model.id for model in self.models)
        raise ApplianceError("model-unknown", f"No model is called '{model_id}'.", f"The catalogue has: {known}.")


def parse(text: str) -> Catalogue:
    """Read the catalogue's text; it is shipped with the code, so a mistake in it is a bug."""
    return Catalogue(tuple(Model(id=model_id, **fields) for model_id, fields in tomllib.loads(text).items()))
