"""Django's command line for the control plane."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from control_plane.audit.context import Acting, acting_as, host_name


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "control_plane.settings")
    acting = Acting(actor=f"command:{''.join(sys.argv[1:2])}", way="command", address=host_name())
    with acting_as(lambda: acting):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
