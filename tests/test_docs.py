"""The documentation is true: code runs and prints what it says, links lead somewhere, tables are complete."""

import ast
import importlib.util
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_agents import those_of
from toy_environments import Film

from pamdp_agents import PDQN, strategies
from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.base.on_policy import OnPolicyAgent
from pamdp_agents.benchmark.__main__ import make_parser
from pamdp_agents.cli import arguments, main
from pamdp_agents.experience.transition import NEXT_MASK
from pamdp_agents.files.agent_file import ENTRIES
from pamdp_agents.files.archive import MEMBERS

ROOT = Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
N_TIMESTEPS = 600  # the code of the pages is run as it is, but for longer trainings, which are cut to this

# `print(something)  # what is printed` becomes a check of just that.
CHECKED_PRINT = """
def printed(value, expected):
    assert str(value) == expected, f"the page says {expected}, but it is {value}"
"""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[page], re.MULTILINE | re.DOTALL)


def run(code, folder):
    """Runs code as a file of its own, and returns the module."""
    code = re.sub(
        r"\.learn\((total_timesteps=)?([\d_]+)",
        lambda found: f".learn({found[1] or ''}{min(int(found[2]), N_TIMESTEPS)}",
        code,
    )
    code = re.sub(
        r"^( *)print\((.+)\)  # (.+)$",
        lambda found: f"{found[1]}printed({as_one(found[2])}, {found[3].partition('  # ')[0]!r})",
        code,
        flags=re.MULTILINE,
    )
    file = folder / "page.py"
    file.write_text(CHECKED_PRINT + code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("page", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_one(arguments):
    """`"a, b"` as print would show them: one text."""
    return f"(lambda *values: ' '.join(map(str, values)))({arguments})"


def section(page, title):
    found = re.search(rf"^## {title}$\n(.*?)(?=^## |\Z)", TEXTS[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {title!r}"
    return found[1]


def table(text, header):
    """The rows of the table with these columns: a list of cells each."""
    found = re.search(rf"^\| {re.escape(' | '.join(header))} \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    assert found, f"there is no table with the columns {header}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in found[1].splitlines()]


def agent_page(name):
    return f"docs/agents/{name}.md"


def make_agent(name, env="pamdp/Platform-v0", **settings):
    kind = agent_class(name)
    return kind("MlpPolicy", env, **those_of(kind, {"buffer_size": 50, "seed": 0} | settings))


# -------------------------------------------------------------------- code


@pytest.mark.parametrize("page", [name for name in PAGES if blocks(name, "python")])
def test_the_python_code_of_a_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    run("\n".join(blocks(page, "python")), tmp_path)


def test_the_plain_tensorflow_program_keeps_parameters_within_their_bounds(tmp_path):
    page = run(blocks("docs/strategies.md", "python")[0], tmp_path)
    # A critic whose gradient always points upwards for the first parameter and downwards for the second.
    kernel, out = np.zeros((6, 32), "f"), np.zeros((32, 1), "f")
    kernel[4, 0], kernel[5, 1], out[0], out[1] = 1, -1, 1, 1
    page.critic.set_weights([kernel, np.full(32, 100, "f"), out, np.zeros(1, "f")])
    page.optimizer.learning_rate = 1e-2
    states = tf.random.stateless_normal((64, 4), (0, 0))
    for _ in range(500):
        x = page.update_actor(states).numpy()
    np.testing.assert_allclose(x.mean(0), [10.0, -1.0], rtol=0.05)
    assert (x > page.low.numpy() - 0.2).all() and (x < page.high.numpy() + 1.0).all()


def test_the_plain_tensorflow_program_uses_the_librarys_rule(tmp_path):
    [line] = [
        line for line in blocks("docs/strategies.md", "python")[0].splitlines() if "# inverting gradients" in line
    ]
    rng = np.random.default_rng(0)
    g, x = (tf.constant(rng.normal(size=(50, 2)), tf.float32) for _ in range(2))
    low, high = tf.constant([-1.0, -0.5]), tf.constant([1.0, 2.0])
    context = strategies.StrategyContext(x, low, high, tf.zeros(50), tf.zeros(50, tf.int32), tf.ones((1, 2), tf.bool))
    values = {"tf": tf, "g": g, "x": x, "low": low, "high": high}
    exec(line.strip(), values)
    np.testing.assert_allclose(values["g"], strategies.get("inverting")(g, context), rtol=1e-6)


# -------------------------------------------------------------------- links and commands


def anchors(page):
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_picture_of_a_page_exists(page):
    text = re.sub(r"^```.*?^```$", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = (PAGES[page].parent / file).resolve() if file else PAGES[page]
        assert path.exists(), f"{page} links {target}, which does not exist"
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), f"{page} links {target}: no heading"


def test_a_readme_links_every_page():
    for page in PAGES:
        folder, _, name = page.rpartition("/")
        own = f"{folder}/README.md"
        linked = own in PAGES and name != "README.md" and f"]({name})" in TEXTS[own]
        assert page == "README.md" or linked or f"]({page})" in TEXTS["README.md"], page


def commands(program):
    """Every command of that program in the pages' shell code, as (page, words)."""
    return [
        (page, shlex.split(command)[1:])
        for page in PAGES
        for block in blocks(page, "bash")
        for command in re.split(r"&&|\n", block.replace("\\\n", " "))
        if command.split()[:1] == [program]
    ]


@pytest.mark.parametrize("page, words", commands("pamdp-agents"))
def test_a_command_parses(page, words):
    assert arguments.make_parser().parse_args(words).run


@pytest.mark.parametrize("page, words", [each for each in commands("python") if "pamdp_agents.benchmark" in each[1]])
def test_a_command_of_the_benchmarks_parses(page, words):
    assert make_parser().parse_args(words[words.index("pamdp_agents.benchmark") + 1 :]).entries


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if "pytest tests/" in text])
def test_the_tests_that_a_page_runs_exist(page):
    for files in re.findall(r"pytest ((?:tests/[\w/]+\.py ?)+)", TEXTS[page]):
        for file in files.split():
            assert (ROOT / file).is_file(), file


def test_every_option_of_the_benchmarks_is_on_its_page(capsys):
    for command in ("speed", "scaling", "profile"):
        with pytest.raises(SystemExit):
            make_parser().parse_args([command, "--help"])
        for option in set(re.findall(r"(?<![\w-])--[a-z]+", capsys.readouterr().out)) - {"--help"}:
            assert f"`{option}" in TEXTS["docs/speed.md"], f"{command} {option}"


@pytest.mark.parametrize("command", ["train", "evaluate", "enjoy", "list"])
def test_every_option_of_a_command_is_on_its_page(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", capsys.readouterr().out)) - {"--help"}:
        assert f"`{option}" in TEXTS["docs/command_line.md"], f"{command} {option}"


def test_the_extras_that_the_pages_install_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [
        extra for text in TEXTS.values() for found in re.findall(r"\.\[([\w,]+)\]", text) for extra in found.split(",")
    ]
    assert named and set(named) <= set(extras)


def test_the_settings_for_rl_zoo_are_those_of_the_example():
    [shown] = blocks("docs/coming_from_sb3.md", "yaml")
    assert set(shown.splitlines()) <= set((ROOT / "examples/rl_zoo.yml").read_text().splitlines())


# -------------------------------------------------------------------- tables


SETTINGS = ("Setting", "Default", "Meaning", "Agents")


def settings_rows():
    return table(section("docs/agents/settings.md", "All settings"), SETTINGS)


@pytest.mark.parametrize("name", AGENTS)
def test_the_settings_table_has_every_setting_with_its_default_and_meaning(name):
    documented = []
    for setting, default, meaning, agents in settings_rows():
        if agents == "all" or f"`{AGENTS[name]}`" in agents.split(", "):
            default = inspect.Parameter.empty if default == "required" else ast.literal_eval(default.strip("`"))
            documented.append((setting.strip("`"), default, meaning))
    declared = agent_class(name).declared_settings
    assert documented == [
        (setting, declared[setting].default, declared[setting].text)
        for setting in inspect.signature(agent_class(name)).parameters
    ]


def test_the_settings_table_names_agents_that_there_are():
    for setting, _, _, agents in settings_rows():
        named = [agent.strip("`") for agent in agents.split(", ")]
        assert agents == "all" or (set(named) < set(AGENTS.values()) and len(set(named)) == len(named)), setting


@pytest.mark.parametrize("name", AGENTS)
def test_a_setting_that_the_page_says_goes_by_name_only_does(name):
    # "All but `policy`, `env` and those from `learning_rate` to `device` can be given by name only."
    parameters = inspect.signature(agent_class(name)).parameters.values()
    by_position = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert by_position[:3] == ["policy", "env", "learning_rate"] and by_position[-1] == "device"


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_has_a_page_that_the_list_of_agents_links(name):
    page = agent_page(name)
    assert page in PAGES
    linked = {row[0]: row[-1] for row in table(TEXTS["docs/agents/README.md"], AGENTS_COLUMNS)}
    assert f"]({name}.md)" in linked[f"`{AGENTS[name]}`"]
    assert f"`{AGENTS[name]}`" in TEXTS[page] and f"`--algo {name}`" in TEXTS[page]
    for title in ("Equations", "Networks", "Implementation details", "Logged metrics", "Results"):
        assert section(page, title).strip(), title
    assert re.search(r"^## What differs from the paper", TEXTS[page], re.MULTILINE)
    assert re.search(r"\]\(https://arxiv.org/abs/", TEXTS[page])
    assert blocks(page, "bash"), "it says how its results are repeated"
    assert f"`{name}`" in section("docs/command_line.md", "train")


AGENTS_COLUMNS = ("Agent", "Q-network or critic", "Choose it when", "Page")


def test_the_list_of_agents_has_those_that_there_are():
    listed = [row[0].strip("`") for row in table(TEXTS["docs/agents/README.md"], AGENTS_COLUMNS)]
    assert sorted(listed) == sorted(AGENTS.values())


@pytest.mark.parametrize("name", AGENTS)
def test_the_implementation_details_are_numbered_through(name):
    numbers = re.findall(r"^(\d+)\. \*\*", section(agent_page(name), "Implementation details"), re.MULTILINE)
    assert list(map(int, numbers)) == list(range(1, len(numbers) + 1)) and len(numbers) >= 10


@pytest.mark.parametrize("name", AGENTS)
def test_the_sizes_of_the_networks_are_those_on_the_page(name):
    networks = {"q": "Q-network", "actor": "actor", "policy": "policy and value"}
    columns = [networks[network] for network in make_agent(name).flat_weights()]
    rows = table(section(agent_page(name), "Networks"), ("Environment", "D", "K", "P", *columns))
    assert len(rows) == 2
    for env, *numbers in rows:
        agent = make_agent(name, env.strip("`"))
        space = agent.parameterized_space
        sizes = [weights.size for weights in agent.flat_weights().values()]
        assert [int(number.replace(",", "")) for number in numbers] == [
            agent.observation_transform.size,
            space.n,
            space.parameter_size,
            *sizes,
        ]


METRICS = ("Key", "Meaning", "How to read it")


def metrics_rows(name):
    """The keys that each row of an agent's page explains, and the rest of the row."""
    rows = table(section(agent_page(name), "Logged metrics"), METRICS)
    return [(re.findall(r"`([\w/]+)`", keys), cells) for keys, *cells in rows]


@pytest.mark.parametrize("name", AGENTS)
def test_the_metrics_table_of_an_agent_has_every_metric(name):
    documented = [key for keys, _ in metrics_rows(name) for key in keys if key.startswith("train/")]
    kind = agent_class(name)
    metrics = (*kind.metric_names, *kind.rate_names)
    if issubclass(kind, OnPolicyAgent):  # which has some for each part of its actions
        metrics = (*make_agent(name).metrics()[:-1], *kind.rate_names, "clip_range", "clip_range_vf")
    assert documented == [f"train/{metric}" for metric in (*metrics, "n_updates")]


@pytest.mark.parametrize("name", AGENTS)
def test_the_metrics_table_of_an_agent_explains_every_key_that_is_logged(name):
    small = {"learning_starts": 5, "batch_size": 4, "n_steps": 4, "clip_range_vf": 0.2}
    small |= {"initial_action_episodes": 1, "parameter_updates": 1, "n_rollouts": 1}
    agent = make_agent(name, **small)
    agent.learn(10, log_interval=None)
    agent.progress.ep_success_buffer.append(True)
    logged = []
    agent.logger.dump = lambda step: logged.extend(agent.logger.name_to_value)
    agent.dump_logs(1 if agent.logs_rounds else 0)
    assert len(logged) > 10
    explained = {key: meaning for keys, (meaning, _) in metrics_rows(name) for key in keys}
    for key in logged:
        assert explained.get(key), key
    for key in explained:
        assert key in logged or key.startswith("eval/"), f"{key} is not logged"
    for keys, (_, reading) in metrics_rows(name):
        assert reading or keys[0].startswith("time/"), f"{keys} lacks how to read it"


@pytest.mark.parametrize("name", AGENTS)
def test_what_agents_log_alike_is_explained_alike(name):
    own = {"rollout/exploration_rate", "time/iterations"} if agent_class(name).logs_rounds else set()

    def shared(name):
        return [row for row in metrics_rows(name) if not row[0][0].startswith("train/") and row[0][0] not in own]

    assert len(shared(name)) > 5
    assert shared(name) == [row for row in shared("pdqn") if row[0] in [keys for keys, _ in shared(name)]]


def test_the_strategies_table_has_every_strategy():
    rows = re.findall(r'^\| `"(\w+)"` \|', section("docs/strategies.md", "In this library"), re.MULTILINE)
    assert rows == list(strategies.STRATEGIES)


def test_the_saved_files_table_has_every_member_and_entry():
    page = section("docs/files.md", "What is in the zip")
    for name in (*MEMBERS, "format_version", "versions", *ENTRIES):
        assert f"`{name}`" in page, name


@pytest.mark.parametrize("name", AGENTS)
def test_the_saved_files_page_has_every_part_of_a_replay_buffer_and_of_the_progress(name):
    page = section("docs/files.md", "What is in the zip")
    agent = make_agent(name)
    parts = [part for row in table(page, ("Member", "Content")) for part in re.findall(r"`(\w+)`", row[0])]
    if hasattr(agent, "replay_buffer"):
        several_steps = make_agent(name, replay_buffer_class="PrioritizedReplayBuffer", n_steps=3).learn(2)
        images = make_agent(name, Film(), optimize_memory_usage=True)
        saved = {part for each in (agent, several_steps, images) for part in each.replay_state()}
        assert {part for part in saved if not part.startswith("waiting_")} | {"waiting_counts"} <= set(parts)
        assert set(parts) - saved <= {extra for other in AGENTS for extra in make_agent(other).extras()} | {NEXT_MASK}
    [progress] = re.findall(r"^\* `progress`: (.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    assert set(agent.progress_state()) <= set(re.findall(r"`(\w+)`", progress))


def test_the_description_table_has_every_entry_of_an_exported_policy(tmp_path):
    PDQN.from_pretrained("pamdp/Platform-v0").export(tmp_path / "policy")
    description = json.loads((tmp_path / "policy" / "assets.extra" / "policy.json").read_text())
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section("docs/export.md", "policy.json"), re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"\w+", row)) == sorted(description)
