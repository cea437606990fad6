"""Lists the sections of RFC texts, which the house rules know: rfc_sections.py FOLDER > rfc_sections.json"""

import json
import re
import sys
from pathlib import Path

# A heading stands at the left, or indented in the table of contents of older texts.
_HEADING = re.compile(
    r"^ {0,12}(?:Appendix |APPENDIX )?(\d{1,2}(?:\.\d{1,3})*|[A-Z](?:\.\d{1,3})*)(?:\.|:)? {1,10}-? ?\S",
    re.MULTILINE,
)
_LONE_LETTER = re.compile(r"^ {0,12}(?:Appendix|APPENDIX) ([A-Z])\b", re.MULTILINE)


def sections(text: str) -> list[str]:
    """The numbers of all sections and appendices, sorted; a few that are none do no harm."""
    found = {match[1] for match in _HEADING.finditer(text)}
    found = {name for name in found if not (len(name) == 1 and name.isalpha())}
    found |= {match[1] for match in _LONE_LETTER.finditer(text)}
    for name in list(found):  # a parent exists where a child does
        while "." in name:
            name = name.rpartition(".")[0]
            found.add(name)
    return sorted(found, key=lambda name: [(not part.isdigit(), part.zfill(3)) for part in name.split(".")])


def main() -> None:
    """Write the index of every `rfcNNNN.txt` in the folder to standard output."""
    texts = sorted(Path(sys.argv[1]).glob("rfc*.txt"))
    index = {
        str(int(path.stem.removeprefix("rfc"))): sections(path.read_text("utf-8", "replace"))
        for path in texts
    }
    rows = (f'  "{number}": {json.dumps(" ".join(names))}' for number, names in index.items())
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
