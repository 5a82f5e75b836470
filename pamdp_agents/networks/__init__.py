"""The networks: Keras models that can also be evaluated in plain NumPy."""
