"""What algorithms have in common: settings, Stable-Baselines3's interface, acting, learning from replay."""
