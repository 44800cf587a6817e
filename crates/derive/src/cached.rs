//! `#[cached(..)]`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, FnArg, Ident, ItemFn, LitStr, Pat, Path, Result, Token, Type};

use crate::attr::{self, Errors, located};

/// What `#[cached(..)]` says.
#[derive(Default)]
struct Attributes {
    ttl: Option<Duration>,
    stale: Option<Duration>,
    absent: Option<Duration>,
    prefix: Option<LitStr>,
    cache: Option<Expr>,
    tags: Vec<LitStr>,
    skip: Vec<Ident>,
    stale_on_error: bool,
    infallible: bool,
    krate: Option<Path>,
}

const KNOWN: [&str; 10] = [
    "ttl",
    "prefix",
    "tags",
    "stale",
    "stale_on_error",
    "absent",
    "skip",
    "cache",
    "infallible",
    "crate",
];

impl Attributes {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let is = |word: &str| meta.path.is_ident(word);
        if is("ttl") {
            attr::once(&mut self.ttl, duration(meta)?, meta)
        } else if is("stale") {
            attr::once(&mut self.stale, duration(meta)?, meta)
        } else if is("absent") {
            attr::once(&mut self.absent, duration(meta)?, meta)
        } else if is("prefix") {
            attr::once(&mut self.prefix, meta.value()?.parse()?, meta)
        } else if is("cache") {
            attr::once(&mut self.cache, meta.value()?.parse()?, meta)
        } else if is("tags") {
            self.tags.extend(list(meta)?);
            Ok(())
        } else if is("skip") {
            self.skip.extend(list(meta)?);
            Ok(())
        } else if is("stale_on_error") {
            self.stale_on_error = true;
            Ok(())
        } else if is("infallible") {
            self.infallible = true;
            Ok(())
        } else if is("crate") {
            attr::once(&mut self.krate, attr::crate_path(meta)?, meta)
        } else {
            Err(attr::unknown(meta, "cached", &KNOWN))
        }
    }
}

/// `(a, b)` behind a word.
fn list<T: syn::parse::Parse>(meta: &ParseNestedMeta<'_>) -> Result<Punctuated<T, Token![,]>> {
    let content;
    syn::parenthesized!(content in meta.input);
    Punctuated::parse_terminated(&content)
}

/// A duration as text: `"500ms"`, `"30s"`, `"1h 30m"`.
fn duration(meta: &ParseNestedMeta<'_>) -> Result<Duration> {
    let text: LitStr = meta.value()?.parse()?;
    parse_duration(&text.value()).ok_or_else(|| {
        Error::new(
            text.span(),
            "a duration is written as \"30s\", \"5m\", \"1h 30m\", \"2d\" or \"500ms\", and is longer than nothing",
        )
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut millis = 0_u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(end);
        let end = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = behind.trim_start();
    }
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// The function in its parts.
struct Function {
    item: ItemFn,
    is_method: bool,
    /// The arguments behind `self`, in order.
    arguments: Vec<(Ident, Type)>,
    attributes: Attributes,
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let mut attributes = Attributes::default();
    let read = syn::meta::parser(|meta| attributes.read(&meta)).parse2(arguments);
    errors.keep(read);
    let item: ItemFn = syn::parse2(item)?;
    if attributes.ttl.is_none() {
        errors.at(
            &item.sig.ident,
            "for how long? Write #[cached(ttl = \"5m\")]",
        );
    }
    if item.sig.asyncness.is_none() {
        errors.at(
            &item.sig.fn_token,
            "#[cached] needs an async function: asking a cache waits",
        );
    }
    let root = errors.keep(crate::root::root(attributes.krate.as_ref()));
    let arguments = named_arguments(&item, &mut errors);
    for name in &attributes.skip {
        if !arguments.iter().any(|(argument, _)| argument == name) {
            errors.at(name, "no argument has this name");
        }
    }
    let has_cache = arguments.iter().any(|(argument, _)| argument == "cache");
    if attributes.cache.is_none() && !has_cache {
        errors.at(
            &item.sig.ident,
            "which cache? Take an argument `cache: &Cache`, or write where it is: \
             #[cached(.., cache = self.cache)]",
        );
    }
    errors.finish()?;
    let function = Function {
        is_method: item.sig.receiver().is_some(),
        arguments,
        attributes,
        item,
    };
    Ok(function.expand(&root.unwrap_or_default()))
}

/// The arguments behind `self`, which have names.
fn named_arguments(item: &ItemFn, errors: &mut Errors) -> Vec<(Ident, Type)> {
    let mut named = Vec::new();
    for argument in &item.sig.inputs {
        let FnArg::Typed(typed) = argument else {
            continue;
        };
        match typed.pat.as_ref() {
            Pat::Ident(pattern) if pattern.subpat.is_none() && pattern.by_ref.is_none() => {
                named.push((pattern.ident.clone(), typed.ty.as_ref().clone()));
            }
            other => errors.at(
                other,
                "name this argument, so that it can be part of the key",
            ),
        }
    }
    named
}

impl Function {
    fn expand(&self, root: &TokenStream) -> TokenStream {
        let cached = self.cached(root);
        let load = self.load();
        let companions = self.companions(root);
        if self.is_method {
            return quote!(#cached #load #companions);
        }
        let (visibility, name) = (&self.item.vis, &self.item.sig.ident);
        let about = format!("The cached values of [`{name}`]({name}()).");
        quote! {
            #cached

            #[doc = #about]
            #[allow(non_camel_case_types)]
            #visibility struct #name {}

            impl #name {
                #load
                #companions
            }
        }
    }

    /// The arguments that are part of the key.
    fn keyed(&self) -> impl Iterator<Item = &(Ident, Type)> {
        self.arguments.iter().filter(|(name, _)| {
            let is_cache = self.attributes.cache.is_none() && name == "cache";
            !is_cache && !self.attributes.skip.contains(name)
        })
    }

    /// The prefix of the keys.
    fn prefix(&self) -> TokenStream {
        if let Some(prefix) = &self.attributes.prefix {
            return quote!(#prefix);
        }
        let name = self.item.sig.ident.to_string();
        quote!(::core::concat!(::core::module_path!(), "::", #name))
    }

    /// Where the cache is, in the function's body.
    fn cache(&self) -> TokenStream {
        let given = self.attributes.cache.as_ref();
        given.map_or_else(|| quote!(&*cache), |cache| quote!(&#cache))
    }

    /// The name of the function that loads.
    fn loader(&self) -> Ident {
        format_ident!("__load_{}", self.item.sig.ident)
    }

    /// The function as its callers see it.
    fn cached(&self, root: &TokenStream) -> TokenStream {
        let (attributes, visibility) = (&self.item.attrs, &self.item.vis);
        let mut signature = self.item.sig.clone();
        for argument in &mut signature.inputs {
            if let FnArg::Typed(typed) = argument
                && let Pat::Ident(pattern) = typed.pat.as_mut()
            {
                pattern.mutability = None;
            }
        }
        let name = &signature.ident;
        let (cache, prefix, loader) = (self.cache(), self.prefix(), self.loader());
        let keyed = self.keyed().map(|(name, _)| argument(root, name));
        let given = self.arguments.iter().map(|(name, _)| name);
        let load = if self.is_method {
            quote!(self.#loader(#(#given),*))
        } else {
            quote!(#name::#loader(#(#given),*))
        };
        let settings = self.settings();
        let how = match (self.attributes.absent.is_some(), self.attributes.infallible) {
            (true, false) => quote!(find),
            (true, true) => quote!(find_infallibly),
            (false, false) => quote!(load),
            (false, true) => quote!(load_infallibly),
        };
        // What the function answers is why this may not fit.
        let answer = located(
            &signature.output,
            quote!(#root::cached::#how(entry, move || #load)),
        );
        quote! {
            #(#attributes)*
            #visibility #signature {
                let __larder_key = #root::cached::key(#prefix, &(#(#keyed,)*));
                match __larder_key {
                    ::core::option::Option::Some(key) => {
                        let entry = #root::cached::entry(#cache, &key) #settings;
                        #answer.await
                    }
                    ::core::option::Option::None => #load.await,
                }
            }
        }
    }

    /// How an entry is kept.
    fn settings(&self) -> TokenStream {
        let attributes = &self.attributes;
        let mut settings = TokenStream::new();
        for (name, given) in [
            ("ttl", attributes.ttl),
            ("stale", attributes.stale),
            ("absent", attributes.absent),
        ] {
            if let Some(duration) = given {
                let (name, millis) = (format_ident!("{name}"), duration.as_millis() as u64);
                let duration = quote!(::core::time::Duration::from_millis(#millis));
                settings.extend(quote!(.#name(#duration)));
            }
        }
        if !attributes.tags.is_empty() {
            let tags = &attributes.tags;
            settings.extend(quote!(.tags([#(::std::format!(#tags)),*])));
        }
        if attributes.stale_on_error {
            settings.extend(quote!(.stale_on_error()));
        }
        settings
    }

    /// The function as it was written.
    fn load(&self) -> TokenStream {
        let mut signature = self.item.sig.clone();
        signature.ident = self.loader();
        let block = &self.item.block;
        quote! {
            #[doc(hidden)]
            // What it does not use is part of the key.
            #[allow(unused_variables, clippy::unused_async)]
            #signature #block
        }
    }

    /// What is said of the cached values from outside: their key, and to forget one.
    fn companions(&self, root: &TokenStream) -> TokenStream {
        let visibility = &self.item.vis;
        let (generics, _, limits) = self.item.sig.generics.split_for_impl();
        let name = &self.item.sig.ident;
        let prefix = self.prefix();
        let parameters: Vec<TokenStream> =
            self.keyed().map(|(name, ty)| quote!(#name: #ty)).collect();
        let names: Vec<&Ident> = self.keyed().map(|(name, _)| name).collect();
        let keyed = names.iter().map(|name| argument(root, name));
        let about_key = format!("The key under which [`{name}`] of these arguments is cached.");
        let about_invalidate = format!(
            "Forgets what [`{name}`] of these arguments has answered: see `Cache::invalidate`."
        );
        let (key, invalidate, receiver, cache) = if self.is_method {
            (
                format_ident!("{name}_key"),
                format_ident!("invalidate_{name}"),
                quote!(&self,),
                self.cache(),
            )
        } else {
            (
                format_ident!("key"),
                format_ident!("invalidate"),
                quote!(cache: &#root::cached::Cache,),
                quote!(cache),
            )
        };
        quote! {
            #[doc = #about_key]
            ///
            /// # Errors
            /// `Invalid` if an argument cannot be serialised.
            #[allow(dead_code)]
            #visibility fn #key #generics (#(#parameters),*) -> #root::Result<::std::string::String>
            #limits
            {
                #root::cached::key_or_error(#prefix, &(#(#keyed,)*))
            }

            #[doc = #about_invalidate]
            ///
            /// # Errors
            /// `Invalid` if an argument cannot be serialised; the cache's.
            #[allow(dead_code)]
            #visibility async fn #invalidate #generics (#receiver #(#parameters),*) -> #root::Result<()>
            #limits
            {
                let key = Self::#key(#(#names),*)?;
                #root::cached::invalidate(#cache, &key).await
            }
        }
    }
}

/// An argument as a part of the key; that it cannot be one is said where it stands.
fn argument(root: &TokenStream, name: &Ident) -> TokenStream {
    located(name, quote!(#root::cached::keyed(&#name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let parsed = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(parsed("30s"), Some(30_000));
        assert_eq!(parsed("1h 30m"), Some(5_400_000));
        assert_eq!(parsed("1h30m"), Some(5_400_000));
        assert_eq!(parsed("2d"), Some(172_800_000));
        assert_eq!(parsed("500ms"), Some(500));
        for wrong in [
            "",
            "0s",
            "30",
            "s",
            "-1s",
            "1.5h",
            "1y",
            "1h x",
            "99999999999999999999s",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
