"""The functions that RQ imports by their path."""

from __future__ import annotations

import time

import common


def noop(payload: common.Payload) -> None:
    common.hit()


def sleep(payload: common.Payload) -> None:
    common.hit()
    time.sleep(0.001)


def cpu(payload: common.Payload) -> None:
    common.hit()
    common.burn()


def stamp(payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()


def hold(payload: common.Payload) -> None:
    common.stamp(payload)
    common.hit()
    time.sleep(60)
