"""The core that both halves of Bursar share: deciding, counting and pricing, with no web framework in sight."""
