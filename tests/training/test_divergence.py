"""Updates that give NaN or infinity stop training with a sentence, and the agent is as it was before them."""

import gymnasium as gym
import numpy as np
import pytest
from toy_environments import Target

import pamdp_agents
from pamdp_agents import MPDQN, PADDPG, PDQN, DivergedError, SavedFileError
from pamdp_agents.training import train_together

SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 8, "buffer_size": 100, "seed": 0}


class Paying(gym.Env):
    """One-step episodes that pay the same reward, but for one."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self, reward, from_step=0, discrete=False):
        self.reward, self.from_step, self.steps = reward, from_step, 0
        self.action_space = gym.spaces.Discrete(3) if discrete else Target().action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype("f"), {}

    def step(self, action):
        self.steps += 1
        reward = self.reward if self.steps > self.from_step else 1.0
        return self.np_random.uniform(-1, 1, 2).astype("f"), reward, True, False, {}


def nan_gradient(gradient, context):
    return gradient * float("nan")


CASES = {
    "reward": (3e38, {}),
    "reward, huber": (3e38, {"loss": "huber"}),
    "reward, not clipped": (1e30, {"max_grad_norm": None}),
    "reward_scale": (1.0, {"reward_scale": 1e38}),
    "learning_rate": (1.0, {"learning_rate": 1e38}),
    "actor_learning_rate": (1.0, {"actor_learning_rate": 1e38}),
    "critic only": (3e38, {"actor_learning_rate": 0.0}),
    "strategy": (1.0, {"strategy": nan_gradient}),
}


def state(agent):
    return np.array(agent.learner.state)


TRIED = [
    (case, agent_class, discrete)
    for case in CASES
    for agent_class in (PDQN, MPDQN, PADDPG)
    for discrete in (False, True)
    # Without parameters, the actor of these two is not trained.
    if not (discrete and case in ("actor_learning_rate", "strategy") and agent_class is not PADDPG)
]


@pytest.mark.parametrize(("case", "agent_class", "discrete"), TRIED)
def test_training_stops_and_the_agent_is_as_before(case, agent_class, discrete, tmp_path):
    reward, settings = CASES[case]
    agent = agent_class("MlpPolicy", Paying(reward, 20, discrete), learning_starts=10, **SMALL | settings)
    with pytest.raises(DivergedError, match=r"(?s)update.* at step \d+.*finite.*learning_rate .*reward") as caught:
        agent.learn(300)
    before, made = state(agent), agent._n_updates
    assert np.isfinite(before).all() and f"update {made + 1}," in str(caught.value)
    assert agent.get_parameters()["q.optimizer"]["step"] == made  # those before are there
    kwargs = {"custom_objects": {"strategy": "inverting"}} if case in ("actor_learning_rate", "strategy") else {}
    agent.save(tmp_path / "agent", include=["replay_buffer"])
    loaded = agent_class.load(tmp_path / "agent", **kwargs)
    np.testing.assert_array_equal(state(loaded), before)
    # It goes on once what was wrong has been put right; what was due is made.
    loaded.learning_rate = loaded.actor_learning_rate = 1e-3
    loaded.replay_buffer.rows[:, loaded.row.places["r"]] = 1.0
    loaded.reward_scale = 1.0
    loaded.set_env(Paying(1.0, discrete=discrete))
    due = loaded.progress.due
    assert due == 1
    loaded.learn(10, reset_num_timesteps=False)
    assert loaded._n_updates == made + due + 10


def test_where_a_round_takes_several_calls_all_that_follow_stay_due():
    agent = PDQN("MlpPolicy", Paying(1.0), learning_starts=10, train_freq=(150, "episode"), gradient_steps=-1, **SMALL)
    agent.learn(150)
    before = state(agent)
    assert (agent._n_updates, agent.progress.due) == (150, None)
    agent.learning_rate = lambda remaining: 1e38
    with pytest.raises(DivergedError, match="updates 151 to 300"):
        agent.learn(150, reset_num_timesteps=False)
    np.testing.assert_array_equal(state(agent), before)
    assert (agent._n_updates, agent.progress.due) == (150, 150)


def test_of_agents_trained_together_the_one_that_diverges_is_named():
    for which in range(3):
        environments = [Paying(3e38 if i == which else 1.0, 20) for i in range(3)]
        agents = [
            PDQN("MlpPolicy", env, learning_starts=10, **SMALL | {"seed": i}) for i, env in enumerate(environments)
        ]
        with pytest.raises(DivergedError, match=rf"^agent {which} \(seed={which}\): update \d+,[^\n]*$"):
            train_together(agents, 300)
        for agent in agents:
            assert np.isfinite(state(agent)).all()
            assert agent.get_parameters()["q.optimizer"]["step"] == agent._n_updates > 5
        agents[which].set_env(Paying(1.0))
        agents[which].replay_buffer.rows[:, agents[which].row.places["r"]] = 1.0
        train_together(agents, 20, reset_num_timesteps=False)
        # what was due has been made: one update a step since step 10
        assert [agent.num_timesteps - agent._n_updates for agent in agents] == [10] * 3


def test_a_file_of_weights_that_are_not_finite_is_called_diverged(tmp_path):
    agent = PDQN("MlpPolicy", Target(), **SMALL)
    networks = agent.learner.unload()
    networks.networks["q"].weights[0] = np.nan
    agent.learner.load(networks)
    agent.save(tmp_path / "agent")
    with pytest.raises(SavedFileError, match="training has diverged"):
        PDQN.load(tmp_path / "agent")


def test_the_error_is_public_and_a_value_error():
    assert issubclass(pamdp_agents.DivergedError, ValueError)
