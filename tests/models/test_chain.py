"""Model chains: the first that loads serves, and nobody is left in doubt which."""

from pathlib import Path

import pytest

from pipelines.errors import InvalidRequest, ModelUnavailable
from serve_app.data_folder import DATA_VERSION, prepare_data_folder
from serve_app.metrics import NoMetrics
from serve_app.models.chain import load_first, model_folder, require_folder
from serve_app.settings import SHIPPED_FOLDER, DataSettings, ModelChoice

SMALL = ModelChoice(backend="disk", name="small")
TINY = ModelChoice(backend="disk", name="tiny")


async def load_name(choice: ModelChoice, path: Path) -> str:
    return require_folder(path).name


async def test_the_first_on_disk_serves_without_a_fallback(tmp_path: Path) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    loaded = await load_first("asr", (SMALL, TINY), {"disk": load_name}, DataSettings(folder=tmp_path), NoMetrics())
    assert (loaded.engine, loaded.fallback) == ("small", None)


async def test_a_fallback_says_what_was_wanted_and_why_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    loaded = await load_first("asr", (SMALL, TINY), {"disk": load_name}, DataSettings(folder=tmp_path), NoMetrics())
    assert loaded.fallback is not None
    assert (loaded.fallback.wanted, loaded.fallback.used) == ("small", "tiny")
    assert "not on disk" in loaded.fallback.reason


async def test_an_exhausted_chain_names_every_failure(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"small: .*tiny: "):
        await load_first("asr", (SMALL, TINY), {"disk": load_name}, DataSettings(folder=tmp_path), NoMetrics())


async def test_an_empty_chain_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="the chain is empty"):
        await load_first("asr", (), {"disk": load_name}, DataSettings(folder=tmp_path), NoMetrics())


def test_relative_paths_are_what_ships(tmp_path: Path) -> None:
    shipped = ModelChoice(backend="disk", name="demo-asr", path="demo/models/asr")
    assert model_folder(shipped, DataSettings(folder=tmp_path)) == SHIPPED_FOLDER / "demo" / "models" / "asr"


def test_the_schema_number_is_never_there_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas that start at once on a new folder would refuse it for a number that is empty."""
    write = Path.write_text

    def look_before(path: Path, text: str) -> int:
        path.touch()
        assert not (tmp_path / "VERSION").exists()
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", look_before)
    prepare_data_folder(DataSettings(folder=tmp_path))
    assert (tmp_path / "VERSION").read_text().strip() == str(DATA_VERSION)


@pytest.mark.parametrize("version", [str(DATA_VERSION + 1), "0", "", "one"])
def test_a_data_folder_of_another_version_is_refused(tmp_path: Path, version: str) -> None:
    data = DataSettings(folder=tmp_path)
    prepare_data_folder(data)
    prepare_data_folder(data)
    assert (tmp_path / "VERSION").read_text().strip() == str(DATA_VERSION)
    (tmp_path / "VERSION").write_text(version)
    with pytest.raises(InvalidRequest, match="RayScribe that wrote it"):
        prepare_data_folder(data)
