-- What a database has before this block runs: the least that it needs, with rows for more than one batch. Used by the tests in
-- src/lib.rs and by `plinth test`.
create table customers (id bigint primary key, email text, email_key text);
insert into customers select i, 'Customer' || i || '@Example.org' from generate_series(1, 2500) i;
