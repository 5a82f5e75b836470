import csv
import json
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from toy_environments import Corridor, Target

from pamdp_agents import PDQN
from pamdp_agents.experiments.outcomes import TrainingFailedError, TrainingInterrupt
from pamdp_agents.experiments.training_run import CannotStartError, TrainingRun

SETTINGS = {"learning_starts": 10, "batch_size": 8, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}}


class Stopping(gym.Wrapper):
    """Does something in the step after `after` of them, in the first environment that has come so far."""

    todo: list[Any] = []

    def __init__(self, env: gym.Env, after: int = 25) -> None:
        super().__init__(env)
        self.after, self.steps = after, 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps > self.after and self.todo:
            self.todo.pop()()
        return self.env.step(action)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def fail() -> None:
    raise OverflowError("too fast")


@pytest.fixture(autouse=True)
def environments() -> Any:
    gym.register("resume_tests/Corridor-v0", Corridor)
    gym.register("resume_tests/Target-v0", Target)
    Stopping.todo = []
    yield
    del gym.registry["resume_tests/Corridor-v0"], gym.registry["resume_tests/Target-v0"]


def corridor(folder: Path, **changes: Any) -> TrainingRun:
    given: dict[str, Any] = {"algorithm": "pdqn", "env": "resume_tests/Corridor-v0", "seeds": (3,)}
    given |= {"n_timesteps": 60, "eval_episodes": 2, "settings": SETTINGS, "log_folder": folder}
    return TrainingRun(**given | {"env_wrapper": f"{__name__}.Stopping"} | changes)


def same_weights(file: Path, other: Path) -> bool:
    one, two = (PDQN.load(each).get_parameters() for each in (file, other))
    return all(np.array_equal(one[group][name], two[group][name]) for group in one for name in one[group])


@pytest.mark.parametrize("seeds", [(3,), (3, 4)])
def test_going_on_from_a_checkpoint_is_as_if_training_had_never_stopped(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    # Episodes of five steps, all alike, and checkpoints at their ends: what the environment forgets does not matter.
    whole = corridor(tmp_path / "whole", seeds=seeds, save_freq=20).run()
    Stopping.todo = [fail]
    with pytest.raises(TrainingFailedError):
        corridor(tmp_path / "stopped", seeds=seeds, save_freq=20, env_kwargs={"length": 5}).run()
    parent = tmp_path / "stopped" / "pdqn"
    for folder in parent.iterdir():  # as a kill leaves them
        (folder / "model.zip").unlink()
    checkpoints = {folder: PDQN.load(folder / "checkpoint.zip").num_timesteps for folder in parent.iterdir()}
    if len(seeds) > 1:
        assert len(set(checkpoints.values())) > 0
    told: list[str] = []
    resumed = TrainingRun.of_folder(min(parent.iterdir())).run(tell=told.append)
    assert [one.seed for one in resumed] == list(seeds)
    assert [one.num_timesteps for one in resumed] == [60] * len(seeds)
    for one in resumed:
        assert f"from step {checkpoints[one.folder]} on" in " ".join(told)


def test_a_killed_training_goes_on_bit_for_bit_from_its_checkpoint(tmp_path: Path) -> None:
    (whole,) = corridor(tmp_path / "whole", save_freq=20).run()
    checkpoint: list[bytes] = []
    run = corridor(tmp_path / "killed", save_freq=20)
    folder = tmp_path / "killed" / "pdqn" / "resume_tests-Corridor-v0_1"
    Stopping.todo = [lambda: checkpoint.append((folder / "checkpoint.zip").read_bytes())]  # in step 26
    run.run()
    for name in ("model.zip", "evaluation.json"):
        (folder / name).unlink()
    (folder / "checkpoint.zip").write_bytes(checkpoint[0])
    assert PDQN.load(folder / "checkpoint.zip").num_timesteps == 20
    (resumed,) = TrainingRun.of_folder(folder).run()
    assert resumed.folder == folder
    assert same_weights(resumed.model, whole.model)
    assert resumed.evaluation == whole.evaluation


@pytest.mark.parametrize(("stop", "error"), [(press_ctrl_c, TrainingInterrupt), (fail, TrainingFailedError)])
def test_a_training_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, stop: Any, error: type[BaseException]
) -> None:
    Stopping.todo = [stop]
    run = corridor(tmp_path, eval_freq=10, env="resume_tests/Target-v0")
    with pytest.raises(error):
        run.run()
    folder = tmp_path / "pdqn" / "resume_tests-Target-v0_1"
    rows = (folder / "progress.csv").read_text().splitlines()
    best = np.load(folder / "evaluations.npz")["results"].mean(1).max()
    told: list[str] = []
    (resumed,) = TrainingRun.of_folder(folder).run(tell=told.append)
    assert told[0].startswith("PDQN on resume_tests/Target-v0: 60 steps, from step 25 on, ")
    assert resumed.num_timesteps == 60 and len(PDQN.load(folder / "checkpoint.zip").replay_buffer) == 60
    longer = (folder / "progress.csv").read_text().splitlines()
    assert [line.split(",")[: rows[1].count(",") + 1] for line in longer[1 : len(rows)]] == [
        line.split(",") for line in rows[1:]
    ]
    assert list(csv.DictReader(longer))[-1]["time/total_timesteps"] == "60"
    with np.load(folder / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [10, 20, 30, 40, 50, 60]
        assert evaluations["results"].mean(1).max() >= best
    assert json.loads((folder / "evaluation.json").read_text())["num_timesteps"] == 60


def test_agents_of_several_seeds_go_on_together_though_they_were_stopped_at_different_steps(tmp_path: Path) -> None:
    alone = [corridor(tmp_path / "alone", seeds=(seed,)).run()[0] for seed in (3, 4)]
    together = corridor(tmp_path / "together", seeds=(3, 4), n_timesteps=20).run()
    third = TrainingRun.of_folder(together[0].folder)
    assert (third.seeds, third.folders) == ((3, 4), [one.folder for one in together])
    # The first goes further than the second.
    config = together[1].folder / "config.json"
    text = config.read_text()
    config.rename(tmp_path / "config.json")
    own = json.loads((together[0].folder / "config.json").read_text())
    (together[0].folder / "config.json").write_text(json.dumps(own | {"folders": [together[0].folder.name]}))
    TrainingRun.of_folder(together[0].folder, n_timesteps=40).run()
    config.write_text(text)
    resumed = TrainingRun.of_folder(together[1].folder, n_timesteps=60).run()
    assert [one.num_timesteps for one in resumed] == [60, 60]
    assert len(alone) == len(resumed)


def test_nothing_is_left_to_do_after_the_end_unless_more_steps_are_asked_for(tmp_path: Path) -> None:
    (trained,) = corridor(tmp_path).run()
    before = {path.name: path.read_bytes() for path in trained.folder.iterdir()}
    told: list[str] = []
    (again,) = TrainingRun.of_folder(trained.folder).run(tell=told.append)
    assert told == [f"nothing left to do in {trained.folder}: 60 of 60 steps are made"]
    assert again == trained
    assert {path.name: path.read_bytes() for path in trained.folder.iterdir()} == before
    (more,) = TrainingRun.of_folder(trained.folder, n_timesteps=80).run()
    assert more.num_timesteps == 80
    assert TrainingRun.of_folder(trained.folder).n_timesteps == 80


def test_a_training_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    (whole,) = corridor(tmp_path).run()
    weights = tmp_path / "whole.zip"
    whole.model.rename(weights)
    (whole.folder / "checkpoint.zip").unlink()
    (again,) = TrainingRun.of_folder(whole.folder).run()
    assert again.folder == whole.folder and same_weights(again.model, weights)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it has no config.json"),
        ("{}", "it has no config.json"),
        ("[1]", "must hold the settings of a run, got a list"),
        ("[" * 100_000, "config.json is damaged: "),
        ("\\x00", "config.json is damaged: "),
        ({"env": 3}, "env must be the id of a registered environment, got 3"),
        ({"algo": "nonsense"}, "algorithm must be one of"),
        ({"seed": "3"}, "each of seeds must be an integer"),
        ({"n_timesteps": None}, "n_timesteps must be an integer"),
        ({"settings": 3}, "settings must be a dict"),
        ({"settings": {"lerning_rate": 1}}, "PDQN has no setting lerning_rate"),
        ({"env_wrapper": 3}, "env_wrapper must be"),
        ({"env_kwargs": [1]}, "env_kwargs must be a dict"),
        ({"folders": "abc"}, "folders must be names of run folders"),
        ({"folders": ["../../elsewhere"]}, "folders must be names of run folders"),
        ({"gym_packages": 3}, "cannot be gone on with"),
        ({"save_freq": [1]}, "save_freq must be an integer"),
    ],
    ids=range(17),
)
def test_a_damaged_config_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    folder = tmp_path / "pdqn" / "pamdp-Platform-v0_1"
    folder.mkdir(parents=True)
    proper = {"algo": "pdqn", "env": "pamdp/Platform-v0", "seed": 3, "n_timesteps": 50, "settings": {}}
    if content is not None:
        text = json.dumps(proper | content) if isinstance(content, dict) else content
        (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config") as raised:
        TrainingRun.of_folder(folder)
    assert said in str(raised.value)


def test_a_folder_without_its_replay_buffer_or_with_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (trained,) = corridor(tmp_path).run()
    (trained.folder / "checkpoint.zip").write_bytes(b"PK nonsense")
    with pytest.raises(CannotStartError, match=r"cannot go on from .*checkpoint.zip: .* is not a whole zip file"):
        TrainingRun.of_folder(trained.folder).run()
    (trained.folder / "checkpoint.zip").unlink()
    with pytest.raises(CannotStartError, match="there is no checkpoint.zip beside it, which holds the replay buffer"):
        TrainingRun.of_folder(trained.folder).run()
    with pytest.raises(FileNotFoundError, match="there is no run folder"):
        TrainingRun.of_folder(tmp_path / "nowhere")
