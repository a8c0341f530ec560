"""The compiled kernel: the near-duplicate scheme in C, where a compiler was at hand when the package was installed.

Nothing depends on it but speed: NumPy gives the same results. The environment variable FACTORY_KERNEL decides: `off` is
NumPy, `require` makes its absence an error, anything else is refused.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

import numpy as np

from factory.errors import UsageError

ABI = 1
"""What FK_ABI in kernel.h must be: raised with every change of a signature or of a result."""
VARIABLE = "FACTORY_KERNEL"
_BUILD = "`python scripts/build_kernel.py` in a checkout, or reinstall with a C compiler"

PATH = Path(__file__).parent / f"_kernel{'.dll' if sys.platform == 'win32' else '.so'}"


def available() -> bool:
    """Whether the kernel is there, is of this version and gave the right results when it was loaded."""
    return not why()


def why() -> str:
    """Why there is no kernel, in words; empty where there is one. Raises UsageError for an unknown FACTORY_KERNEL."""
    if _mode() == "off":
        return f"switched off by {VARIABLE}=off"
    found = _load()
    return found if isinstance(found, str) else ""


def chosen(kernel: bool | None = None) -> bool:
    """Whether to use the kernel: as asked (True, False), else (None) where there is one.

    Raises UsageError where it is asked for, by True or by FACTORY_KERNEL=require, and there is none.
    """
    if kernel is False:
        return False
    missing = why()
    if missing and (kernel or _mode() == "require"):
        raise UsageError(f"the compiled kernel is asked for, and there is none: {missing}", _BUILD)
    return not missing


def library() -> ctypes.CDLL:
    """The loaded kernel. Raises UsageError where there is none."""
    chosen(True)
    found = _load()
    assert isinstance(found, ctypes.CDLL)  # else it was not chosen
    return found


def _mode() -> str:
    mode = os.environ.get(VARIABLE, "")
    if mode not in ("", "off", "require"):
        raise UsageError(f"{VARIABLE}={mode} is not known", "it is `off`, `require` or not set")
    return mode


@functools.cache
def _load() -> ctypes.CDLL | str:
    """The library, or why it is of no use."""
    if not PATH.exists():
        return f"not built ({_BUILD})"
    try:
        loaded = ctypes.CDLL(str(PATH))
        loaded.fk_abi.restype = ctypes.c_int64
        abi = int(loaded.fk_abi())
    except (OSError, AttributeError) as error:
        return f"{PATH.name} cannot be loaded: {error}"
    if abi != ABI:
        return f"{PATH.name} is of version {abi}, and this package needs {ABI}: build it anew ({_BUILD})"
    # Both import this module: they are imported when it is needed.
    from factory.kernel.calls import declare
    from factory.kernel.self_test import difference

    declare(loaded)
    constants = _constants()
    address = constants.ctypes.data_as(ctypes.c_void_p)
    if loaded.fk_configure(address, len(constants)):
        return f"{PATH.name} takes other constants than this package has: build it anew ({_BUILD})"
    found = difference(loaded)
    return f"{PATH.name} gives other results than NumPy on this machine ({found})" if found else loaded


def _constants() -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Those of the scheme, in the order of struct fk_scheme."""
    from factory.minhash import scheme

    parts = (
        scheme.BYTES, [scheme.BASE], scheme.WORDS, scheme.CHARS, [scheme.CHAR_SALT], scheme.LENGTHS, scheme.BANDS,
        scheme.BAND_SALTS, scheme.ODD.reshape(-1), scheme.ADD.reshape(-1),
    )  # fmt: skip
    return np.concatenate([np.asarray(part, dtype=np.uint64) for part in parts])
