"""Define the version of Sonjit, and read those of other packages."""

from collections.abc import Iterable
from contextlib import suppress

__version__ = "1.0.0rc1"


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Sonjit, of Python and of those packages that are installed."""
    import platform  # both are slow to import
    from importlib.metadata import PackageNotFoundError, version

    versions = {"sonjit": __version__, "python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
