"""What the environments share, and what is of use with any environment."""
