"""Settings declared once: signature, checks, documentation and files follow from the declaration."""

import inspect

import pytest

from pamdp_agents import MPDQN, PDQN
from pamdp_agents.base.settings import HasSettings, Kind, choice, flag, integer, number, optional, schedule, setting
from pamdp_agents.schedules import LinearSchedule


class First(HasSettings, kw_only=False):
    """The first.

    References:
        A book.
    """

    name: str = setting(text="What it is called.")


class Middle(First, kw_only=False):
    size: int = setting(default=3, text="How large it is.", kind=integer(1))


class Last(First, kw_only=False):
    share: float = setting(default=0.5, text="Its share.", kind=number(above=0, to=1))


class Both(Last, Middle):
    """Both."""

    rate: float = setting(default=1e-3, text="Its rate.", kind=schedule())
    loud: bool = setting(default=False, text="Whether it is loud.", kind=flag())
    mode: str | None = setting(default=None, text="How.", kind=optional(choice("a", "b")))


def test_arguments_are_in_the_order_of_a_dataclass():
    assert str(inspect.signature(Both)) == (
        "(name: str, size: int = 3, share: float = 0.5, *, rate: float = 0.001, loud: bool = False, "
        "mode: str | None = None)"
    )
    assert Both("x", 4, 0.1, loud=True).settings() == {
        "name": "x",
        "size": 4,
        "share": 0.1,
        "rate": 1e-3,
        "loud": True,
        "mode": None,
    }


@pytest.mark.parametrize(
    "arguments, error, text",
    [
        ({}, TypeError, r"Both.__init__\(\) missing 1 required arguments: 'name'"),
        ({"name": "x", "color": 1}, TypeError, r"Both.__init__\(\) got an unexpected keyword argument 'color'"),
        ({"name": "x", "size": 0}, ValueError, "size must be an integer of at least 1, got 0"),
        ({"name": "x", "share": 2}, ValueError, "share must be a finite number above 0 and at most 1, got 2"),
        ({"name": "x", "rate": -1.0}, ValueError, "rate must be"),
        ({"name": "x", "loud": 1}, TypeError, "loud must be True or False, got 1"),
        ({"name": "x", "mode": "c"}, ValueError, "mode must be one of 'a', 'b', got 'c'"),
    ],
)
def test_each_is_checked_by_its_kind(arguments, error, text):
    with pytest.raises(error, match=text):
        Both(**arguments)


def test_a_schedule_is_written_as_its_arguments_and_a_function_is_an_object():
    plain, objects = Both("x", rate=LinearSchedule(1, 0)).config()
    assert plain["rate"] == {"start": 1.0, "end": 0.0, "end_fraction": 1.0} and not objects
    rate = abs
    plain, objects = Both("x", rate=rate).config()
    assert objects == {"rate": rate} and "rate" not in plain


def test_the_docstring_gets_the_settings_before_its_other_sections():
    assert First.__doc__ == "The first.\n\nArgs:\n    name: What it is called.\n\nReferences:\n    A book."
    assert Both.__doc__.startswith("Both.\n\nArgs:\n    name: What it is called.\n    size: How large it is.\n")


def test_a_default_is_overridden_by_declaring_the_setting_anew():
    class Larger(Both):
        size: int = setting(default=7, text="How large it is.", kind=integer(1), kw_only=False)

    assert Larger("x").size == 7
    assert list(inspect.signature(Larger).parameters) == list(inspect.signature(Both).parameters)


def test_a_users_own_kind_reads_and_writes():
    class Own(First):
        point: complex = setting(
            default=0, text="A point.", kind=Kind(lambda name, value: complex(value), lambda z: [z.real, z.imag])
        )

    assert Own("x", point="1+2j").config() == ({"name": "x", "point": [1.0, 2.0]}, {})


class Own(MPDQN):
    """An agent with a constructor of its own."""

    def __init__(self, policy, env, gamma=0.5, depth=2):
        self.depth = depth
        super().__init__(policy, env, gamma=gamma, buffer_size=100, policy_kwargs={"net_arch": [4] * depth})


class Below(Own):
    pass


class Named:
    """A mixin whose constructor has an argument of its own."""

    def __init__(self, policy, env, gamma=0.5, depth=2):
        self.depth = depth
        super().__init__(policy, env, gamma=gamma, buffer_size=100, policy_kwargs={"net_arch": [4] * depth})


class Mixed(Named, MPDQN):
    pass


@pytest.mark.parametrize("agent_class", [Own, Below, Mixed])
def test_the_arguments_of_a_users_own_constructor_are_the_settings(agent_class, tmp_path):
    agent = agent_class("MlpPolicy", "pamdp/Platform-v0", depth=3)
    assert agent.settings() == {"policy": "MlpPolicy", "gamma": 0.5, "depth": 3}
    assert len(agent.networks["q"].model.hidden) == 3
    agent.save(tmp_path / "agent")
    assert agent_class.load(tmp_path / "agent").settings() == agent.settings()
    with pytest.raises(TypeError, match=r"has no settings \['buffer_size'\]"):
        agent_class.load(tmp_path / "agent", buffer_size=3)
    assert "Args:" not in (agent_class.__doc__ or "")


def test_what_derives_from_a_vague_constructor_is_refused_too():
    class Vague(MPDQN):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    class Child(Vague):
        pass

    with pytest.raises(TypeError, match=r"Child.__init__ must name its arguments"):
        Child("MlpPolicy", "pamdp/Platform-v0")


def test_a_class_without_a_docstring_inherits_one():
    class Quiet(MPDQN):
        pass

    assert inspect.getdoc(Quiet) == inspect.getdoc(MPDQN)


def test_a_setting_needs_a_type():
    with pytest.raises(TypeError, match=r"Untyped.beta is a setting without a type"):

        class Untyped(First):
            beta = setting(default=1.0, text="Without a type.")


def test_too_many_arguments_by_position_are_counted():
    with pytest.raises(TypeError, match=r"takes at most 3 positional arguments but 4 were given"):
        Both("x", 1, 0.5, 4)


def test_stable_baselines3s_arguments_come_first_and_in_its_order():
    names = list(inspect.signature(PDQN).parameters)
    assert names[:16] == [
        *("policy", "env", "learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma"),
        *("train_freq", "gradient_steps", "policy_kwargs", "stats_window_size", "tensorboard_log", "verbose"),
        *("seed", "device"),
    ]
