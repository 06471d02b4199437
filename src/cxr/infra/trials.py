"""The trials of a sweep: each one a run of the same command, several of them at once.

A trial that fails leaves the others alone; the sweep ends with an error that names it.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from hydra.core.utils import (
    JobReturn,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from omegaconf import OmegaConf

from cxr.errors import RunError
from cxr.infra import interrupts

_log = logging.getLogger(__name__)
_CTRL_C = set(interrupts.ALL)


def run(
    context: Any, task: Any, common: Any, configs: Sequence[Any], *, at_once: int
) -> list[JobReturn]:
    """Run every trial.

    Args:
        context: Hydra's.
        task: What a trial runs on its config.
        common: Config of the sweep.
        configs: One a trial.
        at_once: How many at a time; one runs in this process.

    Returns:
        What each gave, in order.

    Raises:
        RunError: Trials failed; the others ran to their end.
        KeyboardInterrupt: Those that ran were interrupted, the others not begun.
    """
    setup_globals()
    configure_log(common.hydra.hydra_logging, common.hydra.verbose)
    Path(str(common.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    if at_once == 1:
        return _whole([_one(context, task, common, config) for config in configs], configs)
    with interrupts.like_ctrl_c():
        return _Abreast(context, task, common, configs).run(at_once)


def _one(context: Any, task: Any, common: Any, config: Any) -> JobReturn | str:
    _log.info("trial %d: %s", config.hydra.job.num, _told(config))
    try:
        done = _ran(context, task, config)
    finally:
        configure_log(common.hydra.hydra_logging, common.hydra.verbose)
    if isinstance(done, str):
        _log.warning("%s failed: %s", _named(config), done)
    return done


def _ran(context: Any, task: Any, config: Any) -> JobReturn | str:
    """Run a trial here; give its one line where it ended in one.

    Raises:
        SystemExit: It was told to end.
    """
    try:
        done = run_job(
            hydra_context=context, task_function=task, config=config,
            job_dir_key="hydra.sweep.dir", job_subdir_key="hydra.sweep.subdir",
        )  # fmt: skip
    except SystemExit as end:  # one line, as a command ends
        if not isinstance(end.code, str):
            raise
        return end.code
    return repr(done._return_value) if done.status is JobStatus.FAILED else done


def _whole(results: Sequence[JobReturn | str], configs: Sequence[Any]) -> list[JobReturn]:
    """Give the results of all trials, in order, or say which gave none."""
    failed = [(c, r) for c, r in zip(configs, results, strict=True) if isinstance(r, str)]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(configs)} trials ended without a result: "
            f"{', '.join(_named(config) for config, _ in failed)}; the first: {failed[0][1]}"
        )
    return [result for result in results if isinstance(result, JobReturn)]


def _named(config: Any) -> str:
    return f"trial {config.hydra.job.num} ({_told(config)})"


def _told(config: Any) -> str:
    return " ".join(filter_overrides(OmegaConf.to_container(config.hydra.overrides.task)))


@dataclass
class _Trial:
    number: int
    process: Any
    answer: Connection


class _Abreast:
    """Trials in processes of their own."""

    def __init__(self, context: Any, task: Any, common: Any, configs: Sequence[Any]) -> None:
        self._context, self._task, self._common, self._configs = context, task, common, configs
        # a fork has Hydra's plugins and resolvers as they are here; nothing heavy is loaded yet
        self._fork = multiprocessing.get_context("fork")
        self._running: list[_Trial] = []
        self._results: dict[int, JobReturn | str] = {}

    def run(self, at_once: int) -> list[JobReturn]:
        waiting = list(range(len(self._configs)))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < at_once:
                    self._begin(waiting.pop(0))
                self._gather()
        except KeyboardInterrupt:
            self._interrupt(waiting)
            raise
        return _whole([result for _, result in sorted(self._results.items())], self._configs)

    def _name(self, number: int) -> str:
        return _named(self._configs[number])

    def _begin(self, number: int) -> None:
        here, there = self._fork.Pipe(duplex=False)
        process = self._fork.Process(target=self._child, args=(number, there))
        _log.info("%s begins", self._name(number))
        # in the midst of a fork, Python drops what Ctrl-C raises
        signal.pthread_sigmask(signal.SIG_BLOCK, _CTRL_C)
        process.start()
        there.close()
        self._running.append(_Trial(number, process, here))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)

    def _gather(self) -> None:
        """Wait for the next trial that ends."""
        for answer in wait([trial.answer for trial in self._running]):
            trial = next(t for t in self._running if t.answer is answer)
            try:
                self._results[trial.number] = trial.answer.recv()
            except EOFError:
                trial.process.join()
                self._results[trial.number] = f"its process ended with {trial.process.exitcode}"
            trial.process.join()
            trial.answer.close()
            self._running.remove(trial)
            met = self._results[trial.number]
            if isinstance(met, str):
                _log.warning("%s failed: %s", self._name(trial.number), met)

    def _interrupt(self, waiting: Sequence[int]) -> None:
        """Pass Ctrl-C on; each trial says how its own job is followed."""
        for trial in self._running:
            os.kill(trial.process.pid, signal.SIGINT)
        for trial in self._running:
            trial.process.join()
        if waiting:
            _log.warning("not begun: %s", ", ".join(self._name(n) for n in waiting))

    def _child(self, number: int, answer: Connection) -> None:
        os.setpgrp()  # the terminal's Ctrl-C comes through the parent, once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _CTRL_C)
        done = _ran(self._context, self._task, self._configs[number])
        if isinstance(done, JobReturn):
            done = JobReturn(status=done.status, _return_value=done.return_value)
        answer.send(done)
