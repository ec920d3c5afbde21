"""Groups of flags that are declared once, for every command that takes them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

Command = Callable[..., None]


def with_flags(name: str, group: Callable[..., Any]) -> Callable[[Command], Command]:
    """Gives a command the flags of `group` in the place of its parameter `name`, which is what `group` makes of them.

    Typer reads the signature.
    """
    flags = inspect.signature(group).parameters

    def decorate(command: Command) -> Command:
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            parameters += flags.values() if parameter.name == name else [parameter]

        @functools.wraps(command)
        def grouped(**values: Any) -> None:
            made = group(**{flag: values.pop(flag) for flag in flags})
            command(**{name: made}, **values)

        keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        grouped.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        return grouped

    return decorate
