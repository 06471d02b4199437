"""The shape of the config sections that say how a model is made and questioned."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cxr.sections import Name, Positive, Section, Share, Target, like

Pictured = Literal[False, True, "unflagged"]
"""Of whom a report has pictures: nobody, files that say no text is burned in, silent ones too."""


class Optimizer(Target):
    """A torch optimizer; its learning rate is ours to check."""

    within: ClassVar[tuple[str, ...]] = ("torch.optim.",)
    lr: float = Field(gt=0, lt=10)
    weight_decay: float | None = Field(default=None, ge=0, lt=10)


class Data(Section):
    """conf/data: where examples come from and how they are split."""

    job: Annotated[
        str, like("[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", "up to 63 letters, digits and inner hyphens")
    ]
    attribute: str | None
    preset: Literal["voi", "mimic_jpg", "chexpert"]
    image_size: list[Annotated[int, Field(ge=32, le=4096)]] = Field(min_length=2, max_length=2)
    standardize: bool
    batch_size: int = Field(gt=0, le=4096)
    folds: int = Field(ge=2, le=100)
    fold: int = Field(ge=0)
    test: Literal["fold", "list", "none"]
    test_list: str | None
    split: str | None = None
    patient_cap: float | None = Field(ge=1)
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


_Uncertain = Literal["ignore", "ones", "zeros", "soft"]
_NotMentioned = Literal["zeros", "ignore"]


class FindingPolicy(Section):
    """What differs for one finding; null as for all."""

    uncertain: _Uncertain | None = None
    not_mentioned: _NotMentioned | None = None


class Policy(Section):
    """conf/targets: what states become in training."""

    uncertain: _Uncertain
    not_mentioned: _NotMentioned | None
    per_finding: dict[str, FindingPolicy]
    soft: list[Share] = Field(min_length=2, max_length=2)
    smoothing: float = Field(ge=0, lt=0.5)
    probabilities: bool
    confidence: bool
    consistent: bool

    @model_validator(mode="after")
    def _soft_is_a_range(self) -> "Policy":
        if self.soft[0] > self.soft[1]:
            raise ValueError(f"soft: expected the lower end first, met {self.soft}")
        return self


class Loss(Target):
    """conf/loss."""

    within: ClassVar[tuple[str, ...]] = ("cxr.learning.losses.",)


class Augment(Section):
    """conf/augment: how far an image is moved and changed, at most."""

    rotation_deg: float = Field(ge=0, le=180)
    scale: float = Field(ge=0, lt=0.9)
    shift: float = Field(ge=0, lt=0.9)
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)
    gamma: float = Field(ge=0, lt=3)
    flip: Share
    erase: Share
    mixup: float = Field(ge=0, le=10)


class Model(Section):
    """conf/model."""

    name: Name
    net: Target
    weights: str | None = Field(min_length=1)
    optimizer: Optimizer
    schedule: Literal["one_cycle", "cosine", "plateau", "constant"]
    warmup: float = Field(ge=0, lt=1)
    tta: int = Field(ge=0, le=64)


class Trainer(Section):
    """conf/trainer."""

    max_epochs: Positive
    accelerator: Literal["auto", "cpu", "gpu"]
    precision: Literal["auto", "32-true", "bf16-mixed"]
    gradient_clip: float | None = Field(ge=0)
    accumulate: Positive
    ema: float | None = Field(gt=0, lt=1)
    keep: Literal["best", "last"]
    patience: Positive | None


class Evaluating(Section):
    """conf/evaluate: what is asked of a trained model."""

    unit: Literal["image", "study", "patient"]
    calibration: Literal["none", "temperature", "platt"]
    threshold: Literal["youden", "sensitivity", "specificity"]
    at: float | None = Field(gt=0, lt=1)
    prevalence: dict[str, Annotated[float, Field(gt=0, lt=1)]]
    subgroups: list[str]
    metadata: str | None
    shortcuts: bool
    saliency: bool

    @model_validator(mode="after")
    def _target_is_said(self) -> "Evaluating":
        if (self.threshold == "youden") != (self.at is None):
            raise ValueError(
                f"at: expected a share beside threshold={self.threshold}, met none"
                if self.at is None
                else "at: expected threshold=sensitivity or specificity beside it, met youden"
            )
        return self
