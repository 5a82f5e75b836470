"""P-DQN with TD3's options, on a plain Box: the losses, gradients and weights of Stable-Baselines3's TD3."""

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.logger import configure

from pamdp_agents import PDQN

D, P, N = 3, 2, 16
SETTINGS = {"learning_rate": 3e-3, "gamma": 0.9, "tau": 0.05, "batch_size": N, "policy_delay": 2}


class Plain(gym.Env):
    """An environment of which only the spaces are needed."""

    observation_space, action_space = Box(-1, 1, (D,)), Box(-1, 1, (P,))

    def reset(self, *, seed=None, options=None):
        return np.zeros(D, np.float32), {}


class GivenBatches:
    """A replay buffer of Stable-Baselines3's that samples what it is given, one batch after the other."""

    def __init__(self, batches):
        self._batches = iter(batches)

    def sample(self, batch_size, env=None):
        s, a, r, s2, done = (torch.from_numpy(np.float32(part)) for part in next(self._batches))
        kind = sb3.common.type_aliases.ReplayBufferSamples
        return kind(s, a, s2, done[:, None], r[:, None])


def batches(n):
    rng = np.random.default_rng(0)
    uniform = [rng.uniform(-1, 1, (n, N, size)) for size in (D, P, 1, D)]
    s, a, r, s2 = map(np.float32, uniform)
    return [(s[i], a[i], 3 * r[i, :, 0], s2[i], np.arange(N) % 4 == 0) for i in range(n)]


def layers(module):
    """The names and values that our layers of the same network have."""
    linear = [each for each in module if isinstance(each, torch.nn.Linear)]
    names = [*(f"hidden_{i}" for i in range(len(linear) - 1)), "output"]
    return {
        f"{name}/{part}": (getattr(layer, theirs), layer)
        for name, layer in zip(names, linear, strict=True)
        for part, theirs in (("kernel", "weight"), ("bias", "bias"))
    }


def numbers(tensor):
    return np.ascontiguousarray(tensor.detach().numpy().T)


def networks(td3):
    critics = {"q": td3.critic.qf0, "q2": td3.critic.qf1, "actor": td3.actor.mu}
    targets = {
        "q_target": td3.critic_target.qf0,
        "q2_target": td3.critic_target.qf1,
        "actor_target": td3.actor_target.mu,
    }
    return critics | targets


def weights(td3):
    return {
        group: {name: numbers(tensor) for name, (tensor, _) in layers(module).items()}
        for group, module in networks(td3).items()
    }


@pytest.fixture
def pair():
    arch = {"net_arch": {"pi": [8, 7], "qf": [9, 8]}}
    td3 = sb3.TD3("MlpPolicy", Plain(), policy_kwargs=arch, target_policy_noise=0.0, device="cpu", seed=0, **SETTINGS)
    td3.set_logger(configure(None, []))
    agent = PDQN(
        "MlpPolicy",
        Plain(),
        policy_kwargs=arch | {"n_critics": 2},
        strategy="squashing",
        max_grad_norm=None,
        actor_learning_rate=SETTINGS["learning_rate"],
        actor_tau=SETTINGS["tau"],
        **SETTINGS,
    )
    agent.set_parameters(weights(td3), exact_match=False)
    return td3, agent


def test_four_updates_have_the_losses_gradients_and_weights_of_td3(pair):
    td3, agent = pair
    given = batches(4)
    td3.replay_buffer = GivenBatches(given)
    moments = {}
    for number, (s, a, r, s2, done) in enumerate(given, 1):
        td3.train(1, N)
        rows = np.column_stack([s, np.zeros(N), a, r, s2, 1 - done]).astype("f")
        metrics, _ = agent.learner.train(rows[None], agent.current_inputs())
        metrics = dict(zip(agent.update_metrics, metrics.numpy(), strict=True))
        parameters, theirs, moves = agent.get_parameters(), td3.logger.name_to_value, number % 2 == 0

        assert metrics["critic_loss"] == pytest.approx(theirs["train/critic_loss"], rel=1e-5)
        assert metrics["actor_updates"] == moves
        if moves:
            assert metrics["actor_loss"] == pytest.approx(theirs["train/actor_loss"], rel=1e-5, abs=1e-6)
        for name in ("q", "q2", "actor") if moves else ("q", "q2"):  # gradients from Adam's moments, m ← 0.9 m + 0.1 g
            ours = parameters[f"{name}.optimizer"]
            for key, (tensor, _) in layers(networks(td3)[name]).items():
                optimizer = (td3.actor if name == "actor" else td3.critic).optimizer
                both = np.stack([ours[f"m/{key}"], numbers(optimizer.state[tensor]["exp_avg"])])
                gradients = 10 * (both - 0.9 * moments.get((name, key), 0.0))
                np.testing.assert_allclose(*gradients, rtol=0, atol=1e-5, err_msg=f"{name}: {key}")
                moments[name, key] = both
        for group, values in weights(td3).items():
            for key, value in values.items():
                np.testing.assert_allclose(parameters[group][key], value, rtol=0, atol=1e-5, err_msg=f"{group}: {key}")
        assert parameters["q.optimizer"]["step"] == number and parameters["actor.optimizer"]["step"] == number // 2


def test_both_start_with_the_same_number_of_weights_and_act_alike(pair):
    td3, agent = pair
    observations = np.random.default_rng(1).uniform(-1, 1, (20, D)).astype("f")
    actions, _ = agent.predict(observations, deterministic=True)
    np.testing.assert_allclose(actions, td3.predict(observations, deterministic=True)[0], rtol=0, atol=1e-5)
    ours = sum(each.size for each in agent.networks.values())
    assert ours == sum(each.numel() for each in (*td3.critic.parameters(), *td3.actor.parameters()))
