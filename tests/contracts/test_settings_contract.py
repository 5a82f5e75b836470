"""Every agent's settings: each is an attribute, is documented, is checked, and survives in a file."""

import inspect
import re

import numpy as np
import pytest
from small_agents import DICT, PARAMETERS, STEPS, Task, assert_learned, make, small_of, those_of

# Values other than the defaults, where one cannot be guessed from the default's type.
CHANGED = {
    "policy": "MultiInputPolicy",
    "learning_rate": {"start": 0.01, "end": 0.001},
    "policy_kwargs": {"net_arch": [5], "activation_fn": "tanh"},
    "train_freq": (2, "step"),
    "tensorboard_log": "somewhere",
    "seed": 7,
    "device": "cpu",
    "strategy": ["zeroing", {"name": "sign_reversal", "factor": 0.25}],
    "exploration_episodes": 5,
    "exploration_schedule": {"start": 0.5, "end": 0.25, "end_fraction": 0.5},
    "action_noise": {"name": "gaussian", "sigma": 0.25},
    "loss": "huber",
    "passthrough": {"bias": [0.5] * sum(box.shape[0] for box in PARAMETERS[1])},
    "scale_observations": ["b"],
    "actor_loss_weighting": "average",
    "initial_parameters": {"bias": [0.5] * sum(box.shape[0] for box in PARAMETERS[1])},
    "replay_buffer_class": "PrioritizedReplayBuffer",
    "replay_buffer_kwargs": {"alpha": 0.25},
    "clip_range_vf": 0.5,
    "target_kl": 0.03,
    "ratio": "separate",
    "action_layout": "parameterized",
}
CHANGED_OF_ONE = {"QPAMDP": {"policy_kwargs": {"fourier_order": 2, "parameter_observations": [0]}}}
"""Values of CHANGED that are others for one agent."""
NEEDS_IMAGES = {"optimize_memory_usage"}  # and cannot be had with n_steps; its own tests are with the replay buffer's
WRONG = {
    "policy": "LstmPolicy",
    "learning_rate": -1e-3,
    "actor_learning_rate": float("nan"),
    "buffer_size": 0,
    "learning_starts": -1,
    "batch_size": 0,
    "n_steps": 0,
    "n_epochs": 0,
    "tau": 1.5,
    "actor_tau": -0.1,
    "gamma": -0.1,
    "gae_lambda": 1.5,
    "clip_range": -0.1,
    "clip_range_vf": -0.1,
    "normalize_advantage": 1,
    "ent_coef": -0.1,
    "vf_coef": -0.1,
    "target_kl": 0,
    "ratio": "both",
    "action_layout": "joint",
    "train_freq": 0,
    "gradient_steps": -2,
    "policy_kwargs": {"netarch": [8]},
    "stats_window_size": 0,
    "verbose": -1,
    "seed": -1,
    "device": "tpu",
    "strategy": "inverse",
    "exploration_initial_eps": 1.5,
    "exploration_final_eps": -0.5,
    "exploration_fraction": 0,
    "exploration_episodes": 0,
    "action_noise": "normal",
    "max_grad_norm": 0,
    "reward_scale": 0,
    "scale_observations": 1,
    "replay_buffer_class": "HerReplayBuffer",
    "replay_buffer_kwargs": {"alpha": 0.25},
}


def parameters_of(agent_class):
    return inspect.signature(agent_class).parameters


def changed(agent_class, name, default):
    """A value of a setting that is not its default."""
    known = CHANGED | CHANGED_OF_ONE.get(agent_class.__name__, {})
    if name in known:
        return known[name]
    assert isinstance(default, bool | int | float), f"give CHANGED in {__file__} a value for {name}"
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else default / 2 or 0.25


def as_data(value):
    """A setting's value, objects as their kind and configuration, so that equal ones are equal."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {key: as_data(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "get_config"):
        return [type(value).__name__, as_data(value.get_config())]
    if hasattr(value, "__dict__"):
        return [type(value).__name__, as_data(vars(value))]
    return value


def test_policy_and_env_come_first_and_all_arguments_are_named(agent_class):
    parameters = list(parameters_of(agent_class).values())
    assert [parameter.name for parameter in parameters[:2]] == ["policy", "env"]
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(parameter.kind == named and parameter.default is parameter.empty for parameter in parameters[:2])
    for parameter in parameters[2:]:
        assert parameter.kind in (named, inspect.Parameter.KEYWORD_ONLY), parameter.name
        assert parameter.default is not parameter.empty, parameter.name
        assert parameter.annotation is not parameter.empty, parameter.name


def test_the_settings_of_stable_baselines3_are_there(agent_class):
    common = {"learning_rate", "gamma", "policy_kwargs", "tensorboard_log", "verbose", "seed", "device"}
    assert common <= parameters_of(agent_class).keys()


def test_every_setting_is_an_attribute_and_is_documented(agent_class):
    agent = make(agent_class, Task())
    settings = agent.settings()
    assert list(settings) == [name for name in parameters_of(agent_class) if name != "env"]
    for name, value in settings.items():
        assert as_data(getattr(agent, name)) == as_data(value), name
    pages = [
        inspect.cleandoc(base.__doc__)
        for base in agent_class.__mro__
        if base.__module__.startswith("pamdp_agents") and base.__doc__
    ]
    described = {name for page in pages for name in re.findall(r"^    (\w+): \S", page, re.MULTILINE)}
    assert parameters_of(agent_class).keys() - described == set()


def test_what_is_given_is_what_is_used(agent_class):
    agent = make(agent_class, Task(), learning_rate=0.125)
    given = small_of(agent_class) | {"policy": "MlpPolicy", "learning_rate": 0.125}
    for name, parameter in parameters_of(agent_class).items():
        if name in given:
            assert agent.settings()[name] == given[name], name
        elif isinstance(parameter.default, bool | int | float):
            assert agent.settings()[name] == parameter.default, name


def test_every_setting_survives_in_a_file(agent_class, tmp_path):
    default = agent_class("MlpPolicy", Task(DICT))
    parameters = parameters_of(agent_class).items()
    values = {name: changed(agent_class, name, p.default) for name, p in parameters if name != "env"}
    others = NEEDS_IMAGES | {"env"}
    parameters = parameters_of(agent_class).items()
    values = {name: changed(agent_class, name, p.default) for name, p in parameters if name not in others}
    agent = agent_class(env=Task(DICT), **values)
    agent.save(tmp_path / "agent")
    loaded = agent_class.load(tmp_path / "agent")
    ours, theirs, defaults = (as_data(one.settings()) for one in (agent, loaded, default))
    for name in values:
        assert ours[name] != defaults[name], name
        if name in ("device", "tensorboard_log"):  # where to run and to write is said when loading
            assert theirs[name] == defaults[name]
        else:
            assert theirs[name] == ours[name], name
    assert loaded.env is None


def test_settings_can_be_changed_on_load_and_left_out_on_save(agent_class, trained, tmp_path):
    trained.save(tmp_path / "agent", exclude=["seed"])
    loaded = agent_class.load(tmp_path / "agent", learning_rate=0.5, custom_objects={"gamma": 0.25, "unknown": 1})
    assert (loaded.learning_rate, loaded.gamma, loaded.seed) == (0.5, 0.25, None)
    with pytest.raises(TypeError, match="learning_rat"):
        agent_class.load(tmp_path / "agent", learning_rat=0.5)
    with pytest.raises(ValueError, match="exclude takes settings that have a default"):
        trained.save(tmp_path / "agent", exclude=["policy"])


def functions_of(agent_class):
    """A user's own function for every setting that may be one."""
    given = {
        name: lambda remaining: 0.001 + remaining / 1000
        for name, parameter in parameters_of(agent_class).items()
        if "Schedule" in str(parameter.annotation)
    }
    return given | those_of(agent_class, {"strategy": lambda gradient, context: 2 * gradient})


def test_a_users_own_functions_are_saved_and_loaded_only_with_trust(agent_class, tmp_path):
    functions = functions_of(agent_class)
    assert "learning_rate" in functions
    make(agent_class, Task(), **functions).save(tmp_path / "agent")
    for some in ({}, dict(list(functions.items())[1:])):
        with pytest.raises(ValueError, match=rf"(?s){next(iter(functions))}.*custom_objects.*trust=True"):
            agent_class.load(tmp_path / "agent", custom_objects=some)
    trusting = agent_class.load(tmp_path / "agent", trust=True)
    replaced = agent_class.load(tmp_path / "agent", env=Task(), custom_objects=functions)
    for name, function in functions.items():
        assert getattr(replaced, name) is function, name
        arguments = (0.5,) if name != "strategy" else (0.5, None)
        assert getattr(trusting, name)(*arguments) == function(*arguments), name
    before = replaced.get_parameters()
    assert_learned(replaced.learn(STEPS), before)


def test_wrong_settings_are_refused_by_their_names(agent_class):
    for name, value in those_of(agent_class, WRONG).items():
        with pytest.raises((ValueError, TypeError), match=name):
            agent_class(**({"policy": "MlpPolicy", "env": Task(), name: value}))
    with pytest.raises(TypeError, match="learning_rat"):
        make(agent_class, Task(), learning_rat=1e-3)


def test_every_setting_refuses_what_it_could_never_be(agent_class):
    for name in parameters_of(agent_class):
        with pytest.raises((ValueError, TypeError), match=name):
            agent_class(**({"policy": "MlpPolicy", "env": Task(), name: object()}))


def test_each_policy_refuses_observations_that_are_not_its_own(agent_class):
    with pytest.raises(ValueError, match="CnnPolicy"):
        make(agent_class, Task(), "CnnPolicy")
    with pytest.raises(ValueError, match="MultiInputPolicy"):
        make(agent_class, Task(), "MultiInputPolicy")
