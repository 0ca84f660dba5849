import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.client.standin import StandIn, error, event, stream


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    file = tmp_path / "m.tsv"
    file.write_text("a.wav\tGood morning. Hello.\ten\nb.wav\tGood evening. Hello.\ten\n")
    return file


def two_streams(server: StandIn) -> None:
    server.streams.extend([stream(event(0, "queued"), event(1, "succeeded"))] * 2)


def test_a_table_json_and_a_page(rayscribe: Command, server: StandIn, manifest: Path, tmp_path: Path) -> None:
    two_streams(server)
    result = rayscribe("evaluate", manifest, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 recordings, 00:24.0" in result.stdout
    assert "Word errors       16.67%" in result.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["words"]["substitutions"] for each in report["recordings"]] == [0, 1]
    assert "<del>evening</del>" in (tmp_path / "out" / "report.html").read_text()


def test_a_bad_row_is_named_and_the_rest_goes_on(
    rayscribe: Command, server: StandIn, manifest: Path, tmp_path: Path
) -> None:
    server.replies.append(error(415, "unsupported_media", "this is no recording"))
    result = rayscribe("evaluate", manifest, "--output", tmp_path / "out", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["summary"]["recordings"] == 1
    assert list(report["failures"].values()) == ["this is no recording"]


def test_the_same_command_goes_on_where_it_was_stopped(
    rayscribe: Command, server: StandIn, manifest: Path, tmp_path: Path
) -> None:
    two_streams(server)
    rayscribe("evaluate", manifest, "--output", tmp_path / "out")
    asked = len(server.requests)
    with (tmp_path / "out" / "results.jsonl").open("a") as file:
        file.write('{"audio": "cut o')
    assert rayscribe("evaluate", manifest, "--output", tmp_path / "out").exit_code == 0
    assert len(server.requests) == asked


def test_a_manifest_without_recordings_is_wrong_usage(rayscribe: Command, server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("\n")
    assert rayscribe("evaluate", tmp_path / "m.tsv", "--output", tmp_path / "out").exit_code == 2
