"""What several test files share: real holders, private networks, other users."""

from tests.support.capabilities import Missing, needs
from tests.support.holder import Holder
from tests.support.network import in_private_network
from tests.support.users import NOBODY, as_user

__all__ = ["NOBODY", "Holder", "Missing", "as_user", "in_private_network", "needs"]
