"""TD3's options: the least of several critics, noise in the target, and an actor that moves in every few updates."""

import io

import gymnasium as gym
import numpy as np
import pytest
from test_updates import Spaces
from toy_environments import Target

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN
from pamdp_agents.logger import configure

TD3 = {"n_critics": 2, "policy_delay": 2, "target_policy_noise": 0.2}
LINEAR = {"net_arch": []}


def make(agent_class, sizes=(1, 1), n_observations=1, **settings):
    settings = {"policy_kwargs": LINEAR, "max_grad_norm": None, "strategy": "none", "seed": 0} | settings
    return agent_class("MlpPolicy", Spaces(n_observations, sizes), **settings)


def set_linear(agent, name, kernel, bias):
    """Gives a linear network, and its target, these weights: kernel [inputs, outputs]."""
    values = {"output/kernel": np.float32(kernel), "output/bias": np.float32(bias)}
    agent.set_parameters({name: values, f"{name}_target": values}, exact_match=False)


def update(agent, rows, seed=(0, 0)):
    """The metrics of one update."""
    metrics, _ = agent.learner.train(np.float32(rows)[None], agent.current_inputs(), seed)
    return dict(zip(agent.update_metrics, metrics.numpy(), strict=True))


# One row: s, k, x, r, s2, discount.
ROW = [[0.0, 1, 0.5, 0.25, 2.0, 1.0, 1.0]]


@pytest.mark.parametrize("double_q, target", [(False, 2 + 0.5 * 2), (True, 2 + 0.5 * 1)])
def test_the_target_is_the_largest_of_the_least_values(double_q, target):
    """Q'_1(s', ·) = (1, 5) and Q'_2 = (4, 2): min is (1, 2), of which 2 is the largest; not min_i max_k = 4.

    With double Q-learning, the first online critic, which prefers k = 0, chooses.
    """
    agent = make(PDQN, n_critics=2, double_q=double_q, gamma=0.5)
    set_linear(agent, "actor", np.zeros((1, 2)), [0.0, 0.0])
    set_linear(agent, "q", np.zeros((3, 2)), [1.0, 5.0])
    set_linear(agent, "q2", np.zeros((3, 2)), [4.0, 2.0])
    online = {"output/bias": np.float32([7.0, 5.0])}
    agent.set_parameters({"q": online}, exact_match=False)
    metrics = update(agent, ROW)
    assert metrics["mean_q"] == 5  # the first critic's, of k = 1
    assert metrics["mean_td_error"] == pytest.approx(abs(target - 5))
    assert metrics["critic_loss"] == pytest.approx((target - 5) ** 2 + (target - 2) ** 2)


def test_the_target_of_one_value_is_the_least():
    agent = make(PADDPG, n_critics=3, gamma=0.5)
    set_linear(agent, "actor", np.zeros((1, 4)), np.zeros(4))
    for name, bias in (("q", 3.0), ("q2", -1.0), ("q3", 4.0)):
        set_linear(agent, name, np.zeros((5, 1)), [bias])
    metrics = update(agent, [[*ROW[0], 1.0, -1.0]])
    assert metrics["mean_td_error"] == pytest.approx(abs(2 + 0.5 * -1 - 3))
    assert metrics["critic_loss"] == pytest.approx(1.5**2 + 2.5**2 + 2.5**2)


def test_the_actor_ascends_the_first_critic():
    """At equal weights of the actor, what it does depends on q and not on q2."""
    moved = []
    for of_first, of_second in ((1.0, -1.0), (1.0, 5.0), (-1.0, 1.0)):
        agent = make(PDQN, n_critics=2, learning_rate=0.0, actor_learning_rate=0.1)
        set_linear(agent, "actor", np.zeros((1, 2)), [0.0, 0.0])
        for name, slope in (("q", of_first), ("q2", of_second)):
            set_linear(agent, name, [[0, 0], [slope, 0], [0, slope]], [0.0, 0.0])
        update(agent, ROW)
        moved.append(agent.get_parameters()["actor"]["output/bias"])
    np.testing.assert_allclose(moved, [[0.1, 0.1], [0.1, 0.1], [-0.1, -0.1]], rtol=1e-5)


@pytest.mark.parametrize("agent_class, n_outputs", [(PDQN, 2), (MPDQN, 2), (PADDPG, 4)])
def test_noise_on_the_targets_parameters_is_normal_clipped_and_new(agent_class, n_outputs):
    """A critic whose target reads one output of the target actor shows it in its TD error, since r = 0 and γ = 1."""
    n = 500
    agent = make(agent_class, gamma=1.0, target_policy_noise=0.2, target_noise_clip=0.3, loss="mse", batch_size=n)
    means, squares = [], []
    for start in (0.0, 0.9):
        set_linear(agent, "actor", np.zeros((1, n_outputs)), np.full(n_outputs, start))
        last = np.zeros((1 + n_outputs, 1 if agent_class is PADDPG else 2))
        last[-1, -1] = 1.0  # the value of k = 1 is the last of the parameters
        set_linear(agent, "q", last, [-5.0] if agent_class is PADDPG else [-10.0, -5.0])
        agent.set_parameters({"q": {"output/kernel": 0 * np.float32(last)}}, exact_match=False)
        row = [0.0, 1, 0.5, 0.25, 0.0, 1.0, 1.0] + ([0.0, 1.0] if agent_class is PADDPG else [])
        before = agent.learner.state
        for seed in range(2):
            agent.learner.state = before
            metrics = update(agent, [row] * n, (3, seed))  # TD errors are x' − 0: both biases are −5
            means.append(metrics["mean_td_error"])
            squares.append(metrics["critic_loss"])
    # |N(0, 0.2)| and its square, clipped at 0.3, by integration
    draws = np.clip(np.random.default_rng(0).normal(0, 0.2, 10**6), -0.3, 0.3)
    for i in (0, 1):
        assert means[i] == pytest.approx(np.abs(draws).mean(), rel=0.1)
        assert squares[i] == pytest.approx((draws**2).mean(), rel=0.15)
    near_the_bound = np.clip(0.9 + draws, -1, 1)
    for i in (2, 3):
        assert means[i] == pytest.approx(near_the_bound.mean(), rel=0.02)
        assert squares[i] == pytest.approx((near_the_bound**2).mean(), rel=0.03)
    assert len(set(means)) == 4


def test_noise_and_random_weights_are_drawn_apart():
    """The actor's random weights are the same with and without noise in the target."""
    moved = []
    for noise in (0.0, 0.2):
        weighting = {"actor_loss_weighting": "random_weighted", "actor_learning_rate": 0.1, "learning_rate": 0.0}
        agent = make(PDQN, target_policy_noise=noise, **weighting)
        update(agent, ROW, (5, 1))
        moved.append(agent.get_parameters()["actor.optimizer"]["m/output/bias"])
    np.testing.assert_array_equal(*moved)
    assert moved[0].any()


def test_the_actor_and_all_targets_move_in_every_third_update():
    agent = make(MPDQN, n_critics=2, policy_delay=3)
    rng = np.random.default_rng(0)
    for number in range(1, 8):
        before = agent.get_parameters()
        update(agent, rng.uniform(-1, 1, (4, 7)) * [1, 0, 1, 1, 1, 1, 0])
        after = agent.get_parameters()
        moved = {name for name in after if any((after[name][key] != before[name][key]).any() for key in after[name])}
        expected = {"q", "q2", "q.optimizer", "q2.optimizer"}
        if number % 3 == 0:
            expected |= {"q_target", "q2_target", "actor.optimizer"}
            expected |= {name for name in ("actor", "actor_target") if name in moved}  # its gradient may round to 0
            assert "actor" in moved and "actor_target" in moved
        assert moved == expected, number


def test_updates_in_one_call_are_those_one_by_one():
    rng = np.random.default_rng(0)
    rows = np.float32(rng.uniform(-1, 1, (5, 4, 7)) * [1, 0, 1, 1, 1, 1, 1])
    states = []
    for sizes in ([5], [1] * 5):
        agent, first, metrics = make(PDQN, **TD3, policy_kwargs={"net_arch": [4]}), 0, []
        for size in sizes:
            means, _ = agent.learner.train(rows[first : first + size], agent.current_inputs(), (7, first))
            metrics.append((size, means.numpy()))
            first += size
        states.append(agent.learner.unload())
        weights, means = zip(*metrics, strict=True)
        total = dict(zip(agent.update_metrics, np.average(means, axis=0, weights=weights), strict=True))
        assert total["actor_updates"] == pytest.approx(2 / 5)
    for other in states[1:]:
        for name, network in states[0].networks.items():
            assert network.updates == other.networks[name].updates == (2 if name == "actor" else 5)
            np.testing.assert_allclose(network.weights, other.networks[name].weights, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(network.target, other.networks[name].target, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("delay", [2, 3])
def test_the_actor_still_moves_beyond_what_float32_counts(delay):
    agent = make(PDQN, n_critics=2, policy_delay=delay)
    steps = {f"{name}.optimizer": {"step": np.float32(2**24 - 3)} for name in ("q", "q2")}
    agent.set_parameters(steps, exact_match=False)
    moved = [bool(update(agent, ROW)["actor_updates"]) for _ in range(24)]
    moves = np.flatnonzero(moved)
    assert len(moves) >= 24 // delay - 1
    assert set(np.diff(moves)) == {delay}


def test_critics_share_nothing_and_start_apart():
    agent = make(MPDQN, n_critics=3, policy_kwargs={"net_arch": [8]}, n_observations=2)
    parameters = agent.get_parameters()
    assert list(agent.networks) == ["q", "q2", "q3", "actor"]
    kernels = [parameters[name]["hidden_0/kernel"] for name in ("q", "q2", "q3")]
    assert all((kernels[i] != kernels[j]).all() for i in range(3) for j in range(i))
    alone = make(MPDQN, policy_kwargs={"net_arch": [8]}, n_observations=2).get_parameters()
    np.testing.assert_array_equal(alone["q"]["hidden_0/kernel"], kernels[0])
    np.testing.assert_array_equal(alone["actor"]["hidden_0/kernel"], parameters["actor"]["hidden_0/kernel"])


def test_critics_that_would_stay_alike_are_refused():
    with pytest.raises(ValueError, match=r"n_critics=2 critics must not start alike.*'zeros'"):
        make(PDQN, n_critics=2, policy_kwargs={"net_arch": [], "q_output_initializer": "zeros"})


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"n_critics": 0}, ValueError),
        ({"n_critics": 1.5}, TypeError),
        ({"policy_delay": 0}, ValueError),
        ({"target_policy_noise": -0.1}, ValueError),
        ({"target_noise_clip": "much"}, TypeError),
        ({"target_noise_clip": float("nan")}, ValueError),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(wrong, error):
    [name] = wrong
    with pytest.raises(error, match=name):
        make(PDQN, **wrong)


def test_the_number_of_critics_may_stand_where_stable_baselines3_has_it():
    agent = make(PDQN, policy_kwargs={"net_arch": [4], "n_critics": 2})
    assert agent.n_critics == 2 and agent.policy_kwargs == {"net_arch": [4]}
    file = io.BytesIO()
    agent.save(file)
    assert PDQN.load(file).n_critics == 2
    assert make(PDQN, n_critics=2, policy_kwargs={"n_critics": 2}).n_critics == 2
    with pytest.raises(ValueError, match=r"n_critics is 1, but policy_kwargs\[\"n_critics\"\] is 2"):
        make(PDQN, n_critics=1, policy_kwargs={"n_critics": 2})
    with pytest.raises(ValueError, match="n_critics"):
        make(PDQN, policy_kwargs={"n_critics": 0})


def test_settings_that_may_change_act_from_the_next_update_on():
    agent = make(PDQN, gamma=1.0, batch_size=1)
    set_linear(agent, "actor", np.zeros((1, 2)), [0.0, 0.0])
    set_linear(agent, "q", [[0, 0], [0, 0], [0, 1]], [-9.0, 0.0])
    before, row = agent.learner.state, [[0.0, 1, 0.0, 0.0, 0.0, 0.0, 1.0]]
    assert update(agent, row)["mean_td_error"] == 0
    agent.target_policy_noise, agent.learner.state = 0.3, before
    assert update(agent, row)["mean_td_error"] > 0
    agent.target_noise_clip, agent.learner.state = 0.0, before
    assert update(agent, row)["mean_td_error"] == 0
    for name in ("policy_delay", "n_critics"):
        with pytest.raises(AttributeError, match=name):
            setattr(agent, name, 2)


@pytest.mark.parametrize(
    "agent_class, space",
    [(MPDQN, gym.spaces.Discrete(3)), (SPDQN, gym.spaces.Box(-1, 1, (2,))), (PADDPG, gym.spaces.Discrete(3))],
    ids=["MPDQN-Discrete", "SPDQN-Box", "PADDPG-Discrete"],
)
def test_plain_spaces_train_too(agent_class, space):
    env = Spaces(2, (1,))
    env.action_space = space
    agent = agent_class("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, batch_size=3, seed=0, **TD3)
    rows = np.zeros((2, 3, agent.row.size), np.float32)
    before = agent.get_parameters()["q2"]["output/bias"]
    rows[..., agent.row.places["r"]] = 1.0
    agent.learner.train(rows, agent.current_inputs())
    assert (agent.get_parameters()["q2"]["output/bias"] != before).any()


def test_the_log_has_the_actors_means_over_its_own_updates():
    """Of one update in a round, every second moves the actor; what is logged is of the last that did."""
    agent = PDQN("MlpPolicy", Target(), learning_starts=4, batch_size=4, policy_delay=2, seed=0)
    agent.set_logger(configure(None, []))
    logged = []
    agent.learn(9, callback=lambda found, _: logged.append(dict(agent.logger.name_to_value)) or True)
    values = [each.get("train/actor_loss") for each in logged]
    assert values[:6] == [None] * 6  # 4 steps without updates, then one of the critic only, read at the next step
    assert values[6] is not None and values[6] == values[7] != values[8]
    assert all(np.isfinite(each["train/critic_loss"]) for each in logged[5:])
    assert not any("actor_updates" in name for each in logged for name in each)
