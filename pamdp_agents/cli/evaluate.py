"""`pamdp-agents evaluate`."""

from __future__ import annotations

import argparse
import json

from pamdp_agents.cli.common import open_trained
from pamdp_agents.experiments.measure import measure, summarize


def evaluate(args: argparse.Namespace) -> int:
    """Measures a trained agent, prints the numbers, and returns the exit code."""
    with open_trained(args) as (agent, env):
        measured = measure(agent, env, args.n_episodes, args.deterministic, args.seed)
    print(json.dumps(measured, indent=2) if args.json else summarize(measured))
    return 0
