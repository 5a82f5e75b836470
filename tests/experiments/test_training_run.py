import csv
import json
import pickle
import signal
from collections import UserDict, UserList
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pamdp_agents import PDQN
from pamdp_agents.experiments.env_wrappers import find_unsafe
from pamdp_agents.experiments.outcomes import TrainingFailedError, TrainingInterrupt
from pamdp_agents.experiments.starting_settings import find_starting_settings
from pamdp_agents.experiments.training_run import CannotStartError, TrainingRun
from pamdp_agents.presets.tuned import tuned_table

SETTINGS = {"learning_starts": 20, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}}
SMALL: dict[str, Any] = {"n_timesteps": 60, "eval_episodes": 2, "settings": SETTINGS}


class Breaking(gym.Wrapper):
    """Platform, until `break_it` is called at step 30."""

    def __init__(self, break_it: Any) -> None:
        super().__init__(gym.make("pamdp/Platform-v0"))
        self.break_it, self.steps = break_it, 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 30:
            self.break_it()
        return self.env.step(action)


def fail() -> None:
    raise OverflowError("too fast")


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def breaking_id() -> Any:
    gym.register("run_tests/Breaking-v0", lambda how="fail": Breaking({"fail": fail, "ctrl-c": press_ctrl_c}[how]))
    yield "run_tests/Breaking-v0"
    del gym.registry["run_tests/Breaking-v0"]


def platform(folder: Path, **changes: Any) -> TrainingRun:
    return TrainingRun(
        **{"algorithm": "pdqn", "env": "pamdp/Platform-v0", "seeds": (3,), "log_folder": folder} | SMALL | changes
    )


def test_a_run_returns_what_was_measured_and_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    (trained,) = platform(tmp_path, eval_freq=30, settings_from="a test", command="pytest").run(tell=told.append)
    folder = tmp_path / "pdqn" / "pamdp-Platform-v0_1"
    assert (trained.seed, trained.folder, trained.num_timesteps) == (3, folder, 60)
    assert json.loads((folder / "evaluation.json").read_text()) == {"num_timesteps": 60} | trained.evaluation
    assert trained.evaluation["n_eval_episodes"] == 2
    assert PDQN.load(trained.model).num_timesteps == 60
    config = json.loads((folder / "config.json").read_text())
    assert (config["settings_from"], config["command"], config["seed"]) == ("a test", "pytest", 3)
    assert config["settings"]["batch_size"] == 8
    with np.load(folder / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [30, 60]
    began, ended = told
    assert began == f"PDQN on pamdp/Platform-v0: 60 steps, a test, seed 3, in {folder}"
    assert ended.startswith(f"mean return {trained.evaluation['mean_reward']:.3f} ")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_same_run_measures_the_same_and_several_seeds_are_trained_at_once(tmp_path: Path) -> None:
    run = platform(tmp_path)
    (alone,) = run.run()
    first, second = replace(run, seeds=[4, 3]).run()
    assert (first.seed, second.seed) == (4, 3)
    assert [one.folder.name for one in (alone, first, second)] == [f"pamdp-Platform-v0_{n}" for n in (1, 2, 3)]
    assert second.evaluation == alone.evaluation


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        (
            "fail",
            TrainingFailedError,
            "training failed after 29 steps: OverflowError: too fast; what was learned is saved",
        ),
        ("ctrl-c", TrainingInterrupt, "interrupted after 29 steps; what was learned is saved in"),
    ],
)
def test_what_was_learned_is_kept_when_training_ends_early(
    tmp_path: Path, breaking_id: str, how: str, error: type[BaseException], said: str
) -> None:
    with pytest.raises(error) as raised:
        platform(tmp_path, env=breaking_id, env_kwargs={"how": how}).run()
    assert str(raised.value).startswith(said)
    assert isinstance(raised.value.__cause__, OverflowError if how == "fail" else KeyboardInterrupt)
    again = pickle.loads(pickle.dumps(raised.value))  # as it comes from another process
    (kept,) = again.kept
    assert PDQN.load(kept.model).num_timesteps == kept.num_timesteps == 29
    assert (kept.folder / "learning_curve.png").is_file()
    assert list(csv.DictReader((kept.folder / "progress.csv").open()))[-1]["time/total_timesteps"] == "29"


def test_settings_are_taken_as_constructors_take_them(tmp_path: Path) -> None:
    kwargs = UserDict({"net_arch": UserList([np.int64(8)])})
    given = {"use_sde": False, "sde_sample_freq": -1, "learning_rate": np.float32(0.5), "policy_kwargs": kwargs}
    run = platform(tmp_path, settings=UserDict(given))
    assert run.settings == {"learning_rate": 0.5, "policy_kwargs": {"net_arch": [8]}}
    with pytest.raises(ValueError, match="use_sde"):
        platform(tmp_path, settings={"use_sde": True})


def test_wrappers_of_a_file_of_unknown_origin_run_and_write_nothing() -> None:
    safe = ["gymnasium.wrappers.TimeLimit", "pamdp_agents.wrappers.HybridActionWrapper"]
    unsafe = ["gymnasium.wrappers.RecordVideo", "gymnasium.wrappers.rendering.RecordVideo", "os.system", "this.that"]
    unsafe += ["gymnasium.wrappers.common.deepcopy", "gymnasium.wrappers.rendering.gym.make"]
    assert find_unsafe([{name: {}} for name in safe + unsafe]) == unsafe


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"algorithm": "nonsense"}, ValueError, "algorithm must be one of 'pdqn', 'mpdqn'.*, got 'nonsense'"),
        ({"env": "pamdp/Platfrm-v0"}, ValueError, "env must be the id of a registered environment, got 'pamdp/Platfrm"),
        ({"env": None}, TypeError, "env must be the id of a registered environment, got None"),
        ({"seeds": ()}, ValueError, r"seeds must hold at least one seed, got none"),
        ({"seeds": (1, 1)}, ValueError, r"seeds must all be different, got \[1, 1\]"),
        ({"seeds": 3}, TypeError, r"seeds must be several integers, such as .*, got 3"),
        ({"seeds": (-1,)}, ValueError, "each of seeds must be an integer of at least 0 and .*, got -1"),
        ({"n_timesteps": 0}, ValueError, "n_timesteps must be an integer of at least 1, got 0"),
        ({"n_envs": "2"}, TypeError, "n_envs must be an integer of at least 1, got '2'"),
        ({"eval_freq": -1}, ValueError, "eval_freq must be an integer of at least 0, got -1"),
        ({"eval_episodes": 0}, ValueError, "eval_episodes must be an integer of at least 1, got 0"),
        ({"log_folder": 3}, TypeError, "log_folder must be a path, got 3"),
        ({"tensorboard_log": 3}, TypeError, "tensorboard_log must be a path, got 3"),
        ({"verbose": None}, TypeError, "verbose must be an integer of at least 0, got None"),
        ({"env_kwargs": {"a": {1}}}, ValueError, r"env_kwargs must be values that JSON can hold, got \{'a': \{1\}\}"),
        ({"env_kwargs": 3}, TypeError, "env_kwargs must be a dict .*, got 3"),
        ({"settings": {"strategy": fail}}, ValueError, "settings must be values that JSON can hold"),
        ({"settings": {"lerning_rate": 1}}, ValueError, "PDQN has no setting lerning_rate; known: action_noise, "),
        ({"settings": {"seed": 1, "device": "cpu"}}, ValueError, "PDQN has no setting device, seed; known: "),
    ],
)
def test_bad_input_is_refused_when_a_run_is_made(
    given: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        platform(tmp_path, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"env_kwargs": {"nonsense": 1}}, "cannot make the environment 'pamdp/Platform-v0' with {'nonsense': 1}: "),
        ({"settings": {"learning_rate": -1}}, "learning_rate must be a finite number at least 0, got -1"),
        ({"settings": {"strategy": "nonsense"}}, "strategy 'nonsense' is unknown; known: none, "),
        ({"device": "nonsense"}, "device must be "),
        (
            {"seeds": (0, 1), "settings": {"train_freq": (1, "episode"), "gradient_steps": -1}},
            "seeds: train_freq=(1, 'episode') with gradient_steps=-1 makes another number of updates",
        ),
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(CannotStartError) as raised:
        platform(tmp_path, **given).run()
    assert str(raised.value).startswith(said)
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_changed_by_what_becomes_of_its_arguments(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"policy_kwargs": {"net_arch": [8]}}
    run = platform(tmp_path, settings=settings)
    settings["policy_kwargs"]["net_arch"] = [16]
    assert run.settings == {"policy_kwargs": {"net_arch": [8]}}


def test_a_training_starts_from_tuned_settings_where_there_are_some() -> None:
    tuned = tuned_table("MPDQN")["pamdp/Platform-v0"]
    start = find_starting_settings("mpdqn", "pamdp/Platform-v0")
    assert start.settings | {"n_timesteps": start.n_timesteps} == tuned
    assert start.origin == "tuned settings"
    assert find_starting_settings("mpdqn", "pamdp/Platform-v0", tuned=False) == ({}, 100_000, "default settings")
    assert find_starting_settings("mpdqn", "CartPole-v1").origin == "default settings (there are no tuned ones)"
    with pytest.raises(ValueError, match=r"algorithm must be one of 'pdqn', .* got 'nonsense'"):
        find_starting_settings("nonsense", "CartPole-v1")
