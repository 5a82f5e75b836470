"""What loggers take besides numbers and texts, where they write it, and messages."""

import copy
import csv
import io
import json
import pickle
import sys
import types
from pathlib import Path

import matplotlib.pyplot
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure as MatplotlibFigure
from toy_environments import Target

from pamdp_agents import MPDQN
from pamdp_agents import logger as logging
from pamdp_agents.logger import (
    CSVOutputFormat,
    Figure,
    FormatUnsupportedError,
    HParam,
    HumanOutputFormat,
    Image,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    Video,
    configure,
    make_output_format,
)

SPECIAL = {
    "figure": lambda: Figure(MatplotlibFigure(), close=True),
    "image": lambda: Image(np.zeros((4, 6, 3), np.uint8), "HWC"),
    "video": lambda: Video(np.zeros((1, 2, 3, 8, 8)), fps=4),
    "hparam": lambda: HParam({"learning_rate": 1e-3}, {"rollout/ep_rew_mean": 0}),
}


def read_values(folder: Path) -> dict[str, object]:
    """TensorBoard's summaries, by tag."""
    return {
        value.tag: value
        for path in folder.glob("events.out.tfevents.*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }


def written(folder: Path, value: object) -> dict[str, object]:
    logger = configure(folder, ["tensorboard"])
    logger.record("value", value)
    logger.dump(3)
    logger.close()
    return read_values(folder)


@pytest.mark.parametrize("form", ["stdout", "log", "csv", "json"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_only_tensorboard_takes_is_refused_or_left_out_elsewhere(tmp_path: Path, form: str, kind: str) -> None:
    writer = make_output_format(form, tmp_path)
    with pytest.raises(FormatUnsupportedError, match=rf"{form} .*{kind} recorded as 'a/b'.*exclude="):
        writer.write({"a/b": SPECIAL[kind]()}, {"a/b": ()})
    writer.write({"a/b": SPECIAL[kind](), "c": 1}, {"a/b": (form,), "c": ()})
    writer.close()


@pytest.mark.parametrize("kind", SPECIAL)
def test_tensorboard_has_figures_images_videos_and_hyperparameters(tmp_path: Path, kind: str) -> None:
    found = written(tmp_path, SPECIAL[kind]())
    if kind == "hparam":
        assert set(found) == {"_hparams_/experiment", "_hparams_/session_start_info"}
        assert b"learning_rate" in found["_hparams_/session_start_info"].metadata.plugin_data.content
        assert b"rollout/ep_rew_mean" in found["_hparams_/experiment"].metadata.plugin_data.content
        return
    picture = found["value"].image
    decoded = tf.io.decode_image(picture.encoded_image_string).numpy()
    assert decoded.shape[-3:-1] == (picture.height, picture.width)
    assert picture.encoded_image_string[:4] == (b"GIF8" if kind == "video" else b"\x89PNG")


def test_classes_of_these_names_from_elsewhere_are_told_by_their_attributes(tmp_path: Path) -> None:
    theirs = type("Image", (), {})()
    theirs.image, theirs.dataformats = np.ones((2, 2), np.uint8), "HW"
    assert written(tmp_path / "a", theirs)["value"].image.height == 2
    with pytest.warns(UserWarning, match=r"'value' is not in TensorBoard's log: .*nothing for a Figure"):
        assert written(tmp_path / "b", MatplotlibFigure()) == {}


@pytest.mark.parametrize(
    ("shape", "dataformats", "size"),
    [
        ((4, 6, 3), "HWC", (4, 6, 3)),
        ((3, 4, 6), "CHW", (4, 6, 3)),
        ((4, 6), "HW", (4, 6, 1)),
        ((6, 4), "wh", (4, 6, 1)),
        ((2, 4, 6), "NHW", (4, 12, 1)),
        ((10, 3, 4, 6), "NCHW", (8, 48, 3)),
    ],
)
def test_the_axes_of_an_image_are_what_it_says(tmp_path: Path, shape: tuple, dataformats: str, size: tuple) -> None:
    picture = written(tmp_path, Image(np.zeros(shape, np.uint8), dataformats))["value"].image
    assert (picture.height, picture.width, picture.colorspace) == size


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[0, 7]], np.uint8), [0, 7]),
        (np.array([[0, 300]], np.int64), [0, 255]),
        (np.array([[0.0, 1.0]]), [0, 255]),
        (np.array([[np.nan, 2.0]]), [0, 255]),
        (tf.constant([[False, True]]), [0, 255]),
    ],
)
def test_numbers_become_pixels(tmp_path: Path, image: object, expected: list[int]) -> None:
    png = written(tmp_path, Image(image, "HW"))["value"].image.encoded_image_string
    assert tf.io.decode_png(png).numpy().ravel().tolist() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Image(np.zeros((2, 2)), "HWC"), r"Image recorded as 'value': dataformats .* 'HWC' .*\(2, 2\)"),
        (Image(np.zeros((2, 2)), "HH"), "dataformats"),
        (Image(np.zeros((2, 2, 5)), "HWC"), "1 to 4 channels"),
        (Video(np.zeros((2, 8, 8)), 4), r"Video recorded as 'value': frames must be"),
        (Video(np.zeros((1, 2, 3, 8, 8)), 0), "fps must be above 0"),
    ],
)
def test_pictures_that_are_none_are_refused_by_name(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, value)


def test_a_figure_is_closed_only_where_it_says_so(tmp_path: Path) -> None:
    for close in (True, False):
        figure = matplotlib.pyplot.figure()
        written(tmp_path, Figure(figure, close=close))
        assert matplotlib.pyplot.fignum_exists(figure.number) is not close
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(("kind", "package"), [("video", "imageio.v2"), ("hparam", "tensorboard.plugins.hparams")])
def test_without_the_package_there_is_a_sentence_once_and_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    logger = configure(tmp_path, ["tensorboard"])
    with pytest.warns(UserWarning, match=r'pip install "pamdp-agents') as warned:
        for step in (1, 2):
            logger.record("a", SPECIAL[kind]())
            logger.record("b", 1)
            logger.dump(step)
    assert len(warned) == 1 and set(read_values(tmp_path)) == {"b"}


def test_hyperparameters_without_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="metric_dict"):
        HParam({"a": 1}, {})


def test_hyperparameters_may_be_of_any_type(tmp_path: Path) -> None:
    given = {"a": np.float32(0.5), "none": None, "arch": [8, 8], "on": True, "text": "relu"}
    content = written(tmp_path, HParam(given, {"b": 0}))["_hparams_/session_start_info"].metadata.plugin_data.content
    assert b"[8, 8]" in content and b"relu" in content and b"none" not in content


ARRAYS = [
    np.array([1, 2, 6]),
    tf.constant([1.0, 2.0, 6.0]),
    [1, 2.0, np.float32(6)],
    (1, tf.constant(2), 6),
    [[1, 2, 6]],
]


@pytest.mark.parametrize("value", ARRAYS, ids=["numpy", "tensorflow", "list", "tuple", "nested"])
def test_arrays_and_lists_are_histograms_in_tensorboard_and_lists_elsewhere(tmp_path: Path, value: object) -> None:
    logger = configure(tmp_path, ["csv", "json", "log", "tensorboard"])
    logger.record("value", value)
    logger.dump()
    histogram = read_values(tmp_path)["value"].histo
    assert (histogram.num, histogram.min, histogram.max, histogram.sum) == (3, 1, 6, 9)
    [row] = map(json.loads, (tmp_path / "progress.json").read_text().splitlines())
    assert np.ravel(row["value"]).tolist() == [1, 2, 6]
    assert "value" in (tmp_path / "progress.csv").read_text() and "value" in (tmp_path / "log.txt").read_text()


def test_a_histogram_is_of_what_is_finite(tmp_path: Path) -> None:
    assert written(tmp_path / "some", np.array([1.0, np.nan, np.inf]))["value"].histo.num == 1
    for name, value in {"none": np.array([np.nan, np.nan]), "empty": np.zeros(0)}.items():
        with pytest.warns(UserWarning, match="no finite number"):
            assert written(tmp_path / name, value) == {}


@pytest.mark.parametrize("value", [{"a": 1}, ["x", "y"], [1, [2]], b"bytes", 1j, object, np.array([None, 1])])
def test_what_tensorboard_has_nothing_for_is_told_and_does_not_end_training(tmp_path: Path, value: object) -> None:
    with pytest.warns(UserWarning, match="TensorBoard has nothing for a"):
        assert written(tmp_path, value) == {}


def test_a_closed_event_file_is_not_written_to(tmp_path: Path) -> None:
    output = TensorBoardOutputFormat(tmp_path)
    output.close()
    with pytest.raises(RuntimeError, match="closed"):
        output.write({"a": 1}, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array([[2]]), 2),
        (tf.Variable(1.5), 1.5),
        (tf.constant(1.5, tf.bfloat16), 1.5),
        (np.longdouble(1.5), 1.5),
        ([1], [1]),
        ({"a": [np.longdouble(1)]}, {"a": [1.0]}),
        ({"a": [np.int8(1), np.array([2])]}, {"a": [1, 2]}),
    ],
)
def test_json_has_numbers_of_every_library(tmp_path: Path, value: object, expected: object) -> None:
    logger = configure(tmp_path, ["json", "csv"])
    logger.record("value", value)
    logger.dump()
    found = json.loads((tmp_path / "progress.json").read_text())["value"]
    assert found == expected and type(found) is type(expected)
    if not isinstance(expected, dict):
        [row] = csv.DictReader((tmp_path / "progress.csv").open(newline=""))
        assert row["value"] == str(expected)


def test_json_refuses_by_name_what_it_has_not(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["json"])
    logger.record("a", [Path("x")])
    with pytest.raises(FormatUnsupportedError, match=r"json cannot hold the list recorded as 'a'"):
        logger.dump()
    assert (tmp_path / "progress.json").read_text() == ""


@pytest.mark.parametrize("form", ["stdout", "log", "csv", "json", "tensorboard"])
@pytest.mark.parametrize("excluded", ["a name", None, "missing", "a list"])
def test_a_writer_can_be_called_directly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, excluded: str
) -> None:
    given = {"a name": {"some": form}, "None": {"some": None}, "missing": {}, "a list": {"some": [form]}}[str(excluded)]
    writer = make_output_format(form, tmp_path / "new", "_1")
    writer.write({"some": 42}, given, 1)
    writer.close()
    files = b"".join(path.read_bytes() for path in (tmp_path / "new").iterdir())
    is_there = "some" in capsys.readouterr().out or b"some" in files
    assert is_there is (excluded in (None, "missing"))
    names = {"log": {"log_1.txt"}, "csv": {"progress_1.csv"}, "json": {"progress_1.json"}, "stdout": set()}
    assert form == "tensorboard" or {path.name for path in (tmp_path / "new").iterdir()} == names[form]


def test_messages_go_to_streams_and_log_txt_from_the_loggers_level_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = configure(tmp_path, ["stdout", "log", "csv"])
    capsys.readouterr()
    logger.debug("hidden")
    logger.info("all", 1, None)
    logger.set_level(logging.WARN)
    logger.info("hidden")
    logger.warn("warned")
    logger.error("failed")
    logger.log("told", level=logging.ERROR)
    logger.record("a", 1)
    logger.set_level(logging.DISABLED)
    logger.error("hidden")
    logger.dump()
    assert logger.level == logging.DISABLED and logger.name_to_value == {"a": 1}
    expected = "all 1 None\nwarned\nfailed\ntold\n"
    assert capsys.readouterr().out == expected
    assert (tmp_path / "log.txt").read_text() == f"Logging to {tmp_path}\n{expected}"


def test_a_stream_of_any_kind_gets_table_and_messages() -> None:
    class Lines:
        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text

    streams = [io.StringIO(), Lines()]
    logger = Logger(None, [HumanOutputFormat(stream) for stream in streams])
    logger.record("key", "value")
    logger.dump()
    logger.info("hello")
    logger.close()
    table = "---------------\n| key | value |\n---------------\n"
    assert [streams[0].getvalue(), streams[1].text] == [table + "hello\n"] * 2


def test_standard_output_may_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    HumanOutputFormat(sys.stdout).write({"key": 1}, {})
    assert "| key | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize("given", [5, object(), b"path"], ids=["int", "object", "bytes"])
def test_what_is_no_file_or_stream_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="filename_or_file"):
        HumanOutputFormat(given)


def test_keys_that_are_cut_to_the_same_are_refused() -> None:
    stream = io.StringIO()
    writer, long = HumanOutputFormat(stream), "a" * 36
    writer.write({"x" + long: 1, "y" + long: 2}, {})
    assert f"x{long}"[:33] + "..." in stream.getvalue()
    with pytest.raises(ValueError, match=r"Key .* truncated .* max_length above 36"):
        writer.write({long + "x": 1, long + "y": 2}, {})
    writer.max_length += 1
    writer.write({long + "x": 1, long + "y": 2}, {})


def test_files_stay_where_they_are_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    logger = configure("log", ["csv", "json", "log"])
    monkeypatch.chdir("other")
    logger.record("a", 1)
    logger.dump()
    assert not list((tmp_path / "other").iterdir())
    assert (tmp_path / "log" / "progress.csv").read_text().split() == ["a", "1"]


def test_the_environment_variables_of_sb3_say_where_and_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path / "there"))
    monkeypatch.setenv("SB3_LOG_FORMAT", "csv,json")
    logger = configure()
    assert logger.get_dir() == str(tmp_path / "there")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"progress.csv", "progress.json"}
    assert configure(tmp_path / "here", ["stdout"]).get_dir() == str(tmp_path / "here")


def test_a_key_that_is_not_there_reads_as_zero_and_is_not_written(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["json"])
    assert logger.name_to_value["train/critic_loss"] == 0.0
    assert "train/critic_loss" not in logger.name_to_value and logger.name_to_value == {}
    assert isinstance(logger.name_to_value, dict)


def test_tensorboard_takes_steps_that_are_floats_and_tells_of_numbers_beyond_them(tmp_path: Path) -> None:
    logger = configure(tmp_path, ["tensorboard"])
    logger.record("large", 10**400)
    logger.record("small", 1)
    with pytest.warns(UserWarning, match="'?large'?.*larger than a float"):
        logger.dump(5e3)
    logger.close()
    assert list(tmp_path.glob("events.*"))


def test_copies_of_a_logger_ask_nobody() -> None:
    agent = MPDQN("MlpPolicy", Target(), seed=0, buffer_size=50, learning_starts=5, batch_size=4).learn(10)
    for made in (copy.deepcopy(agent.logger), pickle.loads(pickle.dumps(agent.logger))):
        made.record("own", 1)
        assert made.name_to_value["own"] == 1
    copied = pickle.loads(pickle.dumps(agent.replay_buffer))
    np.testing.assert_array_equal(copied.rows, agent.replay_buffer.rows)


def test_a_logger_of_two_agents_asks_the_one_that_learns() -> None:
    logger, seen = Logger(None, []), []
    agents = [MPDQN("MlpPolicy", Target(), seed=seed, buffer_size=50, learning_starts=5) for seed in (0, 1)]
    for agent in agents:
        agent.set_logger(logger)
    for agent in agents:
        agent.learn(20, lambda found, _: seen.append(found["self"].logger.name_to_value["train/n_updates"]) or True)
        assert seen[-1] == agent.num_timesteps - 6
        agent.dump_logs()


def test_what_an_object_has_to_record_is_asked_when_somebody_reads() -> None:
    class Source:
        asked = 0

        def news(self, logger: Logger) -> None:
            self.asked += 1
            logger.record("train/loss", self.asked)

    rows: list[dict] = []
    logger = Logger(None, [types.SimpleNamespace(write=lambda values, excluded, step: rows.append(dict(values)))])
    source = Source()
    logger.ask_when_read(source.news)
    logger.record("other", 1)
    assert source.asked == 0
    assert logger.name_to_value["train/loss"] == 1
    logger.dump()
    assert rows == [{"other": 1, "train/loss": 2}]
    del source
    assert logger.name_to_value == {}, "the logger does not keep it alive"


def test_writers_may_derive_from_ours(tmp_path: Path) -> None:
    class Sink(KVWriter):
        def __init__(self) -> None:
            self.rows: list[tuple[int, dict]] = []

        def write(self, key_values: dict, key_excluded: dict, step: int = 0) -> None:
            self.rows.append((step, dict(key_values)))

    sink = Sink()
    logger = Logger(folder=None, output_formats=[sink])
    logger.record("a", [1])
    logger.dump(4)
    logger.info("nobody writes this")
    logger.close()
    assert sink.rows == [(4, {"a": [1]})]
    assert isinstance(sink, KVWriter) and isinstance(CSVOutputFormat(tmp_path / "a.csv"), KVWriter)


def test_an_unknown_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'wandb' is no output"):
        make_output_format("wandb", tmp_path / "new")
    assert not (tmp_path / "new").exists()
