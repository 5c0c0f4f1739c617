//! The macros of plinth-block. Used through its `migration!` and `rule!`.

use plinth_manifest::{Manifest, SECTION};
use proc_macro::TokenStream;
use quote::quote;
use std::{env, fs, path::PathBuf};

/// Reads `block.toml`, checks it against the kind given, and puts it into the component as a custom section.
#[proc_macro]
pub fn manifest(kind: TokenStream) -> TokenStream {
    let kind = kind.to_string();
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let path = folder.join("block.toml");
    match read(&path, kind.trim()) {
        Ok(length) => {
            let path = path.display().to_string();
            quote! {
                // include_bytes! also makes cargo compile the block again when its manifest changes.
                #[cfg(target_arch = "wasm32")]
                #[unsafe(link_section = #SECTION)]
                #[used]
                static __PLINTH_MANIFEST: [u8; #length] = *::core::include_bytes!(#path);
                #[cfg(not(target_arch = "wasm32"))]
                const __PLINTH_MANIFEST: &str = ::core::include_str!(#path);
            }
            .into()
        }
        Err(message) => quote!(::core::compile_error!(#message);).into(),
    }
}

fn read(path: &PathBuf, kind: &str) -> Result<usize, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("{}: {error}: a block has its manifest beside its Cargo.toml", path.display()))?;
    let manifest = Manifest::parse(&text)
        .map_err(|error| format!("{}:{}:{}: {}", path.display(), error.line(), error.column(), error.message()))?;
    if manifest.kind.as_str() != kind {
        return Err(format!("{}: the manifest says kind = \"{}\", the code exports a {kind}", path.display(), manifest.kind));
    }
    Ok(text.len())
}
