"""Agents trained together are those trained alone."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from toy_environments import Corridor, Target

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.exploration import OrnsteinUhlenbeckNoise
from pamdp_agents.logger import configure
from pamdp_agents.schedules import LinearSchedule
from pamdp_agents.training.together import train_seeds, train_together

SMALL = {"policy_kwargs": {"net_arch": [16]}, "learning_starts": 20, "batch_size": 8}
NO_UPDATES = SMALL | {"gradient_steps": 0}


class Drifting(OrnsteinUhlenbeckNoise):
    """A noise of the user's own class, which no file can describe."""


def two_targets():
    return gym.vector.SyncVectorEnv([Target] * 2, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)


@pytest.mark.parametrize(
    ("agent_class", "env", "settings"),
    [
        (
            MPDQN,
            "pamdp/Platform-v0",
            {"learning_rate": LinearSchedule(1e-3, 1e-4), "action_noise": Drifting(sigma=0.2), "passthrough": "bias"},
        ),
        (PDQN, "pamdp/Platform-v0", {"train_freq": 4, "gradient_steps": 3, "strategy": ["inverting", "zeroing"]}),
        (PDQN, two_targets, {"gradient_steps": -1, "actor_learning_rate": lambda remaining: 1e-3 * remaining}),
        (PDQN, two_targets, {"gradient_steps": -1, "replay_buffer_class": "PrioritizedReplayBuffer"}),
    ],
    ids=["schedule and noise", "several updates", "several environments", "priorities"],
)
def test_each_agent_equals_the_one_trained_alone(agent_class, env, settings):
    settings = SMALL | settings
    if "passthrough" in settings:
        settings["passthrough"] = {"bias": np.linspace(-0.5, 0.5, 3)}
    together = train_seeds(agent_class, env, [3, 4], 220, **settings)
    for seed, agent in zip([3, 4], together, strict=True):
        own = env if isinstance(env, str) else env()
        alone = agent_class("MlpPolicy", own, seed=seed, **copy.deepcopy(settings)).learn(220)
        np.testing.assert_allclose(agent.learner.state.numpy(), alone.learner.state.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(agent.replay_buffer.rows[:220], alone.replay_buffer.rows[:220], atol=1e-4)
        assert agent.num_timesteps == alone.num_timesteps == 220
        assert agent._n_updates == alone._n_updates > 100
        assert [e["r"] for e in agent.ep_info_buffer] == pytest.approx([e["r"] for e in alone.ep_info_buffer])
        assert agent.current_inputs() == alone.current_inputs()
        assert [rng.random() for rng in agent._rngs] == [rng.random() for rng in alone._rngs]


def counts(agent):
    """The numbers of updates that the agent's networks have counted."""
    return {float(network.updates) for network in agent.learner.unload().networks.values()}


def test_agents_whose_update_cannot_be_made_are_left_as_they_were():
    def broken(gradient, context):
        raise RuntimeError("no such gradient")

    agents = [PDQN("MlpPolicy", Target(), seed=seed, strategy=broken, **SMALL) for seed in (1, 2)]
    for agent in agents:
        agent.learn(12)
    with pytest.raises(RuntimeError, match="no such gradient"):
        train_together(agents, 50)
    assert [agent.num_timesteps for agent in agents] == [12, 12]


# -------------------------------------------------------------------- four agents, trained again and again


@pytest.fixture(scope="module")
def trained():
    """Two groups of two, whose compiled update all these tests share."""
    agents = [PDQN("MlpPolicy", Target(), seed=seed, **SMALL) for seed in range(4)]
    train_together(agents, 30)
    return agents


@pytest.fixture
def agents(trained):
    """As new ones, but for their weights and stored transitions."""
    for agent in trained:
        agent.set_env(Target())
        agent.learning_rate = agent.actor_learning_rate = 1e-3
        agent._n_updates = 0
        state = agent.learner.unload()
        networks = {name: each._replace(updates=np.float32(0)) for name, each in state.networks.items()}
        agent.learner.load(state._replace(networks=networks))
    return trained


def assert_whole(agents, tmp_path):
    """Each has made one update for each step after the first 20, or one less where it was interrupted, and works."""
    for agent in agents:
        assert counts(agent) == {agent._n_updates}
        assert max(agent.num_timesteps - 20, 0) - agent._n_updates in (0, 1)
        agent.save(tmp_path / "agent")
        loaded = PDQN.load(tmp_path / "agent")
        np.testing.assert_array_equal(loaded.learner.state.numpy(), agent.learner.state.numpy())
        assert agent.predict(np.zeros(2, "f"))[0] in agent.action_space
    states = [agent.learner.state.numpy() for agent in agents]
    assert not any(np.array_equal(states[0], other) for other in states[1:])


def test_an_agent_trained_together_is_saved_and_goes_on_alone(agents, tmp_path):
    train_together(agents, 60)
    assert_whole(agents, tmp_path)
    others = [agent.learner.state.numpy() for agent in agents[1:]]
    agents[0].learn(20, reset_num_timesteps=False)
    assert (agents[0].num_timesteps, agents[0]._n_updates) == (80, 60)
    for agent, before in zip(agents[1:], others, strict=True):
        np.testing.assert_array_equal(agent.learner.state.numpy(), before)


def test_training_together_goes_on_where_it_ended(agents, tmp_path):
    train_together(agents, 40)
    train_together(agents, 20, reset_num_timesteps=False)
    assert [agent.num_timesteps for agent in agents] == [60] * 4
    assert_whole(agents, tmp_path)


def test_agents_saved_by_callbacks_in_the_middle_hold_their_own_weights(agents, tmp_path):
    parameters = {}

    def save_at_50(agent):
        def save(locals_, globals_):
            if agent.num_timesteps == 50:
                agent.save(tmp_path / str(agent.seed))
                parameters[agent.seed] = agent.get_parameters()
            return agent.num_timesteps < 50 or agent.seed % 2

        return save

    train_together(agents, 70, callback=save_at_50)
    for agent in agents:
        saved = PDQN.load(tmp_path / str(agent.seed))
        assert (saved.num_timesteps, counts(saved)) == (50, {29})
        kept = [np.array_equal(now, then) for now, then in weights(agent.get_parameters(), parameters[agent.seed])]
        assert not any(kept) if agent.seed % 2 else all(kept)


def test_an_agent_that_stops_early_keeps_its_weights_while_the_others_go_on(agents):
    stopped = {}

    def stop_the_first(agent):
        def stop(locals_, globals_):
            if agent.seed == 0 and agent.num_timesteps == 40:
                stopped.update(agent.get_parameters())
                return False
            return True

        return stop

    train_together(agents, 80, callback=stop_the_first)
    assert [agent.num_timesteps for agent in agents] == [40, 80, 80, 80]
    assert [agent._n_updates for agent in agents] == [19, 60, 60, 60]
    assert all(np.array_equal(now, then) for now, then in weights(agents[0].get_parameters(), stopped))


class SetsWeights(BaseCallback):
    """Sets a target agent's weights to 0.125 at one moment of its own agent's training."""

    def __init__(self, target, at):
        super().__init__()
        self.target, self.at = target, at

    def _on_training_start(self):
        self.set_if_at(0)

    def _on_step(self):
        self.set_if_at(self.num_timesteps)
        return True

    def set_if_at(self, moment):
        if moment == self.at:
            given = self.target.get_parameters()
            self.target.set_parameters({name: {k: 0 * v + 0.125 for k, v in w.items()} for name, w in given.items()})


@pytest.mark.parametrize("at", [0, 20, 45, 60], ids="at {}".format)
@pytest.mark.parametrize("target", [0, 2], ids=["its own", "those of an agent whose update is under way"])
def test_weights_set_by_a_callback_stay_set(agents, at, target):
    for agent in agents:
        agent.learning_rate = agent.actor_learning_rate = 0.0  # nothing else changes the weights
    before = agents[1].get_parameters()
    train_together(agents, 60, callback=lambda agent: SetsWeights(agents[target], at) if agent.seed == 0 else None)
    after = agents[target].get_parameters()
    assert all((value == 0.125).all() for network in ("q", "actor") for value in after[network].values())
    assert all(np.array_equal(now, then) for now, then in weights(agents[1].get_parameters(), before))


def weights(now, then):
    return [(now[network][name], then[network][name]) for network in ("q", "actor") for name in now[network]]


@pytest.mark.parametrize("seed", range(4))
def test_ctrl_c_leaves_all_agents_whole(agents, tmp_path, seed):
    ended = []

    class Interrupting(BaseCallback):
        def _on_step(self):
            if self.model.seed == seed and self.num_timesteps == 45:
                raise KeyboardInterrupt
            return True

        def _on_training_end(self):
            ended.append(self.model.seed)

    with pytest.raises(KeyboardInterrupt):
        train_together(agents, 80, callback=lambda agent: Interrupting())
    assert sorted(ended) == [0, 1, 2, 3]
    assert [agent.num_timesteps for agent in agents] == [45 if agent.seed <= seed else 44 for agent in agents]
    assert_whole(agents, tmp_path)
    train_together(agents, 10, reset_num_timesteps=False)
    assert [agent.num_timesteps for agent in agents] == [55 if agent.seed <= seed else 54 for agent in agents]


class Breaking(Target):
    """Pays NaN at its 45th step."""

    steps = 0

    def step(self, action):
        self.steps += 1
        observation, reward, *rest = super().step(action)
        return observation, float("nan") if self.steps == 45 else reward, *rest


def test_an_error_of_one_environment_leaves_all_agents_whole(agents, tmp_path):
    agents[2].set_env(Breaking())
    with pytest.raises(ValueError, match="step 45"):
        train_together(agents, 80)
    assert [agent.num_timesteps for agent in agents] == [45, 45, 44, 44]
    assert [agent._n_updates for agent in agents] == [25, 25, 24, 24]
    assert_whole(agents, tmp_path)


# -------------------------------------------------------------------- without updates


def test_without_gradient_steps_agents_only_collect():
    agents = train_seeds(PDQN, Target, range(3), 50, **NO_UPDATES)
    for agent in agents:
        assert (agent.num_timesteps, agent._n_updates, len(agent.replay_buffer)) == (50, 0, 50)
    assert not np.array_equal(agents[0].replay_buffer.rows, agents[1].replay_buffer.rows)


def test_each_agent_logs_its_own_curve_numbered_in_the_order_of_the_seeds(tmp_path):
    agents = train_seeds(PDQN, Corridor, [7, 5, 6], 40, tensorboard_log=str(tmp_path), **NO_UPDATES)
    assert [agent.logger.dir for agent in agents] == [str(tmp_path / f"PDQN_{n}") for n in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["PDQN_1", "PDQN_2", "PDQN_3"]
    assert all(agent._episode_num == 8 for agent in agents)


def test_agents_do_not_share_what_has_a_state():
    noise = Drifting(sigma=0.2)
    agents = train_seeds(PDQN, Corridor, range(2), 33, action_noise=noise, **NO_UPDATES)
    assert noise.state is None
    assert not np.array_equal(agents[0].action_noise.state, agents[1].action_noise.state)
    train_together(agents, 20, reset_num_timesteps=False)  # they are still of one kind
    assert [agent.num_timesteps for agent in agents] == [53, 53]


def test_the_progress_bar_counts_the_steps_of_all_agents(capsys):
    agents = [PDQN("MlpPolicy", two_targets(), seed=seed, **NO_UPDATES) for seed in range(2)]
    train_together(agents, 41, progress_bar=True)
    assert "82/82" in capsys.readouterr().err
    train_together(agents, 10, progress_bar=True, reset_num_timesteps=False)
    assert "20/20" in capsys.readouterr().err
    train_together(agents, 10, callback=lambda agent: lambda *_: agent.seed == 0, progress_bar=True)
    assert "12/20" in capsys.readouterr().err  # the second has stopped at its first step


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"seeds": []}, ValueError, "at least one seed"),
        ({"seeds": 4}, TypeError, r"several integers, such as range\(4\).*got 4"),
        (
            {"seeds": [0, -1]},
            ValueError,
            "each of seeds must be an integer of at least 0 and .*, got -1",
        ),
        (
            {"seeds": [0, None]},
            TypeError,
            "each of seeds must be an integer of at least 0 and .*, got None",
        ),
        ({"seeds": [3, 3]}, ValueError, r"all be different, got \[3, 3\]"),
        ({"seed": 3}, TypeError, "takes seeds.*got seed=3"),
        ({"env": Target()}, TypeError, "id or a function that makes one.*Target"),
        ({"total_timesteps": 0}, ValueError, "total_timesteps must be an integer of at least 1"),
        ({"log_interval": 0}, ValueError, "log_interval must be"),
        ({"callback": BaseCallback()}, TypeError, "callback must be a function that is given an agent"),
        ({"train_freq": (1, "episode"), "gradient_steps": -1}, ValueError, "give gradient_steps a number"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        train_seeds(PDQN, **{"env": Target, "seeds": range(2), "total_timesteps": 10} | NO_UPDATES | arguments)


def test_what_is_no_class_and_no_list_of_agents_is_refused():
    with pytest.raises(TypeError, match="agent_class must be a class of agents, such as MPDQN, got 'PDQN'"):
        train_seeds("PDQN", Target, range(2), 10)
    with pytest.raises(TypeError, match="agents must be a list of agents, got <generator"):
        train_together((agent for agent in ()), 10)


def test_an_agent_may_be_updated_by_its_own_callback():
    def callback(agent):
        return lambda locals_, globals_: agent.num_timesteps != 25 or agent.train(1) is None

    agents = train_seeds(PDQN, Target, range(2), 40, callback=callback, **SMALL)
    for agent in agents:
        assert counts(agent) == {agent._n_updates} == {40 - 20 + 1}


def test_agents_that_cannot_be_trained_together_are_refused_before_anything_is_trained():
    def two(env=Target, other_env=Target, **changed):
        one = PDQN("MlpPolicy", env(), seed=0, **NO_UPDATES)
        return [one, PDQN("MlpPolicy", other_env(), seed=1, **NO_UPDATES | changed)]

    def unchanged(gradient, context):
        return gradient

    noise = Drifting()
    env = Target()
    shared_logger, logger = two(), configure(None, [])
    for agent in shared_logger:
        agent.set_logger(logger)
    without = two()
    without[1] = PDQN("MlpPolicy", None, seed=1)
    numbers = [PDQN("MlpPolicy", make(), seed=0, **SMALL | {"gradient_steps": -1}) for make in (Target, two_targets)]
    for agents, error, said in (
        ([], ValueError, "at least one"),
        (
            two(gamma=0.8),
            ValueError,
            r"differ in their seeds, environments, noises and logs only.*gamma \(0.95 and 0.8",
        ),
        (two(strategy=unchanged), ValueError, "strategy"),
        (two(other_env=Corridor), ValueError, "observation_space"),
        ([*two(), MPDQN("MlpPolicy", Target(), **NO_UPDATES)], ValueError, "PDQN'> and .*MPDQN"),
        (two(env=lambda: env, other_env=lambda: gym.wrappers.TimeLimit(env, 5)), ValueError, "environment each"),
        (
            [PDQN("MlpPolicy", Target(), action_noise=noise) for _ in range(2)],
            ValueError,
            "action_noise each.*Drifting",
        ),
        (shared_logger, ValueError, "logger each"),
        (without, RuntimeError, "need an environment each"),
        (numbers, ValueError, r"same number of updates in a round, but gradient_steps=-1 makes \[1, 2\]"),
    ):
        with pytest.raises(error, match=said):
            train_together(agents, 10)
        assert all(agent.num_timesteps == 0 for agent in agents)
    shared = BaseCallback()
    with pytest.raises(ValueError, match="callback each"):
        train_together(two(), 10, callback=lambda agent: [shared])
    train_together(two(tensorboard_log=None, verbose=0, action_noise="gaussian"), 10)
