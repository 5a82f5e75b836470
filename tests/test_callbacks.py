import json
import re
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    ConvertCallback,
    EvalCallback,
    EventCallback,
    EveryNTimesteps,
    LogEveryNTimesteps,
    ProgressBarCallback,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
    as_callback,
)
from pamdp_agents.logger import Logger, configure


class Levels(gym.Env):
    """Four steps an episode; each pays what the action says. `reports` tells how infos tell of success."""

    observation_space = spaces.Box(0.0, 4.0, (1,), np.float32)
    action_space = spaces.Box(-10.0, 10.0, (1,), np.float32)

    def __init__(self, reports: str = "never") -> None:
        self.reports = reports
        self.episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        done = self.steps == 4
        self.episodes += done
        success = self.episodes % 2 == 0
        told = self.reports == "always" or (self.reports == "success" and success)
        info = {"is_success": success} if done and told else {}
        return np.full(1, self.steps, np.float32), float(action[0]), done, False, info


class Trainer:
    """A training loop as a user might write one for these callbacks; its policy always plays `level`."""

    def __init__(self, env: gym.Env | None = None, logger: Logger | None = None, n_envs: int = 1) -> None:
        self.env = RecordEpisodeStatistics(Levels()) if env is None else env
        self.logger = logger or configure(None, [])
        self.n_envs = n_envs
        self.level = 1.0
        self.num_timesteps = 0
        self._total_timesteps = 0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=100)
        self.replay_buffer: Any = []
        self.logs: list[int] = []

    def get_env(self) -> gym.Env | None:
        return self.env

    def get_vec_normalize_env(self) -> None:
        return None

    def predict(self, observation: Any, state: Any = None, **_: Any) -> tuple[Any, Any]:
        return np.array([self.level], np.float32), state

    def save(self, path: str) -> None:
        Path(path).with_suffix(".zip").write_text(json.dumps([self.num_timesteps, self.level]))

    def save_replay_buffer(self, path: str) -> None:
        Path(path + ".npz").write_text(json.dumps(len(self.replay_buffer)))

    def dump_logs(self) -> None:
        self.logs.append(self.num_timesteps)

    def learn(self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True) -> int:
        """Returns the number of steps made."""
        self.num_timesteps = 0 if reset_num_timesteps else self.num_timesteps
        first = self.num_timesteps
        self._total_timesteps = first + total_timesteps
        callback = as_callback(callback)
        callback.init_callback(self)
        callback.on_training_start(locals(), globals())
        callback.on_rollout_start()
        try:
            new_obs, _ = self.env.reset(seed=0)
            while self.num_timesteps < self._total_timesteps:
                actions, _ = self.predict(new_obs)
                new_obs, reward, terminated, truncated, info = self.env.step(actions)
                self.num_timesteps += self.n_envs
                dones, infos = np.full(self.n_envs, terminated or truncated), [info] * self.n_envs
                self.replay_buffer.append(reward)
                if dones.any():
                    self.ep_info_buffer.extend(info["episode"] for info in infos)
                    new_obs, _ = self.env.reset()
                callback.update_locals(locals())
                if not callback.on_step():
                    break
            callback.on_rollout_end()
        finally:
            callback.on_training_end()
        return self.num_timesteps - first


class Recorder(BaseCallback):
    """Notes what happens to it; says stop at call `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.events: list[str] = []
        self.steps: list[int] = []
        self.rewards: list[float] = []

    def _init_callback(self) -> None:
        self.events.append("init")

    def _on_training_start(self) -> None:
        self.events.append("training start")

    def _on_rollout_start(self) -> None:
        self.events.append("rollout start")

    def _on_step(self) -> bool:
        self.steps.append(self.num_timesteps)
        self.rewards.append(self.locals["reward"])
        return self.n_calls != self.stop_at

    def _on_rollout_end(self) -> None:
        self.events.append("rollout end")

    def _on_training_end(self) -> None:
        self.events.append("training end")


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


def test_members_of_a_list_within_an_event_callback_know_the_event_callback() -> None:
    inner = StopTrainingOnRewardThreshold(3.0)
    evaluation = EvalCallback(RecordEpisodeStatistics(Levels()), CallbackList([inner]), eval_freq=5, verbose=0)
    assert Trainer().learn(50, evaluation) == 5  # four steps that pay 1 each
    assert inner.parent is evaluation


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


# ------------------------------------------------------------------ evaluation


def test_evaluations_are_logged_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(logger=configure(tmp_path, ["json"]))
    env = RecordEpisodeStatistics(Levels("always"))

    def improve(locals_: dict, globals_: dict) -> None:
        trainer.level = 1.0 if trainer.num_timesteps <= 10 else 2.0

    evaluation = EvalCallback(env, n_eval_episodes=4, eval_freq=10, log_path=tmp_path / "eval")
    trainer.learn(25, [improve, evaluation])
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert rows == [
        {"eval/mean_reward": level, "eval/mean_ep_length": 4.0, "eval/success_rate": 0.5, "time/total_timesteps": steps}
        for steps, level in ((10, 4.0), (20, 8.0))
    ]
    assert (evaluation.best_mean_reward, evaluation.last_mean_reward) == (8.0, 8.0)
    with np.load(tmp_path / "eval" / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == [10, 20]
        assert saved["results"].tolist() == [[4.0] * 4, [8.0] * 4]
        assert saved["ep_lengths"].tolist() == [[4] * 4] * 2
        assert saved["successes"].tolist() == [[False, True, False, True]] * 2
    assert capsys.readouterr().out.splitlines() == [
        "Evaluation at 10 steps: return 4.00 ± 0.00, length 4.00 ± 0.00, success rate 50.0%",
        "New best mean reward!",
        "Evaluation at 20 steps: return 8.00 ± 0.00, length 4.00 ± 0.00, success rate 50.0%",
        "New best mean reward!",
    ]


@pytest.mark.parametrize(("reports", "rate"), [("success", 0.5), ("never", None)])
def test_an_end_without_report_is_no_success_and_no_reports_no_rate(
    tmp_path: Path, reports: str, rate: float | None
) -> None:
    env = RecordEpisodeStatistics(Levels(reports))
    trainer = Trainer(logger=configure(tmp_path, ["json"]))
    trainer.learn(2, EvalCallback(env, n_eval_episodes=6, eval_freq=1, log_path=tmp_path, verbose=0))
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    assert [row.get("eval/success_rate") for row in rows] == [rate, rate]
    with np.load(tmp_path / "evaluations.npz") as saved:
        assert ("successes" in saved) == (rate is not None)


def test_the_best_agent_is_kept_and_both_callbacks_are_called(tmp_path: Path) -> None:
    trainer = Trainer()
    levels = iter([1.0, 3.0, 2.0, 4.0])

    def change(locals_: dict, globals_: dict) -> None:
        if trainer.num_timesteps % 5 == 0:
            trainer.level = next(levels)

    on_best, after = Recorder(), Recorder()
    evaluation = EvalCallback(
        RecordEpisodeStatistics(Levels()),
        on_best,
        after,
        eval_freq=5,
        best_model_save_path=tmp_path / "best",
        verbose=0,
    )
    trainer.learn(15, [change, evaluation])
    assert on_best.steps == [5, 10]
    assert after.steps == [5, 10, 15]
    assert on_best.rewards == after.rewards[:2]
    assert json.loads((tmp_path / "best" / "best_model.zip").read_text()) == [10, 3.0]
    assert (evaluation.best_mean_reward, evaluation.last_mean_reward) == (12.0, 8.0)


@pytest.mark.parametrize("place", ["callback_on_new_best", "callback_after_eval"])
def test_either_callback_of_an_evaluation_can_stop_training(place: str) -> None:
    both = {"callback_on_new_best": Recorder(), "callback_after_eval": Recorder()} | {place: Recorder(stop_at=1)}
    evaluation = EvalCallback(RecordEpisodeStatistics(Levels()), eval_freq=5, verbose=0, **both)
    assert Trainer().learn(50, evaluation) == 5


def test_training_stops_at_a_mean_return_that_reaches_the_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer()

    def improve(locals_: dict, globals_: dict) -> None:
        trainer.level = trainer.num_timesteps / 10

    stop = StopTrainingOnRewardThreshold(8.0, verbose=1)
    evaluation = EvalCallback(RecordEpisodeStatistics(Levels()), stop, eval_freq=10, verbose=0)
    assert trainer.learn(100, [improve, evaluation]) == 20
    assert capsys.readouterr().out == "Stopping: the mean return 8.00 has reached the threshold 8.0.\n"


def test_training_stops_when_evaluations_no_longer_improve(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer()

    def improve_until_30(locals_: dict, globals_: dict) -> None:
        trainer.level = min(trainer.num_timesteps, 30) / 10

    def run(min_evals: int) -> int:
        stop = StopTrainingOnNoModelImprovement(2, min_evals, verbose=1)
        env = RecordEpisodeStatistics(Levels())
        evaluation = EvalCallback(env, callback_after_eval=stop, eval_freq=10, verbose=0)
        return trainer.learn(200, [improve_until_30, evaluation])

    assert run(min_evals=0) == 60  # best at 30; two more are accepted, the third is not
    assert capsys.readouterr().out == "Stopping: no new best in the last 3 evaluations.\n"
    assert run(min_evals=7) == 100


def test_evaluation_stops_outside_of_an_evaluation_say_where_they_belong() -> None:
    for stop in (StopTrainingOnRewardThreshold(1.0), StopTrainingOnNoModelImprovement(1)):
        with pytest.raises(RuntimeError, match=r"works only within an EvalCallback"):
            Trainer().learn(5, stop)


def test_an_evaluation_frequency_of_zero_never_evaluates() -> None:
    evaluation = EvalCallback(Levels(), eval_freq=0)
    assert Trainer().learn(20, evaluation) == 20
    assert evaluation.last_mean_reward == -np.inf


def test_an_evaluation_environment_may_be_given_by_id() -> None:
    gym.register("Levels-v0", Levels)
    try:
        evaluation = EvalCallback("Levels-v0", eval_freq=5, verbose=0)
    finally:
        del gym.registry["Levels-v0"]
    Trainer().learn(5, evaluation)
    assert evaluation.last_mean_reward == 4.0


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
