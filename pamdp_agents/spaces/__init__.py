"""Any Gymnasium layout of actions and observations as canonical arrays, and back."""

from pamdp_agents.spaces.independent import IndependentActionSpace
from pamdp_agents.spaces.observations import ObservationTransform
from pamdp_agents.spaces.parameterized import ParameterizedActionSpace
from pamdp_agents.spaces.shared_parameters import SharedParameters

__all__ = ["IndependentActionSpace", "ObservationTransform", "ParameterizedActionSpace", "SharedParameters"]
