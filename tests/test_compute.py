"""A command runs on its config, wherever that is."""

from omegaconf import DictConfig, OmegaConf

from cxr.infra.compute import ComputeBackend, Local


def test_local_runs_the_command_here_on_the_unresolved_config():
    cfg = OmegaConf.create({"a": 1, "b": "${a}"})
    backend: ComputeBackend = Local()
    seen = []

    def command(given: DictConfig) -> int:
        seen.append(OmegaConf.to_container(given))
        return 7

    assert backend.run(command, cfg) == 7
    assert seen == [{"a": 1, "b": "${a}"}]
