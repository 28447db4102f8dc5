"""slipway cluster kubeconfig, slipway cluster credential"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from slipway_cli import kubeconfig as files
from slipway_cli.client import path_of
from slipway_cli.context import Desk, Wait, desk_of
from slipway_cli.credential_cache import CredentialFile, default_folder, key_of
from slipway_cli.credentials import LONGEST, Credential, entered_cluster, obtain, read_credential, to_document
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.repeating import lacks_secrets, options_again, variables_again

app = typer.Typer()

HOURS = LONGEST.total_seconds() / 3600

Name = Annotated[str, typer.Argument(help="The cluster's name or id.", show_default=False)]
Hours = Annotated[float, typer.Option(min=0.1, max=HOURS, help="How long a credential is valid.")]


@app.command("kubeconfig")
def kubeconfig(
    context: typer.Context,
    name: Name,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file; - for standard output. By default NAME.kubeconfig.")
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Add it to KUBECONFIG or ~/.kube/config instead.")] = False,
    plugin: Annotated[
        bool, typer.Option("--exec", help="Without a key: kubectl asks `slipway cluster credential` when it needs one.")
    ] = False,
    hours: Hours = HOURS,
    wait: Wait = True,
) -> None:
    """Write a kubeconfig. The private key is made here and never leaves this machine."""
    desk = desk_of(context)
    if plugin:
        document = _with_plugin(desk, name, hours, wait=wait)
        validity = "kubectl calls slipway for a credential"
    else:
        document, expires_at = _with_key(desk, name, hours, wait=wait)
        validity = f"valid until {expires_at}"
    if merge:
        path = output or files.default_path()
        document = files.merge(files.read(path), document)
    else:
        path = output or Path(f"{name}.kubeconfig")
    if str(path) == "-":
        sys.stdout.write(files.to_yaml(document))
        return
    files.write(path, document)
    typer.echo(f"Written to {path}, {validity}. Try: kubectl --kubeconfig {path} get nodes")


@app.command("credential")
def credential(context: typer.Context, name: Name, hours: Hours = HOURS) -> None:
    """Print a credential, as kubectl asks its plugins for one.

    It is kept in the user's cache folder until shortly before its end. Nobody gets access by it: who is not, or no
    longer, among the cluster's users is refused.
    """
    desk, now = desk_of(context), datetime.now(UTC)
    wanted = {"cluster": name, "hours": hours, "entered": entered_cluster(os.environ.get("KUBERNETES_EXEC_INFO"))}
    kept = CredentialFile(default_folder(), key_of(desk.options, os.environ, wanted), now)
    given = obtain(lambda: _sign(desk, name, hours), kept, now)
    sys.stdout.write(json.dumps(to_document(given)) + "\n")


def _sign(desk: Desk, name: str, hours: float) -> Credential:
    key_pem, csr_pem = files.make_key()
    request = {"csr_pem": csr_pem, "lifetime": hours * 3600, "grant": False}
    answer = desk.client.post(path_of("clusters", name, "kubeconfig"), request)
    try:
        return read_credential(answer["certificate_pem"], key_pem)
    except (KeyError, AttributeError, ValueError) as error:
        raise CommandFailed(
            Exit.FAILED, "The API answered no certificate for the key that it was asked for."
        ) from error


def _with_key(desk: Desk, name: str, hours: float, *, wait: bool) -> tuple[dict[str, Any], str]:
    key_pem, csr_pem = files.make_key()
    answer = desk.client.post(path_of("clusters", name, "kubeconfig"), {"csr_pem": csr_pem, "lifetime": hours * 3600})
    _follow_access(desk, answer, wait=wait)
    return files.complete(answer["kubeconfig"], key_pem), answer["expires_at"]


def _with_plugin(desk: Desk, name: str, hours: float, *, wait: bool) -> dict[str, Any]:
    cluster_id = desk.client.get(path_of("clusters", name))["id"]
    answer = desk.client.post(path_of("clusters", cluster_id, "kubeconfig"), {})
    _follow_access(desk, answer, wait=wait)
    if lacks_secrets(desk.options, os.environ):
        typer.echo(
            "No password or token is written: kubectl needs it in OS_* variables where it runs. An entry of "
            "clouds.yaml, chosen by --os-cloud, needs none.",
            err=True,
        )
    arguments = [*options_again(desk.options, os.environ), "cluster", "credential", cluster_id]
    if hours != HOURS:
        arguments += ["--hours", f"{hours:g}"]
    return files.with_plugin(answer["kubeconfig"], arguments, variables_again(os.environ))


def _follow_access(desk: Desk, answer: dict[str, Any], *, wait: bool) -> None:
    if answer["operation_id"] is not None:
        typer.echo("You had no access to this cluster yet; it is being given.", err=True)
        desk.follow({"operation": {"id": answer["operation_id"]}}, wait=wait)
