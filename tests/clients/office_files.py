"""Documents as offices have them, with one sentence in each: takes a folder and the sentence.

Word, Excel and PowerPoint files are made by the libraries that write real ones; the PDF by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from docx import Document
from openpyxl import Workbook
from pptx import Presentation


def main(folder: Path, sentence: str) -> None:
    """Write `note.pdf`, `.docx`, `.xlsx`, `.pptx` and `.txt` there."""
    (folder / "note.txt").write_text(sentence)
    (folder / "note.pdf").write_bytes(pdf(sentence))
    letter = Document()
    letter.add_heading("To all staff")
    letter.add_paragraph(sentence)
    letter.save(folder / "note.docx")
    table = Workbook()
    for row in (("what", "where"), ("notice", sentence)):
        table.active.append(row)
    table.save(folder / "note.xlsx")
    slides = Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[1])
    slide.shapes.title.text = "To all staff"
    slide.placeholders[1].text = sentence
    slides.save(folder / "note.pptx")


def pdf(sentence: str) -> bytes:
    """One page with one line of text."""
    drawn = f"BT /F1 12 Tf 72 720 Td ({sentence}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawn), drawn),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    text, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(text))
        text += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    entries = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(text))
    return text + head + entries + tail


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
