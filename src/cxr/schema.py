"""The shape every command's config must have: types, ranges, and what goes with what.

The models mirror `conf/`: one class per group, one per command. Validation is strict: text is no
number and true is no integer. `config.py` turns what pydantic finds into one line.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cxr.aws_schema import Aws, GroundTruthLabeling, SageMakerCompute, disagreement, refused
from cxr.labeling_schema import (
    Job,
    Labels,
    LocalLabeling,
    ReplayLabeling,
    ReportLabeling,
    Synthetic,
    Team,
)
from cxr.learning_schema import (
    Augment,
    Data,
    Evaluating,
    Loss,
    Model,
    Pictured,
    Policy,
    Trainer,
)
from cxr.pacs_schema import Ingesting, OrthancPacs, Pacs
from cxr.sections import Name, Section, like


class LocalCompute(Section):
    """conf/compute/local."""

    target: Literal["cxr.infra.compute.Local"] = Field(alias="_target_")


class Tracking(Section):
    """conf/tracking."""

    uri: str = Field(min_length=1)
    experiment: str = Field(min_length=1)
    register_as: Annotated[str, like(r"[\w .-]{1,200}", "a model's name")] | None
    alias: Name


class Site(Section):
    """What conf/base.yaml and conf/site give every command."""

    root: str = Field(min_length=1)
    aws: Aws | None = None
    pacs: Pacs
    labeling: LocalLabeling | ReplayLabeling | ReportLabeling | GroundTruthLabeling = Field(
        discriminator="target"
    )
    tracking: Tracking
    compute: LocalCompute | SageMakerCompute = Field(discriminator="target")

    @model_validator(mode="after")
    def _account_is_named(self) -> "Site":
        elsewhere = {"labeling=groundtruth": self.labeling, "compute=sagemaker": self.compute}
        for name, section in elsewhere.items():
            if isinstance(section, GroundTruthLabeling | SageMakerCompute) and self.aws is None:
                raise ValueError(f"aws: expected aws=account beside {name}, met none")
        if self.aws and (told := disagreement(self.aws, self.labeling, self.compute)):
            raise ValueError(told)
        if self.aws and isinstance(self.pacs, OrthancPacs):
            self.pacs.expect_aws()
        return self


class Label(Site):
    """python -m cxr.label."""

    new: Name | None
    reopen: bool
    invite: bool
    audit: Literal["verify"] | None
    dry_run: bool
    preview: bool
    requeue: bool
    labels: Labels
    team: Team
    job: Job

    @model_validator(mode="after")
    def _hands_suffice(self) -> "Label":
        readers = self.team.having("reader")
        local = isinstance(self.labeling, LocalLabeling)
        if local and self.job.workers_per_object > readers:
            raise ValueError(
                f"job.workers_per_object: expected at most the {readers} readers of the team, "
                f"met {self.job.workers_per_object}"
            )
        for key, wanted, role in (
            ("consolidation", "adjudicated", "adjudicator"),
            ("closes", "lead", "lead"),
        ):
            if local and getattr(self.job, key) == wanted and not self.team.having(role):
                raise ValueError(
                    f"job.{key}: {wanted} needs somebody in the team with the role {role}, "
                    "met nobody"
                )
        asked = set(self.labels.names) - {self.labels.no_finding}
        for name in self.job.ask_roi:
            if name not in asked:
                raise ValueError(f'job.ask_roi: expected findings of labels.names, met "{name}"')
        if self.reopen and not local:
            raise ValueError("reopen: expected labeling=local, whose answers can be corrected")
        if isinstance(self.labeling, ReplayLabeling) and not self.job.answers and not self.new:
            raise ValueError("job.answers: expected the CSV of existing labels, met none")
        if self.job.compare and not isinstance(self.labeling, ReportLabeling):
            raise ValueError("job.compare: expected labeling=reports, whose labels are compared")
        return self

    @model_validator(mode="after")
    def _backend_can(self) -> "Label":
        remote = isinstance(self.labeling, GroundTruthLabeling)
        if remote and (told := refused(self.job, self.team)):
            raise ValueError(told)
        if self.audit and not isinstance(self.labeling, LocalLabeling):
            raise ValueError("audit: expected labeling=local, which keeps that log")
        for key in ("dry_run", "requeue"):
            if getattr(self, key) and not remote:
                raise ValueError(f"{key}: expected labeling=groundtruth beside it")
        if self.preview and not (remote or isinstance(self.labeling, LocalLabeling)):
            raise ValueError("preview: expected labeling=local or labeling=groundtruth")
        if self.preview and (self.dry_run or self.requeue):
            raise ValueError("preview: expected it alone, met dry_run or requeue beside it")
        return self


class Ingest(Site):
    """python -m cxr.ingest."""

    folder: str | None
    published: Literal["mimic_cxr", "chexpert", "nih14"] | None
    from_pacs: Pacs | None = None
    query: dict[str, Any]
    to: str | None
    synthetic: Synthetic | None
    reports: str | None
    withdraw: str | None = Field(min_length=1)
    check: bool
    workers: int = Field(ge=0, le=256)
    ingest: Ingesting

    @model_validator(mode="before")
    @classmethod
    def _patient_is_text(cls, given: dict[str, Any]) -> dict[str, Any]:
        met = given.get("withdraw")
        if met is not None and not isinstance(met, str):
            # 4_711 came here as 4711, who is somebody else
            raise ValueError(
                f"withdraw: expected text, so a number in two pairs of quotes, met {met!r}"
            )
        return given

    @model_validator(mode="after")
    def _one_source(self) -> "Ingest":
        sources = {
            "folder=PATH": self.folder,
            "from_pacs=orthanc": self.from_pacs,
            "synthetic.images=N": self.synthetic,
            "reports=PATH": self.reports,
            "withdraw=PATIENT": self.withdraw,
        }
        given = [name for name, value in sources.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"folder: expected one of {', '.join(sources)}, met {' and '.join(given) or 'none'}"
            )
        if self.published and not self.folder:
            raise ValueError("published: expected folder=PATH beside it, the set's own folder")
        for key in ("query", "to"):
            if getattr(self, key) and self.from_pacs is None:
                raise ValueError(f"{key}: expected from_pacs=… beside it")
        if self.check and not (self.folder or self.from_pacs or self.withdraw):
            raise ValueError("check: expected folder=PATH, from_pacs=… or withdraw=… beside it")
        if self.to and (self.check or self.ingest.deidentify != "none"):
            raise ValueError("to: copies files as they are, without check and ingest.deidentify")
        return self


class Orthanc(Site):
    """python -m cxr.orthanc."""

    verb: Literal["up", "down", "status", "rotate"]
    pacs: OrthancPacs

    @model_validator(mode="before")
    @classmethod
    def _is_orthanc(cls, given: Any) -> Any:
        # else the other one's missing keys would be named, one by one
        pacs = given.get("pacs") if isinstance(given, dict) else None
        if isinstance(pacs, dict) and not str(pacs.get("_target_")).endswith(".OrthancPacs"):
            raise ValueError("pacs: expected orthanc or an option made of it, met another PACS")
        return given


class Serve(Site):
    """python -m cxr.serve."""

    host: Literal["127.0.0.1", "localhost", "::1"]
    port: int = Field(ge=0, le=65535)
    token_ttl_s: int = Field(ge=60, le=30 * 86_400)
    allowed_origins: list[str]


class Train(Site):
    """python -m cxr.train."""

    name: Name
    seed: int = Field(ge=0, lt=2**32)
    objective: Annotated[
        str,
        like("val/(loss|auroc_macro|auroc/.+)", "val/loss, val/auroc_macro or val/auroc/<label>"),
    ]
    resume: bool
    onnx: bool
    examples: Pictured
    draws: int = Field(ge=100, le=100_000)
    labels: Labels | None = None
    data: Data
    targets: Policy
    loss: Loss
    augment: Augment
    model: Model
    trainer: Trainer
    evaluate: Evaluating

    @model_validator(mode="after")
    def _weights_are_here(self) -> "Train":
        if self.model.weights and isinstance(self.compute, SageMakerCompute):
            raise ValueError(
                "model.weights: expected null beside compute=sagemaker, where no such file is, met "
                f'"{self.model.weights}"'
            )
        return self


class Evaluate(Site):
    """python -m cxr.evaluate."""

    run: Name | None
    runs: list[Name]
    examples: Pictured
    draws: int = Field(ge=100, le=100_000)
    seed: int = Field(ge=0)
    data: Data
    evaluate: Evaluating

    @model_validator(mode="after")
    def _one_or_two_runs(self) -> "Evaluate":
        if (self.run is None) == (not self.runs):
            met = "both" if self.runs else "none"
            raise ValueError(f"run: expected run=NAME, or runs=[A,B] to compare two, met {met}")
        if self.runs and (len(self.runs) != 2 or self.runs[0] == self.runs[1]):
            raise ValueError(f"runs: expected two different runs, met {', '.join(self.runs)}")
        return self


class Ensemble(Site):
    """python -m cxr.ensemble."""

    runs: list[Name] = Field(min_length=1)
    name: Name
    examples: Pictured
    draws: int = Field(ge=100, le=100_000)
    seed: int = Field(ge=0)
    onnx: bool
    workers: int = Field(ge=0, le=256)
    evaluate: Evaluating


class Trace(Site):
    """python -m cxr.trace."""

    sop_uid: (
        Annotated[str, like(r"[0-9.]{1,64}|[0-9a-f]{8}(-[0-9a-f]{8}){4}", "a SOPInstanceUID")]
        | None
    )
    run: Name | None
    format: Literal["text", "json"]

    @model_validator(mode="after")
    def _one_thing(self) -> "Trace":
        if (self.sop_uid is None) == (self.run is None):
            met = "none" if self.run is None else "both"
            raise ValueError(f"sop_uid: expected sop_uid=… or run=…, met {met}")
        return self
