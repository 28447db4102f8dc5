"""What a project has in its cloud, as the cloud itself lists it: the proof that nothing is left over."""

from typing import Any


def inventory(cloud: Any) -> set[str]:
    """Everything that a cluster is made of, one line each, listed through an openstacksdk connection of the project."""
    project = cloud.current_project_id
    found = {f"server {each.name} {each.id}" for each in cloud.compute.servers()}
    found |= {f"server group {each.name} {each.id}" for each in cloud.compute.server_groups()}
    found |= {f"port {each.name} {each.id}" for each in cloud.network.ports(project_id=project)}
    found |= {f"floating ip {each.id}" for each in cloud.network.ips(project_id=project)}
    found |= {f"security group {each.name} {each.id}" for each in cloud.network.security_groups(project_id=project)}
    found |= {f"load balancer {each.name} {each.id}" for each in cloud.load_balancer.load_balancers()}
    return found
