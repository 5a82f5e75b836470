"""Training that goes on from anywhere gives, bit for bit, what it gives without a pause."""

import copy
import io
import random
from functools import partial

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toy_environments import Film, Numbered, Pictures, Target

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN
from pamdp_agents.callbacks import BaseCallback
from pamdp_agents.schedules import LinearSchedule
from pamdp_agents.strategies import STRATEGIES
from pamdp_agents.training import train_together

SMALL = {"policy_kwargs": {"net_arch": [8]}, "batch_size": 4, "learning_starts": 13, "buffer_size": 60, "seed": 3}
SMALL |= {"scale_observations": False}
STEPS = 60
NO_TOTAL = {"exploration_initial_eps": 0.4, "exploration_final_eps": 0.4}  # nothing that depends on the total


def one():
    return Numbered(1, 3)


def several(mode, n=3, kind=Numbered):
    return SyncVectorEnv([partial(kind, i, 2 + i) for i in range(n)], autoreset_mode=mode)


NEXT, SAME, DISABLED = (partial(several, mode) for mode in AutoresetMode)
SAME_FILMS = partial(several, AutoresetMode.SAME_STEP, kind=Film)
OU = {"name": "ornstein_uhlenbeck", "sigma": 0.2}

# β is 1 from the start on, for otherwise it depends on the total.
PRIORITIES = {"replay_buffer_class": "PrioritizedReplayBuffer", "replay_buffer_kwargs": {"beta": 1.0}}

SETTINGS = {
    "single": (MPDQN, one, {}),
    "several updates in the middle of episodes": (
        PDQN,
        one,
        {"train_freq": 4, "gradient_steps": 3, "action_noise": OU},
    ),
    "episodes": (PDQN, one, {"train_freq": (2, "episode"), "gradient_steps": -1}),
    "vector": (PADDPG, NEXT, {"train_freq": 2, "gradient_steps": -1, "action_noise": OU}),
    "n steps by priorities": (
        PDQN,
        NEXT,
        PRIORITIES | {"n_steps": 3, "learning_starts": 0, "train_freq": 3, "buffer_size": 17},
    ),
}
THOROUGH = (
    {f"strategy {name}": (PDQN, one, {"strategy": name}) for name in STRATEGIES if name != "chain"}
    | {f"vector strategy {name}": (MPDQN, SAME, {"strategy": name}) for name in ("inverting", "zeroing", "squashing")}
    | {f"noise {name}": (MPDQN, one, {"action_noise": name}) for name in ("uniform", "gaussian", "ornstein_uhlenbeck")}
    | {f"{kind.__name__} alone": (kind, one, {}) for kind in (PDQN, SPDQN, PADDPG)}
    | {f"{kind.__name__} {name}": (kind, env, {"action_noise": OU})
       for kind in (MPDQN, SPDQN, PADDPG) for name, env in (("next", NEXT), ("same", SAME), ("disabled", DISABLED))}
    | {f"train_freq {n}, {g} updates": (PDQN, env, {"train_freq": n, "gradient_steps": g})
       for n, g, env in ((2, 1, one), (5, -1, one), (3, 2, SAME), (2, -1, DISABLED), (1, -1, NEXT), (7, 1, NEXT))}
    | {
        "one episode": (MPDQN, one, {"train_freq": (1, "episode"), "gradient_steps": 2}),
        "three episodes": (SPDQN, one, {"train_freq": (3, "episode"), "gradient_steps": -1, "action_noise": OU}),
        "no updates": (PDQN, one, {"gradient_steps": 0}),
        "huber": (PDQN, one, {"loss": "huber", "double_q": True}),
        "random weights": (PDQN, one, {"actor_loss_weighting": "random_weighted", "gradient_steps": 2}),
        "weighted and indexed": (MPDQN, SAME, {"actor_loss_weighting": "weighted", "actor_loss_indexed": True}),
        "not clipped": (PDQN, one, {"max_grad_norm": None, "reward_scale": 0.1}),
        "schedules": (PDQN, one, {"learning_rate": LinearSchedule(1e-2, 1e-4), "gamma": 0.5}),
        "vector schedules": (MPDQN, SAME, {"actor_learning_rate": LinearSchedule(1e-2, 1e-4)}),
        "schedule of epsilon": (PDQN, one, {"exploration_schedule": LinearSchedule(1.0, 0.0)}),
        "epsilon by episodes": (PDQN, one, {"exploration_episodes": 15}),
        "schedule of noise": (PDQN, one, {"action_noise": {"name": "gaussian", "sigma": LinearSchedule(0.5, 0.0)}}),
        "two layers": (MPDQN, one, {"policy_kwargs": {"net_arch": [8, 4], "activation_fn": "tanh"}}),
        "compiled acting": (PDQN, SAME, {"policy_kwargs": {"net_arch": [8], "activation_fn": "gelu"}}),
        "linear": (PDQN, one, {"policy_kwargs": {"net_arch": []}}),
        "AMSGrad's betas": (PDQN, one, {"policy_kwargs": {"net_arch": [8], "optimizer_kwargs": {"betas": (0.5, 0.9)}}}),
        "pictures": (PDQN, Pictures, {"policy": "CnnPolicy", "scale_observations": True, "buffer_size": 70}),
        "pictures, kept once": (MPDQN, SAME_FILMS, {"optimize_memory_usage": True, "buffer_size": 17}),
        "small buffer": (PDQN, SAME, {"buffer_size": 17}),
        "priorities": (PDQN, SAME, PRIORITIES | {"buffer_size": 17}),
        "n steps": (PDQN, NEXT, {"n_steps": 3, "learning_starts": 0, "train_freq": 3}),
        "priorities alone": (MPDQN, one, {"replay_buffer_class": "PrioritizedReplayBuffer", "gradient_steps": 2}),
        "priorities and episodes": (
            PADDPG,
            one,
            {"replay_buffer_class": "PrioritizedReplayBuffer", "train_freq": (1, "episode"), "gradient_steps": -1},
        ),
        "n steps alone": (PDQN, one, {"n_steps": 2, "learning_starts": 0, "train_freq": 4}),
        "n steps beyond episodes": (MPDQN, one, {"n_steps": 9, "learning_starts": 0, "gradient_steps": -1}),
        "n steps, small buffer": (PADDPG, SAME, {"n_steps": 4, "buffer_size": 17}),
        "n steps, reset by hand": (MPDQN, DISABLED, {"n_steps": 4, "reward_scale": 0.5}),
        "no learning_starts": (PDQN, one, {"learning_starts": 0}),
        "scaled": (MPDQN, Target, {"scale_observations": True}),
    }
)  # fmt: skip


def make(setting, env=None, **changes):
    kind, make_env, own = setting
    settings = {"policy": "MlpPolicy"} | SMALL | own | changes
    return kind(env=make_env() if env is None else env, **settings)


def snapshot(agent, env):
    """What a program could keep of an agent and its environments."""
    return kept(agent), copy.deepcopy(env)


def kept(agent):
    file = io.BytesIO()
    agent.save(file, include=["replay_buffer"])
    return file.getvalue()


def go_on(setting, file, env, steps):
    agent = setting[0].load(io.BytesIO(file), env=env, force_reset=False)
    return agent.learn(steps, reset_num_timesteps=False)


def assert_same(agent, other):
    assert (agent.num_timesteps, agent._n_updates) == (other.num_timesteps, other._n_updates)
    np.testing.assert_array_equal(np.array(agent.learner.state), np.array(other.learner.state))
    for name in agent.row.places:
        np.testing.assert_array_equal(agent.replay_buffer.part(name), other.replay_buffer.part(name))
    np.testing.assert_array_equal(agent.replay_buffer.returns.rows, other.replay_buffer.returns.rows)
    if hasattr(agent.replay_buffer, "priorities"):
        np.testing.assert_array_equal(agent.replay_buffer.priorities, other.replay_buffer.priorities)
        assert agent.replay_buffer.max_priority == other.replay_buffer.max_priority
    np.testing.assert_array_equal(agent.replay_buffer.returns.counts, other.replay_buffer.returns.counts)
    assert [rng.bit_generator.state for rng in agent._rngs] == [rng.bit_generator.state for rng in other._rngs]
    assert [e["r"] for e in agent.ep_info_buffer] == [e["r"] for e in other.ep_info_buffer]
    assert agent.progress.state() | {"ep_info_buffer": 0} == other.progress.state() | {"ep_info_buffer": 0}


class Keeping(BaseCallback):
    """Keeps the agent and its environments at the given moments: (hook, how many times it has been called)."""

    def __init__(self, env, moments):
        super().__init__()
        self.own_env, self.moments, self.calls, self.found = env, moments, {}, []

    def keep(self, hook):
        self.calls[hook] = self.calls.get(hook, 0) + 1
        if (hook, self.calls[hook]) in self.moments:
            self.found.append((self.model.num_timesteps, *snapshot(self.model, self.own_env)))

    def _on_step(self):
        self.keep("step")
        return True

    def _on_rollout_start(self):
        self.keep("rollout_start")

    def _on_rollout_end(self):
        self.keep("rollout_end")


def check(setting, moments):
    env = setting[1]()
    keeping = Keeping(env, moments)
    whole = make(setting, env).learn(STEPS, callback=keeping)
    assert keeping.found
    for step, file, env_then in keeping.found:
        if step < whole.progress.total_timesteps:
            assert_same(go_on(setting, file, env_then, whole.progress.total_timesteps - step), whole)
    return len(keeping.found)


@pytest.mark.parametrize("setting", SETTINGS)
def test_from_what_a_callback_keeps(setting):
    moments = {("step", n) for n in (1, 6, 7, 11)} | {("rollout_start", n) for n in (1, 5)} | {("rollout_end", 5)}
    assert check(SETTINGS[setting], moments) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("setting", THOROUGH)
def test_from_what_a_callback_keeps_at_random_steps(setting):
    rng = random.Random(setting)
    assert len(SETTINGS | THOROUGH) >= 40
    calls = STEPS // (3 if THOROUGH[setting][1] in (NEXT, SAME, DISABLED, SAME_FILMS) else 1)
    assert check(THOROUGH[setting], {("step", n) for n in rng.sample(range(1, calls), 3)}) == 3


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_calls_are_one_with_a_file_between_them_too(setting):
    whole = make(SETTINGS[setting], **NO_TOTAL).learn(72)
    first = make(SETTINGS[setting], env := SETTINGS[setting][1](), **NO_TOTAL).learn(36)
    file, env_then = snapshot(first, env)
    left = 72 - first.num_timesteps
    assert_same(go_on(SETTINGS[setting], file, env_then, left), whole)
    assert_same(first.learn(left, reset_num_timesteps=False), whole)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_callback_that_says_stop_loses_nothing(setting):
    whole = make(SETTINGS[setting]).learn(STEPS)
    for stop in (20, 21, 24, 30):
        stopped = make(SETTINGS[setting]).learn(
            STEPS, callback=lambda found, _, n=stop: found["self"].num_timesteps < n
        )
        left = whole.progress.total_timesteps - stopped.num_timesteps
        assert_same(stopped.learn(left, reset_num_timesteps=False), whole)


@pytest.mark.parametrize("setting", ["single", "vector"])
def test_what_was_due_when_an_update_was_interrupted_is_made(setting):
    pressed = []

    def rate(remaining):
        if pressed:
            raise pressed.pop()  # as Ctrl-C does
        return 1e-3

    agent = make(SETTINGS[setting], learning_rate=rate).learn(30)
    before, made = np.array(agent.learner.state), agent._n_updates
    pressed.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        agent.learn(30, reset_num_timesteps=False)
    np.testing.assert_array_equal(np.array(agent.learner.state), before)
    due, steps = agent.progress.due, agent.num_timesteps
    assert agent._n_updates == made and due >= 1
    agent.learn(30, reset_num_timesteps=False)
    assert agent.progress.due is None
    # In both settings as many updates as environment steps.
    assert agent._n_updates - made == due + agent.num_timesteps - steps


def test_an_error_of_an_environment_loses_no_update_that_was_due():
    class Broken(Numbered):
        left = 25

        def step(self, action):
            self.left -= 1
            if self.left == 0:
                raise OSError("no such world")
            return super().step(action)

    setting = (PDQN, Broken, {"train_freq": 4, "gradient_steps": 4, "learning_starts": 0})
    agent = make(setting)
    with pytest.raises(OSError, match="no such world"):
        agent.learn(40)
    assert (agent.num_timesteps, agent._n_updates, agent.progress.round_steps) == (24, 24, 0)
    agent.env.envs[0].left = 3
    with pytest.raises(OSError, match="no such world"):
        agent.learn(40, reset_num_timesteps=False)
    assert (agent.num_timesteps, agent._n_updates, agent.progress.round_steps) == (26, 24, 2)
    agent.learn(2, reset_num_timesteps=False)  # in a new episode, half a round goes on
    assert (agent.num_timesteps, agent._n_updates, agent.progress.round_timesteps) == (28, 28, None)


def half_way(**changes):
    """An agent that has been stopped with 2 of 4 steps of a round, and its file."""
    setting = (PDQN, one, {"train_freq": 4, "gradient_steps": 4, "learning_starts": 0} | changes)
    agent = make(setting).learn(50, callback=lambda found, _: found["self"].num_timesteps < 22)
    assert (agent.num_timesteps, agent._n_updates, agent.progress.round_steps) == (22, 20, 2)
    return agent


def test_a_new_run_starts_with_nothing_due():
    agent = half_way()
    agent.learn(4)
    assert (agent.num_timesteps, agent._n_updates) == (4, 24)


def test_without_its_transitions_nothing_is_due(tmp_path):
    for stop, due in ((22, 0), (24, 4)):
        setting = (PDQN, one, {"train_freq": 4, "gradient_steps": 4, "learning_starts": 0})
        agent = make(setting).learn(50, callback=lambda found, _, n=stop: found["self"].num_timesteps < n)
        agent.save(tmp_path / "agent")
        agent.save_replay_buffer(tmp_path / "buffer")
        loaded = PDQN.load(tmp_path / "agent", env=one()).learn(4, reset_num_timesteps=False)
        assert (loaded.num_timesteps, loaded._n_updates) == (stop + 4, 24)
        loaded = PDQN.load(tmp_path / "agent", env=one())
        loaded.load_replay_buffer(tmp_path / "buffer")
        loaded.learn(4, reset_num_timesteps=False)
        # with them: the half round ends after 2 steps, and a whole one follows; what was due comes first
        assert (loaded.num_timesteps, loaded._n_updates) == ((stop + 6, 28) if due == 0 else (stop + 4, 28))


def test_progress_that_was_saved_without_its_round_begins_one():
    state = half_way().progress.state()
    fresh = make((PDQN, one, {}))
    fresh.progress.restore({name: value for name, value in state.items() if name not in ("round", "due")})
    assert fresh.progress.state() == state | {"round": None, "due": None}


def test_weights_given_between_two_calls_decide_at_once():
    agent = make(SETTINGS["vector"]).learn(36)
    assert agent.environments.decided is not None
    agent.set_parameters(agent.get_parameters())
    assert agent.environments.decided is None


@pytest.mark.parametrize("setting", ["single", "vector"])
def test_agents_trained_together_go_on_as_if_they_had_not_stopped(setting):
    def agents():
        own = {"train_freq": 2, "gradient_steps": 2} | NO_TOTAL  # their number of updates must not vary
        return [make((PDQN, one if setting == "single" else SAME, own), seed=seed) for seed in range(3)]

    whole, parts, stopped = agents(), agents(), agents()
    train_together(whole, 72)
    train_together(parts, 36)
    train_together(parts, 36, reset_num_timesteps=False)
    train_together(stopped, 72, callback=lambda agent: lambda found, _: agent.num_timesteps < 24 + agent.seed)
    left = [72 - agent.num_timesteps for agent in stopped]
    train_together(stopped, left, reset_num_timesteps=False)
    for one_of_whole, *others in zip(whole, parts, stopped, strict=True):
        for other in others:
            assert_same(other, one_of_whole)


def test_agents_trained_together_make_what_was_due_under_other_settings():
    agents = [half_way(seed=seed) for seed in range(2)]
    for agent in agents:
        agent.learn(50, callback=lambda found, _: found["self"].num_timesteps < 24, reset_num_timesteps=False)
        agent.gradient_steps, agent.train_freq = 1, 1
        agent.progress.forget_round()
        agent.progress.due = 4
    train_together(agents, 3, reset_num_timesteps=False)
    assert [(agent.num_timesteps, agent._n_updates) for agent in agents] == [(27, 27)] * 2
