"""Options of agents with a critic and an actor: with each, training goes on, joins others' and is logged alike."""

import io
import pickle

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from small_agents import PLATFORM, Task, differences, make

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN, train_seeds

TD3 = {"n_critics": 2, "policy_delay": 3, "target_policy_noise": 0.2}
NORM, DUELING = ({"net_arch": [8], name: True} for name in ("layer_norm", "dueling"))
OPTIONS = {
    "MPDQN": (MPDQN, TD3 | {"n_policies": 2, "double_q": True, "policy_kwargs": NORM | DUELING}),
    "PADDPG": (PADDPG, TD3 | {"policy_kwargs": NORM, "strategy": "squashing"}),
}
THOROUGH = {
    "PDQN": (
        PDQN,
        {"n_policies": 3, "strategy": "sign_reversal", "action_noise": "gaussian"},
    ),
    "SPDQN": (SPDQN, TD3 | {"n_policies": 2, "policy_kwargs": NORM}),
    "vector": (PDQN, TD3 | {"n_policies": 2, "train_freq": 2, "gradient_steps": -1}),
}
CASES = [pytest.param(each, id=name) for name, each in OPTIONS.items()]
CASES += [pytest.param(each, id=name, marks=pytest.mark.slow) for name, each in THOROUGH.items()]


@pytest.fixture(scope="module", params=CASES)
def option(request):
    """The agent's class and its settings."""
    return request.param


def environment(settings):
    """Three at once for the settings that are for several."""
    return SyncVectorEnv([Task] * 3) if "train_freq" in settings else Task()


def test_training_goes_on_bit_for_bit_from_a_file_and_logs_the_plain_agents_metrics(option):
    agent_class, settings = option
    straight, paused = (make(agent_class, environment(settings), **settings) for _ in range(2))
    straight.learn(21)
    paused.learn(21)
    file = io.BytesIO()
    paused.save(file, include=["replay_buffer"])
    resumed = agent_class.load(file, env=paused.env, force_reset=False)
    for agent in (straight, resumed):
        agent.learn(12, reset_num_timesteps=False)
    np.testing.assert_array_equal(straight.learner.state, resumed.learner.state)
    np.testing.assert_array_equal(straight.replay_buffer.rows, resumed.replay_buffer.rows)
    assert differences(straight.get_parameters(), resumed.get_parameters()) == []
    for agent in (straight, pickle.loads(pickle.dumps(straight))):
        assert differences(straight.get_parameters(), agent.get_parameters()) == []
    straight.logger.name_to_value.clear()
    straight.record_own(straight.logger)
    logged = {name.removeprefix("train/") for name in straight.logger.name_to_value if name.startswith("train/")}
    assert logged == {*agent.metric_names, *agent.rate_names, "n_updates"}


def test_agents_trained_together_are_those_trained_alone(option):
    agent_class, settings = option
    alone = make(agent_class, PLATFORM, **settings).learn(30)
    given = {name: value for name, value in alone.settings().items() if name not in ("policy", "seed")}
    together, _ = train_seeds(agent_class, PLATFORM, seeds=[0, 1], total_timesteps=30, **given)
    for group, weights in together.get_parameters().items():
        for name, values in weights.items():
            expected = alone.get_parameters()[group][name]
            np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5, err_msg=f"{group}: {name}")
