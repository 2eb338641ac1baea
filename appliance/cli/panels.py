"""Help with the commands in panels, as plain text: importing rich would cost three quarters of the answer time."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from appliance.cli.common import CARE, INSPECT, MODELS, PEOPLE, START, USAGE

ORDER = (START, MODELS, PEOPLE, USAGE, CARE, INSPECT)


class PanelGroup(TyperGroup):
    """A command group that lists its commands under their panels' names."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            panels.setdefault(command.rich_help_panel, []).append((name, command.get_short_help_str(80)))
        for panel, rows in sorted(panels.items(), key=lambda item: ORDER.index(item[0])):
            with formatter.section(panel):
                formatter.write_dl(rows)
