"""From the command line to a checked config: the one place that composes, validates and explains.

Every command starts through `command`. It composes once to check (so a bad key costs under a
second and leaves nothing on disk), then lets Hydra run or sweep. Whatever goes wrong ends in one
line on stderr and exit code 1; a traceback goes to the log in the run's folder.
"""

import difflib
import errno
import gc
import logging
import os
import re
import signal
import sys
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from pydantic import BaseModel, ValidationError

from cxr import places, root, schema
from cxr.errors import ConfigError, CxrError

SECRET = re.compile(
    r"(^|[._])(password|passphrase|secret|token|credentials?|[a-z]+_key)$", re.IGNORECASE
)
"""Keys whose values must not be given on the command line; `key_column` is none."""
_OPTIONS = {"--multirun", "-m", "--run", "-r", "--resolve", "--package", "-p"}
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def command(
    name: str,
    model: type[schema.Site],
    run: Callable[[Any, DictConfig], float | None],
    *,
    verbs: Sequence[str] = (),
) -> None:
    """Run one command: compose `conf/<name>.yaml`, check it, call `run`, exit.

    Args:
        name: Of the command and of its config file.
        model: What the config must be.
        run: Called with the checked model and the unresolved config, which alone may be
            logged or shipped; its return value is what a sweep maximises.
        verbs: Words one of which comes first, and becomes the key `verb`.
    """
    gc.disable()  # Hydra copies much and drops little until a run begins
    if verbs:
        sys.argv[1:] = _or_exit(lambda: _with_verb(name, verbs, sys.argv[1:]))
    sys.argv[1:] = _or_exit(lambda: _checked_arguments(name, model, sys.argv[1:]))
    os.umask(0o077)  # whatever is written is patient data
    # Hydra then raises instead of printing six lines and exiting by itself
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def task(cfg: DictConfig) -> float | None:
        gc.enable()
        if HydraConfig.get().mode is RunMode.MULTIRUN and "name" in cfg:
            cfg.name = f"{cfg.name}-{HydraConfig.get().job.num}"
        return _or_exit(lambda: run(check(cfg, model), cfg))

    main = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(task)
    _or_exit(main)


def conf_dir() -> Path:
    """Find the shipped conf/."""
    return places.shipped("conf")


def compose(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a command's config as Hydra would, without running or writing anything.

    Raises:
        ConfigError: A group or option does not exist, or an override cannot be parsed.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            composed: DictConfig = hydra.compose(name, [_forced(item) for item in overrides])
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_explain_hydra(error)) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{mark.name}:{mark.line + 1}: " if mark else ""
            what = getattr(error, "problem", None) or "cannot be read"
            raise ConfigError(f"{place}expected YAML: {what}") from error
        except UnicodeDecodeError as error:
            raise ConfigError("expected config files in UTF-8, met another encoding") from error
        except ValueError as error:  # model=null, model=3
            raise ConfigError(_explain_option(overrides) or str(error)) from error
    return composed


def check(cfg: DictConfig, model: type[M]) -> M:
    """Resolve every interpolation of `cfg` and validate the result.

    Raises:
        ConfigError: The first thing that is wrong, as `key: expected …, met …`.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain_omegaconf(error)) from error
    missing = sorted(OmegaConf.missing_keys(cfg))
    try:
        checked = model.model_validate(plain)
    except ValidationError as error:
        # a misspelt key explains the missing one beside it, so it goes first
        errors = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        if not missing or errors[0]["type"] == "extra_forbidden":
            raise ConfigError(_explain(errors[0], model)) from error
    if missing:
        raise ConfigError(f"{missing[0]}: expected a value, met none")
    return checked


def _with_verb(name: str, verbs: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Make the word that comes first a setting, since Hydra takes no such words."""
    word = arguments[0] if arguments else ""
    if word.startswith("-") or "=" in word:
        return list(arguments)  # asks for help, or says verb=… itself
    if word not in verbs:
        near = difflib.get_close_matches(word, verbs, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"cxr.{name}: expected {', '.join(verbs)}, met {word or 'none'}{hint}")
    return [f"verb={word}", *arguments[1:]]


def _checked_arguments(name: str, model: type[schema.Site], arguments: Sequence[str]) -> list[str]:
    """Check every run that the arguments ask for, and give them as Hydra shall see them."""
    asks = {"--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i"}
    elsewhere = {"--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd"}
    if (asks | elsewhere) & set(arguments):
        return list(arguments)  # questions about a config may be asked of a broken one
    strange = [a for a in arguments if a.startswith("-") and a not in _OPTIONS]
    if strange:
        raise ConfigError(f"no option {strange[0]}; settings are key=value, and --help lists them")
    variants = list(_variants([a for a in arguments if not a.startswith("-")]))
    roots = [check(compose(name, variant), model).root for variant in variants]
    if len(variants) == 1 or {"-m", "--multirun"} & set(arguments):
        root.prepare(roots[0])  # before Hydra makes folders in it
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        forced = [a if a.startswith("-") else _forced(a) for a in arguments]
    return [*forced, f"hydra.job.name={name}"]


def _variants(words: Sequence[str]) -> Iterator[list[str]]:
    """Give the overrides of one run, then of one more run for each further value swept."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(words))
    except HydraException as error:
        raise ConfigError(_explain_hydra(error)) from error
    for override in parsed:
        key = override.key_or_group
        if SECRET.search(key) or _PASSWORD_IN_URL.search(override.input_line or ""):
            raise ConfigError(
                f"{key}: secrets are not taken from the command line, where they would land in "
                "logs and in MLflow; set its environment variable instead"
            )
    choices = [_choices(override) for override in parsed]
    first = [values[0] for values in choices]
    yield first
    for i, values in enumerate(choices):
        for value in values[1:]:
            yield [*first[:i], value, *first[i + 1 :]]


def _choices(override: Override) -> list[str]:
    line = override.input_line or ""
    if not override.is_sweep_override():
        return [line]
    key = line.split("=", 1)[0]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _forced(line: str) -> str:
    """Let Hydra add unknown keys, so that validation names them all in one way."""
    key, equals, _ = line.partition("=")
    if not equals or key.startswith("~"):
        return line
    bare = key.lstrip("+")
    if not bare:
        raise ConfigError(f'expected key=value, met "{line}"')
    group = bare.partition("@")[0].replace(".", "/")
    loader = GlobalHydra.instance().config_loader()
    if loader.get_group_options(group) or bare.startswith("hydra"):
        return line
    return "++" + line.lstrip("+")


def _or_exit(call: Callable[[], T]) -> T:
    try:
        return call()
    except (CxrError, HydraException, OmegaConfBaseException) as error:
        text = str(error) if isinstance(error, CxrError) else _explain_hydra(error)
        raise SystemExit(_one_line(text)) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except BrokenPipeError:
        # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:  # the command's outer edge
        log = _log_file()
        if log is None or os.environ.get("CXR_IN_JOB"):  # there the text would go further
            raise
        raise SystemExit(_one_line(_unforeseen(error, log))) from None


def _unforeseen(error: Exception, log: Path) -> str:
    """Say what nobody caught, and keep its traceback where there is room for it."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{error.filename or log.parent}: expected room to write, met a full disk; free some "
            "and run the command again"
        )
    text = f"{type(error).__name__}: {error}"
    try:
        with log.open("a") as file:
            traceback.print_exc(file=file)
    except OSError as other:
        return f"{text}; its traceback could not be written to {log}: {other.strerror}"
    return f"{text}; the traceback is in {log}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _log_file() -> Path | None:
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            return Path(handler.baseFilename)
    return None


def _explain_hydra(error: Exception) -> str:
    text = str(error)
    if found := re.search(r"Could not find '(?P<path>[^']+)'", text):
        group, _, option = found["path"].rpartition("/")
        options = _offered(re.findall(r"^\t(\S+)$", text, re.MULTILINE))
        if not group:
            return f"no config called {option!r}"
        near = difflib.get_close_matches(option, options, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(options)}"
        return f'{group}: no option "{option}"; {hint}'
    if found := re.search(r"Could not override '(?P<key>[^']+)'", text):
        return f"{found['key']}: no such key"
    if found := re.search(r"Environment variable '(?P<name>[^']+)' not found", text):
        return f"environment variable {found['name']} is not set"
    if found := re.search(r"Ambiguous value for argument '\+*(?P<key>[^=]+)=(?P<met>.*)'", text):
        return f'{found["key"]}: expected one value, met "{found["met"]}"; add -m to run each'
    if re.search("parsing override|token recognition|LexerNoViableAlt", text):
        override = re.search(r"parsing override '(?P<line>[^']*)'|Exception: (?P<rest>.*)", text)
        met = (override["line"] or override["rest"]) if override else text.splitlines()[0]
        return f'expected key=value (quote values with spaces or commas), met "{met}"'
    return text.splitlines()[0]


def _explain_option(overrides: Sequence[str]) -> str | None:
    """Say which group was given something that is no word."""
    loader = GlobalHydra.instance().config_loader()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        options = _offered(loader.get_group_options(override.key_or_group))
        if options and not isinstance(override.value(), str | list):
            met = (override.input_line or "").partition("=")[2]
            return f"{override.key_or_group}: expected one of {', '.join(options)}, met {met}"
    return None


def _offered(options: Sequence[str]) -> list[str]:
    # those with an underscore are parts of others
    return [option for option in options if not option.startswith("_")]


def _explain_omegaconf(error: OmegaConfBaseException) -> str:
    key = getattr(error, "full_key", None) or ""
    if isinstance(error, InterpolationResolutionError):
        return f"{key}: {_explain_hydra(error)}"
    return f"{key}: {str(error).splitlines()[0]}"


def _explain(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    place = [part for part in error["loc"] if not str(part).startswith("cxr.")]
    key = ".".join(str(part) for part in place)
    kind, met, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":  # our own validators: "key: what"
        return f"{key}.{context['error']}" if key else str(context["error"])
    if kind == "extra_forbidden":
        # of several sections that may stand here, another one may have the very key
        fields = [name for name in _fields(model, place[:-1]) if name != place[-1]]
        near = difflib.get_close_matches(str(place[-1]), fields, n=1)
        return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "missing":
        return f"{key}: expected a value, met none"
    text = _PASSWORD_IN_URL.sub("://…@", str(met))
    shown = f'"{text}"' if isinstance(met, str) else text
    return f"{key}: expected {_expected(kind, context)}, met {shown}"[:300]


def _expected(kind: str, context: Mapping[str, Any]) -> str:
    bound = next((context[k] for k in ("gt", "ge", "lt", "le") if k in context), None)
    words = {
        "int_type": "an integer",
        "int_from_float": "an integer",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "model_type": "a section with keys",
        "dict_type": "a section with keys",
        "greater_than": f"more than {bound}",
        "greater_than_equal": f"at least {bound}",
        "less_than": f"less than {bound}",
        "less_than_equal": f"at most {bound}",
        "literal_error": f"one of {_as_written(str(context.get('expected')))}",
        "union_tag_invalid": f"a _target_ out of {context.get('expected_tags')}",
        "too_short": f"at least {context.get('min_length')} values",
        "too_long": f"at most {context.get('max_length')} values",
        "string_too_long": f"at most {context.get('max_length')} characters",
        "string_too_short": f"at least {context.get('min_length')} characters",
        "wanted": str(context.get("wanted")),
    }
    return words.get(kind, kind.replace("_", " "))


def _as_written(choices: str) -> str:
    """Give Python's True and False as YAML and the command line have them."""
    return choices.replace("True", "true").replace("False", "false")


def _fields(model: type[BaseModel], place: Sequence[Any]) -> list[str]:
    """Name the keys that the section at `place` may have."""
    models = [model]
    for part in place:
        annotations = [
            info.annotation
            for m in models
            for name, info in m.model_fields.items()
            if part in (name, info.alias)
        ]
        models = [found for a in annotations for found in _models(a)]
    return [info.alias or name for m in models for name, info in m.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return [found for a in typing.get_args(annotation) for found in _models(a)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return []
