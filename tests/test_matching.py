"""Comparing an instance here means the same as asking the index."""

import sqlite3
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.pacs import matching

TEXT = st.text(st.sampled_from("aA0bé山*?[]^-.,| \\~_%'"), min_size=1, max_size=6)
DAYS = st.dates(min_value=date(1000, 1, 1)).map(lambda day: f"{day:%Y%m%d}")
DATES = DAYS | st.just("") | TEXT
RANGES = st.builds("{}-{}".format, DAYS, DAYS) | DAYS.map("{}-".format) | DAYS.map("-{}".format)
TIMES = st.from_regex(r"[0-2][0-9]([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?", fullmatch=True)
SPANS = st.builds("{}-{}".format, TIMES, TIMES) | TIMES.map("{}-".format) | TIMES
COLUMNS = {
    "PatientID": (TEXT | st.just("") | st.none(), TEXT),
    "StudyDate": (DATES, DAYS | RANGES),
    "StudyTime": (TIMES | st.just(""), SPANS),
    "SOPInstanceUID": (st.from_regex(r"[1-3](\.[1-3]){0,2}", fullmatch=True),) * 2,
    "Rows": (st.integers(-3, 3) | st.none(), st.integers(-3, 3) | st.integers(-3, 3).map(str)),
    "view": tuple(map(st.sampled_from, (["frontal", "lateral"], ["frontal", "l*", "?ateral"]))),
}
ROWS = st.fixed_dictionaries({name: stored for name, (stored, _) in COLUMNS.items()})
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        name: asked | st.lists(asked, min_size=1, max_size=3)
        for name, (_, asked) in COLUMNS.items()
    },
)


@settings(max_examples=500)
@given(st.lists(ROWS, min_size=1, max_size=8), QUERIES)
def test_an_instance_is_compared_as_the_index_compares_it(rows, query) -> None:
    connection = sqlite3.connect(":memory:")
    kinds = ", ".join(f"{n} {'INTEGER' if n == 'Rows' else 'TEXT'}" for n in COLUMNS)
    connection.execute(f"CREATE TABLE instances (number INTEGER, {kinds})")
    marks = ", ".join("?" * (len(COLUMNS) + 1))
    for number, row in enumerate(rows):
        values = [number, *(row[name] for name in COLUMNS)]
        connection.execute(f"INSERT INTO instances VALUES ({marks})", values)
    where = matching.where(query)

    asked = connection.execute(f"SELECT number FROM instances WHERE {where.sql}", where.values)
    index = {number for (number,) in asked}
    connection.close()

    wanted = matching.conditions(query)
    assert {n for n, row in enumerate(rows) if matching.matches(row, wanted)} == index
