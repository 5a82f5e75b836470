"""What every agent must do, whatever its algorithm: each test here runs for every agent in AGENTS.

A new agent gets all of it by its line there. The tests use nothing but the public interface.
"""

import json

import numpy as np
import pytest
from small_agents import PLATFORM, STEPS, differences, make

import pamdp_agents
from pamdp_agents.agents import AGENTS
from pamdp_agents.logger import configure


@pytest.fixture(scope="session", params=list(AGENTS))
def agent_name(request):
    """The agent's name on the command line."""
    return request.param


@pytest.fixture(scope="session")
def agent_class(agent_name):
    return getattr(pamdp_agents, AGENTS[agent_name])


@pytest.fixture(scope="session")
def log_folder(agent_class, tmp_path_factory):
    """Where the training of `trained` is logged."""
    return tmp_path_factory.mktemp("log")


@pytest.fixture(scope="session")
def trained(agent_class, log_folder):
    """An agent trained on Platform, with seed 0, for tests that leave it as it is."""
    agent = make(agent_class, PLATFORM)
    agent.set_logger(configure(log_folder, ["json"]))
    agent.learn(STEPS, log_interval=1)
    before = agent.get_parameters()
    yield agent
    assert differences(before, agent.get_parameters()) == [], "a test has changed the agent that all share"


@pytest.fixture(scope="session")
def log_rows(trained, log_folder):
    """What was logged while `trained` was trained, a dict for every episode."""
    return [json.loads(line) for line in (log_folder / "progress.json").read_text().splitlines()]


@pytest.fixture(scope="session")
def trained_with_seed_1(agent_class):
    """As `trained`, with another seed."""
    return make(agent_class, PLATFORM, seed=1).learn(STEPS)


@pytest.fixture(scope="session")
def varied(agent_class):
    """An agent that does something else for every observation, for tests that leave it as it is."""
    agent = make(agent_class, PLATFORM)
    rng = np.random.default_rng(0)
    agent.set_parameters(
        {
            group: {name: np.abs(value + rng.normal(0, 0.5, value.shape)) for name, value in weights.items()}
            if group.endswith(".optimizer")
            else {name: value + rng.normal(0, 0.5, value.shape) for name, value in weights.items()}
            for group, weights in agent.get_parameters().items()
        }
    )
    before = agent.get_parameters()
    yield agent
    assert differences(before, agent.get_parameters()) == [], "a test has changed the agent that all share"
