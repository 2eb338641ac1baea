"""The facts in the words of the command line."""

from __future__ import annotations

from dataclasses import replace

from appliance.cli.hardware import rows
from appliance.hardware.facts import Hardware
from tests.unit.test_hardware_facts import CARD, GIB, MACHINE


def test_a_machine_with_a_card_and_a_problem() -> None:
    assert list(rows(MACHINE)) == [
        ("Processor", "Test CPU, 8 cores"),
        ("Memory", "64 GiB, 60 GiB free"),
        ("", "read at 48 GB/s (measured)"),
        ("Disk", "900 GiB, 800 GiB free"),
        ("Graphics card", "NVIDIA GeForce RTX 4090"),
        ("", "24 GiB, 20 GiB free"),
        ("", "an unknown amount used by Xorg (process 7)"),
        ("", "4.0 GiB used by python3 (process 8)"),
        ("", "memory at 1,008 GB/s, at most 450 W, drives a screen"),
        ("", "driver 550.54.14, CUDA 12.4, compute capability 8.9"),
        ("Problem", "NVIDIA card 1: It is gone."),
    ]


def test_a_machine_of_which_little_is_known() -> None:
    assert list(rows(Hardware("Bare", frozenset(), 1, GIB, numa_nodes=2))) == [
        ("Processor", "Bare, 1 core"),
        ("", "in 2 groups with memory of their own (NUMA)"),
        ("Memory", "1.0 GiB, 0 bytes free"),
        ("Graphics card", "none that can be used"),
    ]


def test_memory_that_is_not_the_cards_own_says_so() -> None:
    cards = (
        replace(CARD, kind="unified"),
        replace(CARD, kind="integrated"),
        replace(CARD, memory_total=0, memory_free=0),
        replace(
            CARD, bandwidth=None, power_limit_w=None, display=False, driver=None, cuda=None, compute_capability=None
        ),
    )
    shown = [text for name, text in rows(replace(MACHINE, gpus=cards))]
    assert "24 GiB, 20 GiB free, shared with the processor" in shown
    assert "24 GiB, 20 GiB free, part of the computer's memory" in shown
    assert "size of its memory unknown" in shown
    assert "no screen" in shown
