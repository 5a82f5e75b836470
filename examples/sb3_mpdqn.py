"""A training with Stable-Baselines3's tools. sb3_td3.py and sb3_mpdqn.py differ in two lines: agent and actions.

python examples/sb3_td3.py
python examples/sb3_mpdqn.py
"""

import argparse

import gymnasium as gym
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize

import pamdp_agents

# isort: split
from pamdp_agents import MPDQN as Agent

gym.register_envs(pamdp_agents)  # says that importing it is what registers them


def make_env(**kwargs):
    env = gym.make("pamdp/Platform-v0", **kwargs)
    return env


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-timesteps", type=int, default=20_000)
    parser.add_argument("--eval-freq", type=int, default=1_000, help="steps of the two environments, each")
    parser.add_argument("--folder", default="runs/sb3")
    options = parser.parse_args()
    folder = options.folder

    train_env = VecNormalize(make_vec_env(make_env, n_envs=2, seed=0), norm_reward=False)
    test_env = VecNormalize(make_vec_env(make_env, seed=1), norm_reward=False, training=False)
    evaluation = EvalCallback(test_env, eval_freq=options.eval_freq, best_model_save_path=folder, verbose=0)
    checkpoints = CheckpointCallback(options.eval_freq, folder, save_vecnormalize=True)

    model = Agent(
        "MlpPolicy",
        train_env,
        learning_rate=LinearSchedule(1e-3, 1e-4, 1.0),
        learning_starts=500,
        batch_size=128,
        train_freq=1,
        gradient_steps=-1,
        policy_kwargs={"net_arch": [128]},
        seed=0,
    )
    model.set_logger(configure(folder, ["csv"]))
    model.learn(options.n_timesteps, callback=[evaluation, checkpoints])
    model.save(f"{folder}/model")
    train_env.save(f"{folder}/vecnormalize.pkl")
    print(f"{Agent.__name__}: best evaluation {evaluation.best_mean_reward:.3f}")

    env = VecNormalize.load(f"{folder}/vecnormalize.pkl", make_vec_env(make_env, seed=2))
    env.training = False
    model = Agent.load(f"{folder}/model", env=env)
    mean, deviation = evaluate_policy(model, model.get_env(), n_eval_episodes=20)
    print(f"{Agent.__name__}: mean return of 20 episodes {mean:.3f} ± {deviation:.3f}")


if __name__ == "__main__":
    main()
