"""What the reports share: one HTML file that needs nothing beside it, tables, pictures and a glossary."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222831;background:#fff;max-width:1120px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .2rem}
h2{font-size:1.15rem;margin:2.2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0}
.quiet{color:#66707a}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.4rem 0;font-size:14px}
th,td{padding:.22rem .55rem;text-align:right}
th:first-child,td:first-child,table.words td{text-align:left}
thead th{border-bottom:2px solid #222831}
tbody tr:nth-child(even){background:#f6f8fa}
tr.all td{border-top:1px solid #222831;font-weight:600;background:#fff}
abbr{text-decoration:none;border-bottom:1px dotted #9aa3ab;cursor:help}
figure{margin:1rem 0}
figure img{max-width:100%;border:1px solid #d6dbe0}
figcaption{font-size:14px}
.plot svg{max-width:100%;height:auto}
details{margin:.4rem 0}
summary{cursor:pointer;font-weight:600}
.key{display:inline-block;width:.8em;height:.8em;margin:0 .25em 0 .9em}
.hatched{background:repeating-linear-gradient(135deg,#c8c8c8 0 2px,#606060 2px 6px)}
"""


def html_page(title: str, sections: Sequence[str]) -> str:
    """The whole file; `sections` are HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def measure_table(
    title: str, first: str, meanings: Mapping[str, str], rows: Sequence[Sequence[str]], bold: Sequence[str] = ()
) -> str:
    """A section with a table: a name and its figures per row, what a figure means on pointing at its head.

    first     head of the column of names
    meanings  measure -> what it means, one per column of figures
    rows      a name and its figures each, as text
    bold      names of rows that sum up the others
    """
    head = "".join(f'<th><abbr title="{escape(text)}">{escape(name)}</abbr></th>' for name, text in meanings.items())
    lines = []
    for name, *cells in rows:
        kind = ' class="all"' if name in bold else ""
        lines.append(f"<tr{kind}><td>{escape(name)}</td>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        f'<h2>{escape(title)}</h2><div class="wide"><table><thead><tr><th>{escape(first)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def glossary(meanings: Mapping[str, str]) -> str:
    """A section that says what each measure means."""
    rows = "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in meanings.items())
    return f'<h2>Measures</h2><table class="words"><tbody>{rows}</tbody></table>'


def picture(text: str, content: bytes) -> str:
    """A picture (PNG or JPEG bytes) below its text."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(content).decode("ascii")
    image = f'<img alt="{escape(text)}" src="data:image/{kind};base64,{data}">'
    return f"<figure><figcaption>{escape(text)}</figcaption>{image}</figure>"
