;; A block that imports what nobody offers. All else about it is right.
(component
  (import "other:thing/api@1.0.0" (instance
    (export "call" (func (param "text" string) (result u32)))))
  (core module
    (@custom "plinth:manifest" "id = \"unknown_import\"\nkind = \"migration\"\ntitle = \"Calls another thing\"\n"))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
