"""Every program in examples/ runs, with a small budget, and prints what it is there to show."""

import re
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


class Run(NamedTuple):
    """How an example is run, and what it must leave behind."""

    arguments: str
    printed: tuple[str, ...] = ()  # regular expressions, in this order
    files: tuple[str, ...] = ()


NUMBER = r"-?\d+\.\d+"
RUNS = {
    "callbacks_and_logging.py": Run(
        "--n-timesteps 600 --eval-freq 300 --folder logs",
        (
            f"Evaluation at 300 steps: return {NUMBER}",
            "New best mean reward!",
            "Evaluation at 600 steps",
            r"\d+ rows with the columns .*eval/mean_reward, .*rollout/longest_leap, .*train/critic_loss",
            f"best mean return {NUMBER}, after [36]00 steps",
        ),
        ("logs/progress.csv", "logs/evaluations.npz", "logs/best_model.zip"),
    ),
    "compare_strategies.py": Run(
        "--n-timesteps 502 --seeds 1 --n-eval-episodes 2",
        (
            r"\| strategy \| mean return \| seed 0 \|",
            *(
                rf"\| {name} \| {NUMBER} \| {NUMBER} \|"
                for name in ("none", "inverting", "zeroing", "squashing", "sign_reversal", "inverting → sign_reversal")
            ),
        ),
    ),
    "export_policy.py": Run(
        "--formats saved_model tflite onnx --folder exported",
        (
            r"agent.predict: \d+ µs",
            *(
                rf"{file}: \d+ µs, \d+ kB, 100.0% the same discrete action, parameters to \de-0[678] of their range"
                for file in ("policy", "policy.tflite", "policy.onnx")
            ),
        ),
        ("exported/policy/saved_model.pb", "exported/policy.tflite", "exported/policy.onnx"),
    ),
    "own_environment.py": Run(
        "--n-timesteps 600 --n-eval-episodes 5",
        (
            f"mean return before training {NUMBER}, after 600 steps {NUMBER}",
            rf"inside 10 °C, outside 5 °C: (heat {NUMBER}|air {NUMBER}, {NUMBER}|wait)\n",
        ),
    ),
    "own_strategy.py": Run(
        "--n-timesteps 600",
        (
            f"inverting: mean return of 20 episodes {NUMBER}",
            f"cautious: mean return of 20 episodes {NUMBER}",
            f"inverting, then cautious: mean return of 20 episodes {NUMBER}",
            r"loaded after 600 steps with Chain\(Inverting\(\), <function cautious",
        ),
        ("own_strategy.zip",),
    ),
    "render_pictures.py": Run("pictures", files=("pictures/platform.png", "pictures/goal.png")),
    "train_save_load.py": Run(
        "--n-timesteps 600 --file agent.zip",
        (
            f"600 steps trained, mean return of 20 episodes: {NUMBER}",
            rf"(run|hop|leap) +{NUMBER} +reward {NUMBER}",
            f"return {NUMBER}",
        ),
        ("agent.zip",),
    ),
    "two_choices_and_a_box.py": Run(
        "--n-timesteps 2048", (rf"mean return after \d+ steps {NUMBER}, which is {NUMBER}% of the best",)
    ),
    "use_pretrained.py": Run("--n-episodes 1", (rf"episode 0: return {NUMBER}: (run|hop|leap) \d+",)),
}
RUN_BY_COMPAT = ("rl_zoo.py", "sb3_mpdqn.py", "sb3_td3.py")  # they need packages that tests/compat is for


def test_every_example_is_run():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted([*RUNS, *RUN_BY_COMPAT])


@pytest.mark.parametrize("name", sorted(RUNS))
def test_an_example_runs_and_shows_what_it_is_for(name, tmp_path, monkeypatch, capsys):
    run = RUNS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(sys, "argv", [name, *run.arguments.split()])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    printed = capsys.readouterr().out
    position = 0
    for pattern in run.printed:
        found = re.compile(pattern).search(printed, position)
        assert found, f"{pattern!r} was not printed after:\n{printed[:position]}\nbut:\n{printed[position:]}"
        position = found.end()
    for file in run.files:
        assert (tmp_path / file).stat().st_size > 0
    left_behind = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert left_behind == {Path(file).parts[0] for file in run.files}, "an example writes only where it was told to"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_says_what_it_does_and_how_to_run_it(name):
    docstring = re.match(r'"""(.*?)"""', (EXAMPLES / name).read_text(encoding="utf-8"), re.DOTALL)
    assert docstring and f"python examples/{name}" in docstring[1]


def test_the_same_training_with_td3_and_with_mpdqn_differs_in_two_lines():
    td3, mpdqn = ((EXAMPLES / f"sb3_{name}.py").read_text().splitlines() for name in ("td3", "mpdqn"))
    assert len(td3) == len(mpdqn)
    assert [(a, b) for a, b in zip(td3, mpdqn, strict=True) if a != b] == [
        ("from stable_baselines3 import TD3 as Agent", "from pamdp_agents import MPDQN as Agent"),
        ("    return pamdp_agents.FlattenHybridAction(env)", "    return env"),
    ]
