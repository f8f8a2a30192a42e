"""Whether the output is the JSON that it should be: its form, and what stands in its fields."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, Field

from driftgate import json_schema
from driftgate.json_text import canonical, fields_of, parsed
from driftgate.repo_file import InRepo, RepoFile
from driftgate.scorers.equal import normalised
from driftgate.scorers.options import Options
from driftgate.suites import Text


def checked(file: RepoFile) -> RepoFile:
    json_schema.check(file.text)
    return file


Schema = Annotated[InRepo, AfterValidator(checked)]


class JsonSchema(Options):
    """1 where the output is JSON and conforms to the schema, its own or else the task's."""

    needs_target: ClassVar[bool] = False

    name: Literal["json-schema"]
    json_schema: Schema | None = Field(
        None, validation_alias=AliasChoices("schema", "json_schema"), description="a JSON Schema"
    )

    def score(self, output: str, target: str) -> float:
        return float(broken(output, self.json_schema) is None)


def broken(output: str, schema: RepoFile | None) -> str | None:
    """Why an output is not JSON that conforms, in words; None: it is."""
    try:
        value = parsed(output)
    except ValueError as error:
        return f"not JSON: {error}"
    return None if schema is None else json_schema.problem(value, schema.text)


class JsonFields(Options):
    """F1 over fields: of those in the output, how many are the target's, and the other way round. A
    field is right when its path and its value are. 0 where the output is no JSON."""

    name: Literal["json-fields"]
    fields: list[Text] = Field([], description="paths, such as order.number or items; []: all")
    normalised: bool = Field(False, description="case and white space of texts do not matter")

    def score(self, output: str, target: str) -> float:
        try:
            said, wanted = self.found(output), self.found(target)
        except ValueError:
            return 0.0
        if not (said or wanted):
            return 1.0
        return 2 * len(said & wanted) / (len(said) + len(wanted))

    def found(self, text: str) -> set[tuple[Any, str]]:
        """
        Raises:
            ValueError: it is no JSON.
        """
        fields = fields_of(parsed(text), self.fields)
        return {(path, self.value(leaf)) for path, leaf in fields.items()}

    def value(self, leaf: Any) -> str:
        if self.normalised and isinstance(leaf, str):
            leaf = normalised(leaf)
        return canonical(leaf)
