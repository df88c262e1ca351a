"""Parameters by role: small objects with parameters of their own, and short forms of them.

An estimator is put together from parts, such as a drift, a way to relax or a training. A part is an
object; a text, a number or None may stand for one, as "polynomial" for `Polynomial()`. Parameters
of a part are set by double underscores in either case: `set_params(drift_model__degree=3)` puts
the part in the place of its short form first.

`former` says which part a parameter belongs to that stood in the constructor before. It is still
taken and read there, with a FutureWarning, and taken from files. What the part at hand does not
read has no effect, of which a UserWarning tells.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone


class Roles(BaseEstimator):
    """Estimator with parts."""

    # For each parameter that is a part, the function that turns its value into the object.
    roles: ClassVar[Mapping[str, Callable[[Any], BaseEstimator]]] = {}
    # Names that constructors had before, and where they belong now: "role__name", or "name". Those
    # of a part that depends on another come after it.
    former: ClassVar[Mapping[str, str]] = {}
    # Defaults that parts had when the former names were in force: arguments that leave a part out
    # mean these.
    former_defaults: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls) and cls.former:
            cls.__init__ = _accept_former_names(cls.__init__)  # type: ignore[method-assign]
        for name in (name for name, place in cls.former.items() if "__" in place):
            setattr(cls, name, _former_parameter(name, cls.former[name]))

    def part(self, role: str) -> Any:
        """Return the object of a role, whatever stands for it."""
        return self.roles[role](getattr(self, role))

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of parts by double underscores."""
        self.__dict__.pop("_plan", None)  # made of their former values
        names = [name for name in params if name in self.former]
        if names:
            _warn_of(type(self), names)
            moved = {place: value for _, place, value in self._moves(params)}
            params = {name: params[name] for name in params if name not in names} | moved
        super().set_params(**{name: v for name, v in params.items() if "__" not in name})
        inner = {name: value for name, value in params.items() if "__" in name}
        for role in {name.partition("__")[0] for name in inner} & set(self.roles):
            setattr(self, role, self.part(role))
        return super().set_params(**inner)

    @classmethod
    def translate(cls, arguments: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
        """Return arguments of the constructor, those of former names put where they belong.

        Parts that are not among them are those of `former_defaults`. What no part reads is left
        out, with a warning unless told otherwise.
        """
        present = {name: value for name, value in arguments.items() if name not in cls.former}
        result = {**cls.former_defaults, **present}
        for name, place, value in cls._moves(arguments):
            role, _, inner = place.partition("__")
            if not inner:
                result[role] = value
                continue
            given = result.get(role, inspect.signature(cls).parameters[role].default)
            part = cls.roles[role](given)
            if _has_parameter(part, inner):
                result[role] = clone(part).set_params(**{inner: value})
            elif warn:
                warnings.warn(
                    f"Expected parameters that {role}={given!r} reads, but got {name}={value!r}, "
                    f"which has no effect; leave it out, or choose another {role}.",
                    stacklevel=3,
                )
        return result

    @classmethod
    def _moves(cls, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
        """Yield the name, the present place and the present value of each former parameter."""
        for name, place in cls.former.items():
            if name in arguments and (value := cls.convert(name, arguments[name])) is not ...:
                yield name, place, value

    @classmethod
    def convert(cls, name: str, value: Any) -> Any:
        """Return what the value of a former parameter is now; ... for nothing to set."""
        return value


def _has_parameter(part: Any, name: str) -> bool:
    """Return whether a part has a parameter, of its own or, by double underscores, of a part."""
    own, _, inner = name.partition("__")
    if not hasattr(part, "get_params") or own not in part.get_params(deep=False):
        return False
    if not inner:
        return True
    return _has_parameter(_value_of(part, own), inner)


def _value_of(part: Any, name: str) -> Any:
    """Return a parameter of a part; of a part within it the object, whatever stands for it."""
    return part.part(name) if name in getattr(part, "roles", ()) else getattr(part, name)


def _former_parameter(name: str, place: str) -> property:
    """Return a property that reads a parameter of a part by its former name, with a warning."""

    def read(self: Roles) -> Any:
        _warn_of(type(self), [name])
        return functools.reduce(_value_of, place.split("__"), self)

    return property(read, doc=f"Former name of {place}.\n\n:meta private:")


def _accept_former_names(init: Callable[..., None]) -> Callable[..., None]:
    """Return a constructor that also takes the arguments of `Roles.former`, with a warning."""

    @functools.wraps(init)
    def constructor(self: Any, *args: Any, **arguments: Any) -> None:
        names = [name for name in arguments if name in self.former]
        if names and init is getattr(type(self).__init__, "__wrapped__", None):
            _warn_of(type(self), names)
            arguments = self.translate(arguments)
        init(self, *args, **arguments)

    constructor.deprecated_original = init  # type: ignore[attr-defined]  # where BaseEstimator looks
    return constructor


def _warn_of(cls: type[Roles], names: list[str]) -> None:
    """Warn of former names of parameters."""
    moves = ", ".join(f"{name} is {cls.former[name]}" for name in names)
    warnings.warn(
        f"{cls.__name__} has its parameters by role now: {moves}. Former names will be refused.",
        FutureWarning,
        stacklevel=3,
    )
