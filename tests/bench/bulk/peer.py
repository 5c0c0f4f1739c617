"""The same work in psycopg 3: rows out by a server's cursor in binary, rows in by binary COPY. Prints milliseconds for each."""

import datetime
import sys
import time

import psycopg

address, rows = sys.argv[1], int(sys.argv[2])
start_of = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
with psycopg.connect(address) as connection:
    began = time.perf_counter()
    ids = names = cents = 0
    latest = start_of
    with connection.cursor(name="bulk", binary=True) as cursor:
        cursor.itersize = 10_000
        for id, name, cent, at in cursor.execute("select id, name, cents, at from bulk_source"):
            ids += id
            names += len(name)
            cents += cent or 0
            latest = max(latest, at)
    connection.commit()
    read = time.perf_counter() - began
    connection.execute("truncate bulk_target")
    connection.commit()
    began = time.perf_counter()
    with connection.cursor() as cursor:
        with cursor.copy("copy bulk_target (id, name, cents, at) from stdin (format binary)") as copy:
            copy.set_types(["int8", "text", "int4", "timestamptz"])
            for id in range(rows):
                cent = None if id % 10 == 0 else id % 100_000
                copy.write_row((id, "a name of twenty-four ch", cent, start_of + datetime.timedelta(seconds=id)))
    connection.commit()
    print(read * 1e3, (time.perf_counter() - began) * 1e3)
