;; Recursion whose frames hold nothing, so that the engine's stack ends before the guest's own does.
(component
  (core module $m
    (@custom "plinth:manifest" "id = \"recursion_of_small_frames\"\nkind = \"migration\"\ntitle = \"Calls itself\"\n")
    (func $deeper (result i32) (i32.add (call $deeper) (i32.const 1)))
    (func $start (drop (call $deeper)))
    (start $start))
  (core instance (instantiate $m))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
