"""Settings: an argument of an agent's constructor, declared once.

A class says `gamma: float = setting(default=0.95, text="Discount factor γ.", kind=number(at_least=0, to=1))`. From that
follow the constructor's argument, its check, its documentation, and its form in a saved file. Type checkers read the
same declarations as those of a dataclass.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, dataclass_transform

import numpy as np

from pamdp_agents import schedules
from pamdp_agents.checks import (
    check_bool,
    check_choice,
    check_integer,
    check_mapping,
    check_path,
    check_range,
)
from pamdp_agents.files.archive import is_plain

REQUIRED = inspect.Parameter.empty
WIDTH = 116
SECTION = re.compile(r"^(Attributes|Raises|References|Examples?|Notes?):$", re.MULTILINE)


Change: TypeAlias = Literal["acts", "input", "recompiles", "refused"]
"""What becomes of a setting that is given another value once the agent has its networks: it `"acts"`, for it is read
anew wherever it is used; it is an `"input"` of the update; the update `"recompiles"`, for the setting decides
what it computes; or it is `"refused"`."""


class Kind(NamedTuple):
    """What a setting may be.

    Attributes:
        read: Takes the setting's name and what was given; returns the value to keep, or raises.
        write: Takes the value kept; returns it as JSON can hold it, or raises TypeError if it cannot.
    """

    read: Callable[[str, Any], Any] = lambda name, value: value
    write: Callable[[Any], Any] = lambda value: value


class Setting(NamedTuple):
    """One argument of a constructor.

    Attributes:
        default: Its default, or `REQUIRED`.
        text: What it means, for the documentation.
        kind: How it is checked and saved.
        kw_only: Whether it can be given by name only.
        change: What becomes of it when it is changed.
        annotation: Its type, as declared.
    """

    default: Any
    text: str
    kind: Kind
    kw_only: bool | None
    change: Change
    annotation: Any = REQUIRED


def setting(
    *,
    text: str,
    default: Any = REQUIRED,
    kind: Kind | None = None,
    kw_only: bool | None = None,
    change: Change = "refused",
) -> Any:
    """Declares a setting; see the module's docstring.

    Args:
        text: What it means: whole sentences, with units and ranges.
        default: Its default; without one it must be given.
        kind: How it is checked and saved; None: taken as it is, and saved as it is if JSON can hold it.
        kw_only: Whether it can be given by name only; None: as the class says.
        change: What becomes of it when it is changed.
    """
    return Setting(default, " ".join(text.split()), kind or Kind(), kw_only, change)


def integer(at_least: int, to: int | None = None) -> Kind:
    """Returns the kind of integers of at least a given one, and at most another."""
    return Kind(lambda name, value: check_integer(name, value, at_least, to))


def number(above: float | None = None, at_least: float | None = None, to: float | None = None) -> Kind:
    """Returns the kind of finite numbers within a range."""
    return Kind(lambda name, value: check_range(name, value, above, at_least, to))


def schedule(to: float | None = None) -> Kind:
    """Returns the kind of numbers of at least 0, and of functions of the remaining progress that give some."""
    return Kind(lambda name, value: schedules.get(name, value, to), schedules.serialize)


def choice(*choices: str) -> Kind:
    """Returns the kind of a few names."""
    return Kind(lambda name, value: check_choice(name, value, choices))


def flag() -> Kind:
    """Returns the kind of truth values."""
    return Kind(check_bool)


def mapping() -> Kind:
    """Returns the kind of dicts, which are copied."""
    return Kind(check_mapping)


def path() -> Kind:
    """Returns the kind of paths, which are kept as text."""
    return Kind(check_path)


def optional(kind: Kind) -> Kind:
    """Returns the kind of None and of all that another kind takes."""
    return Kind(
        lambda name, value: None if value is None else kind.read(name, value),
        lambda value: None if value is None else kind.write(value),
    )


@dataclass_transform(kw_only_default=True, field_specifiers=(setting,))
class HasSettings:
    """A class whose constructor's arguments are declared as settings, over all its bases.

    Every setting is kept as an attribute of the same name. `inspect.signature` and `help` show the settings; they are
    added to the class's docstring before its first section. A plain attribute of a subclass is set in `begin`, or is a
    `ClassVar`: type checkers take an annotation in the class for a setting.
    """

    declared_settings: ClassVar[dict[str, Setting]] = {}
    __signature__: ClassVar[inspect.Signature]
    _own_settings: ClassVar[dict[str, Setting]] = {}
    _constructor: ClassVar[inspect.Signature] = inspect.Signature()

    def __init_subclass__(cls, *, kw_only: bool = True, **kwargs: Any) -> None:
        """Gathers the settings, in the order in which a dataclass would.

        Args:
            kw_only: Whether the class's own settings can be given by name only, unless they say otherwise.
            **kwargs: For other bases.
        """
        super().__init_subclass__(**kwargs)
        types = inspect.get_annotations(cls)
        cls._own_settings = {}
        for name, value in list(vars(cls).items()):
            if not isinstance(value, Setting):
                continue
            if name not in types:
                raise TypeError(
                    f"{cls.__name__}.{name} is a setting without a type: write `{name}: float = setting(...)`"
                )
            positional = kw_only if value.kw_only is None else value.kw_only
            cls._own_settings[name] = value._replace(annotation=types[name], kw_only=positional)
            delattr(cls, name)
        declared: dict[str, Setting] = {}
        for base in reversed(cls.__mro__):
            declared |= vars(base).get("_own_settings", {})
        cls.declared_settings, cls._constructor = declared, _signature(declared)
        # A user's own constructor has arguments of its own, which are the settings then, also in what derives from it.
        constructor = next(vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base))
        if constructor is HasSettings.__init__:
            cls.__signature__ = cls._constructor
            if "__doc__" in vars(cls) and cls.__doc__:
                cls.__doc__ = _with_arguments(cls.__doc__, declared)
        else:
            cls.__signature__ = inspect.Signature(list(inspect.signature(constructor).parameters.values())[1:])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        if {parameter.kind for parameter in self.__signature__.parameters.values()} & {
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        }:
            raise TypeError(
                f"{name}.__init__ must name its arguments, without *args and **kwargs: their names are how an agent's "
                "settings are found and saved"
            )
        kwargs = self.drop_neutral(kwargs)
        try:
            given = self._constructor.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{name}.__init__() {_what_is_wrong(self._constructor, args, kwargs) or error}") from None
        for setting_name, declared in self.declared_settings.items():
            value = given.get(setting_name, declared.default)
            vars(self)[setting_name] = declared.kind.read(setting_name, as_plain(value))
        self.begin()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.declared_settings:
            self.change_setting(name, self.declared_settings[name].kind.read(name, as_plain(value)))
        else:
            super().__setattr__(name, value)

    def change_setting(self, name: str, value: Any) -> None:
        """Gives a setting another value, which has been checked: what an assignment to it does."""
        vars(self)[name] = value

    @classmethod
    def drop_neutral(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns a constructor's arguments without those that are no settings and ask for nothing."""
        return arguments

    def begin(self) -> None:
        """Readies what a constructor readies besides settings, which are attributes already.

        In place of constructors of the library's own: so that any other than this class's is a user's.
        """

    def settings(self) -> dict[str, Any]:
        """Returns all arguments of the constructor but `env`, with the values in use."""
        kept = vars(self)
        names = [name for name in self.__signature__.parameters if name != "env"]
        return {name: kept[name] if name in kept else getattr(self, name) for name in names}

    def config(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the settings in two parts: those that JSON can hold, as it holds them, and the other objects."""
        plain: dict[str, Any] = {}
        objects: dict[str, Any] = {}
        for name, value in self.settings().items():
            kind = self.declared_settings[name].kind if name in self.declared_settings else Kind()
            try:
                written = kind.write(value)
            except TypeError:
                written = value
            (plain if is_plain(written) else objects)[name] = written
        return plain, objects


def as_plain(value: Any) -> Any:
    """Returns NumPy's numbers, and dicts and lists of other libraries' classes, as Python's; all else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, Mapping):
        return {key: as_plain(part) for key, part in value.items()}
    if isinstance(value, Sequence) and type(value) is not tuple and not isinstance(value, str | bytes):
        return [as_plain(part) for part in value]
    return value


def _signature(declared: Mapping[str, Setting]) -> inspect.Signature:
    order = sorted(declared.items(), key=lambda item: bool(item[1].kw_only))  # stable: those by name only come last
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY if each.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=each.default,
                annotation=each.annotation,
            )
            for name, each in order
        ]
    )


def _what_is_wrong(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Returns what is wrong with a call as Python says it of functions; nothing for an argument that is unknown."""
    positional = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(args) > len(positional):
        return f"takes at most {len(positional)} positional arguments but {len(args)} were given"
    given = {*positional[: len(args)], *kwargs}
    missing = [repr(p.name) for p in signature.parameters.values() if p.default is p.empty and p.name not in given]
    return f"missing {len(missing)} required arguments: {' and '.join(missing)}" if missing else ""


def _with_arguments(doc: str, declared: Mapping[str, Setting]) -> str:
    """Returns a class's docstring with the settings as its arguments, before its other sections."""
    doc = inspect.cleandoc(doc)
    if not declared:
        return doc
    lines = [
        textwrap.fill(f"{name}: {each.text}", WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name, each in declared.items()
    ]
    arguments = "\n".join(["Args:", *lines])
    place = SECTION.search(doc)
    start = len(doc) if place is None else place.start()
    return "\n\n".join(filter(None, [doc[:start].rstrip(), arguments, doc[start:]]))
