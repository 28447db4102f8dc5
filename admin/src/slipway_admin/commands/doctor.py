"""slipway-admin doctor"""

import typer

from slipway_admin.context import Form, desk_of, run
from slipway_admin.doctor import examine
from slipway_admin.errors import Exit
from slipway_admin.output import Format, console, print_json, print_rows

SHOWN = ("severity", "code", "subject", "message", "remedy")


def doctor(context: typer.Context, form: Form = Format.TABLE) -> None:
    """Look at the whole platform and change nothing; each finding says what to do."""
    diagnosis = run(examine(desk_of(context).configuration))
    findings = sorted((each.model_dump(mode="json") for each in diagnosis.findings), key=lambda each: each["severity"])
    if form is Format.JSON:
        print_json({"findings": findings, "not_looked_at": diagnosis.unseen})
    else:
        if findings:
            print_rows(findings, SHOWN, form)
        else:
            console().print(f"All is well with {len(diagnosis.reports)} services.")
        for sentence in diagnosis.unseen:
            typer.echo(f"Not looked at: {sentence}.", err=True)
    raise typer.Exit(int(Exit.FOUND if findings else Exit.OK))
