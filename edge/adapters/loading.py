"""Finds the adapter that `--adapter` names."""

import importlib
from collections.abc import Callable

from edge.asking.exchange import Exchange
from edge.asking.served_model import ServedModel
from edge.asking.teacher import Teacher
from shared.errors import InvalidConfig

Factory = Callable[[Exchange, ServedModel], Teacher]


def load(path: str) -> Factory:
    """The factory at `path`, written `package.module:factory`.

    Raises:
        InvalidConfig: says which part of the path leads nowhere.
    """
    module_name, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), name)):
        raise InvalidConfig(
            f"--adapter is '{path}'. Write package.module:factory, like edge.adapters.tensorflow_serving:factory."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module may fail in any way while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise InvalidConfig(
            f"--adapter names the module '{module_name}', which cannot be imported ({reason}). "
            "Install it, or have its folder in PYTHONPATH."
        ) from error
    factory: Factory | None = getattr(module, name, None)
    if not callable(factory):
        raise InvalidConfig(f"--adapter: the module '{module_name}' has no function or class '{name}'.")
    return factory
