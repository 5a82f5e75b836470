"""`python -m pamdp_agents`: the command line, as `pamdp-agents`."""

import sys

from pamdp_agents.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
