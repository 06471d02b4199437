"""python -m cxr.trace: the chain from pixels to prediction, of one image or one run."""

import json

from omegaconf import DictConfig

from cxr import config, schema


def main(cfg: schema.Trace, _: DictConfig) -> None:
    """Find every file that says something of it, and print what they say."""
    from cxr import root
    from cxr.learning import tracing, tracing_text
    from cxr.pacs import opening

    folder = root.prepare(cfg.root)
    if cfg.run is not None:
        document = tracing.of_run(folder, cfg.run)
        text = tracing_text.run
    else:
        with opening.opened(cfg.pacs, root=folder) as pacs:
            document = tracing.of_image(folder, pacs, str(cfg.sop_uid))
        text = tracing_text.image
    print(
        json.dumps(document, indent=1, ensure_ascii=False)
        if cfg.format == "json"
        else text(document)
    )


if __name__ == "__main__":
    config.command("trace", schema.Trace, main)
