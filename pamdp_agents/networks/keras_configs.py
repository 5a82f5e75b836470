"""Keras models as JSON, and back without importing or running anything that the JSON names.

Keras's deserialiser imports modules and calls whatever `from_config` it finds there. A configuration can come from a
file of unknown origin, so it is looked through first: only Keras's own layers, operations and their parts pass, and
what this program itself has registered with Keras.
"""

from __future__ import annotations

import copy
import inspect
import json
from types import ModuleType
from typing import Any

import keras


class UnknownObjectError(ValueError):
    """A configuration names something that is neither Keras's nor registered with it."""


REGISTER = "register it with @keras.saving.register_keras_serializable()"

# Where Keras keeps what models are made of. Elsewhere it keeps layers that load other files (TFSMLayer and the like).
_MODULES = tuple(
    f"keras.src.{part}."
    for part in ("layers", "models", "ops", "initializers", "regularizers", "constraints", "dtype_policies")
)

# Lambda carries bytecode; the lookups of words and numbers read their vocabulary from a file that is named.
_REFUSED = (keras.layers.Lambda, keras.layers.StringLookup.__base__, keras.layers.TextVectorization)

PLAIN = ("__keras_tensor__", "__tensor__", "__numpy__", "__slice__", "__ellipsis__")  # Keras's names of plain values


def serialize(model: keras.Model) -> dict[str, Any]:
    """Returns a model's configuration, without its weights, as JSON holds it.

    Raises:
        ValueError: Keras cannot describe the model, or `check` refuses it.
    """
    try:
        text = json.dumps(keras.saving.serialize_keras_object(model))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"the Keras model {model.name!r} cannot be described by its configuration, which get_config() of it and of "
            f"its layers must return as JSON can hold it: {error}"
        ) from error
    # Without the models' optimisers and losses: the agent has its own.
    config = json.loads(text, object_hook=lambda part: {k: v for k, v in part.items() if k != "compile_config"})
    check(config)
    return config


def deserialize(config: dict[str, Any]) -> keras.Model:
    """Returns a new model of a configuration, with initial weights.

    Raises:
        ValueError: `check` refuses it, or it is not the configuration of a model.
    """
    check(config)
    try:
        model = keras.saving.deserialize_keras_object(copy.deepcopy(config))  # Keras takes it apart
    except Exception as error:  # constructors of any layer
        raise ValueError(
            "no Keras model can be made of its configuration (a class of your own must take **kwargs and hand them to "
            f"super().__init__, or define get_config): {error}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"the configuration of a Keras model is needed, got that of {model!r}")
    return model


def check(config: Any) -> None:
    """Looks through a configuration and all that is nested in it.

    Raises:
        ValueError: It names something else than Keras's own layers, operations, activations, initialisers and the like,
            or what is registered with Keras; or it contains code.
    """
    if isinstance(config, list):
        for part in config:
            check(part)
    elif isinstance(config, dict):
        if "class_name" in config and config["class_name"] not in PLAIN:
            _check_name(config)
        for part in config.values():
            check(part)


def _check_name(config: dict[str, Any]) -> None:
    name, module, registered = str(config["class_name"]), config.get("module"), config.get("registered_name")
    module = module if isinstance(module, str) else None
    is_function = name == "function"
    if is_function:
        name = registered = str(config.get("config"))
    # What Keras treats apart, by names like __lambda__ or, without a module, as its old format, is in no registry.
    ordinary = "module" in config and not name.startswith("__")
    own = keras.saving.get_registered_object(registered) if ordinary and isinstance(registered, str) else None
    if own is not None:  # Keras looks there first, too
        _check_own(own)
        return
    if is_function:
        allowed = module in ("builtins", "keras.activations") and hasattr(keras.activations, name)
    else:
        found = _find(f"{module}.{name}") if module else None
        allowed = isinstance(found, type) and found.__module__.startswith(_MODULES) and not issubclass(found, _REFUSED)
    if ordinary and allowed:
        return
    if name in ("Lambda", "__lambda__"):
        raise ValueError(
            "a Lambda layer holds code, which is not saved: use Keras's layers and keras.ops in a functional model, or "
            f"write a layer of your own and {REGISTER}"
        )
    place = f" of module {module!r}" if module else ""
    raise UnknownObjectError(
        f"{name!r}{place} is neither a part of Keras that models are made of nor registered with Keras: "
        f"if it is yours, {REGISTER} and import it before loading"
    )


def _find(path: str) -> Any:
    """Returns what is at a path such as `keras.layers.Dense`, or None.

    Nothing is imported for the configuration's sake, neither modules nor, by a module's __getattr__, names. It is not
    `sys.modules` that is asked: up to version 3.9, Keras has its public modules there by other names.
    """
    root, *parts = path.split(".")
    found: Any = keras if root == "keras" else None
    for part in parts:
        found = vars(found).get(part) if isinstance(found, ModuleType) else None
    return found


def _check_own(registered: Any) -> None:
    """Refuses model classes with arguments but Keras's get_config, which puts down the defaults, not what was given."""
    if not (isinstance(registered, type) and issubclass(registered, keras.Model)):
        return
    model_class: Any = registered
    arguments = [
        name
        for name, argument in inspect.signature(model_class.__init__).parameters.items()
        if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
        and name not in ("self", "name", "trainable", "dtype")
    ]
    if arguments and model_class.get_config.__module__.startswith("keras."):
        raise ValueError(
            f"{model_class.__name__} must define get_config(), returning super().get_config() and its own arguments "
            f"{arguments}, so that Keras can make it anew"
        )
