"""Exploration: what happens to k and x in the random and in the greedy case, and how ε falls."""

import numpy as np
import pytest
from toy_environments import Corridor, Target

from pamdp_agents import MPDQN, exploration
from pamdp_agents.experience.transition import Decision
from pamdp_agents.exploration import GaussianNoise, OrnsteinUhlenbeckNoise, ParameterNoise


def explored(action_noise, epsilon, n=2000):
    """Explored actions (k [n], x [n, 4]) and the greedy one, for one observation."""
    agent = MPDQN("MlpPolicy", Target(), seed=0, action_noise=action_noise)
    observation = np.array([0.3, -0.7], "f")
    rng = np.random.default_rng(0)
    k, x, _ = agent.acting.decide(observation[None])
    agent.explorer.noises = [agent.action_noise] * n

    def act(observations, masks):
        return Decision(np.tile(k, len(observations)), np.tile(x, (len(observations), 1)), {})

    found = agent.explorer.explore(act, np.tile(observation, (n, 1)), epsilon, agent.action_noise, 1.0, rng)
    return found.k, found.x, int(k[0]), x[0]


def test_the_rate_is_there_before_an_environment_is_and_stays_what_it_is_set_to():
    agent = MPDQN("MlpPolicy", None, exploration_initial_eps=0.7)
    assert agent.exploration_rate == 0.7
    agent.exploration_rate = 0.3
    agent.set_env(Target())
    assert agent.exploration_rate == 0.3


def test_another_noise_is_used_from_then_on():
    agent = MPDQN("MlpPolicy", Target(), seed=0, exploration_initial_eps=0.0)
    observations = np.tile(np.float32([0.3, -0.7]), (10, 1))
    assert len({str(action) for action in agent.predict(observations)[0]}) == 1
    agent.action_noise = GaussianNoise(5.0)
    assert len({str(action) for action in agent.predict(observations)[0]}) > 1
    agent.learn(5)
    assert agent.explorer.noises == [agent.action_noise]


def test_uniform_exploration_draws_everything_at_random_or_nothing():
    k, x, _, _ = explored("uniform", 1.0)
    np.testing.assert_allclose(np.bincount(k) / len(k), 1 / 3, atol=0.04)
    np.testing.assert_allclose(x.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(x.std(0), 1 / np.sqrt(3), atol=0.03)
    k, x, greedy_k, greedy_x = explored("uniform", 0.0, 10)
    assert set(k) == {greedy_k}
    np.testing.assert_array_equal(x, np.tile(greedy_x, (10, 1)))


def test_what_is_all_random_is_not_acted_for():
    explorer = MPDQN("MlpPolicy", Target(), seed=0).explorer
    asked = []

    def act(observations, masks):
        asked.append(len(observations))
        return Decision(np.zeros(3, int), np.zeros((3, 4), "f"), {})

    def explored(epsilon):
        rng = np.random.default_rng(4)
        return explorer.explore(act, np.zeros((3, 2), "f"), epsilon, exploration.get("uniform"), 1.0, rng)

    all_random = explored(1.0)
    assert asked == [] and all_random.x.all() and (np.abs(all_random.x) <= 1).all()
    drawn = np.random.default_rng(4).random(3)
    one_greedy = explored(drawn.max())  # the largest is not below it
    assert asked == [3] and one_greedy.k[drawn.argmax()] == 0 and not one_greedy.x[drawn.argmax()].any()
    assert (all_random.x.shape, all_random.x.dtype) == (one_greedy.x.shape, one_greedy.x.dtype)
    assert (all_random.k.shape, all_random.k.dtype) == (one_greedy.k.shape, one_greedy.k.dtype)


def test_gaussian_noise_moves_the_chosen_actions_parameters_only_in_both_cases():
    for epsilon in (0.0, 1.0):
        k, x, greedy_k, greedy_x = explored({"name": "gaussian", "sigma": 0.2}, epsilon)
        owner = np.array([0, 1, 2, 2])
        chosen = owner[None] == k[:, None]
        np.testing.assert_array_equal(np.where(chosen, 0, x - greedy_x), 0)
        assert np.std((x - greedy_x)[chosen]) == pytest.approx(0.2, rel=0.05)
        assert set(k) == ({greedy_k} if epsilon == 0 else {0, 1, 2})


def test_explored_parameters_stay_within_their_bounds():
    _, x, _, _ = explored({"name": "gaussian", "sigma": 5.0}, 0.5)
    assert np.abs(x).max() == 1


def test_ornstein_uhlenbeck_noise_drifts_and_forgets_at_reset():
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    noise = OrnsteinUhlenbeckNoise(theta=0.5, sigma=0.3)
    n = 0.0
    for _ in range(3):
        n = n - 0.5 * n + 0.3 * same.standard_normal(2)
        np.testing.assert_allclose(noise.sample(rng, 2), n)
    noise.reset()
    np.testing.assert_allclose(noise.sample(rng, 2), 0.3 * same.standard_normal(2))


def test_epsilon_falls_over_a_fraction_of_the_steps():
    agent = MPDQN("MlpPolicy", Corridor(), seed=0, learning_starts=1000, exploration_fraction=0.5)
    rates = []
    agent.learn(200, callback=lambda locals_, globals_: rates.append(locals_["self"].exploration_rate))
    np.testing.assert_allclose(rates[::50], [1.0, 1 - 0.99 * 0.5, 0.01, 0.01], atol=1e-9)


def test_epsilon_falls_over_episodes():
    agent = MPDQN("MlpPolicy", Corridor(length=5), seed=0, learning_starts=1000, exploration_episodes=10)
    rates = []
    agent.learn(60, callback=lambda locals_, globals_: rates.append(locals_["self"].exploration_rate))
    np.testing.assert_allclose(rates[::5], [*np.linspace(1.0, 0.01, 11), 0.01])


@pytest.mark.parametrize("name", list(exploration.NOISES))
def test_noise_configurations_round_trip(name):
    config = exploration.serialize(exploration.get(name))
    assert config["name"] == name
    assert exploration.serialize(exploration.get(config)) == config


@pytest.mark.parametrize(
    "identifier, error, message",
    [
        ("gausian", ValueError, "known: uniform, gaussian, ornstein_uhlenbeck"),
        ({"name": "gaussian", "sigma": -1}, ValueError, "sigma must be a finite number at least 0, got -1"),
        ({"name": "gaussian", "mu": 0}, ValueError, "mu"),
        (0.1, TypeError, "got 0.1"),
    ],
)
def test_unknown_noise_is_refused(identifier, error, message):
    with pytest.raises(error, match=message):
        exploration.get(identifier)


def test_a_users_own_noise_is_used():
    class Constant(ParameterNoise):
        def sample(self, rng, n_parameters):
            return np.full(n_parameters, 0.25)

    k, x, _, greedy_x = explored(Constant(), 0.0, 1)
    owned = np.array([0, 1, 2, 2]) == k[0]
    np.testing.assert_allclose(x[0] - greedy_x, 0.25 * owned, atol=1e-6)
    with pytest.raises(TypeError, match="no configuration"):
        exploration.serialize(Constant())
    assert exploration.get(GaussianNoise(0.3)).get_config() == {"sigma": 0.3}
