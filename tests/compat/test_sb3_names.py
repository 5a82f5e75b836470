"""docs/sb3_names.md has every argument, method and attribute of Stable-Baselines3's TD3 and DQN, and is true."""

import inspect
import re
from pathlib import Path

import pytest

from pamdp_agents import MPDQN

sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed")

PAGE = (Path(__file__).parents[2] / "docs" / "sb3_names.md").read_text()
CONSTRUCTOR, METHODS, ATTRIBUTES = (
    re.search(rf"## {title}\n(.*?)\n## ", PAGE, re.DOTALL)[1] for title in ("Constructor", "Methods", "Attributes")
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
