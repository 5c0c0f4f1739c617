;; A valid component that carries no manifest.
(component
  (core module (func (export "work"))))
