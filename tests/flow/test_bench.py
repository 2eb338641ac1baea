"""The load harness works: it loads a real gateway, and its counts find the books right."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.box import ROOT, environment


def bench(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the harness as people do."""
    return subprocess.run(
        [sys.executable, "-m", f"bench.{module}", *words],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.alone
def test_the_books_are_counted_through_hang_ups_and_kills_and_fifty_at_once() -> None:
    done = bench("books", "--only", "hang-ups,kills,fifties", "--kills", "3", "--fifties", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| kept |") == 13
    assert "integrity_check is not ok (ok)" in done.stdout


@pytest.mark.slow
@pytest.mark.alone
def test_the_gateway_is_measured_without_any_peer() -> None:
    """Whether it keeps its limits is not asked here: that depends on what else the machine does."""
    done = bench("gateway", "--quick", "--peers", "")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert re.search(r"\n\| ours \| \d+\.\d", done.stdout)
    assert "| failed requests | at most 0 | 0 | kept |" in done.stdout


def test_an_unknown_peer_is_refused_with_the_names_of_those_there_are() -> None:
    done = bench("gateway", "--peers", "nginx,haproxy")
    assert done.returncode == 2
    assert "no such peer: haproxy; there are nginx, bare, naive, litellm" in done.stderr
