# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Two processes with half a batch each equal one process with the joined batch: losses and gradients."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mscn_hf.methods.gather import all_gather_batch, process_rank, world_size

SCRIPT = Path(__file__).with_name("joined_batch.py")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("joined_batch", SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


joined_batch = load_script()
CASES = list(joined_batch.CASES)


@pytest.fixture(scope="module")
def one_process() -> dict:
    return joined_batch.compute(rank=0, world=1)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("two_processes")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[2]), environment.get("PYTHONPATH", "")])
    running = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), "2", str(folder / "store"), str(folder / f"{rank}.pt")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in running:
            _, errors = process.communicate(timeout=180)
            assert process.returncode == 0, errors
    finally:
        for process in running:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", [*CASES, "network info_nce", "network byol"])
def test_mean_loss_is_the_joint_loss(case: str, one_process: dict, two_processes: list[dict]) -> None:
    losses = [results[case]["loss"] for results in two_processes]
    # Barlow Twins has no part that belongs to a process's own images.
    assert (losses[0] == losses[1]) == (case == "barlow_twins")
    torch.testing.assert_close(sum(losses) / 2, one_process[case]["loss"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_input_gradients_are_those_of_the_joint_loss(case: str, one_process: dict, two_processes: list[dict]) -> None:
    joined = torch.cat([results[case]["inputs"] for results in two_processes])
    assert one_process[case]["inputs"].abs().max() > 1e-3
    torch.testing.assert_close(joined, one_process[case]["inputs"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", [*CASES, "network info_nce", "network byol"])
def test_parameter_gradients_under_ddp_are_those_of_the_joint_loss(
    case: str, one_process: dict, two_processes: list[dict]
) -> None:
    expected = {name: value for name, value in one_process[case].items() if name not in ("loss", "inputs")}
    assert max(value.abs().max() for value in expected.values()) > 1e-3
    for results in two_processes:
        assert set(results[case]) == set(one_process[case])
        for name, value in expected.items():
            torch.testing.assert_close(
                results[case][name], value, rtol=0, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_one_process_gathers_nothing() -> None:
    local = torch.randn(3, 2)
    assert all_gather_batch(local) is local
    assert (world_size(), process_rank()) == (1, 0)
