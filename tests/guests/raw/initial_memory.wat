;; A memory that is too large from the beginning: 65 MiB.
(component
  (core module $m
    (@custom "plinth:manifest" "id = \"initial_memory\"\nkind = \"migration\"\ntitle = \"Begins with 65 MiB\"\n")
    (memory 1040))
  (core instance (instantiate $m))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
