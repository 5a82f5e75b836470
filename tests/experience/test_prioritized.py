"""Prioritised replay: what is drawn how often, with which weights, and where the priorities come from."""

import io

import numpy as np
import pytest
from toy_environments import Numbered, Target

from pamdp_agents import MPDQN, PADDPG, PDQN, PrioritizedReplayBuffer, ReplayBuffer
from pamdp_agents.experience.sum_tree import SumTree

SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 4, "buffer_size": 50, "seed": 0, "learning_starts": 1000}
SMALL |= {"scale_observations": False}


def make(kind=PDQN, env=None, alpha=1.0, beta=0.5, **settings):
    kwargs = {"alpha": alpha, "beta": beta}
    settings = {"replay_buffer_class": PrioritizedReplayBuffer, "replay_buffer_kwargs": kwargs} | settings
    return kind("MlpPolicy", env or Numbered(0, 4), **SMALL | settings)


def filled(priorities, **settings):
    """The buffer of an agent with transitions of these priorities."""
    buffer = make(**settings).learn(len(priorities)).replay_buffer
    buffer.update_priorities(np.arange(len(priorities)), np.array(priorities))
    return buffer


# -------------------------------------------------------------------- the tree


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 5_000])
def test_the_tree_finds_what_a_running_sum_finds(size):
    rng = np.random.default_rng(size)
    tree, values = SumTree(size), np.zeros(size)
    for _ in range(20):
        indices = rng.integers(0, size, 30)
        new = rng.exponential(size=30) ** 3
        tree[indices] = new
        values[indices] = new
    np.testing.assert_array_equal(tree[:], np.pad(values, (0, 2 ** (size - 1).bit_length() - size)))
    assert tree.total == pytest.approx(values.sum(), rel=1e-12)
    points = rng.random(1_000) * values.sum() * (1 - 1e-9)
    np.testing.assert_array_equal(tree.find(points), np.searchsorted(values.cumsum(), points, side="right"))
    again = SumTree(size)  # nothing is left of what was there before
    again[np.arange(size)] = values
    assert again.total == tree.total


def test_what_is_0_is_never_found():
    tree = SumTree(200)
    tree[np.arange(1, 200, 2)] = 1.0
    assert (tree.find(np.linspace(0, 99.999, 1_000)) % 2 == 1).all()


# -------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("alpha", [1.0, 0.6, 0.0])
def test_frequencies_are_the_priorities_to_the_power_of_alpha(alpha):
    given = np.arange(1.0, 41.0) ** 2
    buffer, n = filled(given, alpha=alpha), 200_000
    buffer.draw(n, 1)  # alone in its batch, each is drawn from the whole
    counts = np.bincount(buffer.drawn, minlength=40)
    expected = n * given**alpha / (given**alpha).sum()
    chi_square, degrees = ((counts - expected) ** 2 / expected).sum(), 39
    assert abs(chi_square - degrees) < 4 * np.sqrt(2 * degrees)  # four standard deviations


def test_a_batch_is_drawn_from_equal_parts_of_the_sum():
    buffer = filled([1.0, 1.0, 2.0])
    for _ in range(20):
        buffer.draw(1, 4)
        np.testing.assert_array_equal(buffer.drawn, [0, 1, 2, 2])


def test_weights_by_hand():
    buffer = filled([1.0, 1.0, 2.0, 4.0])
    rows = buffer.draw(1, 8)[0]
    np.testing.assert_array_equal(buffer.drawn, [0, 1, 2, 2, 3, 3, 3, 3])
    # P = 1/8, 1/8, 1/4, 1/2; n·P = 1/2, 1/2, 1, 2; to the power of −1/2, divided by the largest, √2.
    by_hand = np.array([1, 1, 1 / np.sqrt(2), 1 / np.sqrt(2), 0.5, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(rows[:, -1], by_hand, rtol=1e-6)
    np.testing.assert_array_equal(rows[:, :-1], buffer.rows[buffer.drawn])
    # β is 0.75 in the middle of the training, and 1 at its end.
    np.testing.assert_allclose(buffer.draw(1, 8, 0.5)[0, :, -1], by_hand**1.5, rtol=1e-6)
    np.testing.assert_allclose(buffer.draw(1, 8, 0.0)[0, :, -1], by_hand**2, rtol=1e-6)


def test_each_batch_has_its_own_largest_weight():
    buffer = filled([1.0, 50.0])
    rows = buffer.draw(100, 2)
    assert (rows[..., -1].max(1) == 1).all() and rows[..., -1].min() < 0.2


def test_new_ones_get_the_largest_priority_also_when_the_ring_begins_anew():
    buffer = filled([1.0, 2.0, 3.0], buffer_size=5, alpha=0.5)
    assert buffer.max_priority == 3
    other = make().learn(4).replay_buffer
    buffer.store(other.layout.unpack(other.rows[:4]))
    np.testing.assert_allclose(buffer.priorities, np.sqrt([3, 3, 3, 3, 3]))  # 4 and 5, then 1 and 2 again
    buffer.update_priorities(np.array([0, 2, 0]), np.array([5.0, 7.0, 4.0]))
    np.testing.assert_allclose(buffer.priorities, np.sqrt([4, 3, 7, 3, 3]))  # the last of several
    buffer.store(other.layout.unpack(other.rows[:1]))
    np.testing.assert_allclose(buffer.priorities, np.sqrt([4, 3, 7, 3, 3]))
    buffer.store(other.layout.unpack(other.rows[:4]))
    np.testing.assert_allclose(buffer.priorities, np.sqrt([7, 7, 7, 7, 7]))
    buffer.draw(1, 50)
    np.testing.assert_array_equal(np.bincount(buffer.drawn), [10] * 5)
    buffer.reset()
    assert (len(buffer), buffer.max_priority, len(buffer.priorities)) == (0, 1, 0)
    with pytest.raises(ValueError, match="this one is empty"):
        buffer.draw(1, 4)


def test_samples_of_ones_own_are_drawn_by_priority_and_do_not_change_training():
    buffer = filled([1e-9, 1.0, 1e-9])
    before = buffer.rng.bit_generator.state
    assert set(buffer.sample(30).rewards.ravel()) == {2}
    assert buffer.rng.bit_generator.state == before


def test_wrong_priorities_are_refused():
    buffer = filled([1.0, 2.0])
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="priorities must be finite numbers above 0"):
            buffer.update_priorities(np.array([0, 1]), np.array([1.0, wrong]))
    assert buffer.priorities.tolist() == [1, 2]


# -------------------------------------------------------------------- the update


@pytest.mark.parametrize("kind", [MPDQN, PADDPG])
def test_the_update_weighs_losses_and_gives_priorities(kind):
    agent = make(kind, alpha=0.6).learn(20)
    agent.replay_buffer.update_priorities(np.arange(20), np.arange(1.0, 21.0))
    before, drawn = agent.learner.unload(), agent.replay_buffer.rng.bit_generator.state
    rows = agent.sample(1)[0]
    batch = agent.drawn_row.unpack(rows)
    batch = batch._replace(k=batch.k.astype(int))
    call = type("Call", (), {"inputs": {"gamma": agent.gamma}})
    td_error = np.asarray(agent.target(before, batch, call) - agent.predict_value(before.networks["q"].weights, batch))
    agent.replay_buffer.rng.bit_generator.state = drawn
    agent.train(1)
    loss = float(agent._metrics[0][1][0])
    weights = rows[:, -1]
    assert len(set(weights)) > 1 and loss == pytest.approx(np.mean(weights * td_error**2), rel=1e-5)
    found = agent.replay_buffer.priorities[agent.replay_buffer.drawn]
    np.testing.assert_allclose(found, (np.abs(td_error) + 1e-6) ** 0.6, rtol=1e-4)


def test_equal_weights_make_the_uniform_update():
    agents = [make(), make(replay_buffer_class=ReplayBuffer, replay_buffer_kwargs=None)]
    rows = np.random.default_rng(0).uniform(-1, 1, (1, 4, agents[0].row.size)).astype("f")
    rows[..., agents[0].row.places["k"]] = 1
    for agent in agents:
        own = rows if agent is agents[1] else np.concatenate([rows, np.ones((1, 4, 1), "f")], 2)
        agent.learner.train(own, agent.current_inputs())
    np.testing.assert_allclose(*(np.asarray(agent.learner.state) for agent in agents), rtol=1e-6, atol=1e-9)


def test_several_updates_of_a_call_all_give_theirs():
    agent = make(env=Target(), learning_starts=10, train_freq=3, gradient_steps=-1).learn(40)
    buffer = agent.replay_buffer
    assert agent._n_updates == 33
    rows = agent.sample(3)
    assert rows.shape == (3, 4, agent.drawn_row.size) == agent.rows_shape(3)
    before = buffer.priorities
    agent.train(3)
    changed = buffer.priorities != before
    assert set(changed.nonzero()[0]) <= set(buffer.drawn) and changed.any()


# -------------------------------------------------------------------- files and settings


def test_files_hold_the_priorities_and_go_from_one_kind_to_the_other():
    agent = make(alpha=0.5)
    agent.learn(6)
    agent.replay_buffer.update_priorities(np.arange(6), np.arange(1.0, 7.0))
    agent.save_replay_buffer(file := io.BytesIO())
    same, steeper, flat, smaller, uniform = (
        make(alpha=0.5),
        make(alpha=1.0),
        make(alpha=0.0),
        make(alpha=0.5, buffer_size=4),
        make(replay_buffer_class=None, replay_buffer_kwargs=None),
    )
    for other in (same, steeper, flat, uniform):
        other.load_replay_buffer(file)
        np.testing.assert_array_equal(other.replay_buffer.rows, agent.replay_buffer.rows)
    with pytest.warns(UserWarning, match="newest 4"):
        smaller.load_replay_buffer(file)
    np.testing.assert_array_equal(same.replay_buffer.priorities, np.sqrt(np.arange(1.0, 7.0)))
    assert same.replay_buffer.max_priority == 6
    np.testing.assert_allclose(steeper.replay_buffer.priorities, np.arange(1.0, 7.0))
    np.testing.assert_array_equal(flat.replay_buffer.priorities, 1)
    np.testing.assert_array_equal(smaller.replay_buffer.priorities, np.sqrt(np.arange(3.0, 7.0)))
    same.restore_replay(uniform.replay_state())
    np.testing.assert_array_equal(same.replay_buffer.priorities, 1)


def test_damaged_priorities_are_refused_and_the_old_buffer_stays():
    agent, state = make().learn(3), make().learn(5).replay_state()
    for changes in (
        {"values": np.ones(4)},
        {"values": np.ones(5, "f")},
        {"values": np.zeros(5)},
        {"values": np.full(5, np.inf)},
        {"alpha": np.array(2.0)},
        {"alpha": np.array(np.nan)},
        {"max": np.array(0.0)},
        {"max": np.array([1.0])},
    ):
        with pytest.raises(ValueError, match="replay buffer"):
            agent.restore_replay(state | {f"priority_{name}": value for name, value in changes.items()})
    with pytest.raises(KeyError, match="priority_max"):
        agent.restore_replay({name: part for name, part in state.items() if name != "priority_max"})
    assert (len(agent.replay_buffer), agent.replay_buffer.priorities.tolist()) == (3, [1, 1, 1])


def test_the_class_and_its_arguments_are_taken_by_name_and_saved(tmp_path):
    agent = make(replay_buffer_class="PrioritizedReplayBuffer", replay_buffer_kwargs={"alpha": 0.25})
    agent.save(tmp_path / "agent")
    loaded = PDQN.load(tmp_path / "agent")
    for each in (agent, loaded):
        assert (
            each.replay_buffer_class is PrioritizedReplayBuffer and type(each.replay_buffer) is PrioritizedReplayBuffer
        )
        assert (each.replay_buffer.alpha, each.replay_buffer.beta) == (0.25, 0.4)
        assert each.replay_buffer_kwargs == {"alpha": 0.25}
    plain = PDQN.load(tmp_path / "agent", replay_buffer_class=None, replay_buffer_kwargs=None)
    assert type(plain.replay_buffer) is ReplayBuffer
    neutral = make(replay_buffer_class=ReplayBuffer, replay_buffer_kwargs={"handle_timeout_termination": True})
    assert type(neutral.replay_buffer) is ReplayBuffer and neutral.replay_buffer_kwargs is None


class OfItsOwn(PDQN):
    """An agent whose update gives no priorities."""

    gives_priorities = False


KWARGS = [
    ({"alpha": 1.5}, ValueError, "replay_buffer_kwargs: alpha must be .* at most 1"),
    ({"beta": None}, TypeError, "replay_buffer_kwargs: beta must be a number"),
    ({"epsilon": 1}, ValueError, r"holds \['epsilon'\], which PrioritizedReplayBuffer does not take"),
    ({"n_steps": 3}, ValueError, "n_steps and gamma are the agent's own settings"),
    ({"handle_timeout_termination": False}, ValueError, "handle_timeout_termination"),
    ([1], TypeError, "replay_buffer_kwargs must be a dict"),
]


@pytest.mark.parametrize(
    "kind, settings, error, message",
    [
        (PDQN, {"replay_buffer_class": "HerReplayBuffer"}, ValueError, "replay_buffer_class must be None or one of"),
        (PDQN, {"replay_buffer_class": list}, ValueError, "and PrioritizedReplayBuffer, the class or its name, got"),
        (PDQN, {"replay_buffer_class": [1]}, ValueError, "replay_buffer_class must be None or one of"),
        (PDQN, {"replay_buffer_class": None}, ValueError, r"\['alpha', 'beta'\], which ReplayBuffer does not take"),
        (OfItsOwn, {}, ValueError, "replay_buffer_class=PrioritizedReplayBuffer cannot be had with OfItsOwn"),
        *((PDQN, {"replay_buffer_kwargs": given}, error, message) for given, error, message in KWARGS),
    ],
)
def test_what_cannot_be_had_is_refused(kind, settings, error, message):
    with pytest.raises(error, match=message):
        make(kind, **settings)
