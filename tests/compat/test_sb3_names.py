"""docs/sb3_names.md has every argument, method and attribute of Stable-Baselines3's TD3 and DQN, and is true."""

import inspect
import re
from pathlib import Path

import gymnasium as gym
import pytest
import stable_baselines3 as sb3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv

from pamdp_agents import MPDQN

PAGE = (Path(__file__).parents[2] / "docs" / "sb3_names.md").read_text()
CONSTRUCTOR, POLICY_KWARGS, METHODS, ATTRIBUTES, CALLBACKS = (
    re.search(rf"## {title}\n(.*?)(?:\n## |\Z)", PAGE, re.DOTALL)[1]
    for title in ("Constructor", "policy_kwargs", "Methods", "Attributes", "What callbacks find")
)
KINDS = {"same", "default", "differs", "neutral", "none"}
SMALL = {"learning_starts": 10, "policy_kwargs": {"net_arch": [8]}, "device": "cpu"}


def rows(table):
    """The rows of a table: first column to the others."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| `")
    ]
    assert len({row[0] for row in found}) == len(found), "a name is there twice"
    return {row[0].strip("`"): row[1:] for row in found}


def kind(row):
    word = re.match(r"\w*", row[-1])[0]
    assert word in KINDS, row
    return word


def value(cell):
    return None if cell == "" else eval(cell.strip("`").replace(",", ""))  # numbers, texts and None of our own page


@pytest.fixture(scope="module")
def trained():
    return {
        sb3.TD3: sb3.TD3("MlpPolicy", "Pendulum-v1", **SMALL).learn(20),
        sb3.DQN: sb3.DQN("MlpPolicy", "CartPole-v1", **SMALL).learn(20),
    }


@pytest.fixture(scope="module")
def ours():
    return MPDQN("MlpPolicy", "pamdp/Platform-v0", **SMALL).learn(20)


@pytest.mark.parametrize("other", [sb3.TD3, sb3.DQN], ids=["TD3", "DQN"])
def test_the_constructors_arguments_are_all_there_with_their_defaults(other):
    table, column = rows(CONSTRUCTOR), 0 if other is sb3.TD3 else 1
    theirs, own = inspect.signature(other).parameters, inspect.signature(MPDQN).parameters
    assert theirs.keys() <= table.keys()
    for name, row in table.items():
        if name in theirs and theirs[name].default is not inspect.Parameter.empty:
            assert value(row[column]) == theirs[name].default, name
        elif name not in theirs:
            assert row[column] == "", name
        assert (name in own) == (kind(row) in ("same", "default", "differs")), name
        if name in own and own[name].default is not inspect.Parameter.empty:
            assert value(row[2]) == own[name].default, name
        if kind(row) == "same" and name in theirs:
            assert own[name].default == theirs[name].default, name


def test_neutral_arguments_are_taken_and_others_refused():
    for name, row in rows(CONSTRUCTOR).items():
        if kind(row) == "neutral":
            said = re.search(r"neutral: (\d)", row[-1])
            neutral = int(said[1]) if said else value(row[0])
            MPDQN("MlpPolicy", None, **{name: neutral})
            with pytest.raises(ValueError, match=name):
                MPDQN("MlpPolicy", None, **{name: "another"})


@pytest.mark.parametrize("other", [sb3.TD3, sb3.DQN], ids=["TD3", "DQN"])
def test_the_public_methods_and_attributes_are_all_there(other, trained, ours):
    documented = rows(METHODS) | rows(ATTRIBUTES)
    public = {name for name in dir(trained[other]) if not name.startswith("_")}
    assert public <= documented.keys(), sorted(public - documented.keys())
    for name in public:
        assert hasattr(ours, name) == (kind(documented[name]) != "none"), name


def test_nothing_is_listed_that_neither_has(trained):
    known = {name for agent in trained.values() for name in dir(agent)}
    assert (rows(METHODS) | rows(ATTRIBUTES)).keys() <= known


def test_methods_that_are_the_same_take_the_same_arguments():
    for name, row in rows(METHODS).items():
        if kind(row) == "same":
            theirs, own = (inspect.signature(getattr(each, name)).parameters for each in (sb3.TD3, MPDQN))
            assert list(own)[: len(theirs)] == list(theirs), name
            for argument, parameter in theirs.items():
                assert own[argument].default == parameter.default or f"`{argument}`" in row[-1], (name, argument)


@pytest.mark.parametrize("other", [sb3.TD3, sb3.DQN], ids=["TD3", "DQN"])
def test_attributes_that_are_the_same_hold_values_of_the_same_type(other, trained, ours):
    for name, row in rows(ATTRIBUTES).items():
        theirs = getattr(trained[other], name, None)
        if kind(row) != "same" or theirs is None:
            continue
        families = [each for each in (gym.Space, VecEnv, (int, float)) if isinstance(theirs, each)]
        assert callable(theirs) or isinstance(getattr(ours, name), families[0] if families else type(theirs)), name
        assert callable(theirs) == callable(getattr(ours, name)), name


@pytest.mark.parametrize("other", [sb3.TD3, sb3.DQN], ids=["TD3", "DQN"])
def test_the_policies_arguments_are_all_there_with_their_defaults(other, trained):
    table, own = rows(POLICY_KWARGS), dict(inspect.signature(MPDQN._make_networks).parameters)
    own["n_critics"] = inspect.signature(MPDQN).parameters["n_critics"]  # given here, it becomes that
    theirs = inspect.signature(trained[other].policy_class).parameters
    column = 0 if other is sb3.TD3 else 1
    given_by_the_agent = {"observation_space", "action_space", "lr_schedule"}
    assert {name for name, row in table.items() if row[column]} == theirs.keys() - given_by_the_agent
    for name, row in table.items():
        assert (name in own) == (kind(row) != "neutral"), name
        if name == "net_arch":  # None stands for it
            default = other("MlpPolicy", trained[other].env, buffer_size=10).policy.net_arch
            assert (eval(row[column]), tuple(eval(row[2]))) == (default, own[name].default)
            continue
        if name in theirs and not inspect.isclass(theirs[name].default):
            assert eval(row[column]) == theirs[name].default, name
        if name in own:
            assert eval(row[2].strip("`")) == own[name].default, name
    [here_too] = re.findall("Here too: .*", PAGE)
    assert own.keys() - {"self"} - table.keys() == set(re.findall(r"`(\w+)`", here_too))


@pytest.mark.parametrize("name", [name for name, row in rows(POLICY_KWARGS).items() if kind(row) == "neutral"])
def test_neutral_arguments_of_policies_are_taken_and_others_refused(name):
    neutral = eval(re.search(r"neutral: (\w+)", rows(POLICY_KWARGS)[name][-1])[1])
    assert MPDQN("MlpPolicy", None, policy_kwargs={name: neutral}).policy_kwargs == {}
    with pytest.raises(ValueError, match=name):
        MPDQN("MlpPolicy", None, policy_kwargs={name: "another"})


def test_private_attributes_are_there_or_not_as_is_said(trained, ours):
    there, missing = re.search(r"Private ones .*?: (.*?) are\s+there; (.*?) are not", PAGE, re.DOTALL).groups()
    private = {name for agent in trained.values() for name in vars(agent) if name.startswith("_")}
    named = [set(re.findall(r"`(_\w+)`", part)) for part in (there, missing)]
    assert private == named[0] | named[1]
    assert all(hasattr(ours, name) for name in named[0]) and not any(hasattr(ours, name) for name in named[1])


def test_what_becomes_of_changed_settings_is_as_declared():
    table = re.search(r"\| act at the next.*?\n\n", PAGE, re.DOTALL)[0].strip().splitlines()
    acts, recompiles, refused = (set(re.findall(r"`(\w+)`", line.split("|")[2])) for line in table)
    declared = {}
    for name, setting in MPDQN.declared_settings.items():
        declared.setdefault(setting.change, set()).add(name)
    assert acts == declared["acts"] | declared["input"]
    assert recompiles == declared["recompiles"]
    assert refused - {"set_env", "set_random_seed", "strategy"} == declared["refused"]


class Watcher(BaseCallback):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def _on_step(self):
        self.seen |= self.locals.keys()
        return True


class Succeeding(gym.Wrapper):
    def step(self, action):
        *result, info = super().step(action)
        return *result, info | {"is_success": True}


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """What callbacks find in `locals` during a training, and the keys logged, by the agent's class."""
    found, logged = {}, {}
    for which, env_id in ((sb3.TD3, "Pendulum-v1"), (sb3.DQN, "CartPole-v1"), (MPDQN, "CartPole-v1")):
        folder, watcher = tmp_path_factory.mktemp("log"), Watcher()
        agent = which("MlpPolicy", Succeeding(gym.make(env_id, max_episode_steps=10)), **SMALL)
        agent.set_logger(configure(str(folder), ["csv"]))
        agent.learn(60, callback=watcher, log_interval=1)
        agent.logger.close()
        found[which], [header, *_] = watcher.seen, (folder / "progress.csv").read_text().splitlines()
        logged[which] = set(header.split(","))
    return found, logged


def test_callbacks_find_the_locals_that_are_said(watched):
    found, _ = watched
    said = re.search(r"`locals` has (.*?)\. It lacks (.*?)\.\n", CALLBACKS, re.DOTALL).groups()
    there, lacking = (set(re.findall(r"`(\w+)`", part)) for part in said)
    assert found[MPDQN] == there
    assert found[sb3.TD3] | found[sb3.DQN] == there | lacking


@pytest.mark.parametrize("column, which", list(enumerate([sb3.TD3, sb3.DQN, MPDQN])), ids=["TD3", "DQN", "MPDQN"])
def test_the_keys_logged_are_those_that_are_said(column, which, watched):
    _, logged = watched
    assert logged[which] == {name for name, row in rows(CALLBACKS).items() if row[column].startswith("yes")}
