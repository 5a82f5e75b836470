"""What happens during training besides learning: a progress bar, checkpoints, evaluation, stopping early.

Messages go through `tqdm.write`, which prints them above a progress bar instead of through it.
"""

from pamdp_agents.callbacks.base import BaseCallback, CallbackList, ConvertCallback, EventCallback, as_callback
from pamdp_agents.callbacks.evaluation import EvalCallback
from pamdp_agents.callbacks.periodic import CheckpointCallback, EveryNTimesteps, LogEveryNTimesteps
from pamdp_agents.callbacks.progress_bar import ProgressBarCallback
from pamdp_agents.callbacks.stopping import (
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)

__all__ = [
    "BaseCallback",
    "CallbackList",
    "CheckpointCallback",
    "ConvertCallback",
    "EvalCallback",
    "EventCallback",
    "EveryNTimesteps",
    "LogEveryNTimesteps",
    "ProgressBarCallback",
    "StopTrainingOnMaxEpisodes",
    "StopTrainingOnNoModelImprovement",
    "StopTrainingOnRewardThreshold",
    "as_callback",
]
