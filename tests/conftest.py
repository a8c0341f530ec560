"""What holds for every test: an example may take as long as it likes, since the machine may be busy.

In CI (the variable `CI` is set) examples hang on the tests' code alone, so that what turns red was changed; everywhere
else they are new ones each time, which is how new faults are found.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "factory",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    **({"database": None} if os.environ.get("CI") else {}),
)
settings.load_profile("factory")

os.environ.setdefault("FACTORY_REPORT", "off")  # hundreds of small runs; tests of audits and reports ask for them
