"""Base of the stages' configs: fields with bounds, checked by pydantic, and one line that names every wrong field."""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from components.errors import InputError, unknown_key

MAX_SEED = 2**32 - 1
"""Largest seed that NumPy takes."""

_BOUNDS: Mapping[type, str] = {Ge: "{} or more", Gt: "above {}", Le: "at most {}", Lt: "less than {}"}
_RANGES: Mapping[tuple[type, ...], str] = {(Ge, Le): "{} to {}", (Gt, Lt): "between {} and {}"}

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Expected:
    """What a field takes, in words, for messages; `{}` stands for the range of its bounds."""

    text: str


@dataclass(frozen=True)
class OneOf:
    """Constrains a text or a number to some values."""

    values: Collection[str | int]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Schema of pydantic."""
        return core_schema.literal_schema(list(self.values))


Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""A seed that every library takes."""
Fraction = Annotated[float, Field(gt=0, lt=1)]
"""Between 0 and 1, neither of them."""
Share = Annotated[float, Field(ge=0, le=1)]
"""From 0 to 1."""
Weight = Annotated[float, Field(ge=0, le=100)]
"""Weight of a term of a loss."""
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""Texts; a list in YAML and KFP."""
Integer = Annotated[
    int, BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value)
]
"""An item of a list; KFP passes whole numbers in lists as floats."""

SEPARATOR = "+"
"""Between the parts of a value that is put together, such as `rotations+generated`."""
EITHER = "|"
"""Between alternatives of a value, such as `hue|shifts`."""

SHARED = ("object", "seed", "embedder", "embedder_weights")
"""Fields that have one value in all stages, and stand at the top of a line's YAML."""


class Settings(BaseModel):
    """Settings that are checked when they are made, and never change.

    The docstring below a field is its description, in the JSON schema of a line and in the signature of a component.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    section: ClassVar[str] = ""
    """Section of a line's YAML, for messages."""

    def __init__(self, **values: Any) -> None:
        """Check every field; one line of an `InputError` names all that have wrong values."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            found = [message for item in error.errors(include_url=False) for message in self._messages(dict(item))]
            raise InputError(*dict.fromkeys(found)) from None

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Settings from the arguments of a component, which may have further ones."""
        return cls(**{name: arguments[name] for name in cls.model_fields})

    def replace(self, **changes: Any) -> Self:
        """A copy with other values of some fields, checked again."""
        return type(self)(**{**dict(self), **changes})

    @property
    def references(self) -> tuple[str, ...]:
        """References to the pretrained weights that the stage loads with these settings."""
        return ()

    @classmethod
    def key(cls, name: str) -> str:
        """A field as a line's YAML has it: `section.name`, or the name alone at the top."""
        return f"{cls.section}.{name}" if cls.section and name not in SHARED else name

    @classmethod
    def _messages(cls, found: Mapping[str, Any]) -> list[str]:
        """What is wrong with one field; with several of its own, where it holds settings itself."""
        cause = found.get("ctx", {}).get("error")
        if isinstance(cause, InputError):
            return list(cause.args)
        kind, value = found["type"], found["input"]
        path = [part for part in found["loc"] if isinstance(part, str) and part != "[key]"]
        key, field = cls.key(".".join(path)), cls.model_fields.get(path[0])
        if field is None:
            return [unknown_key(cls.key(""), path[0], list(cls.model_fields))]
        if kind == "missing" and len(path) == 1:
            return [f"{key}: got None, expected a value; the key is missing"]
        if kind == "model_type":
            names = [*getattr(field.annotation, "model_fields", ())][:3]
            return [f"{key}: got {value!r} ({type(value).__name__}), expected keys such as {', '.join(names)}"]
        if kind.endswith("_type"):
            wanted = kind.removesuffix("_type")
            wanted = {"string": "str", "tuple": "list", "mapping": "dict"}.get(wanted, wanted)
            return [f"{key}: got {value!r} ({type(value).__name__}), expected {wanted}"]
        return [f"{key}: got {value!r}, expected {expected(field)}"]


def in_metric_name(value: str) -> str:
    """A value as the name of a metric has it, such as `hue or shifts`: MLflow takes no `EITHER`."""
    return value.replace(EITHER, " or ")


def parts_of(text: str, known: Collection[str]) -> tuple[str, ...]:
    """Values of a text that are joined by `SEPARATOR`; empty where one is unknown or comes twice."""
    parts = tuple(text.split(SEPARATOR))
    return parts if set(parts) <= set(known) and len(set(parts)) == len(parts) else ()


def expected(field: FieldInfo) -> str:
    """What values a field takes, such as `1 to 1000` or `one of mean, own`."""
    texts, multiple = ["{}"], ""
    bounds: dict[type, Any] = {}
    for item in field.metadata:
        match item:
            case OneOf(values):
                return f"one of {', '.join(map(str, values))}"
            case Expected(text):
                texts.append(text)
            case MultipleOf(step):
                multiple = f", a multiple of {step}"
            case Ge(bound) | Gt(bound) | Le(bound) | Lt(bound):
                bounds[type(item)] = bound
    both = _RANGES.get(tuple(bounds))
    single = ", ".join(_BOUNDS[kind].format(bound) for kind, bound in bounds.items())
    return texts[-1].replace("{}", both.format(*bounds.values()) if both else single) + multiple


def documented_by(config: type[Settings]) -> Callable[[Function], Function]:
    """Decorator of a component's function: appends the descriptions of a config's fields to `Args:` of its docstring.

    KFP makes the descriptions of a component's inputs from that docstring, and drops decorators where it embeds the
    function's source.
    """

    def document(function: Function) -> Function:
        fields = [name for name in inspect.signature(function).parameters if name in config.model_fields]
        described = [f"    {name}: {' '.join(str(config.model_fields[name].description).split())}" for name in fields]
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), *described])
        return function

    return document
