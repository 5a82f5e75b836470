import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageSequence
from toy_environments import Target

import pamdp_agents
from pamdp_agents.cli.main import main
from pamdp_agents.experiments.plots import draw_learning_curve
from pamdp_agents.presets.tuned import tuned_table

PLATFORM = ["--algo", "mpdqn", "--env", "pamdp/Platform-v0"]
SMALL = ["-n", "400", "--eval-episodes", "5"]
QUICK = ["-params", "learning_starts:100", "policy_kwargs:{'net_arch': [16]}", "batch_size:16"]
NO_UPDATES = ["-params", "learning_starts:10_000", "policy_kwargs:{'net_arch': [16]}"]


SIGNALS = {"ctrl-c": signal.SIGINT, "sigterm": signal.SIGTERM, "sighup": signal.SIGHUP}


class BreaksAtStep(gym.Wrapper):
    """Platform, until something happens at a given step."""

    def __init__(self, env: gym.Env, step: int, what: str) -> None:
        super().__init__(env)
        self.steps_left, self.what = step, what

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps_left -= 1
        if self.steps_left == 0 and self.what == "nan":
            reward = float("nan")
        if self.steps_left == 0 and self.what in SIGNALS:
            signal.raise_signal(SIGNALS[self.what])
        return observation, reward, terminated, truncated, info


class OneBox(Target):
    """One Box holds the parameters of all actions: one of the first, none of the second, two of the third."""

    def __init__(self) -> None:
        self.action_space = gym.spaces.Tuple((gym.spaces.Discrete(3), gym.spaces.Box(-1, 1, (3,))))

    def step(self, action: Any) -> Any:
        k, x = action
        return super().step((k, (x[:1], x[1:2], x[1:])))


@pytest.fixture(scope="module", autouse=True)
def breaking_environment() -> Any:
    gym.register(
        "cli_tests/Breaking-v0",
        entry_point=lambda step=50, what="nan": BreaksAtStep(gym.make("pamdp/Platform-v0"), step, what),
    )
    gym.register("cli_tests/OneBox-v0", OneBox)
    yield
    del gym.registry["cli_tests/Breaking-v0"], gym.registry["cli_tests/OneBox-v0"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log folder with one short run of MP-DQN on Platform."""
    folder = tmp_path_factory.mktemp("runs")
    tensorboard = ["--tensorboard-log", str(folder / "tb")]
    strategy = ["--strategy", "inverting,sign_reversal"]
    arguments = ["train", *PLATFORM, *SMALL, *QUICK, *strategy, *tensorboard, "--eval-freq", "200", "--seed", "3"]
    assert main([*arguments, "-f", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def run(runs: Path) -> Path:
    return runs / "mpdqn" / "pamdp-Platform-v0_1"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command refuses its arguments."""
    try:
        code: Any = main(list(arguments))
    except SystemExit as exit:
        code = exit.code
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1
    return lines[0]


# -------------------------------------------------------------------- train


def test_a_run_folder_holds_the_agent_its_settings_its_log_and_its_evaluations(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "model.zip",
        "checkpoint.zip",
        "best_model.zip",
        "config.json",
        "progress.csv",
        "learning_curve.png",
        "evaluation.json",
        "evaluations.npz",
    }
    agent = pamdp_agents.MPDQN.load(run / "model.zip")
    assert agent.num_timesteps == 400
    with np.load(run / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [200, 400]
        assert evaluations["results"].shape == (2, 5)
    with (run / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["time/total_timesteps"] == "400"
    assert float(rows[-1]["rollout/ep_rew_mean"]) > 0
    assert int(rows[-1]["train/n_updates"]) == 304  # eight after every eight steps, from step 104 on
    height, width, _ = imageio.imread(run / "learning_curve.png").shape
    assert (height, width) == (540, 960)


def test_several_environments_count_their_steps_together(tmp_path: Path) -> None:
    arguments = [*SMALL, *QUICK, "--n-envs", "4", "--eval-freq", "100", "--seed", "3"]
    assert main(["train", *PLATFORM, *arguments, "-f", str(tmp_path)]) == 0
    folder = tmp_path / "mpdqn" / "pamdp-Platform-v0_1"
    assert json.loads((folder / "config.json").read_text())["n_envs"] == 4
    assert json.loads((folder / "evaluation.json").read_text())["num_timesteps"] in range(400, 400 + 8 * 4)
    with np.load(folder / "evaluations.npz") as evaluations:
        assert all(step - 100 * n in range(8) for n, step in enumerate(evaluations["timesteps"], start=1))
    agent = pamdp_agents.MPDQN.load(folder / "model.zip", env="pamdp/Platform-v0")
    assert agent.n_envs == 1


def test_several_seeds_get_a_folder_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *PLATFORM, *SMALL, *QUICK, "--seeds", "2", "--seed", "5", "-f", str(tmp_path)]) == 0
    folders = [tmp_path / "mpdqn" / f"pamdp-Platform-v0_{n}" for n in (1, 2)]
    for seed, folder in zip((5, 6), folders, strict=True):
        assert json.loads((folder / "config.json").read_text())["seed"] == seed
        assert pamdp_agents.MPDQN.load(folder / "model.zip").num_timesteps == 400
        assert (folder / "progress.csv").stat().st_size > 0 and (folder / "evaluation.json").is_file()
    assert "seed 6: mean return" in capsys.readouterr().out


@pytest.mark.parametrize(("what", "code"), [("nan", 1), ("ctrl-c", 130)])
def test_when_training_several_seeds_fails_all_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, code: int
) -> None:
    env = ["--algo", "pdqn", "--env", "cli_tests/Breaking-v0", "--env-kwargs", "step:50", f"what:{what}"]
    no_updates = ["-params", "learning_starts:10", "gradient_steps:0"]
    assert main(["train", *env, *SMALL, *no_updates, "--seeds", "3", "--seed", "5", "-f", str(tmp_path)]) == code
    folders = [tmp_path / "pdqn" / f"cli_tests-Breaking-v0_{n}" for n in (1, 2, 3)]
    assert [pamdp_agents.PDQN.load(folder / "model.zip").num_timesteps for folder in folders] == [49, 49, 49]
    for folder in folders:
        assert (folder / "learning_curve.png").is_file()
        assert (folder / "progress.csv").read_text().splitlines()[-1].count("49")
    error = capsys.readouterr().err
    assert "after 49 steps (seed 5), 49 steps (seed 6), 49 steps (seed 7)" in error
    assert f"saved in {', '.join(str(folder / 'model.zip') for folder in folders)}" in error


def test_config_json_holds_every_setting_in_use_the_command_and_the_versions(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    tuned = tuned_table("MPDQN")["pamdp/Platform-v0"]
    assert config["settings"].keys() == pamdp_agents.MPDQN.load(run / "model.zip").settings().keys()
    assert config["settings"]["learning_starts"] == 100
    assert config["settings"]["policy_kwargs"] == {"net_arch": [16]}
    assert config["settings"]["actor_learning_rate"] == tuned["actor_learning_rate"]
    assert [one["name"] for one in config["settings"]["strategy"]["strategies"]] == ["inverting", "sign_reversal"]
    assert (config["seed"], config["n_timesteps"], config["env"]) == (3, 400, "pamdp/Platform-v0")
    assert config["command"].startswith("pamdp-agents train --algo mpdqn --env pamdp/Platform-v0 -n 400")
    assert config["versions"]["tensorflow"] == tf.__version__


def test_tensorboard_gets_the_numbers_of_the_log_table(runs: Path) -> None:
    (events,) = (runs / "tb" / "mpdqn" / "pamdp-Platform-v0_1").iterdir()
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events)) for value in event.summary.value}
    assert {"rollout/ep_rew_mean", "train/critic_loss", "eval/mean_reward"} <= tags


def test_the_evaluation_after_training_is_repeated_exactly_by_evaluate(
    runs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *PLATFORM, "-f", str(runs), "--n-episodes", "5", "--json"]) == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation.pop("num_timesteps") == 400
    assert json.loads(capsys.readouterr().out) == evaluation


def test_runs_are_numbered_and_defaults_are_the_constructors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["train", *PLATFORM, *SMALL, "--defaults", *NO_UPDATES, "-f", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "400 steps, default settings, seed" in output
    assert "over 5 episodes (min" in output
    folders = [tmp_path / "mpdqn" / f"pamdp-Platform-v0_{number}" for number in (1, 2)]
    first, second = (json.loads((folder / "config.json").read_text()) for folder in folders)
    assert (
        first["settings"]["batch_size"]
        == pamdp_agents.MPDQN("MlpPolicy", "pamdp/Platform-v0", **{"policy_kwargs": {"net_arch": [16]}}).batch_size
    )
    assert first["settings"]["passthrough"] is None
    assert first["seed"] != second["seed"]


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("ctrl-c", 130, "interrupted"),
        ("sigterm", 143, "ended by SIGTERM"),
        ("sighup", 129, "ended by SIGHUP"),
    ],
)
def test_a_signal_keeps_what_was_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, code: int, said: str
) -> None:
    kwargs = ["--env-kwargs", "step:50", f"what:{what}"]
    arguments = ["--algo", "pdqn", "--env", "cli_tests/Breaking-v0", *kwargs, *SMALL, *NO_UPDATES]
    before = {number: signal.getsignal(number) for number in SIGNALS.values()}
    assert main(["train", *arguments, "-f", str(tmp_path)]) == code
    assert {number: signal.getsignal(number) for number in SIGNALS.values()} == before
    folder = tmp_path / "pdqn" / "cli_tests-Breaking-v0_1"
    assert pamdp_agents.PDQN.load(folder / "model.zip").num_timesteps == 49
    captured = capsys.readouterr()
    assert f"{said} after 49 steps; what was learned is saved in {folder / 'model.zip'}" in captured.err
    assert captured.err.splitlines()[-1] == f"go on with: pamdp-agents train --resume {folder}"
    assert "default settings (there are no tuned ones)" in captured.out


def test_wrappers_are_recorded_and_evaluate_applies_them_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_box = ["--algo", "pdqn", "--env", "cli_tests/OneBox-v0"]
    wrappers = ["--env-wrapper", "gymnasium.wrappers.TimeLimit:{'max_episode_steps': 7}", "--parameter-sizes", *"102"]
    folder = tmp_path / "pdqn" / "cli_tests-OneBox-v0_1"
    train = ["train", *one_box, *wrappers, "-n", "30", "--eval-episodes", "2", *NO_UPDATES, "-f", str(tmp_path)]
    assert main([*train, "--n-envs", "2"]) == 0
    time_limit, hybrid = json.loads((folder / "config.json").read_text())["env_wrapper"]
    assert time_limit == {"gymnasium.wrappers.TimeLimit": {"max_episode_steps": 7}}
    assert hybrid == {"pamdp_agents.wrappers.HybridActionWrapper": {"parameter_sizes": [1, 0, 2]}}
    for which in ([*one_box, "-f", str(tmp_path)], ["--path", str(folder / "model.zip")]):
        assert main(["evaluate", *which, "--n-episodes", "1"]) == 0
    # A job that was begun again with the same command and --resume goes on; what contradicts the run is refused.
    resume = [*train, "--n-envs", "2", "--resume", str(folder)]
    assert main(resume) == 0
    assert "nothing left to do in " in capsys.readouterr().out
    for option, values in (
        ("--n-envs", ["3"]),
        ("--eval-freq", ["5"]),
        ("--save-freq", ["5"]),
        ("--seed", ["1"]),
        ("--seeds", ["2"]),
        ("--algo", ["mpdqn"]),
        ("--env", ["CartPole-v1"]),
        ("--env-kwargs", ["a:1"]),
        ("--env-wrapper", ["gymnasium.wrappers.Autoreset"]),
        ("--log-folder", ["elsewhere"]),
        ("--tensorboard-log", ["elsewhere"]),
        ("--strategy", ["squashing"]),
        ("--hyperparams", ["gamma:0.5"]),
    ):
        given = refused(capsys, "train", "--resume", str(folder), option, *values)
        assert given.startswith(f"pamdp-agents: error: {option}") and "contradicts the run" in given


def test_an_error_of_the_environment_keeps_what_was_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--algo", "pdqn", "--env", "cli_tests/Breaking-v0", *SMALL, *NO_UPDATES]
    assert main(["train", *arguments, "-f", str(tmp_path)]) == 1
    folder = tmp_path / "pdqn" / "cli_tests-Breaking-v0_1"
    assert pamdp_agents.PDQN.load(folder / "model.zip").num_timesteps == 49
    assert (folder / "learning_curve.png").is_file()
    error = capsys.readouterr().err
    assert "returned the reward nan, which is not a finite number" in error and "this was at step 50" in error
    assert "Traceback" not in error


def test_without_matplotlib_only_the_picture_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["train", *PLATFORM, *SMALL, *NO_UPDATES, "-f", str(tmp_path)]) == 0
    assert 'learning_curve.png was not drawn: pip install "pamdp-agents[plots]"' in capsys.readouterr().out
    folder = tmp_path / "mpdqn" / "pamdp-Platform-v0_1"
    assert (folder / "evaluation.json").is_file()
    assert not (folder / "learning_curve.png").exists()


def test_a_table_without_returns_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("time/total_timesteps\n10\n")
    with pytest.raises(ValueError, match="has no returns to draw"):
        draw_learning_curve(tmp_path / "progress.csv", tmp_path / "curve.png", "title")


# -------------------------------------------------------------------- evaluate and enjoy


def test_evaluate_takes_the_best_agent_or_a_file_and_needs_no_names_for_a_file(
    runs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *PLATFORM, "-f", str(runs), "--load-best", "--n-episodes", "5"]) == 0
    best = capsys.readouterr().out
    assert main(["evaluate", "--path", str(run / "best_model.zip"), "--n-episodes", "5"]) == 0
    assert capsys.readouterr().out == best
    assert best.startswith("mean return ")


def test_stochastic_acts_with_exploration(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--path", str(run / "model.zip"), "--n-episodes", "5", "--stochastic", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["is_deterministic"] is False


def test_num_threads_limits_tensorflow(run: Path) -> None:
    program = (
        "import sys, tensorflow as tf\n"
        "from pamdp_agents.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "threading = tf.config.threading\n"
        "print(code, threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())"
    )
    arguments = ["evaluate", "--path", str(run / "model.zip"), "--n-episodes", "1", "--num-threads", "1"]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "0 1 1"


def test_goal_reports_its_success_rate_and_the_training_arguments_of_the_environment_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = ["--algo", "pdqn", "--env", "pamdp/Goal-v1"]
    small = ["-n", "50", "--eval-episodes", "2", "--defaults", *NO_UPDATES]
    assert main(["train", *goal, *small, "--env-kwargs", "features:False", "-f", str(tmp_path)]) == 0
    assert "success rate" in capsys.readouterr().out
    assert main(["evaluate", *goal, "-f", str(tmp_path), "--n-episodes", "1"]) == 0
    agent = pamdp_agents.PDQN.load(tmp_path / "pdqn" / "pamdp-Goal-v1_1" / "model.zip")
    assert agent.observation_space == gym.make("pamdp/Goal-v1", features=False).observation_space


def test_a_video_shows_every_substep_of_the_episodes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    video = tmp_path / "new" / "platform.gif"
    assert main(["enjoy", "--path", str(run / "model.zip"), "--output", str(video), "--n-episodes", "1"]) == 0
    output = capsys.readouterr().out
    agent = pamdp_agents.MPDQN.load(run / "model.zip")
    env = gym.make("pamdp/Platform-v0")
    observation, _ = env.reset(seed=10_000)
    frames, done = 1, False  # the first pose, then one a substep
    while not done:
        observation, _, terminated, truncated, info = env.step(agent.predict(observation, deterministic=True)[0])
        frames += info["substeps"]
        done = terminated or truncated
    assert f"{frames} frames in {video}" in output
    assert output.startswith("episode 1: return ")
    with Image.open(video) as image:
        shown = sum(frame.info["duration"] for frame in ImageSequence.Iterator(image))
    assert shown == 20 * frames  # milliseconds; equal frames may be one that stays longer


def test_an_mp4_holds_as_many_frames_as_it_says(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    video = tmp_path / "platform.mp4"
    assert main(["enjoy", "--path", str(run / "model.zip"), "--output", str(video), "-n", "2"]) == 0
    assert f"{len(list(imageio.imiter(video)))} frames in {video}" in capsys.readouterr().out


def test_enjoy_shows_a_window(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert main(["enjoy", "--path", str(run / "model.zip"), "-n", "1"]) == 0


def test_without_a_display_enjoy_suggests_a_video(run: Path) -> None:
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    hidden.pop("SDL_VIDEODRIVER", None)
    command = [sys.executable, "-m", "pamdp_agents", "enjoy", "--path", str(run / "model.zip"), "--num-threads", "1"]
    result = subprocess.run(command, env=hidden, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "there is no display for a window; write a video with --output" in result.stderr


def test_without_imageio_enjoy_says_what_to_install(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("imageio", "imageio.v2"):
        monkeypatch.setitem(sys.modules, name, None)
    error = refused(capsys, "enjoy", "--path", str(run / "model.zip"), "--output", str(tmp_path / "a.gif"))
    assert 'pip install "pamdp-agents[video]"' in error


# -------------------------------------------------------------------- list, help and bad input


def test_list_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    for shown in (
        "mpdqn       Multi-pass",
        "pamdp/Goal-v1",
        "sign_reversal",
        "ornstein_uhlenbeck",
        "pretrained agents:",
    ):
        assert shown in output


def test_list_prints_tuned_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *PLATFORM]) == 0
    shown = dict(line.split(" = ", 1) for line in capsys.readouterr().out.splitlines())
    tuned = tuned_table("MPDQN")["pamdp/Platform-v0"]
    assert shown == {name: repr(value) for name, value in tuned.items()}


def test_help_and_the_version_need_no_tensorflow() -> None:
    for arguments in (["--help"], ["train", "--help"], ["--version"]):
        command = [sys.executable, "-X", "importtime", "-m", "pamdp_agents", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "gymnasium" in result.stderr  # so the imports are listed there
        assert "tensorflow" not in result.stderr


def test_an_unknown_environment_is_refused_without_tensorflow() -> None:
    arguments = ["train", "--algo", "mpdqn", "--env", "pamdp/Platfrm-v0"]
    command = [sys.executable, "-X", "importtime", "-m", "pamdp_agents", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Did you mean: `Platform`?" in result.stderr
    assert "tensorflow" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--algo", "nonsense", "--env", "pamdp/Platform-v0"], "invalid choice: 'nonsense'"),
        (["train", "--algo", "mpdqn", "--env", "pamdp/Platfrm-v0"], "Did you mean: `Platform`?"),
        (["train", *PLATFORM, "--strategy", "inverting,nonsense"], "--strategy: strategy 'nonsense' is unknown"),
        (["train", *PLATFORM, "-params", "lerning_rate:1"], "no setting lerning_rate; known: action_noise,"),
        (["train", *PLATFORM, "-params", "learning_rate:-1"], "--hyperparams: learning_rate must be"),
        (["train", *PLATFORM, "-params", "learning_rate"], "must be name:value, got 'learning_rate'"),
        (
            ["train", *PLATFORM, "--seeds", "2", "-params", "train_freq:(1,'episode')", "gradient_steps:-1"],
            "--seeds: train_freq=(1, 'episode') with gradient_steps=-1 makes another number of updates in each round",
        ),
        (["train", *PLATFORM, "--env-kwargs", "a:{1}"], "error: --env-kwargs must be values that JSON can hold, got {"),
        (["train", *PLATFORM, "-params", "gamma:{1}"], "error: --hyperparams must be values that JSON can hold, got {"),
        (["train", *PLATFORM, "-n", "0"], "must be a whole number of at least 1, got '0'"),
        (["train", *PLATFORM, "--env-kwargs", "nonsense:1"], "--env-kwargs: cannot make the environment 'pamdp/Platfo"),
        (["train", *PLATFORM, "--env-wrapper", "Nonsense"], "--env-wrapper must name a class with its module"),
        (["train", *PLATFORM, "--env-wrapper", "no_such.Wrapper"], "--env-wrapper: cannot import no_such.Wrapper"),
        (["train", *PLATFORM, "--env-wrapper", "a.B:{1}"], "--env-wrapper: must be module.Class or"),
        (["train", *PLATFORM, "--env-wrapper", "os.sep"], "--env-wrapper: os.sep must be a wrapper's class, got '/'"),
        (["train", *PLATFORM, "--env-wrapper", "builtins.str"], "must return a Gymnasium environment, got"),
        (
            ["train", *PLATFORM, "--env-wrapper", "gymnasium.wrappers.TimeLimit:{'nonsense': 1}"],
            "--env-wrapper: gymnasium.wrappers.TimeLimit cannot wrap <",
        ),
        (["train", *PLATFORM, "--parameter-sizes", "1", "2"], "--parameter-sizes: "),
        (["train", *PLATFORM, "--parameter-sizes", "-1"], "must be a whole number of at least 0, got '-1'"),
        (
            ["train", "--algo", "mpdqn", "--env", "cli_tests/OneBox-v0"],
            "On the command line: --parameter-sizes with the sizes, or --env-wrapper",
        ),
        (["train"], "say what to train: --algo and --env missing (or --resume RUN_FOLDER)"),
        (["train", "--resume", "no_such_folder"], "there is no run folder "),
        (["train", *PLATFORM, "--gym-packages", "no_such_package"], "cannot import no_such_package"),
        (["train", "--algo", "mpdqn", "--env", "CartPole-v1", "--device", "nonsense"], "device must be"),
        (["evaluate", "--algo", "mpdqn"], "say which agent: with --algo and --env, or with --path FILE"),
        (["evaluate", *PLATFORM, "-f", "no_such_folder"], "there is no run for pamdp/Platform-v0 in no_such_folder"),
        (
            ["evaluate", "--algo", "mpdqn", "--env", "CartPole-v1", "--pretrained"],
            "no pretrained MPDQN for 'CartPole-v1'",
        ),
        (["evaluate", "--path", "no_such_file.zip"], "there is no saved agent at no_such_file.zip"),
        (["enjoy", *PLATFORM, "--output", "video.avi"], "--output must end in .gif or .mp4, got video.avi"),
        (["list", "--algo", "mpdqn", "--env", "CartPole-v1"], "mpdqn has no tuned settings for CartPole-v1"),
        (["list", "--algo", "mpdqn"], "--algo and --env go together"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())  # no run folder for a run that cannot begin


def test_a_log_folder_that_cannot_be_made_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot make" in refused(capsys, "train", *PLATFORM, *QUICK, "-f", str(tmp_path / "file"))


def test_a_run_that_was_killed_hides_no_earlier_one(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        (tmp_path / "mpdqn" / f"pamdp-Platform-v0_{number}").mkdir(parents=True)
    evaluate = ["evaluate", *PLATFORM, "-f", str(tmp_path), "--n-episodes", "5"]
    assert "has a model.zip (there are: 1, 2)" in refused(capsys, *evaluate)
    shutil.copy(run / "model.zip", tmp_path / "mpdqn" / "pamdp-Platform-v0_1")
    assert main(evaluate) == 0
    assert capsys.readouterr().out.startswith("mean return ")


@pytest.mark.parametrize(
    "config",
    [
        "[" * 100_000,
        "nonsense",
        "[]",
        '{"env_kwargs": 3}',
        '{"env_wrapper": 3}',
        '{"env_wrapper": "os.system"}',
        '{"env_wrapper": {"this.that": []}}',
        '{"env_wrapper": "this.that"}',
    ],
    ids=range(8),
)
def test_a_damaged_or_hostile_config_beside_an_agent_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    shutil.copy(run / "model.zip", tmp_path)
    (tmp_path / "config.json").write_text(config)
    assert "config.json" in refused(capsys, "evaluate", "--path", str(tmp_path / "model.zip"), "--n-episodes", "1")
    assert "this" not in sys.modules


def test_arguments_nested_deeply_in_a_config_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run / "model.zip", tmp_path)
    (tmp_path / "config.json").write_text('{"env_kwargs": ' + '{"a": ' * 500 + "1" + "}" * 501)
    error = refused(capsys, "evaluate", "--path", str(tmp_path / "model.zip"))
    assert "cannot make the environment 'pamdp/Platform-v0' with " in error


def test_a_config_beside_an_agent_opens_no_window(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run / "model.zip", tmp_path)
    (tmp_path / "config.json").write_text('{"env_kwargs": {"render_mode": "human"}}')
    assert main(["evaluate", "--path", str(tmp_path / "model.zip"), "--n-episodes", "1"]) == 0
    assert capsys.readouterr().out.startswith("mean return ")


def test_a_window_for_training_needs_a_display(run: Path) -> None:
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    hidden.pop("SDL_VIDEODRIVER", None)
    command = [sys.executable, "-m", "pamdp_agents", "train", *PLATFORM, "--env-kwargs", "render_mode:human"]
    result = subprocess.run(
        [*command, "-f", str(run / "none")], env=hidden, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "--env-kwargs: render_mode 'human' opens a window, and there is no display" in result.stderr


def test_a_damaged_file_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK nonsense")
    assert "is not a whole zip file" in refused(capsys, "evaluate", "--path", str(tmp_path / "model.zip"))
