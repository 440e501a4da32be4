"""One line per check on standard output, as tests/sdk/run counts them."""

import sys
from contextlib import contextmanager


class Report:
    def __init__(self, ring):
        self.ring = ring
        self.failed = 0

    @contextmanager
    def check(self, name):
        """Runs its block; whatever the block raises is a failed check and the ring goes on."""
        try:
            yield
        except Exception as error:  # the SDK raises many types; any of them means that the check did not hold
            self.failed += 1
            text = f"{type(error).__name__}: {error}".replace("\n", " ")
            print(f"FAIL {self.ring}: {name}: {text[:600]}", flush=True)
        else:
            print(f"PASS {self.ring}: {name}", flush=True)

    def end(self):
        """Exit status; the runner also wants this line, so that a ring that dies half-way is not taken for a good one."""
        print(f"END {self.ring}", flush=True)
        sys.exit(1 if self.failed else 0)


def equal(found, wanted, what="value"):
    if found != wanted:
        raise AssertionError(f"{what} is {found!r}, expected {wanted!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(call, exception, grpc_code, error_code, says=""):
    """The call must raise exactly this SDK exception with this gRPC code and this error_code."""
    try:
        call()
    except exception as error:
        equal(type(error).__name__, exception.__name__, "exception class")
        equal(error.grpc_status.name, grpc_code, "gRPC code")
        equal(error.error_code, error_code, "error_code")
        holds(says.lower() in (error.message or "").lower(), f"message {error.message!r} does not contain {says!r}")
        return error
    raise AssertionError(f"not refused; expected {exception.__name__}")
