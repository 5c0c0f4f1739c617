;; A rule by its manifest, a migration by its exports.
(component
  (core module
    (@custom "plinth:manifest" "id = \"wrong_world\"\nkind = \"rule\"\ntitle = \"Says rule and is a migration\"\n"))
  (instance $migrate)
  (export "plinth:block/migrate@0.1.0" (instance $migrate)))
