"""Helpers of every package: types of arrays, errors, JSON text, files, processes and optional imports."""
# ruff: noqa: F403

from typing import TYPE_CHECKING

from sonjit._util.lazy_names import add_lazy_names

if TYPE_CHECKING:
    from sonjit._util.arrays import *
    from sonjit._util.errors import *
    from sonjit._util.extras import *
    from sonjit._util.json_text import *

add_lazy_names(globals(), {
    "BoolArray Float32Array FloatArray Image IndexArray IntArray RealArray": "sonjit._util.arrays",
    "InputError InputNote InputWarning JobError MissingExtraError MissingPackageError": "sonjit._util.errors",
    "SonjitError already_registered check_memory is_out_of_memory pluralize unknown_name": "sonjit._util.errors",
    "is_installed optional_import require": "sonjit._util.extras",
    "Json JsonObject json_from": "sonjit._util.json_text",
})  # fmt: skip
