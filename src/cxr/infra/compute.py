"""Where a command runs: on this machine now, elsewhere later."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from omegaconf import DictConfig, OmegaConf

Result = TypeVar("Result")


class ComputeBackend(Protocol):
    """A machine, or many, that runs a command on its config."""

    def run(self, command: Callable[[DictConfig], Result], cfg: DictConfig) -> Result:
        """Run `command(cfg)` there and give its result.

        Args:
            command: What to run.
            cfg: Its config, unresolved: a resolved one may hold secrets.
        """
        ...


class Local:
    """This process."""

    def run(self, command: Callable[[DictConfig], Result], cfg: DictConfig) -> Result:
        """Run `command(cfg)` here."""
        return command(cfg)


def plain(cfg: DictConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a config as mappings, unresolved and resolved: what travels, and what it means here."""
    both = [OmegaConf.to_container(cfg, resolve=resolve) for resolve in (False, True)]
    return cast("tuple[dict[str, Any], dict[str, Any]]", tuple(both))
