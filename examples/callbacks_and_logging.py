"""Trains with an evaluation now and then, a callback of one's own, and the log in a CSV file.

python examples/callbacks_and_logging.py
"""

import argparse
import csv
from pathlib import Path

from pamdp_agents import MPDQN
from pamdp_agents.callbacks import BaseCallback, EvalCallback
from pamdp_agents.logger import configure


class LongestLeap(BaseCallback):
    """Logs the longest leap of the training so far, in the environment's units."""

    longest = 0.0

    def _on_step(self):
        for k, parameters in self.locals["actions"]:
            if k == 2:
                self.longest = max(self.longest, float(parameters[2][0]))
        self.logger.record("rollout/longest_leap", self.longest)
        return True  # False would stop the training


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-timesteps", type=int, default=10_000)
    parser.add_argument("--eval-freq", type=int, default=2_000, help="environment steps between two evaluations")
    parser.add_argument("--folder", type=Path, default=Path("runs/callbacks_and_logging"))
    options = parser.parse_args()

    agent = MPDQN.tuned("pamdp/Platform-v0", seed=0)
    agent.set_logger(configure(options.folder, ["csv"]))
    evaluation = EvalCallback(
        "pamdp/Platform-v0",
        n_eval_episodes=20,
        eval_freq=options.eval_freq,
        log_path=options.folder,
        best_model_save_path=options.folder,
    )
    agent.learn(options.n_timesteps, callback=[evaluation, LongestLeap()])

    with (options.folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    print(f"{len(rows)} rows with the columns {', '.join(sorted(rows[0]))}")
    best = MPDQN.load(options.folder / "best_model")
    print(f"best mean return {evaluation.best_mean_reward:.3f}, after {best.num_timesteps} steps")


if __name__ == "__main__":
    main()
