"""What the operator has configured: a mistake in it is one line that names the setting, and never shows its value."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from serve_app.cli.failures import USAGE, fail

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from serve_app.settings import Settings

_EXPLAINED = "serve_app/settings.py says what each setting takes"
_EXAMPLE = "configs/local.yaml shows what such a file holds."
_WORDS = {"extra_forbidden": "there is no such setting", "missing": "it is missing"}
"""By type of pydantic's errors, where its own words speak to programmers."""
_HINTS = {"sha256": "A key is stored as its hash, which `printf %s KEY | sha256sum` prints. "}
"""By name of the setting."""


def settings_of(arguments: dict[str, Any], config: Path | None = None) -> "Settings":
    """Return the settings of a config's ``args`` and the environment; leaves with 2 where they are wrong."""
    from serve_app.settings import Settings

    with mistakes_said(config):
        return Settings(**arguments)


def read_config(config: Path) -> dict[str, Any]:
    """Return a Serve config file, which holds all that a start looks up in it; leaves with 2 where it does not."""
    import yaml

    try:
        document: Any = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        fail(f"{config} is not YAML{_place(error)}", _EXAMPLE, USAGE)
    if lacking := _what_is_wrong(document):
        fail(f"{config} is no Serve config file: {lacking}", _EXAMPLE, USAGE)
    return dict(document)


@contextmanager
def mistakes_said(config: Path | None = None) -> Iterator[None]:
    """Leave with 2, and a line that names what is wrong, where the environment or the config file is."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    try:
        yield
    except ValidationError as error:
        _fail_on_value(error, config)
    except SettingsError as error:
        _fail_on_environment(error)


def _what_is_wrong(document: Any) -> str | None:
    if not isinstance(document, dict):
        return "it holds no keys"
    applications = document.get("applications")
    if not isinstance(applications, list) or not applications or not isinstance(applications[0], dict):
        return "`applications` must be a list of at least one application"
    arguments = applications[0].get("args", {})
    if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
        return "`args` of the application must be settings by name; leave it out where there are none"
    options = document.get("http_options")
    port = options.get("port") if isinstance(options, dict) else None
    return None if isinstance(port, int) and 0 <= port < 65_536 else "`http_options` must have a `port`"


def _fail_on_value(error: "ValidationError", config: Path | None) -> NoReturn:
    # Neither values nor the context that pydantic adds: a key in the place of its hash is still a key.
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first, more = problems[0], f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    name = ".".join(map(str, first["loc"]))
    if error.title != "Settings":
        fail(f"{config or error.title}: {name}: {_words(first)}{more}", _EXAMPLE, USAGE)
    place = f"under args in {config}" if config else "in the file that the server is started with"
    advice = f"It is set by {_variable(first['loc'])} or {place}; {_EXPLAINED}."
    fail(f"setting {name or 'of the profile'}: {_words(first)}{more}", _hint(first) + advice, USAGE)


def _fail_on_environment(error: Exception) -> NoReturn:
    """Say which variable is no JSON; pydantic-settings names the field in its message only."""
    named = re.search(r'field "(\w+)"', str(error))
    variable = _variable((named[1],)) if named else "a variable RAYSCRIBE_…"
    fail(f"{variable} is not JSON", f"Lists and groups of settings are written as JSON; {_EXPLAINED}.", USAGE)


def _variable(place: tuple[int | str, ...]) -> str:
    """Return the environment variable that sets what is at ``place``: groups are entered, lists are given whole."""
    from serve_app.settings import Section, Settings

    names: list[str] = []
    group: Any = Settings
    for part in place:
        names.append(str(part).upper())
        field = group.model_fields.get(part)
        group = field.annotation if field else None
        if not (isinstance(group, type) and issubclass(group, Section)):
            break
    return "RAYSCRIBE_" + "__".join(names) if names else "the environment (RAYSCRIBE_…)"


def _words(problem: "ErrorDetails") -> str:
    return _WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _hint(problem: "ErrorDetails") -> str:
    return _HINTS.get(str(problem["loc"][-1]), "") if problem["loc"] else ""


def _place(error: Exception) -> str:
    # Not the parser's words: a password that begins with ! or * is quoted in them.
    mark = getattr(error, "problem_mark", None)
    return f": see line {mark.line + 1}, column {mark.column + 1}" if mark else " in UTF-8"
