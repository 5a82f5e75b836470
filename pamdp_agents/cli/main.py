"""The command line: `pamdp-agents train | evaluate | enjoy | list`, in RL Zoo's words.

Exit codes: 0, all went well; 1, the environment failed during training; 2, something given cannot be used; 128 and a
signal's number, ended by it: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Sequence

from pamdp_agents.cli import common
from pamdp_agents.cli.arguments import make_parser
from pamdp_agents.experiments.interrupts import SignalInterrupt
from pamdp_agents.experiments.outcomes import name_signal


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments; None: those that the program was started with.

    Returns:
        The exit code.

    Raises:
        SystemExit: The arguments cannot be parsed (2), or help or the version was asked for (0).
    """
    # TensorFlow's notes about the processor are not about the command.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    argv = sys.argv[1:] if argv is None else list(argv)
    args = make_parser().parse_args(argv)
    args.command_line = shlex.join(["pamdp-agents", *argv])
    try:
        return args.run(args)
    except (common.CommandError, OSError) as error:
        common.complain(error)
        return 2
    except SignalInterrupt as interrupt:
        common.complain(f"ended by {name_signal(interrupt)}")
        return 128 + interrupt.number
    except KeyboardInterrupt:
        common.complain("interrupted")
        return 128 + signal.SIGINT
