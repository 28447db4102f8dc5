"""Which rows of a node table are accepted: counters only grow, and `removing` is never taken back."""

from slipway_contracts.healer import NodeRow


def accept(known: NodeRow | None, offered: NodeRow) -> NodeRow:
    """The row to work by from now on.

    Whatever an old or restored healer says, the incarnation, the reboots and the updates never go back; all else is
    taken as offered, a withdrawn removal included (the phases decide whether that comes in time).
    """
    if known is None:
        return offered
    return offered.model_copy(
        update={
            "incarnation": max(known.incarnation, offered.incarnation),
            "reboots": max(known.reboots, offered.reboots),
            "update": max(known.update, offered.update),
        }
    )
