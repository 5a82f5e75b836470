"""The networks: Keras models that can also be evaluated in plain NumPy.

Only here is Keras imported, so that what is said about its backend below is said before anything fails for it.
"""

_HELP = (
    "pamdp-agents needs Keras with its TensorFlow backend: set the environment variable KERAS_BACKEND=tensorflow, or "
    '"backend": "tensorflow" in ~/.keras/keras.json, before Keras is imported'
)

try:
    import keras
except ImportError as error:  # the package of another backend is not there
    raise ImportError(f"{_HELP}; importing Keras failed: {error}") from error

if keras.config.backend() != "tensorflow":
    raise ImportError(f"{_HELP}; Keras has been imported with its backend {keras.config.backend()!r}")
