import csv
import functools
import json
import signal
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from toy_environments import Corridor, Target

from pamdp_agents import PDQN
from pamdp_agents.experiments.outcomes import TrainingFailedError, TrainingInterrupt
from pamdp_agents.experiments.training_run import CannotStartError, TrainingRun

SETTINGS = {"learning_starts": 10, "batch_size": 8, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}}


class Stopping(gym.Wrapper):
    """Does what is to be done at a step, in the first environment that has come so far."""

    todo: ClassVar[dict[int, Any]] = {}

    steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.todo.pop(self.steps, lambda: None)()
        return self.env.step(action)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def fail() -> None:
    raise OverflowError("too fast")


@pytest.fixture(autouse=True)
def environments() -> Any:
    gym.register("resume_tests/Corridor-v0", Corridor)
    gym.register("resume_tests/Target-v0", Target)
    Stopping.todo.clear()
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
def test_a_killed_training_goes_on_from_its_checkpoint_as_if_it_had_never_stopped(
    tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    # Episodes of five steps, all alike, and checkpoints at their ends: what an environment forgets does not matter.
    folders = [tmp_path / "pdqn" / f"resume_tests-Corridor-v0_{number + 1}" for number in range(len(seeds))]
    kept: dict[Path, bytes] = {}

    def keep_checkpoint(folder: Path) -> None:
        kept[folder] = (folder / "checkpoint.zip").read_bytes()

    for step, folder in zip((26, 46), folders, strict=False):
        Stopping.todo[step] = functools.partial(keep_checkpoint, folder)
    whole = corridor(tmp_path, seeds=seeds, save_freq=20).run()
    for folder in folders:  # as it is after a kill
        (folder / "model.zip").rename(folder / "whole.zip")
        (folder / "evaluation.json").unlink()
        (folder / "checkpoint.zip").write_bytes(kept[folder])
    told: list[str] = []
    resumed = TrainingRun.of_folder(folders[-1]).run(tell=told.append)
    for line, step in zip(told[: len(seeds)], (20, 40)[: len(seeds)], strict=True):
        assert f"from step {step} on" in line
    assert resumed == whole
    for folder in folders:
        assert same_weights(folder / "model.zip", folder / "whole.zip")


@pytest.mark.parametrize(("stop", "error"), [(press_ctrl_c, TrainingInterrupt), (fail, TrainingFailedError)])
def test_a_training_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, stop: Any, error: type[BaseException]
) -> None:
    Stopping.todo[26] = stop
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


@pytest.mark.parametrize("n_timesteps", [60, 50])
def test_what_a_kill_after_the_last_step_left_undone_is_done(tmp_path: Path, n_timesteps: int) -> None:
    (trained,) = corridor(tmp_path).run()
    picture = trained.folder / "learning_curve.png"
    for file in (trained.model, picture, trained.folder / "evaluation.json"):
        file.unlink()
    (again,) = TrainingRun.of_folder(trained.folder, n_timesteps).run()
    assert again == trained and picture.is_file()
    assert same_weights(again.model, trained.folder / "checkpoint.zip")


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
    with pytest.raises(CannotStartError, match=r"there is no checkpoint\.zip beside it, which holds the replay buffer"):
        TrainingRun.of_folder(trained.folder).run()
    with pytest.raises(FileNotFoundError, match="there is no run folder"):
        TrainingRun.of_folder(tmp_path / "nowhere")


def test_run_folders_that_are_gone_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    corridor(tmp_path, seeds=(3, 4)).run()
    first, second = (tmp_path / "pdqn" / f"resume_tests-Corridor-v0_{number}" for number in (1, 2))
    second.rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match=rf"are gone, {second.name}: the others go on"):
        run = TrainingRun.of_folder(first, n_timesteps=70)
    [kept] = run.run()
    assert (kept.seed, kept.num_timesteps) == (3, 70)
