"""What callbacks find in `logger.name_to_value` during training."""

import pytest
from toy_environments import Target

from pamdp_agents import MPDQN
from pamdp_agents.callbacks import EvalCallback
from pamdp_agents.logger import Logger
from pamdp_agents.training.together import train_together

SETTINGS = {"learning_starts": 4, "batch_size": 4, "train_freq": 2, "policy_kwargs": {"net_arch": [8]}}


class Look:
    """Notes, after each step, the updates made and what the logger says of them."""

    def __init__(self):
        self.seen = []

    def __call__(self, locals_, globals_):
        agent = locals_["self"]
        values = agent.logger.name_to_value
        self.seen.append((agent._n_updates, values.get("train/n_updates"), values.get("train/critic_loss")))
        assert values["rollout/exploration_rate"] == agent.exploration_rate


def check(look):
    assert {(made, shown) for made, shown, _ in look.seen} == {(0, None), (1, 1), (2, 2), (3, 3)}
    assert len({loss for *_, loss in look.seen}) == 4, "each round of updates has its own"


@pytest.mark.parametrize("custom", [False, True])
def test_losses_are_there_after_each_round_of_updates(custom):
    agent, look = MPDQN("MlpPolicy", Target(), seed=0, **SETTINGS), Look()
    if custom:
        agent.set_logger(Logger(None, []))
    agent.learn(12, callback=look, log_interval=None)
    check(look)
    assert agent.logger.name_to_value["train/n_updates"] == agent._n_updates == 4
    agent.logger.dump()
    assert agent.logger.name_to_value == {}, "until the next round"


def test_agents_trained_together_have_them_too():
    agents = [MPDQN("MlpPolicy", Target(), seed=seed, **SETTINGS) for seed in (0, 1)]
    looks = {id(agent): Look() for agent in agents}
    train_together(agents, 12, callback=lambda agent: looks[id(agent)], log_interval=None)
    for look in looks.values():
        check(look)


def test_a_row_that_a_callback_writes_has_them_and_training_is_the_same():
    rows = []

    class Rows:
        def write(self, values, excluded, step):
            rows.append(dict(values))

        def close(self):
            pass

    agents = [MPDQN("MlpPolicy", Target(), seed=0, **SETTINGS) for _ in range(2)]
    agents[0].set_logger(Logger(None, [Rows()]))
    agents[0].learn(12, callback=EvalCallback(Target(), eval_freq=7, n_eval_episodes=1, warn=False, verbose=0))
    agents[1].learn(12)
    [row] = [row for row in rows if "eval/mean_reward" in row]
    assert row["train/n_updates"] == 1 and "train/critic_loss" in row
    for name, group in agents[0].get_parameters().items():
        for weight, values in group.items():
            assert (values == agents[1].get_parameters()[name][weight]).all()
