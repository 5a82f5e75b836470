"""The same program with SB3's TD3 on flattened actions and with MPDQN on the environment itself, both run."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("agent", ["TD3", "MPDQN"])
def test_the_example_trains_evaluates_saves_and_loads(agent, tmp_path, monkeypatch, capsys):
    name = f"sb3_{agent.lower()}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", f"{name} --n-timesteps 600 --eval-freq 100 --folder out".split())
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(rf"{agent}: best evaluation \d\.\d+\n{agent}: mean return of 20 episodes \d\.\d+ ±", printed)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "best_model.zip",
        "model.zip",
        "progress.csv",
        "vecnormalize.pkl",
        *(f"rl_model_{steps}_steps.zip" for steps in (200, 400, 600)),
        *(f"rl_model_vecnormalize_{steps}_steps.pkl" for steps in (200, 400, 600)),
    }
