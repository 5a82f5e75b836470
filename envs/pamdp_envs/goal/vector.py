"""Robot Soccer Goal for many environments at once: the arithmetic of `GoalEnv`, in NumPy."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import AutoresetMode

from pamdp_envs.common.draws import Array
from pamdp_envs.common.vector_env import ParameterizedVectorEnv, SimulatedStep, clip
from pamdp_envs.goal.env import GoalEnv
from pamdp_envs.goal.pitch import (
    BALL,
    CATCHABLE,
    GOAL_AREA,
    GOAL_LINE,
    HALF_WIDTH,
    KICK_TO,
    KICKABLE,
    NET_DEPTH,
    POST,
    TIME_LIMIT,
    Body,
    Player,
    goal_distance,
    play,
)
from pamdp_envs.goal.substeps import (
    CENTRE,
    GLIDE,
    HALF,
    MOST_DRAWS,
    act,
    atan2,
    distances,
    glide,
    kick,
    length,
    move,
)

FEW = 5  # so many environments are faster one by one than in NumPy
DRAWN_AHEAD = 256  # random numbers of each environment that are at hand at a time


class GoalVectorEnv(ParameterizedVectorEnv):
    """n `GoalEnv`s in NumPy: what each does, and its random numbers, are those of the scalar environment.

    `gymnasium.make_vec("pamdp/Goal-v1", num_envs=n)` makes it. Spaces, rewards, ends of episodes and infos are
    described in `GoalEnv`; it does not render.

    Numbers are equal to the last digit where NumPy's sine and cosine are those of `math`, as they are with common
    builds, and else to rounding.

    Args:
        num_envs: number of environments n, at least 1.
        published_quirks: behave as the published code (v0) or as described (v1).
        features: append three features to the 14 numbers of the state.
        max_episode_steps: truncate an episode after this many steps, besides the environment's own limit of
            100; None or -1 for no such limit.
        render_mode: must be None.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.

    Raises:
        ValueError: an argument is not as described.
    """

    def __init__(
        self,
        num_envs: int = 1,
        published_quirks: bool = True,
        features: bool = True,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "NextStep",
    ) -> None:
        single = GoalEnv(published_quirks=published_quirks, features=features)
        super().__init__(single, num_envs, max_episode_steps, render_mode, autoreset_mode, "random")
        self._published_quirks = published_quirks
        self._features = features
        self._bodies = np.zeros((4, 3, num_envs))  # x, y, vx, vy of each body
        self._facing = np.zeros((2, num_envs))  # orientations of player and goalie

    def _restart(self, envs: Array) -> None:
        y = -HALF_WIDTH + 2 * HALF_WIDTH * self._draws.numbers[self._draws.ahead(envs, 1)]
        self._draws.use(envs, 1)
        angle = atan2(np.stack([np.full(len(envs), GOAL_LINE), 0.0 - y]))
        reach = KICKABLE - 1e-12
        ball_x, ball_y = reach * np.cos(angle), y + reach * np.sin(angle)
        slope = -ball_y / (GOAL_LINE - ball_x)
        goalie_x = GOAL_LINE - GOAL_AREA
        goalie_y = slope * goalie_x + (ball_y - slope * ball_x)
        self._bodies[:, :, envs] = 0.0
        self._bodies[1, 0, envs] = y
        self._bodies[0, 1, envs], self._bodies[1, 1, envs] = goalie_x, goalie_y
        self._bodies[0, 2, envs], self._bodies[1, 2, envs] = ball_x, ball_y
        self._facing[0, envs] = angle
        self._facing[1, envs] = atan2(np.stack([ball_x - goalie_x, ball_y - goalie_y]))

    def _observe(self, envs: Array) -> Array:
        bodies, facing = self._bodies[:, :, envs], self._facing[:, envs]
        state = [*bodies[:, 0], facing[0], *bodies[:, 1], facing[1], *bodies[:, 2]]
        if self._features:
            dx, dy = bodies[:2, 2] - bodies[:2, 1]
            distance = length(bodies[:2, 2] - bodies[:2, 1])
            distance[distance == 0.0] = 1.0
            state += [dx / distance, dy / distance, self._shadow(bodies[:, 1], dx, dy)]
        return np.column_stack(state)

    def _shadow(self, goalie: Array, dx: Array, dy: Array) -> Array:
        """Returns where the line from the ball through the goalie meets the goal line."""
        upright = dx == 0
        slope = dy / np.where(upright, 1.0, dx)
        y = goalie[1] + slope * (GOAL_LINE - goalie[0])
        return np.where(upright, np.where(dy > 0, -POST, POST), clip(y, -POST, 2 * POST))

    def _simulate(self, envs: Array, k: Array, parameters: Array) -> SimulatedStep:
        truncated = self._elapsed[envs] == TIME_LIMIT
        playing = np.flatnonzero(~truncated)
        substeps = np.zeros(len(envs), dtype=np.int64)
        over, scored = np.zeros((2, len(envs)), dtype=np.bool_)
        if len(playing):
            shots = k[playing] != KICK_TO
            x, y = parameters[playing].T
            y = x if self._published_quirks else y
            target = np.where(shots, (np.full_like(x, GOAL_LINE + BALL.size), x), (x, y))
            substeps[playing], over[playing], scored[playing] = self._play(envs[playing], shots, target)
        rewards = np.where(scored, 50.0, 0.0)
        for i in np.flatnonzero((over | truncated) & ~scored):
            x, y = self._bodies[:2, 2, envs[i]].tolist()
            rewards[i] = -goal_distance(x, y, self._published_quirks)
        return rewards, over, truncated, {"substeps": substeps, "is_success": scored}

    def _play(self, envs: Array, shots: Array, target: Array) -> tuple[Array, Array, Array]:
        """Simulates each of `envs`, (m,), until its action is over.

        Args:
            envs: the environments.
            shots: which of them shoot at their target, rather than kick to it, (m,).
            target: x and y of the targets, (2, m).

        Returns:
            Numbers of substeps, which episodes are over, and which players scored, each of shape (m,).
        """
        substeps = np.zeros(len(envs), dtype=np.int64)
        over, scored = np.zeros((2, len(envs)), dtype=np.bool_)
        # The arrays of the loop are of the environments that still play: `active` tells which of `envs` they are.
        active = np.arange(len(envs))
        bodies, facing = self._bodies[:, :, envs], self._facing[:, envs]
        near = distances(bodies)[1] <= KICKABLE
        draws = self._draws.numbers
        first = at = self._draws.ahead(envs, DRAWN_AHEAD)  # where in `draws` each one's next number is
        while len(active) > FEW:
            if (at - first).max() > DRAWN_AHEAD - (1 + GLIDE) * MOST_DRAWS:
                self._draws.use(envs[active], at - first)
                first = at = self._draws.ahead(envs[active], DRAWN_AHEAD)
            if np.count_nonzero(near):
                kick(bodies, facing, target, np.flatnonzero(near), draws, at)
            at = act(bodies, facing, near, draws, at)
            apart, alert = move(bodies)
            at += 1  # for the catch
            substeps[active] += 1
            near = apart[1] <= KICKABLE
            ball = bodies[:2, 2]
            if alert or np.count_nonzero(np.abs(ball - CENTRE) >= HALF):
                x, y = ball[0], np.abs(ball[1])
                goal = (x >= GOAL_LINE) & (x <= GOAL_LINE + NET_DEPTH) & (y <= POST)
                end = goal | (x > GOAL_LINE) | (x < 0.0) | (y > HALF_WIDTH) | (apart[2] < CATCHABLE)
                ended = end | (near & ~shots & (length(bodies[2:, 2]) <= 0.1))
                if np.count_nonzero(ended):
                    at[goal] -= 1  # no catch
                    done, going = active[ended], np.flatnonzero(~ended)
                    self._bodies[:, :, envs[done]], self._facing[:, envs[done]] = bodies[:, :, ended], facing[:, ended]
                    over[done], scored[done] = end[ended], goal[ended]
                    self._draws.use(envs[done], (at - first)[ended])
                    active, first, at, near, shots = active[going], first[going], at[going], near[going], shots[going]
                    bodies, facing, target = bodies[:, :, going], facing[:, going], target[:, going]
            # Shots are over soon and their goalies cut in, which no glide covers.
            if 2 * np.count_nonzero(shots) < len(active) and len(active) > FEW:
                count = glide(bodies, facing, near, draws, at)
                at += MOST_DRAWS * count
                substeps[active] += count
        self._draws.use(envs[active], at - first)
        self._bodies[:, :, envs[active]], self._facing[:, envs[active]] = bodies, facing
        for i, to, shot in zip(active.tolist(), target.T.tolist(), shots.tolist(), strict=True):
            more, over[i], scored[i] = self._play_alone(int(envs[i]), to, shot)
            substeps[i] += more
        return substeps, over, scored

    def _play_alone(self, env: int, target: list[float], shot: bool) -> tuple[int, bool, bool]:
        """Simulates one environment with a target (x, y) until its action is over, as `GoalEnv` does."""
        player, goalie, ball = bodies = Player(0.0, 0.0), Player(0.0, 0.0), Body(0.0, 0.0, BALL)
        for body, state in zip(bodies, self._bodies[:, :, env].T.tolist(), strict=True):
            body.x, body.y, body.vx, body.vy = state
        player.orientation, goalie.orientation = self._facing[:, env].tolist()
        outcome = play(player, goalie, ball, target[0], target[1], shot, self._draws.one_by_one(env))
        self._bodies[:, :, env] = np.array([(body.x, body.y, body.vx, body.vy) for body in bodies]).T
        self._facing[:, env] = player.orientation, goalie.orientation
        return outcome
