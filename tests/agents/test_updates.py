"""The compiled update against five recorded consecutive updates of a small P-DQN and MP-DQN, to 1e-5."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.experience.transition import TransitionLayout

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "updates.json").read_text())
TOLERANCE = 1e-5


class Spaces(gym.Env):
    """An environment of which only the spaces are needed."""

    def __init__(self, n_observations, sizes):
        bounds = [gym.spaces.Box(-1, 1, (size,)) for size in sizes]
        self.observation_space = gym.spaces.Box(-1, 1, (n_observations,))
        self.action_space = gym.spaces.Tuple((gym.spaces.Discrete(len(sizes)), gym.spaces.Tuple(bounds)))


def keras_weights(recorded, names):
    """The recorded layers ([out, in] kernels) under the Keras names ([in, out]), passthrough left out."""
    layers = [values for name, values in recorded.items() if "passthrough" not in name]
    return {name: np.transpose(values).astype("f") for name, values in zip(names, layers, strict=True)}


def recorded_agent(agent_class, recorded, gradient_steps=1):
    settings = recorded["settings"]
    agent = agent_class(
        "MlpPolicy",
        Spaces(settings["n_obs"], settings["sizes"]),
        learning_rate=settings["lr_q"],
        actor_learning_rate=settings["lr_x"],
        gamma=settings["gamma"],
        tau=settings["tau_q"],
        actor_tau=settings["tau_x"],
        max_grad_norm=settings["clip"],
        loss=settings["loss"],
        strategy=settings["strategy"],
        batch_size=settings["batch"],
        policy_kwargs={"net_arch": settings["hidden"]},
        passthrough=recorded["passthrough"],
    )
    names = {group: list(weights) for group, weights in agent.get_parameters().items()}
    initial = {group: keras_weights(values, names[group]) for group, values in recorded["initial"].items()}
    agent.set_parameters(initial, exact_match=False)
    return agent, names


def packed(batch):
    discount = 1 - np.asarray(batch["d"])
    return np.column_stack([*(batch[part] for part in ("s", "k", "x", "r", "s2")), discount]).astype("f")


def assert_weights(agent, names, after):
    parameters = agent.get_parameters()
    for group, recorded in after.items():
        for name, values in keras_weights(recorded, names[group]).items():
            np.testing.assert_allclose(
                parameters[group][name], values, rtol=0, atol=TOLERANCE, err_msg=f"{group}/{name}"
            )


@pytest.mark.parametrize("agent_class, name", [(PDQN, "pdqn"), (MPDQN, "mpdqn")])
def test_five_updates_reproduce_the_recorded_weights_of_all_four_networks(agent_class, name):
    agent, names = recorded_agent(agent_class, RECORDED[name])
    for step in RECORDED[name]["steps"]:
        agent.learner.train(packed(step["batch"])[None], agent.current_inputs())
        assert_weights(agent, names, step["after"])


@pytest.mark.parametrize("agent_class, name", [(PDQN, "pdqn"), (MPDQN, "mpdqn")])
def test_five_updates_in_one_call_end_at_the_recorded_weights(agent_class, name):
    agent, names = recorded_agent(agent_class, RECORDED[name])
    agent.learner.train(np.stack([packed(step["batch"]) for step in RECORDED[name]["steps"]]), agent.current_inputs())
    assert_weights(agent, names, RECORDED[name]["steps"][-1]["after"])


def test_updates_that_tensorflow_runs_asynchronously_are_the_same():
    states = []
    for synchronous in (True, False):
        agent, _ = recorded_agent(PDQN, RECORDED["pdqn"])
        tf.config.experimental.set_synchronous_execution(synchronous)
        try:
            for step in RECORDED["pdqn"]["steps"] * 10:
                agent.learner.train(packed(step["batch"])[None], agent.current_inputs())
            states.append(agent.learner.state.numpy())
        finally:
            tf.config.experimental.set_synchronous_execution(True)
    np.testing.assert_array_equal(*states)


def test_the_recorded_rows_have_the_order_of_the_transition_layout():
    layout = TransitionLayout(4, 4)
    recorded = RECORDED["pdqn"]["steps"][0]["batch"]
    batch = layout.unpack(packed(recorded))
    for part, values in zip(("s", "k", "x", "r", "s2"), recorded.values(), strict=False):
        np.testing.assert_allclose(getattr(batch, part), np.float32(values))
    np.testing.assert_array_equal(batch.discount, 1 - np.float32(recorded["d"]))
