"""Problems that worker processes import, some of which kill the process that draws them."""

import os
import signal

import jax

import flatlib as fl


def sensing(key, d, m):
    key_map, key_truth = jax.random.split(key)
    return fl.gaussian_sensing(key_map, m, (d, d)), fl.low_rank(key_truth, (d, d), 1)


def deadly(key, d, m):
    """The same problem; the first process that draws m = 12 dies, if the test has asked for it."""
    victim = os.environ.get("SWEEP_VICTIM")
    if m == 12 and victim and os.getpid() != int(os.environ["SWEEP_MAIN"]):
        try:
            os.close(os.open(victim, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return sensing(key, d, m)
        os.kill(os.getpid(), signal.SIGKILL)
    return sensing(key, d, m)
