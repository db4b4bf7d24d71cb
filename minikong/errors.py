"""The errors of minikong.

MinikongError
├── SettingsError        the environment is wrong: minikong does not start
├── PluginError          a plugin cannot be loaded: minikong does not start
├── ConfigurationError   a declarative configuration is refused as a whole
└── LuaFault             what would be a Lua error in Kong: it ends the handler that caused it
"""

from __future__ import annotations


class MinikongError(Exception):
    """Base of all errors that minikong raises on purpose."""


class SettingsError(MinikongError):
    """An environment variable is missing, malformed or names something that minikong does not do."""


class PluginError(MinikongError):
    """A plugin that KONG_PLUGINS names is not installed, or is not of a form that minikong can run."""


class ConfigurationError(MinikongError):
    """A declarative configuration is malformed, or asks for something that minikong does not do."""


class LuaFault(MinikongError):
    """A PDK call with a wrong argument or in a wrong phase, a broken answer of a plugin server, or an error in Lua."""
