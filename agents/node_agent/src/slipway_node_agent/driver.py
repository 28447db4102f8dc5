"""The driver of a real machine: one thread applies plans, one observes; either's death ends the process.

systemd starts it again (`Restart=always`): a crash is safe at any point, since every effect may be repeated.
"""

from __future__ import annotations

import threading
import traceback
from typing import Any

from slipway_node_agent.archives import perform_unpack
from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Answer, Call, Doing, Effect, Fetch, Probe, Unpack, Wait
from slipway_node_agent.host import HostRefused
from slipway_node_agent.observations import observe_loop
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.process import run_program
from slipway_node_agent.real_host import RealHost
from slipway_node_agent.transport import perform_call, perform_fetch, perform_probe


class Driver:
    """Runs both loops until `stop` is called or one of them breaks."""

    def __init__(self, host: RealHost, config: AgentConfig) -> None:
        self._host = host
        self._config = config
        self._stopped = threading.Event()
        self._broken = False

    def run(self) -> int:
        """Blocks; the exit code of the process: 0 after `stop`, 1 when a loop broke."""
        loops = {"plans": plan_loop(self._host, self._config), "observations": observe_loop(self._host, self._config)}
        for name, loop in loops.items():
            # Daemons: a long poll or a download in flight must not hold back the end of the process.
            threading.Thread(target=self._drive, args=(name, loop), name=name, daemon=True).start()
        self._stopped.wait()
        return 1 if self._broken else 0

    def stop(self) -> None:
        """Ends `run` at once; what is in flight is repeated after the next start."""
        self._stopped.set()

    def _drive(self, name: str, loop: Doing[Any]) -> None:
        answer: Answer = None
        try:
            while not self._stopped.is_set():
                answer = self._perform(loop.send(answer))
        except HostRefused as refusal:
            self._break(name, f"{refusal.code}: {refusal.message}")
        except OSError as error:
            self._break(name, str(error))
        except Exception as error:  # noqa: BLE001 whatever it is: say so and let systemd start the agent again
            traceback.print_tb(error.__traceback__)
            self._break(name, type(error).__name__)

    def _break(self, name: str, cause: str) -> None:
        self._host.log("Agent ends and will be started again", loop=name, cause=cause)
        self._broken = True
        self._stopped.set()

    def _perform(self, effect: Effect) -> Answer:
        if isinstance(effect, Call):
            return perform_call(effect, self._host.locate)
        if isinstance(effect, Probe):
            return perform_probe(effect, self._host.locate)
        if isinstance(effect, Fetch):
            return perform_fetch(effect, self._host.locate)
        if isinstance(effect, Unpack):
            return perform_unpack(effect, self._host.locate)
        if isinstance(effect, Wait):
            self._stopped.wait(effect.seconds)
            return None
        return run_program(effect.argv, effect.env, effect.timeout)
