-- What a database has before this block runs: the least that it needs, with rows that are right and rows that are not. Used by
-- the tests in src/lib.rs and by `plinth test`.
create table customers (id int primary key, email text, wants_mail boolean not null default false);
insert into customers values (1, 'a@example.org', true), (2, null, true), (3, null, false);
