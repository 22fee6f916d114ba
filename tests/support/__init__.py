"""What several test files share: real holders, private networks, other users."""

from tests.support.capabilities import Missing, needs
from tests.support.child import in_child
from tests.support.holder import Holder
from tests.support.network import in_private_network
from tests.support.users import NOBODY, as_user, in_user_namespace

__all__ = [
    "NOBODY",
    "Holder",
    "Missing",
    "as_user",
    "in_child",
    "in_private_network",
    "in_user_namespace",
    "needs",
]
