"""Typed, frozen configuration: YAML in, an object with a default for every field out."""

from pathlib import Path
from typing import Any
from typing import TypeVar
from typing import get_args

import yaml
from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import ValidationError

from kd3d_core.errors import Kd3dError


class Config(BaseModel):
    """Base of every configuration object: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


ConfigT = TypeVar("ConfigT", bound=Config)


def parse_config(kind: type[ConfigT], data: Any, source: str) -> ConfigT:
    """Turn plain data into a `kind`.

    Args:
        kind: The configuration class.
        data: Nested dicts, lists and scalars, as YAML and JSON give them.
        source: Where the data came from, for the error message.

    Raises:
        Kd3dError: A key is unknown or a value does not fit; the message lists each key, what is
            wrong with it and, for an unknown key, which keys there are.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        lines = [f"{source}: {error.error_count()} setting(s) do not fit:"]
        for item in error.errors():
            key, _ = _locate(kind, item["loc"])
            if item["type"] == "extra_forbidden":
                known = _known_keys(_locate(kind, item["loc"][:-1])[1])
                lines.append(f"  {key}: unknown key; remove it or use one of: {known}")
            else:
                lines.append(f"  {key}: {item['msg']} (got {item['input']!r:.80})")
        raise Kd3dError("\n".join(lines)) from error


def load_config(kind: type[ConfigT], path: Path | str) -> ConfigT:
    """Read a YAML file into a `kind`; an empty file gives the defaults.

    Raises:
        Kd3dError: The file cannot be read, is not YAML, or does not fit `kind`.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Kd3dError(f"cannot read configuration {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Kd3dError(f"{path} is not valid YAML: {error}") from error
    return parse_config(kind, {} if data is None else data, str(path))


def dump_config(config: Config) -> str:
    """The YAML text that `load_config` reads back to an equal object."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _locate(
    kind: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[str, list[type[BaseModel]]]:
    """Where a validation error is, as the user wrote it, and the classes that may stand there.

    The location also holds the tag of each union on its way, which nobody wrote as a key.
    """
    written: list[str] = []
    models = [kind]
    for part in location:
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        tagged = [model for model in models if _tag(model) == part]
        if fields:
            models = [model for field in fields for model in _models(field.annotation)]
        elif tagged:
            models = tagged
            continue
        written.append(str(part))
    return ".".join(written) or "(top level)", models


def _tag(model: type[BaseModel]) -> object:
    """What tells a class from the others of its union, or None."""
    field = model.model_fields.get("type")
    return None if field is None else field.default


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The classes with fields that an annotation speaks of, inside unions and containers too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _known_keys(models: list[type[BaseModel]]) -> str:
    """The keys that any of the classes has."""
    keys = sorted({name for model in models for name in model.model_fields})
    return ", ".join(keys) or "see the documentation of this section"
