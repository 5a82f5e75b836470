"""SB3's loggers and writers in this library's agents, and this library's loggers in SB3's."""

import csv
import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from stable_baselines3 import TD3
from stable_baselines3.common import logger as sb3
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pamdp_agents import MPDQN, FlattenHybridAction, logger

PLATFORM = "pamdp/Platform-v0"
KEYS = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "time/total_timesteps", "train/critic_loss", "train/actor_loss"}


def columns(folder):
    with (folder / "progress.csv").open(newline="") as file:
        [*rows] = csv.DictReader(file)
    assert len(rows) > 1
    return set(rows[-1])


def test_an_agent_logs_through_sb3s_configure(tmp_path):
    agent = MPDQN("MlpPolicy", PLATFORM, learning_starts=10, batch_size=4, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.set_logger(sb3.configure(str(tmp_path), ["stdout", "log", "csv", "json", "tensorboard"]))
    agent.learn(60, log_interval=2)
    assert columns(tmp_path) >= KEYS
    lines = (tmp_path / "progress.json").read_text().splitlines()
    assert json.loads(lines[-1])["time/total_timesteps"] <= agent.num_timesteps
    assert "ep_rew_mean" in (tmp_path / "log.txt").read_text()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    agent.logger.close()


def test_an_agent_of_sb3_logs_through_our_configure(tmp_path):
    env = FlattenHybridAction(gym.make(PLATFORM))
    agent = TD3("MlpPolicy", env, learning_starts=10, batch_size=4, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.set_logger(logger.configure(tmp_path, ["stdout", "log", "csv", "json", "tensorboard"]))
    agent.learn(60, log_interval=2)
    assert columns(tmp_path) >= KEYS


def test_our_logger_takes_sb3s_writers(tmp_path):
    made = logger.Logger(
        str(tmp_path),
        [sb3.CSVOutputFormat(str(tmp_path / "progress.csv")), sb3.JSONOutputFormat(str(tmp_path / "progress.json"))],
    )
    for step in (1, 2):
        made.record("a/b", 0.5 * step)
        made.record("a/hidden", 1, exclude="csv")
        made.dump(step)
    made.close()
    assert columns(tmp_path) == {"a/b"}
    assert json.loads((tmp_path / "progress.json").read_text().splitlines()[-1]) == {"a/b": 1.0, "a/hidden": 1}


SPECIAL = {
    "Figure": lambda: sb3.Figure(Figure(), close=True),
    "Image": lambda: sb3.Image(torch.rand(8, 8, 3), "HWC"),
    "Video": lambda: sb3.Video(torch.rand(1, 2, 3, 8, 8), fps=4),
    "HParam": lambda: sb3.HParam({"gamma": 0.9}, {"rollout/ep_rew_mean": 0}),
    "histogram": lambda: torch.arange(3.0, requires_grad=True),
    "bfloat16": lambda: torch.arange(3.0).bfloat16(),
}


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "SB3's"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_sb3s_recipes_record_is_in_tensorboard_as_sb3_has_it(tmp_path, kind, ours):
    if kind == "Video" and not ours:
        pytest.skip("PyTorch writes no videos with moviepy 2")
    writer = (logger if ours else sb3).make_output_format("tensorboard", str(tmp_path))
    writer.write({"value": SPECIAL[kind]()}, {"value": None}, 7)
    writer.close()
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    if kind == "HParam":
        assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= found.summary_metadata.keys()
        return
    name = "histograms" if kind in ("histogram", "bfloat16") else "images"
    [event] = (found.Histograms if name == "histograms" else found.Images)("value")
    assert event.step == 7
    if name == "histograms":
        assert (event.histogram_value.num, event.histogram_value.sum) == (3, 3)


@pytest.mark.parametrize("form", ["stdout", "log", "csv", "json"])
@pytest.mark.parametrize("kind", ["Figure", "Image", "Video", "HParam"])
def test_our_writers_refuse_sb3s_values_as_its_own_do(tmp_path, kind, form):
    for library in (logger, sb3):
        writer = library.make_output_format(form, str(tmp_path))
        with pytest.raises(library.FormatUnsupportedError, match=form):
            writer.write({"value": SPECIAL[kind]()}, {"value": ()})
        writer.close()


def test_tensors_of_pytorch_are_numbers_and_lists_in_files(tmp_path):
    made = logger.configure(tmp_path, ["json"])
    made.record("one", torch.tensor(0.5, requires_grad=True))
    made.record("several", torch.arange(3).bfloat16())
    made.record("nested", {"a": [torch.tensor(1)]})
    made.dump()
    assert json.loads((tmp_path / "progress.json").read_text()) == {
        "one": 0.5,
        "several": [0, 1, 2],
        "nested": {"a": [1]},
    }


def test_a_writer_written_for_sb3_works_in_our_logger():
    class Sink(sb3.KVWriter, sb3.SeqWriter):
        rows, messages = [], []

        def write(self, key_values, key_excluded, step=0):
            for (key, value), (_, excluded) in zip(
                sorted(key_values.items()), sorted(key_excluded.items()), strict=True
            ):
                if not (excluded is not None and "sink" in excluded) and isinstance(value, np.ScalarType):
                    self.rows.append((key, value, step))

        def write_sequence(self, sequence):
            self.messages.append(sequence)

        def close(self):
            pass

    agent = MPDQN("MlpPolicy", PLATFORM, learning_starts=10, batch_size=4, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.set_logger(logger.Logger(None, [Sink()]))
    agent.learn(60, log_interval=2)
    agent.logger.info("done", 1)
    assert {key for key, _, _ in Sink.rows} >= KEYS
    assert Sink.messages == [["done", "1"]]


@pytest.mark.parametrize("library", [logger, sb3], ids=["ours", "SB3's"])
def test_callbacks_read_the_losses_after_each_round_of_updates(library):
    agent = MPDQN(
        "MlpPolicy", PLATFORM, learning_starts=10, batch_size=4, train_freq=4, policy_kwargs={"net_arch": [8]}, seed=0
    )
    agent.set_logger(library.configure(None, [""]))
    seen = []

    def look(locals_, globals_):
        values = agent.logger.name_to_value
        seen.append((agent._n_updates, values.get("train/n_updates"), values.get("train/critic_loss")))

    agent.learn(40, callback=look, log_interval=None)
    assert {(made, shown) for made, shown, _ in seen} == {(0, None), *((n, n) for n in range(1, 8))}
    assert len({loss for *_, loss in seen}) == 8, "each round's loss is another one, none before the first"
    assert agent.logger.name_to_value["train/n_updates"] == agent._n_updates == 8
    agent.logger.dump(40)
    assert not agent.logger.name_to_value
