"""A component extension in Python: fills templates with the standard library's `string.Template`."""

from string import Template

from componentize_py_types import Err
from wit_world import exports


class Templates(exports.Templates):
    def fill(self, template: str, values: list[tuple[str, str]]) -> str:
        try:
            return Template(template).substitute(dict(values))
        except KeyError as missing:
            raise Err(f"the template has `{missing.args[0]}`, and there is no such value")
        except ValueError as error:
            raise Err(str(error))
