"""What a server is born with: user data by which it fetches the agent, trusts us, and claims its plan."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_contracts.agent import AgentBootstrap
from slipway_node_agent.cloud_config import cloud_config
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.store_agents import mint_agent_token

PROGRAM_PATH = "/v1/agent/program"


@dataclass(frozen=True)
class Onboarding:
    """How machines of this region become nodes."""

    url: str
    """The agents' https URL of this service, as machines reach it."""
    ca_pem: str
    """The CA of that URL's certificate."""
    program: bytes = field(repr=False)
    """The agent's zipapp."""
    master: MasterKey

    async def user_data(
        self, session: AsyncSession, cluster_id: str, node_id: str, incarnation: int, until: datetime
    ) -> str:
        """The #cloud-config text of this incarnation's server; the same each time. See mint_agent_token."""
        token = await mint_agent_token(session, self.master, cluster_id, node_id, incarnation, until)
        bootstrap = AgentBootstrap(
            url=self.url,
            ca_pem=self.ca_pem,
            token=token,
            node_id=node_id,
            program_sha256=hashlib.sha256(self.program).hexdigest(),
        )
        return cloud_config(bootstrap.model_dump_json(), self.url.rstrip("/") + PROGRAM_PATH)
