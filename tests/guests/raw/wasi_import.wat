;; A block that was built with WASI: it wants to read the environment. All else about it is right.
(component
  (import "wasi:cli/environment@0.2.0" (instance
    (export "get-environment" (func (result (list (tuple string string)))))))
  (core module
    (@custom "plinth:manifest" "id = \"wasi_import\"\nkind = \"migration\"\ntitle = \"Reads the environment\"\n"))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
