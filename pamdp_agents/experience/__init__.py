"""What was lived through: transitions, and the buffer that replays them."""
