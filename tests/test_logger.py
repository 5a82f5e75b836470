import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tqdm import tqdm

from pamdp_agents.logger import CSVOutputFormat, Logger, configure


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def read_json(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "progress.json").read_text().splitlines()]


def read_events(folder: Path) -> dict[str, list[tuple[int, object]]]:
    """What TensorBoard would find: for each tag its (step, value)."""
    found: dict[str, list[tuple[int, object]]] = {}
    for path in folder.glob("events.out.tfevents.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                is_text = value.metadata.plugin_data.plugin_name == "text"
                content = tf.make_ndarray(value.tensor).item().decode() if is_text else value.simple_value
                found.setdefault(value.tag, []).append((event.step, content))
    return found


def test_the_last_recorded_value_is_written_and_dump_begins_a_new_row(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["json"])
    logger.record("train/loss", 2.0)
    logger.record("train/loss", 1.0)
    assert logger.name_to_value == {"train/loss": 1.0}
    logger.dump(step=5)
    assert logger.name_to_value == {}
    logger.record("train/loss", 0.5)
    logger.dump(step=6)
    assert read_json(tmp_path) == [{"train/loss": 1.0}, {"train/loss": 0.5}]


def test_record_mean_averages_within_a_row_and_ignores_none() -> None:
    logger = Logger(None, [])
    for value in (1.0, None, 2.0, 6.0):
        logger.record_mean("train/loss", value)
    assert logger.name_to_value["train/loss"] == pytest.approx(3.0)
    logger.dump()
    logger.record_mean("train/loss", 10.0)
    assert logger.name_to_value["train/loss"] == 10.0


def test_the_table_is_aligned_and_grouped(capsys: pytest.CaptureFixture[str]) -> None:
    logger = configure(None, ["stdout"])
    assert logger.get_dir() is None
    logger.record("time/total_timesteps", 12345)
    logger.record("rollout/ep_rew_mean", np.float32(0.83456))
    logger.record("rollout/ep_len_mean", math.nan)
    logger.record("note", "two\nlines " + "x" * 100)
    logger.dump()
    assert capsys.readouterr().out.splitlines() == [
        "-" * 61,
        "| note               | two lines xxxxxxxxxxxxxxxxxxxxxxx... |",
        "| rollout/           |                                      |",
        "|    ep_len_mean     | nan                                  |",
        "|    ep_rew_mean     | 0.835                                |",
        "| time/              |                                      |",
        "|    total_timesteps | 12345                                |",
        "-" * 61,
    ]


def test_a_table_leaves_a_progress_bar_whole(capsys: pytest.CaptureFixture[str]) -> None:
    logger = configure(None, ["stdout"])
    with tqdm(total=10, file=sys.stdout, mininterval=0) as bar:
        bar.update(3)
        logger.record("train/loss", 1.0)
        logger.dump()
    lines = [line.split("\r")[-1] for line in capsys.readouterr().out.split("\n")]
    assert "|    loss | 1 |" in lines
    assert "3/10" in lines[-2]


def test_a_new_key_adds_a_csv_column_and_keeps_the_old_rows(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["csv"])
    logger.record("a", 1)
    logger.record("text", 'with "quotes", commas\nand lines')
    logger.dump()
    logger.record("a", 2)
    logger.record("b", math.nan)
    logger.dump()
    logger.record("b", 3.5)
    logger.dump()
    logger.close()
    assert read_csv(tmp_path) == [
        {"a": "1", "text": 'with "quotes", commas\nand lines', "b": ""},
        {"a": "2", "text": "", "b": "nan"},
        {"a": "", "text": "", "b": "3.5"},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["progress.csv"]


def test_a_new_csv_column_keeps_links_and_modes(tmp_path: Path) -> None:
    (tmp_path / "real.csv").touch(mode=0o600)
    (tmp_path / "progress.csv").symlink_to(tmp_path / "real.csv")
    output = CSVOutputFormat(tmp_path / "progress.csv")
    output.write({"a": 1}, {})
    output.write({"b": 2}, {})
    assert (tmp_path / "progress.csv").is_symlink() and (tmp_path / "real.csv").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "real.csv").read_text().split() == ["a,b", "1,", ",2"]
    assert len(list(tmp_path.iterdir())) == 2


def test_json_lines_hold_plain_numbers_whatever_computed_them(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["json"])
    logger.record("numpy", np.float64(0.5))
    logger.record("array", np.array([3]))
    logger.record("tensor", tf.constant(2.0))
    logger.record("nothing", None)
    logger.record("nan", float("nan"))
    logger.dump()
    (row,) = read_json(tmp_path)
    assert repr(row.pop("nan")) == "nan"
    assert row == {"numpy": 0.5, "array": 3, "tensor": 2.0, "nothing": None}


def test_tensorboard_events_carry_step_scalars_and_texts(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["tensorboard"])
    logger.record("train/loss", np.float32(0.25))
    logger.record("train/strategy", "inverting")
    logger.record("train/nothing", None)
    logger.dump(step=100)
    logger.record("train/loss", 1)
    logger.dump(step=200)
    logger.close()
    assert read_events(tmp_path) == {
        "train/loss": [(100, 0.25), (200, 1.0)],
        "train/strategy": [(100, "inverting")],
    }


def test_excluded_keys_are_left_out_of_those_formats_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = configure(tmp_path, ["stdout", "log", "csv", "json", "tensorboard"])
    assert capsys.readouterr().out == f"Logging to {tmp_path}\n"
    logger.record("kept", 1)
    logger.record("not_tensorboard", 2, exclude="tensorboard")
    logger.record("files_only", 3, exclude=("stdout", "log"))
    logger.record_mean("not_files", 4, exclude=("csv", "json"))
    logger.dump(step=1)
    logger.close()
    table = capsys.readouterr().out
    assert (tmp_path / "log.txt").read_text() == f"Logging to {tmp_path}\n{table}"
    assert "not_tensorboard" in table and "not_files" in table and "files_only" not in table
    assert set(read_csv(tmp_path)[0]) == set(read_json(tmp_path)[0]) == {"kept", "not_tensorboard", "files_only"}
    assert set(read_events(tmp_path)) == {"kept", "files_only", "not_files"}


def test_a_row_with_nothing_to_write_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = configure(tmp_path, ["stdout", "csv"])
    capsys.readouterr()
    logger.dump()
    logger.record("hidden", 1, exclude=("stdout", "csv"))
    logger.dump()
    assert capsys.readouterr().out == ""
    assert (tmp_path / "progress.csv").read_text() == ""


def test_writers_of_ones_own_get_every_value_with_its_exclusions(tmp_path: Path) -> None:
    class Rows:
        def __init__(self) -> None:
            self.rows: list[object] = []
            self.closed = False

        def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
            self.rows.append((dict(key_values), dict(key_excluded), step))

        def close(self) -> None:
            self.closed = True

    mine = Rows()
    logger = Logger(str(tmp_path), [mine])
    logger.record("histogram", [1, 2], exclude="stdout")
    logger.record("loss", 1.0)
    logger.dump(step=7)
    logger.close()
    assert mine.rows == [({"histogram": [1, 2], "loss": 1.0}, {"histogram": ("stdout",), "loss": ()}, 7)]
    assert mine.closed
    assert logger.get_dir() == str(tmp_path)


def test_without_a_folder_files_go_to_a_new_temporary_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    logger = configure()
    (folder,) = tmp_path.iterdir()
    assert logger.get_dir() == str(folder)
    assert {path.name for path in folder.iterdir()} == {"log.txt", "progress.csv"}


def test_no_outputs_make_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    logger = configure(None, [""])
    logger.record("a", 1)
    logger.dump()
    assert logger.get_dir() is None
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'wandb'.*stdout, log, csv, json, tensorboard"):
        configure(tmp_path, ["wandb"])
