;; A table that grows to four billion elements.
(component
  (core module $m
    (@custom "plinth:manifest" "id = \"table_growth\"\nkind = \"migration\"\ntitle = \"Grows a table\"\n")
    (table $t 1 funcref)
    (func $start (drop (table.grow $t (ref.null func) (i32.const -2))))
    (start $start))
  (core instance (instantiate $m))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
