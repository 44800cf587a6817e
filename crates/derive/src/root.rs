//! Where the generated code finds Larder.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Error, Path, Result};

/// The packages that export what the generated code names, the nearest to the user first.
const PACKAGES: [&str; 5] = [
    "larder",
    "larder-core",
    "larder-sqlite",
    "larder-postgres",
    "larder-redis",
];

/// The path of the items for generated code: as the user gave it, or found in `Cargo.toml`.
pub(crate) fn root(given: Option<&Path>) -> Result<TokenStream> {
    let path = match given {
        Some(path) => quote!(#path),
        None => find()?,
    };
    Ok(quote!(#path::__private))
}

fn find() -> Result<TokenStream> {
    let mut itself = None;
    for package in PACKAGES {
        match crate_name(package) {
            Ok(FoundCrate::Name(name)) => {
                let name = format_ident!("{name}");
                return Ok(quote!(::#name));
            }
            // A package that is one of these itself, and its tests, can depend on another one;
            // core cannot, and names itself with `extern crate self`.
            Ok(FoundCrate::Itself) => {
                let name = format_ident!("{}", package.replace('-', "_"));
                itself = Some(quote!(::#name));
            }
            Err(_) => {}
        }
    }
    itself.ok_or_else(|| {
        Error::new(
            Span::call_site(),
            "found no Larder among this package's dependencies: add one, such as `larder`, \
             or write its path as `crate = \"..\"` in the attribute of the type",
        )
    })
}
