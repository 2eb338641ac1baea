"""`appliance models` with a hub, a folder and a web server for sources, as an admin meets them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.catalog.models import Model
from appliance.deployment import Deployment, Engine
from appliance.store import handover
from appliance.store.locks import Lock
from appliance.units import KIB, MIB
from tests.support.box import environment, wait_until
from tests.support.hub import Hub, hub_source, model_file, row, rows_toml
from tests.support.hub_server import COMMIT
from tests.support.rows import RowsBox

pytestmark = pytest.mark.slow

OTHER_COMMIT = COMMIT[::-1]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(seed=2) as started:
        yield started


@pytest.fixture
def file(tmp_path: Path, hub: Hub) -> Path:
    made = model_file(tmp_path / "served.gguf", 300 * KIB)
    hub.behave(made)
    return made


@pytest.fixture
def box(tmp_path: Path) -> RowsBox:
    made = RowsBox(tmp_path)
    made.configure('[engines.chat]\nurl = "http://127.0.0.1:9/v1"\nmodel = "else"\n')
    return made


def offer(box: RowsBox, *models: Model) -> None:
    (box.folder / "rows.toml").write_text(rows_toml(*models))


def on_shelf(box: RowsBox) -> list[str]:
    return sorted(path.name for path in (box.state / "models").iterdir())


def pull(box: RowsBox, hub: Hub, code: int = 0, **env: str) -> Any:
    """The document of a pull; its error where `code` says that it fails."""
    told = box.document("models", "pull", "tiny", code=code, env={**hub.environment, **env})
    return told["error"] if code else told


def test_a_pinned_file_of_the_hub(box: RowsBox, hub: Hub, file: Path) -> None:
    model = row(file, hub_source())
    offer(box, model)
    told = pull(box, hub)
    assert (told["fetched"], told["sha256"], told["locked"]) == (True, model.sha256, None)
    assert on_shelf(box) == [f"{model.sha256}.gguf"]
    # Nothing but the file is asked for: what else runs on the box is nobody's business.
    assert all(entry["path"].startswith(("/maker/model/resolve/", "/cdn/")) for entry in hub.log())
    assert pull(box, hub)["fetched"] is False
    assert box.document("models", "verify", "tiny")["verified"] is True
    box.run("models", "list")


def test_the_token_goes_to_the_hub_and_to_nobody_else(box: RowsBox, hub: Hub, file: Path) -> None:
    hub.tell(token="hf_secret", redirect="host")
    offer(box, row(file, hub_source()))
    error = pull(box, hub, 1)
    assert (error["code"], "HF_TOKEN" in error["hint"]) == ("source-refused", True)
    hub.tell()
    pull(box, hub, HF_TOKEN="hf_secret")
    by_path = [(entry["path"].startswith("/cdn/"), entry["authorization"]) for entry in hub.log()]
    assert set(by_path) == {(False, "Bearer hf_secret"), (True, None)}


@pytest.mark.parametrize(
    ("orders", "said"),
    [({"sha256": "a" * 64}, f"the hub offers {'a' * 64}"), ({"longer": 7}, f"the hub offers {300 * KIB + 7}")],
)
def test_a_hub_that_offers_another_file_is_refused_before_the_download(
    box: RowsBox, hub: Hub, file: Path, orders: dict[str, Any], said: str
) -> None:
    offer(box, model := row(file, hub_source()))
    hub.tell(**orders)
    error = pull(box, hub, 1)
    assert (error["code"], said in error["message"]) == ("wrong-hash", True)
    assert str(model.size) in error["message"] or model.sha256 in error["message"]
    assert [entry for entry in hub.log() if entry["method"] == "GET"] == []
    assert on_shelf(box) == []


def test_an_open_row_is_locked_on_first_contact(box: RowsBox, hub: Hub, file: Path) -> None:
    whole = row(file, "")
    offer(box, row(file, hub_source(""), sha256="", size=0))
    done = box.run("models", "pull", "tiny", env=hub.environment)
    assert f"Locked on first contact: revision {COMMIT}, sha256 {whole.sha256}, as the hub states it." in done.stderr
    (locked,) = json.loads((box.state / "models/locks.json").read_text()).values()
    assert locked.pop("locked_at").endswith("Z")
    assert locked == {"revision": COMMIT, "size": whole.size, "sha256": whole.sha256, "how": "hub"}
    assert on_shelf(box) == [f"{whole.sha256}.gguf", "locks.json"]
    assert box.document("models", "list")[0]["size"] == whole.size
    hub.tell(commit=OTHER_COMMIT)
    (box.state / f"models/{whole.sha256}.gguf").unlink()
    assert pull(box, hub)["locked"]["revision"] == COMMIT
    assert all(OTHER_COMMIT not in entry["path"] for entry in hub.log())


def test_what_was_locked_holds_against_a_hub_that_changes_its_mind(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, hub_source(""), sha256="", size=0))
    sha256 = pull(box, hub)["sha256"]
    (box.state / f"models/{sha256}.gguf").unlink()
    model_file(file, 300 * KIB, seed=9)
    error = pull(box, hub, 1)
    assert (error["code"], sha256 in error["message"]) == ("wrong-hash", True)
    assert on_shelf(box) == ["locks.json"]


def test_a_hub_that_contradicts_itself_is_refused(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, hub_source(""), sha256="", size=0))
    hub.tell(list_sha256="b" * 64)
    error = pull(box, hub, 1)
    assert (error["code"], "contradicts itself" in error["message"]) == ("wrong-hash", True)


def test_a_file_whose_hash_nobody_states_is_measured(box: RowsBox, hub: Hub, file: Path) -> None:
    hub.tell(lfs=False, linked=False)
    offer(box, row(file, hub_source(""), sha256="", size=0))
    told = pull(box, hub)
    assert (told["locked"]["how"], told["locked"]["revision"]) == ("measured", COMMIT)
    assert told["sha256"] == row(file, "").sha256
    assert box.document("models", "verify", "tiny")["sha256"] == told["sha256"]


def test_an_open_row_with_a_web_address_is_measured(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, f"{hub.url}/cdn/file", sha256="", size=0))
    done = box.run("models", "pull", "tiny", env=hub.environment)
    assert "as measured here: nobody has stated it" in done.stderr
    assert on_shelf(box) == [f"{row(file, '').sha256}.gguf", "locks.json"]


def test_a_file_that_the_hub_does_not_have(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, hub_source(name="gone.gguf")))
    assert pull(box, hub, 1)["code"] == "source-refused"
    offer(box, row(file, hub_source("", "gone.gguf"), sha256=""))
    assert pull(box, hub, 1)["code"] == "source-refused"


@pytest.mark.parametrize("env", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
def test_a_hub_that_does_not_answer(box: RowsBox, hub: Hub, file: Path, env: dict[str, str]) -> None:
    offer(box, row(file, hub_source()))
    assert pull(box, hub, 1, **env)["code"] == "source-unreachable"


def test_from_a_stick(box: RowsBox, hub: Hub, file: Path) -> None:
    stick = box.folder / "stick"
    (stick / "models").mkdir(parents=True)
    offer(box, model := row(file, f"file:{stick}"))
    error = pull(box, hub, 1)
    assert (error["code"], str(stick) in error["message"]) == ("source-refused", True)
    (stick / "models/tiny.gguf").write_bytes(b"GGUF" + bytes(model.size - 4))
    assert pull(box, hub, 1)["code"] == "wrong-hash"
    assert on_shelf(box) == []
    file.rename(stick / "models/tiny.gguf")
    pull(box, hub)
    assert on_shelf(box) == [f"{model.sha256}.gguf"]


def test_nothing_is_fetched_in_the_clear_from_another_machine(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, "http://models.example/a.gguf"))
    assert pull(box, hub, 2)["code"] == "source-not-allowed"


def test_no_room_is_told_before_the_download(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, f"{hub.url}/cdn/file", size=1 << 60))
    error = pull(box, hub, 3)
    assert (error["code"], "models gc" in error["hint"]) == ("disk-too-small", True)
    assert hub.log() == []


def test_one_pull_of_a_model_at_a_time(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, model := row(file, hub_source()))
    (box.state / "models").mkdir(parents=True)
    lock = Lock(box.state / f"models/{model.sha256}.lock", fleeting=True)
    assert lock.acquire()
    assert pull(box, hub, 1)["code"] == "pull-running"
    lock.release()
    pull(box, hub)


def test_an_interrupted_pull_ends_at_once_and_keeps_what_it_has(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, model := row(file, f"{hub.url}/cdn/file"))
    hub.tell(rate=20 * KIB)
    with subprocess.Popen(
        box.argv("models", "pull", "tiny"), stderr=subprocess.PIPE, text=True, env=environment()
    ) as child:
        wait_until(lambda: (box.state / f"models/{model.sha256}.journal").exists())
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
        assert child.stderr is not None
        assert child.stderr.read().endswith("Interrupted.\n")
    assert on_shelf(box) == [f"{model.sha256}.journal", f"{model.sha256}.partial"]
    hub.tell(rate=0)
    pull(box, hub)
    assert on_shelf(box) == [f"{model.sha256}.gguf"]


def test_settlements_that_cannot_be_read_stop_a_pull(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, row(file, hub_source(""), sha256=""))
    (box.state / "models").mkdir(parents=True)
    (box.state / "models/locks.json").write_text("{")
    assert pull(box, hub, 1)["code"] == "locks-unreadable"


def serving(box: RowsBox, model: Model) -> Deployment:
    """A deployment whose engine works with a model."""
    path = str(box.state / f"models/{model.sha256}.gguf")
    return Deployment("0", (Engine("chat", "tiny", ("chat",), "tiny", "s", file=path, sha256=model.sha256),))


def test_a_model_is_removed_once_nobody_uses_it(box: RowsBox, hub: Hub, file: Path) -> None:
    offer(box, model := row(file, hub_source()))
    assert box.document("models", "rm", "tiny", "--yes", code=1)["error"]["code"] == "model-missing"
    pull(box, hub)
    handover.write(box.state / "deployment.json", serving(box, model))
    assert box.document("models", "rm", "tiny", "--yes", code=1)["error"]["code"] == "model-in-use"
    (box.state / "deployment.json").unlink()
    assert box.document("models", "rm", "tiny", code=4)["error"]["code"] == "needs-yes"
    assert box.document("models", "rm", "tiny", "--dry-run") == {"id": "tiny", "bytes": 300 * KIB, "removed": False}
    assert on_shelf(box) == [f"{model.sha256}.gguf"]
    assert "300 KiB are free again" in box.run("models", "rm", "tiny", "--yes").stderr
    assert on_shelf(box) == []


def test_what_nothing_names_is_cleared_away(box: RowsBox, hub: Hub, file: Path) -> None:
    model, served = row(file, hub_source()), "d" * 64
    offer(box, model)
    pull(box, hub)
    handover.write(box.state / "deployment.json", serving(box, replace(model, sha256=served)))
    models = box.state / "models"
    for name in (f"{served}.gguf", f"{'e' * 64}.gguf", "old.partial", "old.journal", f"{model.sha256}.partial"):
        (models / name).write_bytes(bytes(MIB))
    (models / ".pull-abc-1").mkdir()
    left = [f"{model.sha256}.gguf", f"{served}.gguf"]
    gone = sorted({".pull-abc-1", *on_shelf(box)} - set(left))
    assert box.document("models", "gc", code=4)["error"]["code"] == "needs-yes"
    told = box.document("models", "gc", "--dry-run")
    assert ([entry["name"] for entry in told["files"]], told["removed"]) == (gone, False)
    assert told["bytes"] == 4 * MIB
    lock = Lock(models / "old.lock", fleeting=True)
    assert lock.acquire()
    done = box.run("models", "gc", "--yes")
    assert "2.0 MiB are free again" in done.stderr
    assert on_shelf(box) == sorted([*left, "old.journal", "old.lock", "old.partial"])
    lock.release()
    box.run("models", "gc", "--yes")
    assert on_shelf(box) == sorted(left)
    assert "nothing to remove" in box.run("models", "gc").stderr
