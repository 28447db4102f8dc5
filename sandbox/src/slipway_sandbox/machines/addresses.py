"""Addresses of machines on this computer: what is not loopback anyway is put on `lo` while its machine exists."""

import asyncio
import ipaddress

_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


class AddressRefused(Exception):
    """The address could not be put on `lo`; the message says what to do."""


class Addresses:
    """The addresses that this process added, each removed by `release`."""

    def __init__(self) -> None:
        self._added: set[str] = set()

    async def ensure(self, address: str) -> None:
        """Afterwards a socket can be bound to the address. Raises AddressRefused."""
        if ipaddress.ip_address(address) in _LOOPBACK or address in self._added:
            return
        code, output = await _ip("addr", "add", f"{address}/32", "dev", "lo")
        if code == 0:
            self._added.add(address)
        elif "File exists" not in output and "already assigned" not in output:
            raise AddressRefused(f"Cannot add {address} to lo ({output}): run the machine runner as root")

    async def release(self, address: str) -> None:
        """Takes the address away again, if it was added here."""
        if address in self._added:
            self._added.discard(address)
            await _ip("addr", "del", f"{address}/32", "dev", "lo")

    async def release_all(self) -> None:
        """Takes every address away that was added here."""
        for address in tuple(self._added):
            await self.release(address)


async def _ip(*arguments: str) -> tuple[int, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            "ip", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except FileNotFoundError:
        return 127, "there is no `ip` command"
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace").strip()
