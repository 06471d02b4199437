"""Run the trials of a sweep one after the other here, or several at once elsewhere.

Hydra's globals belong to one run, so each trial that waits for a job elsewhere is a process of its
own. Hydra loads this at every start, --help included, so it imports next to nothing.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class AtOnceLauncher(Launcher):
    """`compute.at_once` trials at a time; without such a key, one."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what a sweep has in common."""
        self._context, self._task, self._config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run all trials, and give their results in order."""
        from cxr.infra import trials

        loader = self._context.config_loader
        configs: list[Any] = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            config = loader.load_sweep_config(self._config, list(overrides))
            OmegaConf.update(config, "hydra.job.id", str(number), force_add=True)
            OmegaConf.update(config, "hydra.job.num", number, force_add=True)
            configs.append(config)
        at_once = OmegaConf.select(self._config, "compute.at_once", default=1)
        if OmegaConf.select(self._config, "compute.dry_run"):
            at_once = 1  # what they print would mingle
        return trials.run(self._context, self._task, self._config, configs, at_once=at_once)


ConfigStore.instance().store(
    group="hydra/launcher",
    name="at_once",
    node={"_target_": "hydra_plugins.cxr_at_once.AtOnceLauncher"},
    provider="cxr",
)
