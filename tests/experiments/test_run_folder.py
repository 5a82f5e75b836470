from pathlib import Path

import pytest

from pamdp_agents.experiments.run_folder import find_folder, make_folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs, of which the third was killed and only the first has a best agent."""
    for files in (["model.zip", "best_model.zip"], ["model.zip"], []):
        folder = make_folder(tmp_path, "my/Env-v0")
        for name in files:
            (folder / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("number", "name", "found"),
    [(0, "model.zip", 2), (0, "best_model.zip", 1), (1, "model.zip", 1), (3, "model.zip", 3)],
)
def test_the_latest_run_is_the_latest_that_has_what_is_looked_for(
    runs: Path, number: int, name: str, found: int
) -> None:
    assert find_folder(runs, "my/Env-v0", number, name) == runs / f"my-Env-v0_{found}"


def test_it_is_said_if_there_is_no_such_run_or_none_has_what_is_looked_for(runs: Path) -> None:
    for env_id, number, name, said in (
        ("my/Env-v0", 0, "nothing.zip", r"no run for my/Env-v0 in .* has a nothing.zip \(there are: 1, 2, 3\)"),
        ("my/Env-v0", 4, "model.zip", r"there is no run 4 for my/Env-v0 in .* \(there are: 1, 2, 3\); train one first"),
        ("my/Env-v1", 0, "model.zip", r"there is no run for my/Env-v1 in .* \(there are: none\); train one first"),
    ):
        with pytest.raises(FileNotFoundError, match=said):
            find_folder(runs, env_id, number, name)
