"""A page as its reader has it: words, tables, pictures, charts, and what it refers to."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Every reference, picture, chart, heading and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.pictures: dict[str, str] = {}
        self.charts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        links = ("src", "href", "xlink:href", "srcset", "data", "action")
        self.references += [given[name] for name in links if name in given]
        if tag == "img":
            self.pictures[given["alt"]] = given["src"]
        if tag == "svg":
            assert given["role"] == "img"
            self.charts.append(given["aria-label"])

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(" ".join(data.split()))

    def row(self, *first: str) -> list[str]:
        """The cells of the table row that begins so."""
        places = [place for place in range(len(self.words)) if self.words[place : place + len(first)] == list(first)]
        return self.words[places[0] + len(first) : places[0] + len(first) + 8]
