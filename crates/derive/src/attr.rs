//! What the derives share in reading attributes and reporting mistakes.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Path, Result, Token, Type,
};

/// The mistakes found so far, reported together.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Remembers a mistake.
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Remembers a mistake at these tokens.
    pub(crate) fn at(&mut self, tokens: &impl ToTokens, message: impl std::fmt::Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    /// The value, or `None` with its mistake remembered.
    pub(crate) fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// An error if there were mistakes.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// The fields of a struct with named fields and without generics, which all row types are.
pub(crate) fn named_fields<'a>(
    input: &'a DeriveInput,
    derive: &str,
) -> Result<&'a Punctuated<Field, Token![,]>> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            format!("#[derive({derive})] needs a struct without generic parameters: remove them"),
        ));
    }
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => Ok(&fields.named),
            _ => Err(Error::new_spanned(
                &input.ident,
                format!(
                    "#[derive({derive})] needs named fields: write `struct {} {{ .. }}`",
                    input.ident
                ),
            )),
        },
        _ => Err(Error::new_spanned(
            &input.ident,
            format!("#[derive({derive})] needs a struct with named fields"),
        )),
    }
}

/// The attributes of this name.
pub(crate) fn named<'a>(
    attributes: &'a [Attribute],
    name: &'static str,
) -> impl Iterator<Item = &'a Attribute> {
    attributes
        .iter()
        .filter(move |attribute| attribute.path().is_ident(name))
}

/// The error of a key that the attribute does not know.
pub(crate) fn unknown(meta: &ParseNestedMeta<'_>, attribute: &str, known: &[&str]) -> Error {
    let key = meta.path.to_token_stream().to_string().replace(' ', "");
    let known = known
        .iter()
        .map(|key| format!("`{key}`"))
        .collect::<Vec<_>>()
        .join(", ");
    meta.error(format!(
        "#[{attribute}(..)] knows no `{key}`; it knows {known}"
    ))
}

/// Sets something that may be written once.
pub(crate) fn once<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error("written twice: remove one"));
    }
    Ok(())
}

/// A path, bare or in quotes: the value of `crate = ..`.
pub(crate) fn crate_path(meta: &ParseNestedMeta<'_>) -> Result<Path> {
    let value = meta.value()?;
    if value.peek(LitStr) {
        value.parse::<LitStr>()?.parse_with(Path::parse_mod_style)
    } else {
        Path::parse_mod_style(value)
    }
}

/// A name for the database, as text.
pub(crate) fn db_name(input: ParseStream<'_>) -> Result<LitStr> {
    let name: LitStr = input.parse()?;
    let text = name.value();
    if text.is_empty() || text.contains('\0') || text.len() > NAME_MAX {
        return Err(Error::new(
            name.span(),
            format!("a name in the database has 1 to {NAME_MAX} bytes and no NUL"),
        ));
    }
    Ok(name)
}

/// The longest name that every engine takes, in bytes (PostgreSQL cuts longer ones).
pub(crate) const NAME_MAX: usize = 63;

/// `#[insert(Post, crate = "..")]`: the model a struct is for.
pub(crate) struct Target {
    pub(crate) model: Path,
    pub(crate) root: TokenStream,
}

impl Target {
    /// Reads the attribute of this name on the struct.
    pub(crate) fn of(input: &DeriveInput, attribute: &'static str, derive: &str) -> Result<Self> {
        let mut found = named(&input.attrs, attribute);
        let Some(first) = found.next() else {
            return Err(Error::new_spanned(
                &input.ident,
                format!(
                    "which model is this for? Write #[{attribute}(Model)] under #[derive({derive})]"
                ),
            ));
        };
        if let Some(second) = found.next() {
            return Err(Error::new_spanned(
                second,
                format!("a second #[{attribute}(..)]: remove one"),
            ));
        }
        let TargetArgs { model, krate } = first.parse_args().map_err(|error| {
            let text = format!("expected #[{attribute}(Model)]: {error}");
            Error::new(error.span(), text)
        })?;
        Ok(Self {
            model,
            root: crate::root::root(krate.as_ref())?,
        })
    }

    /// The model's constant for the field, or the column named in an attribute.
    pub(crate) fn column(&self, field: &Ident, named: Option<&Path>) -> TokenStream {
        if let Some(path) = named {
            return path.to_token_stream();
        }
        let (model, constant) = (&self.model, constant(field));
        located(field, quote!(#model::#constant))
    }
}

/// A check that no two fields set the same column, reported at the second one.
pub(crate) fn set_once(
    root: &TokenStream,
    fields: &[Ident],
    columns: &[TokenStream],
) -> TokenStream {
    let checks = fields
        .iter()
        .enumerate()
        .skip(1)
        .map(|(at, field)| located(field, quote!(#root::assert_set_once(columns, #at))));
    quote! {
        #[automatically_derived]
        const _: () = {
            let columns: &[usize] = &[#(#columns.index()),*];
            #(#checks;)*
        };
    }
}

struct TargetArgs {
    model: Path,
    krate: Option<Path>,
}

impl Parse for TargetArgs {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let model = Path::parse_mod_style(input)?;
        let mut krate = None;
        if input.parse::<Option<Token![,]>>()?.is_some() && !input.is_empty() {
            syn::meta::parser(|meta: ParseNestedMeta<'_>| {
                if meta.path.is_ident("crate") {
                    once(&mut krate, crate_path(&meta)?, &meta)
                } else {
                    Err(meta.error("after the model only `crate = \"..\"` can follow"))
                }
            })
            .parse_rest(input)?;
        }
        Ok(Self { model, krate })
    }
}

/// Lets a meta parser read the rest of an attribute.
trait ParseRest {
    fn parse_rest(self, input: ParseStream<'_>) -> Result<()>;
}

impl<P: syn::parse::Parser<Output = ()>> ParseRest for P {
    fn parse_rest(self, input: ParseStream<'_>) -> Result<()> {
        let rest: TokenStream = input.parse()?;
        self.parse2(rest)
    }
}

/// The name of a field's constant: `author_id` becomes `AUTHOR_ID`.
pub(crate) fn constant(field: &Ident) -> Ident {
    Ident::new(&field.unraw().to_string().to_uppercase(), field.span())
}

/// The type inside `Option<..>` or `Vec<..>`, where it is written like that.
pub(crate) fn inside<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        syn::GenericArgument::Type(inner) if last.ident == wrapper => Some(inner),
        _ => None,
    }
}

/// The tokens, with mistakes in them reported at this place. The names in them mean what they
/// meant.
pub(crate) fn located(place: &impl Spanned, tokens: TokenStream) -> TokenStream {
    relocate(tokens, place.span())
}

fn relocate(tokens: TokenStream, place: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut tree| {
            if let TokenTree::Group(group) = &tree {
                let inner = relocate(group.stream(), place);
                let mut moved = Group::new(group.delimiter(), inner);
                moved.set_span(group.span());
                tree = TokenTree::Group(moved);
            }
            tree.set_span(tree.span().located_at(place));
            tree
        })
        .collect()
}
