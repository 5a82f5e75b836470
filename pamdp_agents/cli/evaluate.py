"""`pamdp-agents evaluate`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from pamdp_agents.cli.common import open_trained
from pamdp_agents.experiments.measure import measure


def evaluate(args: argparse.Namespace) -> int:
    """Measures a trained agent."""
    with open_trained(args) as (agent, env):
        result = measure(agent, env, args.n_episodes, args.deterministic, args.seed)
    print(json.dumps(result, indent=2) if args.json else summary(result))
    return 0


def summary(result: dict[str, Any]) -> str:
    """Returns what was measured as one line."""
    text = (
        f"mean return {result['mean_reward']:.3f} ± {result['std_reward']:.3f} over {result['n_eval_episodes']} "
        f"episodes (min {result['min_reward']:.3f}, max {result['max_reward']:.3f})"
    )
    return text + (f", success rate {result['success_rate']:.1%}" if "success_rate" in result else "")
