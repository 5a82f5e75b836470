"""Every option of the update against one written out in float64 NumPy, with its gradients by finite differences."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_updates import Spaces

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.experience.transition import Transition
from pamdp_agents.learning.train_state import NetworkState, TrainState

SIZES = (1, 0, 3)  # of three actions' parameters
OWNER = np.repeat(np.arange(3), SIZES)
D, K, P, N = 2, len(SIZES), sum(SIZES), 8
SHAPES = {
    "q": [(D + P, 6), (6,), (6, K), (K,)],
    "actor": [(D, 5), (5,), (5, P), (P,)],
}
PASSTHROUGH = {"weight": np.linspace(-0.4, 0.4, P * D).reshape(P, D).tolist(), "bias": [0.1, -0.2, 0.3, 0.0]}
STEPS_BEFORE = 3
# Large steps, so that it shows whether a gradient is taken before or after another network has moved.
BASE = {
    "learning_rate": 0.1,
    "actor_learning_rate": 0.05,
    "gamma": 0.9,
    "tau": 0.3,
    "actor_tau": 0.2,
    "strategy": "none",
    "loss": "mse",
    "double_q": False,
    "max_grad_norm": None,
    "actor_loss_weighting": "sum",
    "actor_loss_indexed": False,
}


# The update in NumPy: the published formulas, one evaluation after the other


def mlp(flat, shapes, inputs):
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    kernel, bias, out_kernel, out_bias = (
        part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)
    )
    return np.tanh(inputs @ kernel + bias) @ out_kernel + out_bias


def actor(flat, s, settings):
    output = mlp(flat, SHAPES["actor"], s)
    initial = s @ np.transpose(PASSTHROUGH["weight"]) + PASSTHROUGH["bias"]
    return np.tanh(output + np.arctanh(initial)) if settings["strategy"] == "squashing" else output + initial


def joint_q(flat, s, x):
    return mlp(flat, SHAPES["q"], np.hstack([s, x]))


def multi_pass_q(flat, s, x):
    return np.stack([joint_q(flat, s, x * (k == OWNER))[:, k] for k in range(K)], 1)


Q = {PDQN: joint_q, MPDQN: multi_pass_q}


def derivative(function, point, size=1e-6):
    """The derivative of a scalar or vector function by each element of the point, on the last axis."""
    columns = []
    for i in range(point.size):
        difference = np.zeros(point.size)
        difference[i] = size
        difference = difference.reshape(point.shape)
        columns.append((function(point + difference) - function(point - difference)) / (2 * size))
    return np.stack(columns, -1)


def huber(error):
    return np.where(abs(error) < 1, error**2 / 2, abs(error) - 1 / 2)


def term_weights(settings, k):
    weights = {
        "sum": np.ones(K),
        "average": np.full(K, 1 / K),
        "weighted": np.bincount(k, minlength=K) / len(k),
    }[settings["actor_loss_weighting"]]
    return np.where((np.arange(K) == k[:, None]) | (not settings["actor_loss_indexed"]), weights, 0)


def strategy(name, g, x, td_error, k):
    own, td = k[:, None] == OWNER, td_error[:, None]
    if callable(name):
        return name(g, SimpleNamespace(td_error=td_error))
    if isinstance(name, list):
        for each in name:
            g = strategy(each, g, x, td_error, k)
        return g
    return {
        "none": g,
        "squashing": g,
        "inverting": np.where(g > 0, g * (1 - x) / 2, g * (x + 1) / 2),
        "zeroing": np.where((abs(x) >= 1) & (g * x > 0), 0, g),
        "sign_reversal": np.where(own & (td < 0), -0.1 * g, g),
        "selective_clipping": np.where(own & (td <= -1), 0, g),
        "pseudo_inverse": np.where(own, g * x * (1 + 0.1 * np.sign(td)), g),
    }[name]


def moved(network, gradient, step, learning_rate, tau, max_grad_norm):
    """The network after clipping, Adam and Polyak."""
    if max_grad_norm is not None:
        gradient = gradient * min(1, max_grad_norm / (np.linalg.norm(gradient) + 1e-6))
    m = 0.9 * network.first_moment + 0.1 * gradient
    v = 0.999 * network.second_moment + 0.001 * gradient**2
    weights = network.weights - learning_rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return NetworkState(weights, (1 - tau) * network.target + tau * weights, m, v, step)


def reference(agent_class, settings, state, batch):
    q, mu = state.networks["q"], state.networks["actor"]
    values, step, rows = Q[agent_class], q.updates + 1, np.arange(N)

    next_values = values(q.target, batch.s2, actor(mu.target, batch.s2, settings))
    choosers = values(q.weights, batch.s2, actor(mu.weights, batch.s2, settings))
    chosen = (choosers if settings["double_q"] else next_values).argmax(1)
    y = batch.r + settings["gamma"] * np.where(batch.discount == 0, 0, next_values[rows, chosen])

    def td_error(weights):
        return y - values(weights, batch.s, batch.x)[rows, batch.k]

    def critic_loss(weights):
        return np.mean(huber(td_error(weights)) if settings["loss"] == "huber" else td_error(weights) ** 2)

    new_q = moved(
        q,
        derivative(critic_loss, q.weights),
        step,
        settings["learning_rate"],
        settings["tau"],
        settings["max_grad_norm"],
    )

    def objective(x):
        return np.mean(np.sum(term_weights(settings, batch.k) * values(new_q.weights, batch.s, x), 1))

    x, before = actor(mu.weights, batch.s, settings), td_error(q.weights)
    ascent = derivative(objective, x).reshape(x.shape)
    changed = strategy(settings["strategy"], ascent, x, before, batch.k)
    new_mu = moved(
        mu,
        derivative(lambda weights: -np.sum(changed * actor(weights, batch.s, settings)), mu.weights),
        step,
        settings["actor_learning_rate"],
        settings["actor_tau"],
        settings["max_grad_norm"],
    )
    metrics = {
        "critic_loss": critic_loss(q.weights),
        "actor_loss": -objective(x),
        "mean_q": np.mean(y - before),
        "mean_td_error": np.mean(abs(before)),
        "strategy_changed_fraction": np.mean(changed != ascent),
        "parameters_at_bound_fraction": np.mean(abs(x) >= 1),
    }
    return TrainState({"q": new_q, "actor": new_mu}, {}), metrics


# What is fed to both


def float32_exact(values):
    """Float64 values that float32 holds too, so that the agent and the reference start from the same numbers."""
    return np.float64(np.float32(values))


def start(seed=0):
    """A state in mid-training: targets unlike the weights, Adam's moments not zero."""
    rng = np.random.default_rng(seed)
    networks = {}
    for name, shapes in SHAPES.items():
        size = sum(int(np.prod(shape)) for shape in shapes)
        parts = (
            rng.normal(0, 0.8, size),
            rng.normal(0, 0.8, size),
            rng.normal(0, 0.05, size),
            rng.uniform(1e-3, 1e-2, size),
        )
        networks[name] = NetworkState(*map(float32_exact, parts), np.float32(STEPS_BEFORE))
    return TrainState(networks, {})


def transitions(seed=0):
    rng = np.random.default_rng(seed)
    return Transition(
        s=float32_exact(rng.uniform(-1, 1, (N, D))),
        k=np.array([0, 0, 0, 0, 1, 2, 2, 1]),
        x=float32_exact(rng.uniform(-1, 1, (N, P))),
        r=float32_exact(rng.normal(0, 1.5, N)),
        s2=float32_exact(rng.uniform(-1, 1, (N, D))),
        discount=np.array([1, 0, 1, 1, 0, 1, 1, 1]),
        extras={},
    )


def make_agent(agent_class, settings):
    return agent_class(
        "MlpPolicy",
        Spaces(D, SIZES),
        batch_size=N,
        policy_kwargs={"net_arch": {"pi": [5], "qf": [6]}, "activation_fn": "tanh"},
        passthrough=PASSTHROUGH,
        seed=0,
        **settings,
    )


def updated(agent, state, batch, seed=(0, 0)):
    """The agent's state and metrics after one update from the given state."""
    networks = {name: NetworkState(*map(np.float32, network)) for name, network in state.networks.items()}
    agent.learner.load(TrainState(networks, {}))
    rows = np.column_stack(batch[:-1]).astype("f")
    metrics, priorities = agent.learner.train(rows[None], agent.current_inputs(), seed)
    assert priorities is None
    return agent.learner.unload(), dict(zip(agent.metric_names, metrics.numpy(), strict=True))


def assert_same_update(got, expected):
    (state, metrics), (expected_state, expected_metrics) = got, expected
    for name, network in expected_state.networks.items():
        for part, values in network._asdict().items():
            rtol, atol = (0, 1e-5) if part in ("weights", "target") else (1e-3, 1e-6)
            actual = getattr(state.networks[name], part)
            np.testing.assert_allclose(actual, values, rtol, atol, err_msg=f"{name} {part}")
    assert metrics == pytest.approx(expected_metrics, rel=1e-5, abs=1e-6)


def differ(one, other):
    """Whether two references are so far apart that the comparison above tells them apart."""
    return any(
        np.abs(a - b).max() > 1e-3
        for name in one.networks
        for a, b in zip(one.networks[name], other.networks[name], strict=True)
    )


def times_td_error(gradient, context):
    """A user's strategy, in which every TD error shows to its full precision."""
    return gradient * context.td_error[:, None]


@pytest.mark.parametrize(
    "agent_class, options",
    [
        (PDQN, {"loss": "huber", "strategy": times_td_error, "tau": 1.0, "actor_tau": 1.0}),
        (MPDQN, {"loss": "huber", "strategy": "sign_reversal"}),
        (PDQN, {"double_q": True, "max_grad_norm": 0.2, "actor_loss_indexed": True, "strategy": "zeroing"}),
        (MPDQN, {"double_q": True, "actor_loss_weighting": "average", "strategy": ["inverting", "selective_clipping"]}),
        (MPDQN, {"max_grad_norm": 0.2, "strategy": "inverting"}),
        (PDQN, {"actor_loss_weighting": "average", "actor_loss_indexed": True, "strategy": "pseudo_inverse"}),
        (PDQN, {"actor_loss_weighting": "weighted", "strategy": "squashing"}),
        (MPDQN, {"actor_loss_weighting": "weighted", "actor_loss_indexed": True}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else value.__name__,
)
def test_one_update_with_the_option_is_that_of_the_formulas(agent_class, options):
    settings, state, batch = {**BASE, **options}, start(), transitions()
    expected = reference(agent_class, settings, state, batch)
    for option in options:
        without, _ = reference(agent_class, {**settings, option: BASE[option]}, state, batch)
        assert differ(expected[0], without), f"this batch does not show {option}"
    assert_same_update(updated(make_agent(agent_class, settings), state, batch), expected)


@pytest.mark.parametrize("agent_class", [PDQN, MPDQN])
def test_one_update_with_no_some_and_all_transitions_terminated_is_that_of_the_formulas(agent_class):
    agent, state, some = make_agent(agent_class, BASE), start(), transitions()
    for discount in (np.zeros(N, int), some.discount, np.ones(N, int)):
        batch = some._replace(discount=discount)
        assert_same_update(updated(agent, state, batch), reference(agent_class, BASE, state, batch))


def drawn_weights(agent, seeds):
    """The actor's random weights in the update with each seed, from the gradient: it is linear in them."""
    batch, draws = transitions(), []
    networks = {
        name: network._replace(first_moment=0 * network.first_moment) for name, network in start().networks.items()
    }
    taken = np.arange(K) == batch.k[:, None] if agent.actor_loss_indexed else np.ones((N, K))
    for seed in seeds:
        state, metrics = updated(agent, TrainState(networks, {}), batch, (5, seed))
        new_q = np.float64(state.networks["q"].weights)

        def terms(weights, new_q=new_q):
            return np.mean(taken * joint_q(new_q, batch.s, actor(weights, batch.s, BASE)), 0)

        gradient, of_terms = 10 * state.networks["actor"].first_moment, derivative(terms, networks["actor"].weights)
        weights = np.linalg.lstsq(-of_terms.T, gradient, rcond=None)[0]
        np.testing.assert_allclose(-of_terms.T @ weights, gradient, rtol=1e-3, atol=1e-5)
        assert metrics["actor_loss"] == pytest.approx(-terms(networks["actor"].weights) @ weights, abs=1e-4)
        draws.append(weights)
    return np.array(draws)


@pytest.mark.parametrize("indexed", [False, True])
def test_random_weights_are_uniform_of_unit_norm_and_new_in_each_update(indexed):
    agent = make_agent(PDQN, {**BASE, "actor_loss_weighting": "random_weighted", "actor_loss_indexed": indexed})
    weights = drawn_weights(agent, range(40))

    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1, atol=1e-3)
    assert (weights > 0).all()
    assert abs(np.diff(weights, axis=0)).max(1).min() > 1e-2
    # of uniform numbers, those below the largest are uniform fractions of it
    fractions = np.sort(weights / weights.max(1, keepdims=True), axis=None)[: -len(weights)]
    np.testing.assert_allclose(fractions, (np.arange(fractions.size) + 0.5) / fractions.size, rtol=0, atol=0.15)
    assert set(weights.argmax(1)) == {0, 1, 2}
    # the same update again draws the same, so that a run can be repeated
    np.testing.assert_array_equal(drawn_weights(agent, [7]), weights[[7]])
