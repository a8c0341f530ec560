"""A sandbox for programs that models write: bubblewrap without network, a read-only root, limits on everything.

    finished = await run_program("print(6 * 7)", limits=Limits(cpu_seconds=2))

Nothing is run where no sandbox can be had: `available()` tells why.
"""

from factory.sandbox.limits import Finished, Limits
from factory.sandbox.probing import available
from factory.sandbox.running import check_available, run_program

__all__ = ["Finished", "Limits", "available", "check_available", "run_program"]
