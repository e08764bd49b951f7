"""A page and its executed pair become a notebook that a reader runs."""

import base64
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from runnable.blocks import caption, fenced, folded, quoted, translated
from runnable.book import GLOSSARY, Book
from runnable.carried import beside_the_notebook, data_cell, read_beside
from runnable.first_cell import first_cell
from runnable.inline import Page
from runnable.myst import Directive, directive, walk
from runnable.passage import Edit, Passage

PARTS = {"code-cell", "snn-lab", "exercise-start", "exercise-end", "solution-start", "solution-end"}
KEPT = ["nbval-check-output", "raises-exception"]  # tags that say how a cell is run
YOUR_TURN = "# your turn"
EXTRA = ("nir", "h5py")  # what the library's extra "interop" brings
HIDDEN = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # JupyterLab, Colab


def of_chapter(book: Book, name: str, pair: NotebookNode) -> NotebookNode:
    """The notebook of one page, with the outputs of its executed pair.

    Raises
    ------
    TranslationError
        If the pair is not that of the page, or something in the page cannot be translated.
    """
    passage, page = _numbered(book, name), Page(book, name)
    writer = _Writer(page, _code(pair.cells))
    for part in _parts(passage, page):
        writer.add(part)
    if page.cited:
        writer.text.append(f"## References\n\n{book.citations.listed(page.cited)}")
    writer.flush()
    first = next(i for i, cell in enumerate(writer.cells) if cell.cell_type == "code")
    set_up = _set_up(writer.cells, page)
    cells = [*writer.cells[:first], *set_up, *map(_at_home, writer.cells[first:])]
    return _notebook(cells, pair.metadata.language_info)


def of_glossary(book: Book) -> NotebookNode:
    """The words of the course, each under a heading that terms lead to."""
    page, passage = Page(book, GLOSSARY), book.passage(GLOSSARY)
    tokens = book.parser.parse(passage.text)
    start = next(token.map[0] for token in tokens if directive(token, passage))
    entries = sorted(book.terms.values(), key=lambda term: term.name.lower())
    texts = [translated(passage.part(0, start), page).strip()]
    texts += [f"### {e.name}\n\n{translated(e.definition, page)}" for e in entries]
    return _notebook([new_markdown_cell("\n\n".join(texts))], {"name": "python"})


def _numbered(book: Book, name: str) -> Passage:
    """A page whose title begins with its number."""
    passage = book.passage(name)
    tokens = book.parser.parse(passage.text)
    line = next(token.map[0] for token in tokens if token.tag == "h1")
    at = passage.offset(line) + len("# ")
    numbered = passage.edited([Edit(at, at, f"{book.numbers[name]}. ")])
    return Passage(passage.path, numbered)


def _code(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    return (cell for cell in cells if cell.cell_type == "code")


def _parts(passage: Passage, page: Page) -> Iterator[Passage | Directive]:
    """Code cells, gates of exercises and solutions, and the text between them, in order."""
    done = 0
    for token in page.book.parser.parse(passage.text):
        if token.type == "front_matter":
            done = token.map[1]
        found = directive(token, passage)
        if found and found.name in PARTS and not token.level:
            start, end = token.map
            yield passage.part(done, start)
            yield found
            done = end
    yield passage.part(done, len(passage.lines))


@dataclass
class _Writer:
    """Cells so far, and the text that waits to be one."""

    page: Page
    pair: Iterator[NotebookNode]
    cells: list[NotebookNode] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    gate: str = ""  # "exercise" or "solution" while inside one
    lab: Directive | None = None  # which the next cell shows

    def add(self, part: Passage | Directive) -> None:
        if isinstance(part, Passage):
            self.text.append(translated(part, self.page).strip())
        elif part.name == "code-cell":
            self._code_cell(part)
        elif part.name == "snn-lab":
            self.lab = part
        elif part.name.endswith("-start"):
            self._open(part)
        else:
            self._close(part)

    def flush(self) -> None:
        """Make a cell of the text that waits."""
        text = "\n\n".join(filter(None, self.text))
        self.text = []
        if text:
            self.cells.append(new_markdown_cell(text))

    def _open(self, part: Directive) -> None:
        self.flush()
        self.gate = part.name.removesuffix("-start")
        if self.gate == "exercise":
            number = self.page.book.labels[part.options["label"]].words
            self.text.append(f"**{number}. {part.argument}**")

    def _close(self, part: Directive) -> None:
        text = "\n\n".join(filter(None, self.text))
        self.text = [quoted(text) if self.gate == "exercise" else folded("Solution", text)]
        self.flush()
        if self.gate == "exercise":
            self.cells.append(new_code_cell(YOUR_TURN))
        self.gate = ""

    def _code_cell(self, part: Directive) -> None:
        cell = next(self.pair, None)
        if cell is None or cell.source.strip() != part.body.text.strip():
            raise part.place.error(0, "the executed pair has other code; run `make notebooks`")
        if "test" in cell.metadata.get("tags", []):
            return
        if self.gate:
            self.text += [fenced(cell.source, "python"), *_printed(cell)]
            return
        self.flush()
        self.cells.append(_runnable(cell))
        if self.lab:
            self._show_lab(cell)
        if figure := cell.metadata.get("mystnb", {}).get("figure"):
            words = Passage(part.place.path, figure.caption.strip(), part.place.first)
            self.text.append(caption(figure.name, words, self.page))

    def _show_lab(self, cell: NotebookNode) -> None:
        """Let a picture stand in for the lab until its cell runs."""
        if "LiveLab" not in cell.source:
            advice = 'write a cell with `widgets.LiveLab(view="...")`, tagged remove-cell, below it'
            raise self.lab.place.error(0, f"no cell shows this lab in a notebook; {advice}")
        self.cells[-1].outputs, self.lab = [_stand_in(self.lab, self.page)], None


def _runnable(cell: NotebookNode) -> NotebookNode:
    """A cell with its outputs, without what only the book needs to know."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in KEPT]
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt")
    outputs = deepcopy(cell.outputs)
    for output in outputs:
        if alt and "image/png" in output.get("data", {}):
            output.metadata["image/png"] = {"alt": alt}
    return new_code_cell(
        cell.source,
        outputs=outputs,
        execution_count=cell.execution_count,
        metadata={"tags": tags} if tags else {},
    )


def _printed(cell: NotebookNode) -> Iterator[str]:
    """What a cell of a solution gave, as text and pictures."""
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            yield f"![{cell.metadata.mystnb.image.alt}](data:image/png;base64,{data['image/png']})"
        else:
            yield fenced(output.get("text") or data["text/plain"], "text")


def _stand_in(lab: Directive, page: Page) -> NotebookNode:
    """The picture of a lab as an output, which goes when the lab comes."""
    tokens = list(walk(page.book.parser.parse(lab.body.text)))
    image = next(token for token in tokens if token.type == "image")
    data = {"image/png": base64.b64encode(page.picture(image.attrGet("src"))).decode()}
    alt = {"image/png": {"alt": image.content}}
    return new_output("display_data", data | {"text/plain": image.content}, metadata=alt)


def _at_home(cell: NotebookNode) -> NotebookNode:
    """A cell that reads what came along with its notebook."""
    if cell.cell_type == "code":
        cell.source = beside_the_notebook(cell.source)
    return cell


def _set_up(cells: list[NotebookNode], page: Page) -> list[NotebookNode]:
    """Cells that make the others run wherever the notebook is opened."""
    code = [cell.source for cell in _code(cells)]
    beside = set().union(*map(read_beside, code))
    sources = [first_cell(code, "snnlib", EXTRA, page.book.repository)]
    if beside:
        sources.append(data_cell(beside, page.book.root / "chapters"))
    return [new_code_cell(source, metadata=deepcopy(HIDDEN)) for source in sources]


def _notebook(cells: list[NotebookNode], language: dict) -> NotebookNode:
    """Cells with names and numbers that are the same each time."""
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    for number, cell in enumerate((c for c in _code(cells) if c.execution_count), 1):
        cell.execution_count = number
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": language}
    return new_notebook(cells=cells, metadata=metadata)
