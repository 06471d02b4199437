"""What every section of a config is made of: strict models, and the types that many keys have."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from cxr import signatures
from cxr.errors import ConfigError


def wanted(what: str) -> PydanticCustomError:
    """Give the error that `config` tells as "key: expected <what>, met …"."""
    return PydanticCustomError("wanted", "{wanted}", {"wanted": what})


def like(pattern: str, what: str) -> AfterValidator:
    """Take text that a pattern matches as a whole, and say in words what that is."""
    compiled = re.compile(pattern)

    def check(given: str) -> str:
        if not compiled.fullmatch(given):
            raise wanted(what)
        return given

    return AfterValidator(check)


Name = Annotated[
    str,
    Field(min_length=1, max_length=63),
    like("[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, dots, hyphens and underscores"),
]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """One section of a config: no unknown keys, no silent conversions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, protected_namespaces=(), validate_default=True
    )


class Target(BaseModel):
    """A section that is instantiated: its arguments are checked against the target's own."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())
    within: ClassVar[tuple[str, ...]] = ("cxr.", "monai.networks.nets.")
    target: str = Field(alias="_target_")

    @model_validator(mode="after")
    def _arguments_fit(self) -> "Target":
        try:
            wrong = signatures.problems(self.target, self.arguments(), self.within)
        except ConfigError as error:
            raise ValueError(f"_target_: {error}") from error
        if wrong:
            # config.py splits at the first colon to name the key
            raise ValueError("; ".join(f"{name}: {what}" for name, what in wrong.items()))
        return self

    def arguments(self) -> dict[str, Any]:
        """Give everything but `_target_`."""
        return self.model_dump(exclude={"target"}, exclude_none=True)
