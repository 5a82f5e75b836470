"""Networks described as for SB3's policies, with classes of `torch.nn`."""

import keras
import numpy as np
import pytest
import torch
from toy_environments import Target

from pamdp_agents import MPDQN
from pamdp_agents.networks.activations import TORCH_ACTIVATIONS


def make(**policy_kwargs):
    return MPDQN("MlpPolicy", Target(), learning_starts=5, batch_size=4, policy_kwargs=policy_kwargs, seed=0)


def test_an_agent_with_a_torch_activation_learns_and_is_saved_without_a_pickle(tmp_path):
    agent = make(net_arch={"pi": [8], "qf": [8]}, activation_fn=torch.nn.Tanh)
    agent.learn(20)
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    assert loaded.policy_kwargs["activation_fn"] == "tanh"
    observations = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype("f")
    np.testing.assert_equal(
        loaded.predict(observations, deterministic=True)[0], agent.predict(observations, deterministic=True)[0]
    )


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_torchs_activations_are_the_functions_of_keras_that_stand_for_them(name):
    x = np.linspace(-5, 5, 101).astype("f")
    ours = keras.activations.get(TORCH_ACTIVATIONS[name])(x)
    np.testing.assert_allclose(ours, getattr(torch.nn, name)()(torch.from_numpy(x)), rtol=1e-4, atol=1e-6)


def test_a_torch_activation_that_keras_has_not_is_named():
    with pytest.raises(ValueError, match=r"activation_fn: of torch.nn, ReLU, .* are known, got LeakyReLU"):
        make(activation_fn=torch.nn.LeakyReLU)
