//! A page for operators: what runs now, what ran, how far the data drifts, and in which order blocks run.
//!
//! Rendered by the server, without scripts, fonts or pictures from elsewhere, so that it works on a machine without a network and
//! in a browser that runs no code. Everything that a picture shows is said in words as well.
//!
//! ```no_run
//! # async fn page(host: plinth::Host) -> Result<String, plinth::BootError> {
//! use plinth::page::{Page, STYLE};
//! let history = host.history(Page::BOOTS).await?;
//! let plan = host.plan().await.map_err(|error| error.to_string());
//! // Served with STYLE beside it, under the name that the page asks for: style.css.
//! let html = Page { title: "shop", history: &history, plan: plan.as_ref(), progress: None, facts: &[] }.render();
//! # let _ = STYLE;
//! # Ok(html) }
//! ```

mod blocks;
mod boots;
mod drift;
mod graph;
mod layout;
mod now;
mod text;

use crate::{History, Preview, Progress};
use maud::{DOCTYPE, Markup, html};

/// The page's style sheet. The page asks for it as `style.css`, beside itself.
pub const STYLE: &str = include_str!("style.css");

/// What a server should send along: nothing but the style sheet is ever loaded, nobody frames the page.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Whose page it is.
    pub title: &'a str,
    /// What the ledger tells.
    pub history: &'a History,
    /// The order and what a boot would do, or why there is none.
    pub plan: Result<&'a Preview, &'a String>,
    /// Where a host in this process stands, if there is one.
    pub progress: Option<&'a Progress>,
    /// What else is worth knowing, a name and a text each.
    pub facts: &'a [(String, String)],
}

impl Page<'_> {
    /// How many boots are worth asking for: as many as the plot has room for.
    pub const BOOTS: u32 = 40;

    /// The page as HTML.
    pub fn render(&self) -> String {
        let sections: [(&str, &str, Markup); 6] = [
            ("now", "Now", now::section(self)),
            ("blocks", "Blocks", blocks::section(&self.history.status)),
            ("deferrals", "Deferrals", blocks::deferrals(&self.history.status)),
            ("drift", "Drift", drift::section(self.history)),
            ("order", "Order", graph::section(self.plan, &self.history.status)),
            ("boots", "Boots", boots::section(&self.history.boots)),
        ];
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " – boots" }
                    link rel="stylesheet" href="style.css";
                    link rel="icon" href="data:,";
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        h1 { (self.title) }
                        nav aria-label="Sections" {
                            ul { @for (id, name, _) in &sections { li { a href={ "#" (id) } { (name) } } } }
                        }
                    }
                    main id="main" {
                        @for (id, name, content) in &sections {
                            section id=(id) aria-labelledby={ (id) "-heading" } {
                                h2 id={ (id) "-heading" } { (name) }
                                (content)
                            }
                        }
                    }
                    footer { p { "Plinth " (env!("CARGO_PKG_VERSION")) ". From the ledger as it was when this page was asked for." } }
                }
            }
        };
        page.into_string()
    }
}
