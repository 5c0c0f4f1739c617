//! The order as a diagram: what was applied is pale, what is pending stands out, rules are round.

use super::{Edge, Preview, PreviewAction, PreviewBlock};
use plinth_manifest::Kind;
use std::fmt::Write;

impl Preview {
    /// The order for Graphviz: `dot -Tsvg`.
    pub fn dot(&self) -> String {
        let mut out =
            String::from("digraph plan {\n  rankdir = LR;\n  node [shape = box, style = \"filled\", fillcolor = \"white\"];\n");
        for block in &self.blocks {
            let shape = if block.kind == Kind::Rule { "ellipse" } else { "box" };
            let _ = writeln!(
                out,
                "  {} [label = {}, shape = {shape}, fillcolor = \"{}\"];",
                quoted(&block.id),
                quoted(&format!("{}\n{}, {}", block.id, block.kind, word(block))),
                colour(block)
            );
        }
        for edge in &self.edges {
            let _ = writeln!(out, "  {} -> {} [label = \"{}\"];", quoted(&edge.before), quoted(&edge.after), label(edge));
        }
        out.push_str("}\n");
        out
    }

    /// The order for Mermaid, which code hosts draw inside Markdown.
    pub fn mermaid(&self) -> String {
        let place = |id: &str| self.blocks.iter().position(|block| block.id == id);
        let mut out = String::from("flowchart LR\n");
        for (number, block) in self.blocks.iter().enumerate() {
            let (open, close) = if block.kind == Kind::Rule { ("([", "])") } else { ("[", "]") };
            // A numbered name: an id may be a word of Mermaid's own, such as `end`.
            let _ =
                writeln!(out, "  b{number}{open}\"{}<br>{}, {}\"{close}:::{}", block.id, block.kind, word(block), class(block));
        }
        for edge in &self.edges {
            if let (Some(before), Some(after)) = (place(&edge.before), place(&edge.after)) {
                let _ = writeln!(out, "  b{before} -->|{}| b{after}", label(edge));
            }
        }
        for class in ["pending", "applied", "rule"] {
            let _ = writeln!(out, "  classDef {class} fill:{},stroke:#555,color:#111", colour_of(class));
        }
        out
    }
}

fn word(block: &PreviewBlock) -> &'static str {
    match block.action {
        PreviewAction::Apply | PreviewAction::Resume | PreviewAction::Background => "pending",
        PreviewAction::Reconcile => "at every boot",
        PreviewAction::Skip => "applied",
    }
}

fn class(block: &PreviewBlock) -> &'static str {
    match block.action {
        PreviewAction::Apply | PreviewAction::Resume | PreviewAction::Background => "pending",
        PreviewAction::Reconcile => "rule",
        PreviewAction::Skip => "applied",
    }
}

fn colour(block: &PreviewBlock) -> &'static str {
    colour_of(class(block))
}

fn colour_of(class: &str) -> &'static str {
    match class {
        "pending" => "#ffe08a",
        "rule" => "#cfe8ff",
        _ => "#eeeeee",
    }
}

fn label(edge: &Edge) -> String {
    edge.reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use crate::plan::{PreviewAction, PreviewBlock, edges};
    use plinth_manifest::Manifest;

    fn preview() -> crate::Preview {
        let manifest = |text: &str| Manifest::parse(text).unwrap();
        let blocks = [
            manifest("id = \"a\"\nkind = \"migration\"\ntitle = \"t\"\nprovides = [{ column = \"t.x\" }]\nwrites = [\"t.x\"]"),
            manifest("id = \"b\"\nkind = \"migration\"\ntitle = \"t\"\nafter = [\"a\"]\nrequires = [{ column = \"t.x\" }]"),
            manifest("id = \"r\"\nkind = \"rule\"\ntitle = \"t\"\nreads = [\"t.x\"]\nwrites = [\"t.y\"]"),
        ];
        let actions = [PreviewAction::Skip, PreviewAction::Apply, PreviewAction::Reconcile];
        let shown = blocks.iter().zip(actions).map(|(manifest, action)| PreviewBlock {
            id: manifest.id.to_string(),
            kind: manifest.kind,
            action,
            title: manifest.title.clone(),
            file: String::new(),
            deferrals: 0,
        });
        crate::Preview {
            pending: true,
            blocks: shown.collect(),
            edges: edges(&blocks.iter().collect::<Vec<_>>()),
            retired: Vec::new(),
            rules: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_order_for_graphviz() {
        assert_eq!(
            preview().dot(),
            "digraph plan {\n  rankdir = LR;\n  node [shape = box, style = \"filled\", fillcolor = \"white\"];\n  \
             \"a\" [label = \"a\\nmigration, applied\", shape = box, fillcolor = \"#eeeeee\"];\n  \
             \"b\" [label = \"b\\nmigration, pending\", shape = box, fillcolor = \"#ffe08a\"];\n  \
             \"r\" [label = \"r\\nrule, at every boot\", shape = ellipse, fillcolor = \"#cfe8ff\"];\n  \
             \"a\" -> \"b\" [label = \"after, provides\"];\n  \
             \"a\" -> \"r\" [label = \"reads\"];\n}\n"
        );
    }

    #[test]
    fn the_order_for_mermaid() {
        assert_eq!(
            preview().mermaid(),
            "flowchart LR\n  \
             b0[\"a<br>migration, applied\"]:::applied\n  \
             b1[\"b<br>migration, pending\"]:::pending\n  \
             b2([\"r<br>rule, at every boot\"]):::rule\n  \
             b0 -->|after, provides| b1\n  \
             b0 -->|reads| b2\n  \
             classDef pending fill:#ffe08a,stroke:#555,color:#111\n  \
             classDef applied fill:#eeeeee,stroke:#555,color:#111\n  \
             classDef rule fill:#cfe8ff,stroke:#555,color:#111\n"
        );
    }
}
