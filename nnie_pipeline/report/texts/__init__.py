"""Every sentence of the page, one YAML file a language."""

from __future__ import annotations

from importlib.resources import files

import yaml
from markupsafe import Markup

from nnie_pipeline.errors import InputError

LANGUAGES = ("en", "zh")


def check_language(language: str) -> None:
    """Raise InputError when there are no texts in this language."""
    if language not in LANGUAGES:
        raise InputError(
            f"--lang {language} is not known; the report speaks {', '.join(LANGUAGES)}"
        )


class Texts:
    """The sentences of one language by key, `section.name`."""

    def __init__(self, language: str) -> None:
        source = files(__package__).joinpath(f"{language}.yaml").read_text(encoding="utf-8")
        self.language = language
        self.sentences: dict[str, str] = {
            f"{section}.{name}": sentence
            for section, group in yaml.safe_load(source).items()
            for name, sentence in group.items()
        }

    def __call__(self, key: str, **values: object) -> Markup:
        """The sentence with its values put in, each escaped.

        Raises:
            KeyError: no such sentence, or a value that it wants is not given.
        """
        return Markup(self.sentences[key]).format(**values)

    def plain(self, key: str, **values: object) -> str:
        """The sentence with its values put in, not escaped: for a terminal, or to be escaped."""
        return self.sentences[key].format(**values)
