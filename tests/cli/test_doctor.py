import json
import shutil
import socket
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from serve_app.cli import doctor_machine as machine
from serve_app.cli.doctor_machine import PROFILE_FILES, RolePlan, plan_profiles
from serve_app.settings import DataSettings
from tests.cli.conftest import Command

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free, 0, free))


def test_busy_port_names_its_holder(busy_port: int) -> None:
    finding = machine.look_at_port(busy_port)
    assert finding.state == "warning"
    assert f"process {psutil.Process().pid}" in finding.message


def test_holder_that_may_not_be_seen(busy_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert "may not see" in machine.look_at_port(busy_port).message


def test_free_port(busy_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    assert machine.look_at_port(free).state == "ok"


@pytest.mark.parametrize(
    ("free", "state"), [(900_000_000, "problem"), (4_000_000_000, "warning"), (6_000_000_000, "ok")]
)
def test_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str) -> None:
    with_free(monkeypatch, free)
    assert machine.look_at_disk(tmp_path / "not" / "yet").state == state


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, state in ((1_000_000_000, "warning"), (8_000_000_000, "ok")):
        memory = SimpleNamespace(available=available, total=16_000_000_000)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        assert machine.look_at_memory().state == state


def test_small_shared_memory_of_a_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_free(monkeypatch, 64_000_000)
    finding = machine.look_at_shared_memory(tmp_path)
    assert finding.state == "warning"
    assert "--shm-size" in str(finding.advice)
    assert machine.look_at_shared_memory(tmp_path / "none").state == "ok"


def test_data_folder(tmp_path: Path) -> None:
    assert "will be made" in machine.look_at_data_folder(tmp_path / "new").message
    assert "exists" in machine.look_at_data_folder(tmp_path).message
    file = tmp_path / "file"
    file.write_text("")
    assert machine.look_at_data_folder(file / "below").state == "problem"


def test_missing_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PACKAGES", ("ray", "no-such-package"))
    finding = machine.look_at_packages()
    assert (finding.state, finding.message) == ("problem", "missing: no-such-package")


def test_gpu_is_reported_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="NVIDIA L4, 23034 MiB, 22000 MiB\n")
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert machine.look_at_gpu().message == "NVIDIA L4, 23034 MiB, 22000 MiB"


def test_gpu_whose_driver_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", hang)
    assert machine.look_at_gpu().state == "warning"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert machine.look_at_gpu().state == "ok"


def write_model(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"1")


def plan_of(data: Path, role: str, profile: str = "local") -> RolePlan:
    settings = DataSettings(folder=data, environment_models_folder=data / "environment")
    return next(plan for plan in plan_profiles(settings)[profile] if plan.role == role)


def test_plan_says_what_a_laptop_without_models_uses_and_why(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "transcriber")
    assert plan.used == "demo-asr, a demo model"
    assert plan.reason == "small: not on disk; base: not on disk; tiny: not on disk"
    assert plan_of(tmp_path, "embedder").used == "all-MiniLM-L6-v2"


def test_plan_takes_the_first_that_is_whole(tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "small", "config.json")
    write_model(tmp_path / "models" / "base", "config.json", "model.bin", "tokenizer.json")
    plan = plan_of(tmp_path, "transcriber")
    assert plan.used == "base"
    assert plan.reason == "small: incomplete, without model.bin, tokenizer.json"


def test_plan_takes_the_models_of_the_environment_where_nothing_better_was_pulled(tmp_path: Path) -> None:
    write_model(tmp_path / "environment" / "base", "config.json", "model.bin", "tokenizer.json")
    write_model(tmp_path / "environment" / "ge2e", "config.json", "encoder.safetensors")
    assert plan_of(tmp_path, "transcriber").used == "base"
    assert plan_of(tmp_path, "diarizer").used == "ge2e"
    write_model(tmp_path / "models" / "small", "config.json", "model.bin", "tokenizer.json")
    assert plan_of(tmp_path, "transcriber").used == "small"


def test_every_profile_is_planned(tmp_path: Path) -> None:
    plans = plan_profiles(DataSettings(folder=tmp_path))
    assert set(plans) == {name for name, path in PROFILE_FILES.items() if path.is_file()}
    assert "local" in plans


def test_report_for_people_and_for_scripts(rayscribe: Command, tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "tiny", "config.json", "model.bin", "tokenizer.json")
    result = rayscribe("doctor", "--data", tmp_path)
    assert "This machine" in result.stdout
    assert "The local profile would use" in result.stdout
    report = json.loads(rayscribe("doctor", "--data", tmp_path, "--json").stdout)
    assert report["models"] == {"tiny": 3}
    assert report["profiles"]["local"][0]["used"] == "tiny"


def test_problem_decides_the_exit_code(rayscribe: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "look_at_packages", lambda: machine.Finding(subject="p", state="problem", message="m"))
    assert rayscribe("doctor", "--data", tmp_path).exit_code == 1
