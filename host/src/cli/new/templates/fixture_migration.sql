-- What a database has before this block runs: the least that it needs, with rows as in production. Used by the tests in
-- src/lib.rs and by `plinth test`.
create table customers (id int primary key, email text);
insert into customers values (1, 'a@example.org'), (2, null), (3, 'c@example.org');
