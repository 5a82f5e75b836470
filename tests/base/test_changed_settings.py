"""Settings changed during training: each acts from then on, or the assignment is refused."""

import gymnasium as gym
import numpy as np
import pytest
from toy_environments import Numbered

from pamdp_agents import MPDQN, PADDPG, QPAMDP, HybridPPO
from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.base.on_policy import OnPolicyAgent
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.exploration import GaussianNoise
from pamdp_agents.training import train_together

# For each setting that may be changed, a value with which training goes on otherwise.
CHANGES = {
    "learning_rate": 0.5,
    "actor_learning_rate": 0.5,
    "learning_starts": 10_000,
    "batch_size": 3,
    "tau": 1.0,
    "actor_tau": 1.0,
    "gamma": 0.0,
    "train_freq": 3,
    "gradient_steps": 2,
    "exploration_initial_eps": 0.0,
    "exploration_final_eps": 1.0,
    "exploration_fraction": 0.1,
    "exploration_episodes": 500,
    "exploration_schedule": 1.0,
    "action_noise": "gaussian",
    "reward_scale": 100.0,
    "strategy": "sign_reversal",
    "max_grad_norm": 1e-6,
    "loss": "huber",
    "target_policy_noise": 0.2,
    "double_q": True,
    "actor_loss_weighting": "average",
    "actor_loss_indexed": True,
}
CHANGES_OF_QPAMDP = {
    "learning_rate": 1e-4,
    "gamma": 0.0,
    "sarsa_lambda": 0.9,
    "adaptive_step_size": False,
    "discount_substeps": True,
    "temperature": 0.0,
    "temperature_decay": 0.0,
    "initial_action_episodes": 0,
    "action_episodes": 2,
    "parameter_updates": 2,
    "n_rollouts": 1,
    "parameter_learning_rate": 0.5,
    "normalize_gradient": False,
}
WITHOUT_EFFECT_ON_WEIGHTS = {"tensorboard_log", "verbose"}
TRIED_ELSEWHERE = {"target_noise_clip"}  # acts with noise only: tests/agents/test_twin_critics.py
SMALL = {"learning_starts": 10, "batch_size": 4, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
SMALL_QPAMDP = {"initial_action_episodes": 12, "parameter_updates": 1, "n_rollouts": 2, "action_episodes": 1, "seed": 0}
STEPS, AT = 60, 30
OF_ROLLOUTS = {
    "learning_rate": 0.01,
    "gamma": 0.5,
    "gae_lambda": 0.5,
    "clip_range": 0.01,
    "ent_coef": 0.5,
    "vf_coef": 2.0,
}
OF_ROLLOUTS_COMPILED = {
    "batch_size": 5,
    "n_epochs": 3,
    "clip_range_vf": 0.01,
    "normalize_advantage": False,
    "max_grad_norm": None,
    "target_kl": 1e-6,
    "ratio": "separate",
}


def make(kind=MPDQN, **settings):
    return kind(
        "MlpPolicy",
        Numbered(),
        **SMALL | {"exploration_fraction": 1.0, "scale_observations": False, "learning_rate": 0.05} | settings,
    )


class Substeps(gym.Wrapper):
    """Says that each step took two substeps."""

    def step(self, action):
        *rest, info = self.env.step(action)
        return *rest, info | {"substeps": 2}


def make_qpamdp():
    return QPAMDP("MlpPolicy", Substeps(Numbered()), temperature=10.0, **SMALL_QPAMDP)


class Change(BaseCallback):
    def __init__(self, name, value):
        super().__init__()
        self.name, self.value = name, value

    def _on_step(self):
        if self.num_timesteps == AT:
            setattr(self.model, self.name, self.value)
        return True


def weights(agent):
    return np.concatenate([w.ravel() for group in agent.get_parameters().values() for w in group.values()])


@pytest.mark.parametrize("algorithm", AGENTS)
def test_every_setting_is_refused_or_among_those_tried_below(algorithm):
    kind, tried = agent_class(algorithm), CHANGES
    agent = kind("MlpPolicy", Numbered(), seed=0)
    if isinstance(agent, OnPolicyAgent):
        tried = CHANGES | OF_ROLLOUTS | OF_ROLLOUTS_COMPILED
    elif kind is QPAMDP:
        tried = CHANGES_OF_QPAMDP
    for name, setting in agent.declared_settings.items():
        if setting.change == "refused":
            with pytest.raises(AttributeError, match=name):
                setattr(agent, name, setting.default if name != "policy" else "MlpPolicy")
        else:
            assert name in tried.keys() | WITHOUT_EFFECT_ON_WEIGHTS | TRIED_ELSEWHERE, name


@pytest.fixture(scope="module")
def unchanged():
    return weights(make().learn(STEPS))


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_acts(name, unchanged):
    agent = make().learn(STEPS, callback=Change(name, CHANGES[name]))
    assert not np.array_equal(weights(agent), unchanged)


@pytest.fixture(scope="module")
def unchanged_qpamdp():
    return weights(make_qpamdp().learn(STEPS))


@pytest.mark.parametrize("name", CHANGES_OF_QPAMDP)
def test_a_changed_setting_of_qpamdp_acts(name, unchanged_qpamdp):
    agent = make_qpamdp().learn(STEPS, callback=Change(name, CHANGES_OF_QPAMDP[name]))
    assert not np.array_equal(weights(agent), unchanged_qpamdp)


def learned_from_rollouts(name=None, value=None):
    """The weights after three rollouts in which a setting is changed."""
    settings = {"n_steps": 10, "batch_size": 10, "n_epochs": 2, "policy_kwargs": {"net_arch": [4]}, "seed": 0}
    agent = HybridPPO("MlpPolicy", Numbered(), learning_rate=0.05, ent_coef=0.01, **settings)
    agent.learn(30, callback=None if name is None else lambda locals_, _: setattr(agent, name, value) or True)
    return weights(agent)


@pytest.fixture(scope="module")
def unchanged_rollouts():
    return learned_from_rollouts()


@pytest.mark.parametrize(
    "name", [*OF_ROLLOUTS, *(pytest.param(name, marks=pytest.mark.slow) for name in OF_ROLLOUTS_COMPILED)]
)
def test_a_changed_setting_acts_on_rollouts(name, unchanged_rollouts):
    changed = learned_from_rollouts(name, (OF_ROLLOUTS | OF_ROLLOUTS_COMPILED)[name])
    assert not np.array_equal(changed, unchanged_rollouts)


def test_a_setting_changed_before_training_is_as_if_given_to_the_constructor():
    changed = make()
    changed.learn(20)
    given = make(gamma=0.5, loss="huber", tau=0.5, strategy="zeroing", max_grad_norm=None, batch_size=5)
    given.set_parameters(changed.get_parameters())
    rows = changed.replay_buffer.draw(1, 5)
    for name in ("gamma", "loss", "tau", "strategy", "max_grad_norm", "batch_size"):
        setattr(changed, name, getattr(given, name))
    for agent in (changed, given):
        agent.learner.train(rows, agent.current_inputs(), (1, 2))
    np.testing.assert_array_equal(weights(changed), weights(given))


def test_a_changed_setting_is_checked_and_a_refused_one_stays():
    agent = make()
    with pytest.raises(ValueError, match="gamma must be a finite number at least 0 and at most 1, got 2"):
        agent.gamma = 2
    with pytest.raises(AttributeError, match=r"buffer_size cannot change .* MPDQN.load\(path, buffer_size=...\)"):
        agent.buffer_size = 5
    with pytest.raises(AttributeError, match="set_env"):
        agent.env = Numbered()
    with pytest.raises(AttributeError, match=r"strategy cannot change to .*: its actor ends in tanh"):
        agent.strategy = ["inverting", "squashing"]
    assert agent.gamma == 0.95 and agent.buffer_size == SMALL["buffer_size"]
    assert agent.learn(STEPS).num_timesteps == STEPS


def test_a_strategy_in_use_cannot_be_altered_unseen():
    agent = make(strategy={"name": "sign_reversal", "factor": 0.2})
    with pytest.raises(AttributeError, match=r"SignReversal\.factor cannot change: give the agent another strategy"):
        agent.strategy.factor = 0.5


def test_before_an_agent_has_its_spaces_every_setting_can_change():
    agent = MPDQN("MlpPolicy", None, **SMALL)
    agent.buffer_size, agent.policy_kwargs = 7, {"net_arch": [3]}
    agent.set_env(Numbered())
    assert agent.replay_buffer.buffer_size == 7
    assert agent.get_parameters()["q"]["hidden_0/kernel"].shape[1] == 3


def test_agents_trained_together_take_numbers_and_refuse_what_compiles_anew():
    refused = []

    class Changing(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == AT:
                self.model.gamma = 0.0
                for name in ("loss", "batch_size", "strategy"):
                    try:
                        setattr(self.model, name, CHANGES[name])
                    except AttributeError as error:
                        refused.append(str(error))
            return True

    agents, others = ([make(seed=seed) for seed in (0, 1)] for _ in range(2))
    train_together(agents, STEPS, callback=lambda agent: Changing())
    train_together(others, STEPS)
    assert refused and all("while agents are trained together" in message for message in refused)
    for agent, other in zip(agents, others, strict=True):
        assert not np.array_equal(weights(agent), weights(other))
    agents[0].loss = "huber"  # afterwards it can


def test_the_noises_sigma_acts_in_every_environment():
    def spread(sigma):
        envs = gym.vector.SyncVectorEnv([Numbered] * 3)
        agent = MPDQN("MlpPolicy", envs, action_noise=GaussianNoise(0.0), **SMALL | {"learning_starts": 10_000})
        agent.learn(30)
        agent.action_noise.sigma = sigma
        agent.learn(30, reset_num_timesteps=False)
        return [noise.sigma for noise in agent.explorer.noises]

    assert spread(0.7) == [0.7] * 3


def test_lr_schedule_is_the_learning_rate_by_sb3s_name():
    agent = make(learning_rate={"start": 1.0, "end": 0.0})
    assert [agent.lr_schedule(remaining) for remaining in (1.0, 0.5, 0.0)] == [1.0, 0.5, 0.0]
    agent.lr_schedule = lambda remaining: 0.25
    assert agent.current_inputs()["learning_rate"] == 0.25


def test_numbers_that_another_agent_does_not_have_are_refused_as_plain_attributes_are():
    agent = make(PADDPG)
    assert "double_q" not in agent.declared_settings
