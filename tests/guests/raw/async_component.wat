;; An export that is lifted asynchronously: a part of the component model that this host's engine leaves out.
(component
  (core module $m
    (@custom "plinth:manifest" "id = \"async_component\"\nkind = \"migration\"\ntitle = \"Is asynchronous\"\n")
    (func (export "apply")))
  (core instance $i (instantiate $m))
  (func $apply async (canon lift (core func $i "apply") async))
  (instance $migrate (export "apply" (func $apply)))
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
