"""python -m cxr.serve: the folder PACS over DICOMweb, for any client that speaks it."""

from pathlib import Path

from omegaconf import DictConfig

from cxr import config, pacs_schema, schema
from cxr.errors import ConfigError


def main(cfg: schema.Serve, _: DictConfig) -> None:
    """Serve QIDO-RS, WADO-RS, WADO-URI and STOW-RS until Ctrl-C."""
    if not isinstance(cfg.pacs, pacs_schema.FolderPacs):
        url = getattr(cfg.pacs, "url", None)
        met = f"a server that answers at {url!r} itself" if url else "what a training job was sent"
        raise ConfigError(f"pacs: expected pacs=folder, which this command serves, met {met}")
    from cxr import root
    from cxr.contract import signing
    from cxr.infra import http
    from cxr.pacs import server
    from cxr.pacs.folder import FolderPacs

    keys = root.token_keys(root.prepare(cfg.root))
    listener = http.bind(cfg.host, cfg.port, key="port")
    token = signing.sign(
        keys,
        ["p:/dicom-web", "p:/instances", "p:/wado", "store"],
        ttl_s=cfg.token_ttl_s,
        subject="serve",
    )
    with FolderPacs(Path(cfg.pacs.folder), keys=keys) as pacs:
        print(f"{pacs.count()} images at {listener.url}/dicom-web")
        print(f"Authorization: Bearer {token}", flush=True)
        http.run(server.app(pacs, keys, allowed_origins=cfg.allowed_origins), listener)


if __name__ == "__main__":
    config.command("serve", schema.Serve, main)
