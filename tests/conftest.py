"""Fixtures that every test may ask for."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.artifacts.shelf import Shelf
from appliance.config.paths import cache_folder
from appliance.control.plan import catalogue
from appliance.engine.location import find
from appliance.policy.roles import Role
from appliance.selector.choose import EMBEDDED
from tests.support.box import ROOT, Box, wait_until
from tests.support.engines import FakeEngine
from tests.support.nvml import Nvml, build
from tests.support.sign_on import Browser, Program, SignOn

# A script's background processes ignore SIGINT, and hand that on to those that a test is to interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What is tested is this checkout, in child processes too: a migration is one, and it looks nowhere else.
os.environ["PYTHONPATH"] = str(ROOT)


@pytest.fixture(scope="module", autouse=True)
def _leftovers() -> Iterator[None]:
    """What a file of tests leaves open is found at its end, and not in whichever file is being tested later."""
    yield
    gc.collect()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A box of the test's own; whatever it started is ended."""
    made = Box(tmp_path)
    yield made
    made.stop()
    if (made.state / "run").is_dir():
        made.run("down")


@pytest.fixture(scope="session")
def fake_engine() -> Iterator[FakeEngine]:
    """An OpenAI-compatible engine that does what the prompt tells it, misbehaviour included."""
    with FakeEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Box]:
    """A box whose gateway runs, with the fake engine behind a URL; the tests of a file share it."""
    box = Box(tmp_path_factory.mktemp("served"))
    box.configure(f'engine_wait_s = 1\n[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    box.serve()
    yield box
    box.stop()


@pytest.fixture(scope="module")
def served_all(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Box]:
    """A box whose gateway runs, with the fake engine for conversations, embeddings and sorting."""
    box = Box(tmp_path_factory.mktemp("served_all"))
    engines = (("chat", "fake"), ("embed", "vectors"), ("rerank", "sorter"))
    tables = "".join(f'[engines.{role}]\nurl = "{fake_engine.url}"\nmodel = "{model}"\n' for role, model in engines)
    box.configure(f"engine_wait_s = 1\n{tables}")
    box.serve()
    yield box
    box.stop()


@pytest.fixture(scope="module")
def sign_on(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[SignOn]:
    """A sign-on and a gateway that run, with people."""
    found = SignOn(Box(tmp_path_factory.mktemp("sign_on")))
    engine = f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n'
    found.box.configure(f"engine_wait_s = 1\n{found.settings}{engine}")
    found.person("anna", Role.STAFF, "sales", name="Anna Schmidt")
    found.person("bert", Role.ADMIN)
    for login in ("carl", "dora", "emil"):
        found.person(login)
    try:
        found.start(wait=False)
        found.box.serve(wait=False)
        # Two starts at once, each of which reads the settings and becomes another program.
        wait_until(found.answers, 90, "sign-on's health")
        wait_until(lambda: found.box.answers("/health"), 90, "the gateway's health")
        yield found
    finally:
        found.stop()
        found.box.stop()


@pytest.fixture(scope="module")
def wiki(sign_on: SignOn) -> Program:
    """A program with a secret."""
    about = sign_on.client("Wiki", redirects=["http://127.0.0.1:9/callback"])
    return Program(sign_on, about)


@pytest.fixture
def anna(sign_on: SignOn) -> Browser:
    """Anna's browser, signed in."""
    browser = Browser(sign_on)
    assert browser.sign_in("anna@example.com").location == "/"
    return browser


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Nvml:
    """NVIDIA's driver library with GPUs of the test's choice."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The embedded model, fetched and verified once for all runs of the tests."""
    folder = cache_folder() / "tests-models"
    folder.mkdir(parents=True, exist_ok=True)
    return Shelf(folder).pull(catalogue().get(EMBEDDED), lambda done, total: None)


@pytest.fixture
def gpu_engine(tmp_path: Path) -> Path:
    """The installed engine, said to be built for CUDA: what a driver that fails makes of a real one."""
    folder = tmp_path / "path/llama_cpp"
    (folder / "lib").mkdir(parents=True)
    (folder / "__init__.py").touch()
    for file in find().parent.iterdir():
        (folder / "lib" / file.name).symlink_to(file)
    about = folder / "lib/backend.json"
    about.unlink(missing_ok=True)
    about.write_text(json.dumps({"backend": "cuda", "architectures": ["89"], "version": "0", "key": "0"}))
    return folder.parent
