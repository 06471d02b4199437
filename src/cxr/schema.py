"""The shape every command's config must have: types, ranges, and what goes with what.

The models mirror `conf/`: one class per group, one per command. Validation is strict: text is no
number and true is no integer. `config.py` turns what pydantic finds into one line.
"""

from typing import Annotated, Any, ClassVar, Literal

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
from cxr.pacs_schema import Ingesting, OrthancPacs, Pacs
from cxr.sections import Name, Positive, Section, Target, like


class Optimizer(Target):
    """A torch optimizer; its learning rate is ours to check."""

    within: ClassVar[tuple[str, ...]] = ("torch.optim.",)
    lr: float = Field(gt=0, lt=10)
    weight_decay: float | None = Field(default=None, ge=0, lt=10)


class LocalCompute(Section):
    """conf/compute/local."""

    target: Literal["cxr.infra.compute.Local"] = Field(alias="_target_")


class Tracking(Section):
    """conf/tracking."""

    uri: str = Field(min_length=1)
    experiment: str = Field(min_length=1)


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


class Data(Section):
    """conf/data: where examples come from and how they are split."""

    job: Annotated[
        str, like("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", "up to 63 letters, digits and inner hyphens")
    ]
    attribute: str | None
    preset: Literal["voi", "mimic_jpg", "chexpert"]
    image_size: list[Annotated[int, Field(ge=32, le=4096)]] = Field(min_length=2, max_length=2)
    batch_size: int = Field(gt=0, le=4096)
    folds: int = Field(ge=2, le=100)
    fold: int = Field(ge=0)
    test: Literal["fold", "list", "none"]
    test_list: str | None
    split: str | None = None
    workers: int = Field(ge=0, le=256)

    @model_validator(mode="after")
    def _folds_agree(self) -> "Data":
        if self.fold >= self.folds:
            raise ValueError(f"fold: expected 0 to {self.folds - 1}, met {self.fold}")
        if self.test == "fold" and self.folds < 3:
            raise ValueError("folds: expected at least 3 for train, val and test, met 2")
        if (self.test == "list") != (self.test_list is not None):
            raise ValueError("test_list: expected a file with test=list, and only then")
        return self


class Policy(Section):
    """conf/targets: what states become in training."""

    uncertain: Literal["ignore", "ones", "zeros"]
    not_mentioned: Literal["zeros", "ignore"]


class Augment(Section):
    """conf/augment: how far an image is moved and changed, at most."""

    rotation_deg: float = Field(ge=0, le=45)
    scale: float = Field(ge=0, lt=0.9)
    shift: float = Field(ge=0, lt=0.9)
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)


class Model(Section):
    """conf/model."""

    name: Name
    net: Target
    optimizer: Optimizer
    schedule: Literal["one_cycle", "constant"]


class Trainer(Section):
    """conf/trainer."""

    max_epochs: Positive
    accelerator: Literal["auto", "cpu", "gpu"]
    precision: Literal["auto", "32-true", "bf16-mixed"]
    gradient_clip: float | None = Field(ge=0)
    patience: Positive | None


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
    examples: bool
    draws: int = Field(ge=100, le=100_000)
    labels: Labels | None = None
    data: Data
    targets: Policy
    augment: Augment
    model: Model
    trainer: Trainer


class Evaluate(Site):
    """python -m cxr.evaluate."""

    run: str
    examples: bool
    draws: int = Field(ge=100, le=100_000)
    seed: int = Field(ge=0)
    data: Data
