"""Names of `sonjit._util`. `names_from_stub` reads this file."""

from sonjit._util.arrays import BoolArray as BoolArray
from sonjit._util.arrays import Float32Array as Float32Array
from sonjit._util.arrays import FloatArray as FloatArray
from sonjit._util.arrays import Image as Image
from sonjit._util.arrays import IndexArray as IndexArray
from sonjit._util.arrays import IntArray as IntArray
from sonjit._util.arrays import RealArray as RealArray
from sonjit._util.errors import InputError as InputError
from sonjit._util.errors import InputNote as InputNote
from sonjit._util.errors import InputWarning as InputWarning
from sonjit._util.errors import JobError as JobError
from sonjit._util.errors import SonjitError as SonjitError
from sonjit._util.errors import already_registered as already_registered
from sonjit._util.errors import check_memory as check_memory
from sonjit._util.errors import is_out_of_memory as is_out_of_memory
from sonjit._util.errors import pluralize as pluralize
from sonjit._util.errors import unknown_name as unknown_name
from sonjit._util.extras import MissingExtraError as MissingExtraError
from sonjit._util.extras import MissingPackageError as MissingPackageError
from sonjit._util.extras import is_installed as is_installed
from sonjit._util.extras import optional_import as optional_import
from sonjit._util.extras import require as require
from sonjit._util.json_text import Json as Json
from sonjit._util.json_text import JsonObject as JsonObject
from sonjit._util.json_text import json_from as json_from
