"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from postroom_cli.places import default_data

Data = Annotated[
    Path,
    typer.Option(
        "--data", help="The instance's directory.", envvar="POSTROOM_DATA", default_factory=default_data
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the REST document.")]
