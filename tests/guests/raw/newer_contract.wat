;; A block that was built for a later version of the contract, in which `execute` takes other parameters.
(component
  (import "plinth:block/sql@0.2.0" (instance
    (export "execute" (func (param "statement" string) (result u64)))))
  (core module
    (@custom "plinth:manifest" "id = \"newer_contract\"\nkind = \"migration\"\ntitle = \"Comes from a later SDK\"\n"))
  (instance $migrate)
  (export "plinth:block/migrate@0.2.0" (instance $migrate)))
