// The same work in postgres.js: rows out by a cursor, rows in by COPY in text, since it has no binary. Prints milliseconds for each.
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { createRequire } from "node:module";

const [folder, user, database, rows] = process.argv.slice(2);
// From where the benchmark was started: there the package is installed, or not.
const postgres = (await import(createRequire(process.cwd() + "/").resolve("postgres"))).default;
const sql = postgres({ host: folder + "/.s.PGSQL.5432", path: folder + "/.s.PGSQL.5432", user, database, max: 1, types: { bigint: postgres.BigInt } });
let began = performance.now();
let ids = 0n, names = 0, cents = 0, latest = new Date(0);
await sql.begin(async (sql) => {
  for await (const part of sql`select id, name, cents, at from bulk_source`.cursor(10000)) {
    for (const row of part) {
      ids += row.id;
      names += row.name.length;
      cents += row.cents ?? 0;
      if (row.at > latest) latest = row.at;
    }
  }
});
const read = performance.now() - began;
await sql`truncate bulk_target`;
began = performance.now();
function* lines() {
  let text = "";
  for (let id = 0; id < Number(rows); id++) {
    const cent = id % 10 === 0 ? "\\N" : id % 100000;
    text += `${id}\ta name of twenty-four ch\t${cent}\t${new Date(946684800000 + id * 1000).toISOString()}\n`;
    if (text.length > 1 << 16) {
      yield text;
      text = "";
    }
  }
  yield text;
}
await pipeline(Readable.from(lines()), await sql`copy bulk_target (id, name, cents, at) from stdin`.writable());
console.log(read, performance.now() - began);
await sql.end();
