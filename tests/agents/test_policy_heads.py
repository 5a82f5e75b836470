"""Several parameter actors: the best of all their actions acts, each climbs for itself, and rules know who acted."""

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from test_updates import Spaces
from toy_environments import Target

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN
from pamdp_agents.strategies import StrategyContext

LINEAR = {"net_arch": []}
SIZES = (1, 1)


def make(agent_class=PDQN, env=None, **settings):
    plain = {"policy_kwargs": LINEAR, "max_grad_norm": None, "strategy": "none", "n_policies": 2, "seed": 0}
    return agent_class("MlpPolicy", env or Spaces(1, SIZES), **plain | settings)


def set_linear(agent, name, kernel, bias):
    """Gives a linear network, and its target, these weights: kernel [inputs, outputs]."""
    values = {"output/kernel": np.float32(kernel), "output/bias": np.float32(bias)}
    agent.set_parameters({name: values, f"{name}_target": values}, exact_match=False)


def set_case(agent):
    """Q_0 = x_0 and Q_1 = −2·x_1; actors give (0.5, 0.1) and (0.2, −0.4): values (0.5, −0.2), (0.2, 0.8)."""
    set_linear(agent, "actor", np.zeros((1, 2)), [0.5, 0.1])
    set_linear(agent, "actor2", np.zeros((1, 2)), [0.2, -0.4])
    set_linear(agent, "q", [[0, 0], [1, 0], [0, -2]], [0.0, 0.0])


def row(k=0, x=(0.0, 0.0), r=0.0, discount=1.0, policy=0):
    return [0.0, k, *x, r, 0.0, discount, policy]


def update(agent, rows):
    metrics, _ = agent.learner.train(np.float32(rows)[None], agent.current_inputs())
    return dict(zip(agent.update_metrics, metrics.numpy(), strict=True))


@pytest.mark.parametrize("agent_class", [PDQN, MPDQN])
def test_the_best_of_all_actors_actions_acts(agent_class):
    agent = make(agent_class)
    set_case(agent)
    observations = np.zeros((3, 1), np.float32)
    k, x, extras = agent.acting.decide(observations)
    np.testing.assert_array_equal(k, [1, 1, 1])
    np.testing.assert_allclose(x, [[0.2, -0.4]] * 3)
    np.testing.assert_array_equal(extras["policy"], [[1]] * 3)
    action, _ = agent.predict(observations[0], deterministic=True)
    assert action[0] == 1 and action[1][1] == pytest.approx(-0.4)
    frozen = agent.frozen_policy()(tf.constant(observations))
    np.testing.assert_array_equal(frozen.k, k)
    np.testing.assert_allclose(frozen.x, x)
    values, parameters = agent.q_values(observations[0])
    np.testing.assert_allclose(values, [0.5, 0.8], rtol=1e-6)
    np.testing.assert_allclose(np.concatenate(parameters), [0.5, -0.4], rtol=1e-6)


@pytest.mark.parametrize("double_q, best", [(False, 0.8), (True, 0.5)])
def test_the_target_is_of_the_best_action_of_all_actors(double_q, best):
    """With double Q-learning the online networks choose: the first actor's action 0, of which the targets say 0.5."""
    agent = make(double_q=double_q, gamma=0.5)
    set_case(agent)
    agent.set_parameters({"actor": {"output/bias": np.float32([5.0, 0.1])}}, exact_match=False)
    metrics = update(agent, [row(r=1.0)])
    assert metrics["mean_td_error"] == pytest.approx(1 + 0.5 * best)


def test_each_actor_climbs_by_its_own_gradient():
    """Q_0 = x_0 and Q_1 = −2·x_1 wherever an actor is: both get the gradient (1, −2), alone clipped to norm 1."""
    for max_grad_norm, expected in ((None, [1.0, -2.0]), (1.0, np.array([1, -2]) / 5**0.5)):
        agent = make(learning_rate=0.0, max_grad_norm=max_grad_norm)
        set_case(agent)
        metrics = update(agent, [row(), row(k=1)])
        parameters = agent.get_parameters()
        for name in ("actor", "actor2"):
            moment = parameters[f"{name}.optimizer"]["m/output/bias"]
            np.testing.assert_allclose(-10 * moment, expected, rtol=1e-4)
            assert parameters[f"{name}.optimizer"]["step"] == 1
        assert metrics["actor_loss"] == pytest.approx(-(0.5 - 0.2 + 0.2 + 0.8))


def test_a_rule_on_td_errors_acts_on_the_actor_that_acted():
    """All TD errors are below the threshold: the taken action's parameter loses its gradient, with its own actor."""
    agent = make(learning_rate=0.0, strategy="selective_clipping", gamma=0.0)
    set_case(agent)
    update(agent, [row(k=1, r=-9.0, policy=1), row(k=0, r=-9.0, policy=0)])
    parameters = agent.get_parameters()
    first, second = (-10 * parameters[f"{name}.optimizer"]["m/output/bias"] for name in ("actor", "actor2"))
    np.testing.assert_allclose(first, [0.5, -2.0], rtol=1e-4)  # without the second row's
    np.testing.assert_allclose(second, [1.0, -1.0], rtol=1e-4)  # without the first row's


def test_a_strategy_sees_all_actors_side_by_side():
    seen = []

    def strategy(gradient, context: StrategyContext):
        seen.append((gradient.shape, tf.get_static_value(context.mask), context.action.shape))
        return gradient

    agent = make(strategy=strategy, env=Spaces(1, (2, 1)))
    update(agent, [[0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1]] * 3)
    [(shape, mask, action)] = seen
    assert (shape, action) == ((3, 6), (3,))
    own = np.array([[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(mask, np.block([[own, 0 * own], [0 * own, own]]))


def test_actors_share_nothing_and_start_apart():
    agent = make(n_policies=3, env=Target(), policy_kwargs={"net_arch": [8]}, n_critics=2)
    assert list(agent.networks) == ["q", "q2", "actor", "actor2", "actor3"]
    parameters = agent.get_parameters()
    biases = [parameters[name]["output/bias"] for name in ("actor", "actor2", "actor3")]
    assert not biases[0].any()
    assert (biases[1] != biases[2]).all() and all((np.abs(bias) <= 1).all() and bias.any() for bias in biases[1:])
    alone = make(n_policies=1, env=Target(), policy_kwargs={"net_arch": [8]}).get_parameters()
    for name in alone["actor"]:
        np.testing.assert_array_equal(alone["actor"][name], parameters["actor"][name])


@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_the_actor_that_acted_is_stored(noise):
    """Random actions' actors are drawn where their parameters are; else it is the one whose parameters get noise."""
    agent = make(env=Target(), learning_starts=1000, action_noise=noise)
    n = agent.parameterized_space.parameter_size
    set_linear(agent, "actor", np.zeros((2, n)), np.full(n, -0.5))
    set_linear(agent, "actor2", np.zeros((2, n)), np.full(n, 0.5))
    agent.learn(60)
    stored = agent.row.unpack(agent.replay_buffer.rows[:60])
    policies = stored.extras["policy"][:, 0]
    assert set(policies) <= {0, 1}
    if noise == "uniform":
        assert 15 < policies.sum() < 45
    else:
        own = np.where(policies == 0, -0.5, 0.5)
        assert (np.median(np.abs(stored.x - own[:, None]), 0) < 0.3).all()


@pytest.mark.parametrize("agent_class", [PDQN, MPDQN, SPDQN])
def test_all_actors_learn(agent_class):
    agent = make(agent_class, env=Target(), policy_kwargs={"net_arch": [8]}, learning_starts=5, batch_size=4)
    before = agent.get_parameters()
    after = agent.learn(20).get_parameters()
    for name in ("actor", "actor2", "actor_target", "actor2_target"):
        assert (after[name]["output/kernel"] != before[name]["output/kernel"]).any(), name


def test_several_actors_need_parameters_and_a_maximum():
    env = Spaces(1, SIZES)
    env.action_space = gym.spaces.Discrete(3)
    with pytest.raises(ValueError, match="n_policies=2 actors need parameters"):
        make(env=env)
    with pytest.raises(ValueError, match="n_policies must be an integer of at least 1"):
        make(n_policies=0)
    with pytest.raises(TypeError, match="n_policies"):
        PADDPG("MlpPolicy", None, n_policies=2)


def test_transitions_from_elsewhere_count_as_the_first_actors():
    agent = make(env=Target())
    observation = np.zeros(2, np.float32)
    action = agent.action_space.sample()
    agent.replay_buffer.add(observation, observation, action, 1.0, False, {})
    assert agent.row.unpack(agent.replay_buffer.rows[:1]).extras["policy"] == 0
