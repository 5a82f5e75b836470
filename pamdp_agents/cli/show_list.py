"""`pamdp-agents list`."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym

from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.cli.common import CommandError, list_bundled_ids
from pamdp_agents.presets.pretrained import stems
from pamdp_agents.presets.tuned import tuned_table


def show_list(args: argparse.Namespace) -> int:
    """Lists what there is, or prints tuned settings, and returns the exit code.

    Raises:
        CommandError: There are no such settings.
    """
    from pamdp_agents import exploration, strategies

    if (args.algo is None) != (args.env is None):
        raise CommandError("--algo and --env go together: they print the tuned settings of one for the other")
    tuned = {algo: tuned_table(name) for algo, name in AGENTS.items()}
    if args.algo is not None:
        if args.env not in tuned[args.algo]:
            known = ", ".join(tuned[args.algo]) or "none"
            raise CommandError(f"{args.algo} has no tuned settings for {args.env}; it has some for: {known}")
        for name, value in tuned[args.algo][args.env].items():
            print(f"{name} = {value!r}")
        return 0
    _print_section("algorithms", {algo: _first_line(agent_class(name)) for algo, name in AGENTS.items()})
    _print_section("environments", {name: _first_line(_env_class(name)) for name in list_bundled_ids()})
    _print_section("strategies", {name: _first_line(rule) for name, rule in strategies.STRATEGIES.items()})
    _print_section("action noises", {name: _first_line(noise) for name, noise in exploration.NOISES.items()})
    _print_section("tuned settings", {algo: ", ".join(table) or "none" for algo, table in tuned.items()})
    _print_section("pretrained agents", dict.fromkeys(stems(), "") or {"none": ""})
    return 0


def _print_section(title: str, entries: dict[str, str]) -> None:
    width = max(map(len, entries))
    print(f"{title}:", *(f"  {name:<{width}}  {text}".rstrip() for name, text in entries.items()), "", sep="\n")


def _first_line(documented: Any) -> str:
    """Returns the first sentence of a docstring, without the name that some begin with."""
    line = (documented.__doc__ or "").strip().partition("\n")[0]
    return line.rpartition("`: ")[2]


def _env_class(env_id: str) -> Any:
    entry_point = gym.spec(env_id).entry_point
    return gym.envs.registration.load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
