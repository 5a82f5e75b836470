import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from callback_training import Levels, Recorder, Trainer
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.callbacks import (
    BaseCallback,
    CheckpointCallback,
    ConvertCallback,
    EvalCallback,
    EventCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    as_callback,
)
from pamdp_agents.logger import configure

# ------------------------------------------------------------------ the contract


def test_a_callback_sees_the_phases_steps_and_variables_of_training(tmp_path: Path) -> None:
    recorder = Recorder()
    trainer = Trainer(logger=configure(tmp_path, ["csv"]))
    trainer.learn(6, recorder)
    assert recorder.events == ["init", "training start", "rollout start", "rollout end", "training end"]
    assert recorder.steps == [1, 2, 3, 4, 5, 6]
    assert recorder.n_calls == recorder.num_timesteps == 6
    assert recorder.rewards == [1.0] * 6
    assert recorder.model is trainer
    assert recorder.training_env is trainer.env
    assert recorder.logger is trainer.logger
    assert recorder.locals["total_timesteps"] == 6
    assert recorder.globals["Trainer"] is Trainer


def test_training_stops_after_the_step_that_returned_false() -> None:
    assert Trainer().learn(100, Recorder(stop_at=7)) == 7


def test_a_run_that_continues_starts_from_the_steps_made_before() -> None:
    recorder, trainer = Recorder(), Trainer()
    trainer.learn(3, recorder)
    trainer.learn(2, recorder, reset_num_timesteps=False)
    assert recorder.steps == [1, 2, 3, 4, 5]


def test_an_agent_without_environment_is_told_of_by_training_env() -> None:
    recorder, trainer = Recorder(), Trainer()
    trainer.env = None
    recorder.init_callback(trainer)
    with pytest.raises(RuntimeError, match="set_env"):
        _ = recorder.training_env


def test_a_callback_without_on_step_is_told_what_it_lacks() -> None:
    class Empty(BaseCallback):
        pass

    with pytest.raises(NotImplementedError, match="Empty must define _on_step"):
        Trainer().learn(1, Empty())


# ------------------------------------------------------------------ combining callbacks


def test_every_callback_of_a_list_is_called_even_after_one_said_stop() -> None:
    first, second = Recorder(stop_at=2), Recorder()
    assert Trainer().learn(10, [first, second]) == 2
    assert first.steps == second.steps == [1, 2]
    assert first.events == second.events == ["init", "training start", "rollout start", "rollout end", "training end"]


def test_functions_and_lists_of_both_kinds_are_callbacks() -> None:
    seen = []

    def note(locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        seen.append((locals_["self"].num_timesteps, "Trainer" in globals_))

    recorder = Recorder()
    assert Trainer().learn(3, [note, recorder, [recorder]]) == 3
    assert seen == [(1, True), (2, True), (3, True)]
    assert recorder.n_calls == 6


@pytest.mark.parametrize("stop", [False, np.bool_(False)])
def test_a_function_stops_training_only_by_returning_false(stop: Any) -> None:
    assert Trainer().learn(5, lambda locals_, globals_: True) == 5
    assert Trainer().learn(5, lambda locals_, globals_: None) == 5
    assert Trainer().learn(5, lambda locals_, globals_: stop) == 1


def test_no_callback_is_a_callback_that_does_nothing() -> None:
    assert isinstance(as_callback(None), ConvertCallback)
    assert Trainer().learn(3, None) == 3


def test_a_foreign_callback_with_the_same_methods_passes_unchanged_alone_and_in_a_list() -> None:
    class Foreign:
        """Not derived from this library's class, as SB3's callbacks are not; callable, to be harder."""

        calls = 0
        parent = None

        def init_callback(self, model: Any) -> None:
            self.model = model

        def on_training_start(self, locals_: dict, globals_: dict) -> None:
            pass

        def update_locals(self, locals_: dict) -> None:
            self.dones = locals_["dones"]

        def on_step(self) -> bool:
            self.calls += 1
            return self.calls < 4

        def on_rollout_start(self) -> None:
            pass

        on_rollout_end = on_training_end = on_rollout_start

        def __call__(self) -> None:
            raise AssertionError("called as a function")

    foreign = Foreign()
    assert as_callback(foreign) is foreign
    assert Trainer().learn(10, [Recorder(), foreign]) == 4
    assert foreign.dones.tolist() == [True]


@pytest.mark.parametrize("wrong", [3, "eval", {"callback": None}])
def test_something_else_is_refused_as_callback(wrong: Any) -> None:
    with pytest.raises(TypeError, match="callback must be None, a callback, a function"):
        as_callback(wrong)


def test_a_callback_class_instead_of_an_object_is_refused() -> None:
    with pytest.raises(TypeError, match="the class ProgressBarCallback"):
        as_callback(ProgressBarCallback)


def test_an_event_callback_passes_its_child_the_agent_and_the_variables() -> None:
    class EveryThird(EventCallback):
        def _on_step(self) -> bool:
            return self._on_event() if self.n_calls % 3 == 0 else True

    child = Recorder(stop_at=2)
    event = EveryThird(child)
    assert child.parent is event
    assert Trainer().learn(100, event) == 6
    assert child.events == ["init", "training start"]
    assert child.steps == [3, 6]
    assert child.rewards == [1.0, 1.0]


# ------------------------------------------------------------------ every so many steps


def test_every_n_timesteps_counts_the_steps_of_all_environments() -> None:
    recorder = Recorder()
    Trainer(n_envs=3).learn(30, EveryNTimesteps(10, recorder))
    assert recorder.steps == [12, 24]


def test_every_n_timesteps_works_again_when_counting_starts_anew() -> None:
    recorder, trainer = Recorder(), Trainer()
    callback = EveryNTimesteps(10, recorder)
    trainer.learn(25, callback)
    trainer.learn(25, callback)
    assert recorder.steps == [10, 20, 10, 20]


def test_the_log_is_written_every_n_timesteps() -> None:
    trainer = Trainer()
    trainer.learn(10, LogEveryNTimesteps(4))
    assert trainer.logs == [4, 8]


def test_checkpoints_are_named_by_steps_and_hold_the_agent_of_that_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    callback = CheckpointCallback(3, folder, name_prefix="agent", save_replay_buffer=True, verbose=2)
    Trainer(n_envs=2).learn(14, callback)
    contents = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    assert contents == {
        "agent_6_steps.zip": [6, 1.0],
        "agent_12_steps.zip": [12, 1.0],
        "agent_replay_buffer_6_steps.npz": 3,
        "agent_replay_buffer_12_steps.npz": 6,
    }
    assert capsys.readouterr().out.count("Saved a checkpoint") == 4


def test_checkpoints_need_no_replay_buffer(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.replay_buffer = None
    callback = CheckpointCallback(1, tmp_path, save_replay_buffer=True, save_vecnormalize=True)
    callback.init_callback(trainer)
    callback.on_step()
    assert [path.name for path in tmp_path.iterdir()] == ["rl_model_0_steps.zip"]


def test_training_stops_after_max_episodes_per_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert Trainer().learn(100, StopTrainingOnMaxEpisodes(3, verbose=1)) == 12
    assert capsys.readouterr().out == "Stopping: 3 episodes played in 12 steps.\n"
    assert Trainer(n_envs=2).learn(100, StopTrainingOnMaxEpisodes(3)) == 24


@pytest.mark.parametrize(
    "build",
    [
        lambda: EveryNTimesteps(0, Recorder()),
        lambda: CheckpointCallback(0, "unused"),
        lambda: StopTrainingOnMaxEpisodes(0),
        lambda: EvalCallback(Levels(), n_eval_episodes=0),
    ],
    ids=["n_steps", "save_freq", "max_episodes", "n_eval_episodes"],
)
def test_counts_below_one_are_refused(build: Any) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        build()


# ------------------------------------------------------------------ the progress bar


def test_the_progress_bar_shows_steps_speed_and_mean_return(capsys: pytest.CaptureFixture[str]) -> None:
    Trainer().learn(22, ProgressBarCallback())
    bar = capsys.readouterr().err.rstrip("\n").split("\r")[-1]
    assert re.search(r"100%.* 22/22 \[.* steps/s, return=4\.00\]$", bar), bar


def test_the_progress_bar_of_a_continued_run_counts_that_run_only(capsys: pytest.CaptureFixture[str]) -> None:
    trainer, callback = Trainer(n_envs=3), ProgressBarCallback()
    trainer.learn(30, callback)
    capsys.readouterr()
    trainer.learn(10, callback, reset_num_timesteps=False)  # 12 steps are made
    assert "100%|██████████| 10/10 [" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_progress_bar_ends_its_line_when_training_breaks_off(
    error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(locals_: dict, globals_: dict) -> None:
        if locals_["self"].num_timesteps == 8:
            raise error

    bar = ProgressBarCallback()
    with pytest.raises(error):
        Trainer().learn(16, [bar, fail])
    text = capsys.readouterr().err
    assert "50%" in text and text.endswith("]\n")
    Trainer().learn(4, bar)
    assert "4/4" in capsys.readouterr().err


def test_a_progress_bar_left_open_is_closed_by_the_next_run(capsys: pytest.CaptureFixture[str]) -> None:
    bar, trainer = ProgressBarCallback(), Trainer()
    trainer._total_timesteps = 10
    bar.init_callback(trainer)
    bar.on_training_start({}, {})
    left_open = bar.pbar
    trainer.learn(4, bar)
    assert left_open is not None and left_open.disable
    assert bar.pbar is None
    assert capsys.readouterr().err.count("\n") == 2


def test_messages_stand_on_lines_of_their_own_above_the_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    evaluation = EvalCallback(RecordEpisodeStatistics(Levels()), eval_freq=5)
    Trainer().learn(8, [ProgressBarCallback(), evaluation])
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "Evaluation at 5 steps: return 4.00 ± 0.00, length 4.00 ± 0.00",
        "New best mean reward!",
    ]
    # Before each message the bar clears its line, and after it draws itself again.
    assert len(re.findall(r"\r +\r", err)) == 2
