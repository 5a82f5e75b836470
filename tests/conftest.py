"""tests/compat runs other people's packages: where one is missing it is left out, and the summary says so."""

from importlib.util import find_spec

PACKAGES = ("stable_baselines3", "rl_zoo3", "gym_platform", "numba")  # what the extra "compat" installs
MISSING = [name for name in PACKAGES if find_spec(name) is None]
collect_ignore = ["compat"] if MISSING else []


def pytest_terminal_summary(terminalreporter):
    if MISSING:
        terminalreporter.write_line(
            f"not run: tests/compat, and the examples that it runs (rl_zoo.py, sb3_mpdqn.py, sb3_td3.py), since "
            f"{', '.join(MISSING)} cannot be imported: pip install -e '.[compat]'",
            yellow=True,
        )
