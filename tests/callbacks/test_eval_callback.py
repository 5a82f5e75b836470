import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from callback_training import Levels, Recorder, Trainer
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.callbacks import (
    CallbackList,
    EvalCallback,
    StopTrainingOnNoModelImprovement,
    StopTrainingOnRewardThreshold,
)
from pamdp_agents.logger import configure


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


def test_evaluations_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = EvalCallback(RecordEpisodeStatistics(Levels()), eval_freq=1, log_path=tmp_path, verbose=0)
    Trainer().learn(1, evaluation)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"cannot write .*evaluations.npz \(No space left on device\)"):
        Trainer().learn(1, evaluation)
    assert [path.name for path in tmp_path.iterdir()] == ["evaluations.npz"]
    with np.load(tmp_path / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == [1]


def test_the_best_agent_is_kept_before_its_evaluation_is_noted(tmp_path: Path) -> None:
    (tmp_path / "evaluations.npz").mkdir()  # the end of the program comes here
    evaluation = EvalCallback(
        RecordEpisodeStatistics(Levels()), eval_freq=1, log_path=tmp_path, best_model_save_path=tmp_path, verbose=0
    )
    with pytest.raises(OSError, match=r"evaluations.npz"):
        Trainer().learn(1, evaluation)
    assert (tmp_path / "best_model.zip").is_file()


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


def test_members_of_a_list_within_an_event_callback_know_the_event_callback() -> None:
    inner = StopTrainingOnRewardThreshold(3.0)
    evaluation = EvalCallback(RecordEpisodeStatistics(Levels()), CallbackList([inner]), eval_freq=5, verbose=0)
    assert Trainer().learn(50, evaluation) == 5  # four steps that pay 1 each
    assert inner.parent is evaluation
