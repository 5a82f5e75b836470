"""RL Zoo's commands `train` and `enjoy`, with this library's agents among their algorithms.

python examples/rl_zoo.py train --algo mpdqn --env pamdp/Platform-v0 --conf-file examples/rl_zoo.yml
python examples/rl_zoo.py enjoy --algo mpdqn --env pamdp/Platform-v0 --folder logs
"""

import sys

from rl_zoo3 import ALGOS
from rl_zoo3.enjoy import enjoy
from rl_zoo3.train import train

from pamdp_agents import MPDQN, PDQN

ALGOS.update(mpdqn=MPDQN, pdqn=PDQN)

if __name__ == "__main__":
    commands = {"train": train, "enjoy": enjoy}
    if sys.argv[1:2] not in [[name] for name in commands]:
        sys.exit(__doc__)
    commands[sys.argv.pop(1)]()
