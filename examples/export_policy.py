"""Exports a pretrained agent, runs the exported files without the agent, and compares actions, speed and size.

python examples/export_policy.py
python examples/export_policy.py --formats tflite onnx    # ONNX needs pip install ".[onnx]" onnxruntime
"""

import argparse
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import tensorflow as tf

from pamdp_agents import MPDQN


def load(path):
    """Returns an exported policy as a function from observations [n, ...] to {"action": [n], "parameters": [n, P]}."""
    if path.suffix == ".tflite":
        runner = tf.lite.Interpreter(str(path)).get_signature_runner()
        return lambda observations: runner(observation=observations.astype(np.float32))
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        names = [output.name for output in session.get_outputs()]
        return lambda observations: dict(zip(names, session.run(names, {"observation": observations}), strict=True))
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda observations: {
        name: values.numpy() for name, values in signature(observation=tf.constant(observations)).items()
    }


def size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def microseconds(policy, observation, repeats=200):
    """The fastest of five rounds, per call."""
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            policy(observation)
        rounds.append((time.perf_counter() - start) / repeats)
    return 1e6 * min(rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="pamdp/Platform-v0")
    parser.add_argument("--formats", nargs="+", default=["saved_model", "tflite"])
    parser.add_argument("--folder", type=Path, default=Path("runs/export_policy"))
    options = parser.parse_args()

    env = gym.make(options.env)
    agent = MPDQN.from_pretrained(env)
    env.observation_space.seed(0)
    observations = np.stack([env.observation_space.sample() for _ in range(1000)])
    k, parameters = agent.parameterized_space.decompose_batch(agent.predict(observations, deterministic=True)[0])

    def predict(observation):
        return agent.predict(observation, deterministic=True)

    print(f"agent.predict: {microseconds(predict, observations[0]):.0f} µs")
    for format in options.formats:
        path = options.folder / ("policy" if format == "saved_model" else f"policy.{format}")
        agent.export(path, format=format)
        policy = load(path)
        outputs = policy(observations)
        same = np.mean(outputs["action"] == k)
        space = agent.parameterized_space
        error = np.max(np.abs(outputs["parameters"] - parameters) / (space.high - space.low))
        print(
            f"{path.name}: {microseconds(policy, observations[:1]):.0f} µs, {size(path) / 1000:.0f} kB, "
            f"{same:.1%} the same discrete action, parameters to {error:.0e} of their range"
        )


if __name__ == "__main__":
    main()
