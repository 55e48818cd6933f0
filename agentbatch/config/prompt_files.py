"""`file://` prompts: a path relative to the config, read when the config is."""

from __future__ import annotations

from pathlib import Path

from agentbatch.config.problems import SourceText
from agentbatch.text.suggestions import did_you_mean

_SCHEME = "file://"
_MAX_BYTES = 5_000_000


def is_file_reference(text: str) -> bool:
    """Whether a template's text names a file instead."""
    return text.startswith(_SCHEME)


def read_prompt_file(reference: str, folder: Path) -> tuple[SourceText, str]:
    """The file and its content.

    Raises:
        ValueError: there is no such file, or it is no text.
    """
    name = reference.removeprefix(_SCHEME).strip()
    path = folder / name
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"there is no file {name!r} beside the config{_nearest(path)}") from None
    except OSError as error:
        raise ValueError(f"the file {name!r} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {name!r} is not UTF-8 text") from None
    except ValueError:  # a NUL in the path
        raise ValueError(f"{name!r} is no path") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"the file {name!r} is larger than {_MAX_BYTES // 1_000_000} MB")
    return SourceText.of(str(path), text), text


def _nearest(path: Path) -> str:
    try:
        return did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""
