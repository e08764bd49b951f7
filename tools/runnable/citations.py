"""References by author and year, and the list of those that a page cites."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from pybtex.backends.markdown import Backend
from pybtex.database import BibliographyData, Entry, parse_file
from pybtex.plugin import find_plugin

ROLES = ("cite", "cite:p", "cite:t")


class _Plain(Backend):
    """Markdown in which only what Markdown would take for markup is escaped."""

    symbols = MappingProxyType({"ndash": "\N{EN DASH}", "newblock": " ", "nbsp": " "})

    def format_str(self, text: str) -> str:
        for special in r"\`*_[]<":
            text = text.replace(special, "\\" + special)
        return text


@dataclass(frozen=True)
class Citations:
    """What can be cited."""

    data: BibliographyData

    @staticmethod
    def read(path: Path) -> "Citations":
        return Citations(parse_file(path))

    def cite(self, role: str, keys: list[str]) -> str:
        """`{cite:t}` as "Diehl et al. (2015)", other roles as "(Diehl et al., 2015)"."""
        if role == "cite:t":
            *most, last = [
                self._linked(key, f"{self._who(key)} ({self._year(key)})") for key in keys
            ]
            return " and ".join(filter(None, [", ".join(most), last]))
        return f"({'; '.join(self._linked(k, f'{self._who(k)}, {self._year(k)}') for k in keys)})"

    def listed(self, keys: set[str]) -> str:
        """The references of some keys, in the alphabet's order, one a line."""
        entries = sorted(keys, key=lambda key: (self._who(key).lower(), self._year(key), key))
        return "\n".join(f"- {self._formatted[key]}" for key in entries)

    @cached_property
    def _formatted(self) -> dict[str, str]:
        style = find_plugin("pybtex.style.formatting", "unsrt")()
        entries = style.format_entries(self.data.entries.values())
        return {entry.key: entry.text.render(_Plain()) for entry in entries}

    def _entry(self, key: str) -> Entry:
        return self.data.entries[key]

    def _who(self, key: str) -> str:
        persons = self._entry(key).persons["author"]
        names = [" ".join(map(str, person.rich_last_names)) for person in persons]
        return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)

    def _year(self, key: str) -> str:
        return self._entry(key).fields["year"]

    def _linked(self, key: str, words: str) -> str:
        fields = self._entry(key).fields
        address = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url")
        return f"[{words}]({address})" if address else words
