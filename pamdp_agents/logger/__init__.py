"""Record training numbers and write them to the terminal, CSV, JSON lines or TensorBoard.

The names are Stable-Baselines3's (`stable_baselines3.common.logger`), whose loggers, writers and values can stand in
for these. These loggers can stand in for its; its `Logger` passes over writers that are not of its own `KVWriter`, and
its writers know its own `Figure`, `Image`, `Video` and `HParam` only.
"""

from pamdp_agents.logger.recording import (
    DEBUG,
    DISABLED,
    ERROR,
    INFO,
    WARN,
    Logger,
    configure,
    configure_run,
    make_output_format,
)
from pamdp_agents.logger.tensorboard import TensorBoardOutputFormat
from pamdp_agents.logger.values import Figure, FormatUnsupportedError, HParam, Image, Video
from pamdp_agents.logger.writers import (
    CSVOutputFormat,
    HumanOutputFormat,
    JSONOutputFormat,
    KVWriter,
    SeqWriter,
    filter_excluded_keys,
)

__all__ = [
    "DEBUG",
    "DISABLED",
    "ERROR",
    "INFO",
    "WARN",
    "CSVOutputFormat",
    "Figure",
    "FormatUnsupportedError",
    "HParam",
    "HumanOutputFormat",
    "Image",
    "JSONOutputFormat",
    "KVWriter",
    "Logger",
    "SeqWriter",
    "TensorBoardOutputFormat",
    "Video",
    "configure",
    "configure_run",
    "filter_excluded_keys",
    "make_output_format",
]
