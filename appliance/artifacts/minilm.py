"""all-MiniLM-L6-v2, as `bert` converts it: its numbers, and what llama.cpp's converter says of it.

The texts come from the model's card, in the spelling that the converter gives them: the
converted file is then that converter's own to the last byte, and its SHA-256 proves ours right.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.artifacts.bert import Bert
from appliance.artifacts.gguf_writer import Field

# What it was trained on: a title, and the repository where the card names one.
_DATASETS = (
    ("S2Orc", ""),
    ("Stackexchange_Xml", "flax-sentence-embeddings/stackexchange_xml"),
    ("Ms_Marco", ""),
    ("Gooaq", ""),
    ("Yahoo_Answers_Topics", ""),
    ("Code_Search_Net", ""),
    ("Search_Qa", ""),
    ("Eli5", ""),
    ("Snli", ""),
    ("Multi_Nli", ""),
    ("Wikihow", ""),
    ("Natural_Questions", ""),
    ("Trivia_Qa", ""),
    ("Sentence Compression", "embedding-data/sentence-compression"),
    ("Flickr30K Captions", "embedding-data/flickr30k-captions"),
    ("Altlex", "embedding-data/altlex"),
    ("Simple Wiki", "embedding-data/simple-wiki"),
    ("QQP", "embedding-data/QQP"),
    ("SPECTER", "embedding-data/SPECTER"),
    ("PAQ_pairs", "embedding-data/PAQ_pairs"),
    ("WikiAnswers", "embedding-data/WikiAnswers"),
)
_TAGS = ["sentence-transformers", "feature-extraction", "sentence-similarity", "transformers", "sentence-similarity"]


def _about() -> Iterator[Field]:
    yield "general.architecture", "text", "bert"
    yield "general.type", "text", "model"
    yield "general.name", "text", "MiniLM L6 H384 Uncased"
    yield "general.organization", "text", "Nreimers"
    yield "general.size_label", "text", "23M"
    yield "general.license", "text", "apache-2.0"
    yield "general.dataset.count", "I", len(_DATASETS)
    for number, (title, repository) in enumerate(_DATASETS):
        yield f"general.dataset.{number}.name", "text", title
        if repository:
            owner = repository.partition("/")[0].replace("-", " ").title()
            yield f"general.dataset.{number}.organization", "text", owner
            yield f"general.dataset.{number}.repo_url", "text", f"https://huggingface.co/{repository}"
    yield "general.tags", "texts", _TAGS
    yield "general.languages", "texts", ["en"]


MINILM = Bert(
    layers=6,
    width=384,
    heads=12,
    feed_forward=1536,
    context=512,
    vocabulary=30522,
    token_types=2,
    epsilon=1e-12,
    about=tuple(_about()),
)
