;; An endless loop in the start function, before anything is exported.
(component
  (core module $m
    (@custom "plinth:manifest" "id = \"spin_at_start\"\nkind = \"migration\"\ntitle = \"Loops while it is instantiated\"\n")
    (func $start (loop br 0))
    (start $start))
  (core instance (instantiate $m))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
