//! The code that `#[derive(Entity)]` writes.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};

use super::Model;
use super::constraint::Constraint;
use super::field::{Default, Field, Keeper, OnDelete};
use crate::attr::located;

pub(crate) fn generate(model: &Model) -> TokenStream {
    let constants = constants(model);
    let entity = entity(model);
    let insert = insert(model);
    let checks = model.fields.iter().flat_map(|field| checks(model, field));
    let checks = checks.chain(search_checks(model));
    quote! {
        #constants
        #entity
        #insert
        #(
            #[automatically_derived]
            const _: () = #checks;
        )*
    }
}

/// `Post::TITLE`, `Post::KEY`, `Post::UNIQUE_..`.
fn constants(model: &Model) -> TokenStream {
    let Model {
        ident,
        vis,
        root,
        table,
        ..
    } = model;
    let columns = model.fields.iter().enumerate().map(|(at, field)| {
        let (constant, ty) = (&field.constant, &field.ty);
        let doc = format!("The column `{table}.{}`.", field.name);
        quote! {
            #[doc = #doc]
            #vis const #constant: #root::Column<#ident, #ty> = #root::Column::new(#at);
        }
    });
    let key = model.key();
    let doc = format!("The primary key of `{table}`.");
    let uniques = model
        .uniques
        .iter()
        .filter(|unique| unique.columns.len() > 1)
        .map(|unique| {
            let names: Vec<_> = unique
                .columns
                .iter()
                .map(|&at| model.fields[at].constant.to_string())
                .collect();
            let constant = format_ident!("UNIQUE_{}", names.join("_"));
            let (columns, doc) = (
                &unique.columns,
                format!("The unique constraint `{}`.", unique.name),
            );
            quote! {
                #[doc = #doc]
                #vis const #constant: #root::UniqueKey<#ident> =
                    #root::UniqueKey::new(&[#(#columns),*]);
            }
        });
    let search = model.search.as_ref().map(|_| {
        let doc = format!("The full-text index of `{table}`.");
        quote! {
            #[doc = #doc]
            #vis const SEARCH: #root::Search<#ident> = #root::Search::new();
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(dead_code, private_interfaces, unreachable_pub)]
        impl #ident {
            #search
            #(#columns)*
            #[doc = #doc]
            #vis const KEY: #root::UniqueKey<#ident> = #root::UniqueKey::new(&[#(#key),*]);
            #(#uniques)*
        }
    }
}

fn entity(model: &Model) -> TokenStream {
    let Model {
        ident,
        root,
        fields,
        ..
    } = model;
    let table = table(model);
    let count = fields.len();
    let reads = fields.iter().enumerate().map(|(at, field)| {
        let (ident, ty) = (&field.ident, &field.ty);
        let get = located(ty, quote!(#root::get::<#ty>(row, #at)?));
        quote!(#ident: #get)
    });
    let encodes = fields.iter().enumerate().map(|(at, field)| {
        let (own, ty) = (&field.ident, &field.ty);
        let encode = located(ty, quote!(#root::encode::<#ident, #ty>));
        quote!(#encode(#root::Column::new(#at), self.#own, &mut values)?;)
    });
    let keys: Vec<&Field> = model.key().into_iter().map(|at| &fields[at]).collect();
    let key_types = keys.iter().map(|field| field.ty.to_token_stream());
    let key_values = keys.iter().map(|field| {
        let (own, ty) = (&field.ident, &field.ty);
        located(ty, quote!(::core::clone::Clone::clone(&self.#own)))
    });
    let key_type = one_or_tuple(key_types.collect());
    let key_value = one_or_tuple(key_values.collect());
    quote! {
        #[automatically_derived]
        impl #root::Entity for #ident {
            const TABLE: &'static #root::Table = {
                #table
                &TABLE
            };
            type Key = #key_type;

            fn from_row(row: &dyn #root::Row) -> #root::Result<Self> {
                ::core::result::Result::Ok(Self { #(#reads),* })
            }

            fn key(&self) -> Self::Key {
                #key_value
            }

            fn into_values(self) -> #root::Result<::std::vec::Vec<#root::Value>> {
                let mut values = ::std::vec::Vec::with_capacity(#count);
                #(#encodes)*
                ::core::result::Result::Ok(values)
            }
        }
    }
}

/// The table as a static, so that it has one address.
fn table(model: &Model) -> TokenStream {
    let Model { root, table, .. } = model;
    let columns = model.fields.iter().map(|field| column(model, field));
    let key = model.key();
    let auto_key = model.fields.iter().any(Field::auto);
    let uniques = model.uniques.iter().map(|unique| index(root, unique));
    let indexes = model.indexes.iter().map(|one| index(root, one));
    let search = option(model.search.as_ref().map(|search| index(root, search)));
    let kept = |keeper| {
        option(
            model
                .fields
                .iter()
                .position(|field| field.keeper == Some(keeper)),
        )
    };
    let (created_at, updated_at) = (kept(Keeper::CreatedAt), kept(Keeper::UpdatedAt));
    let version = kept(Keeper::Version);
    quote! {
        static TABLE: #root::Table = #root::Table {
            name: #table,
            columns: &[#(#columns),*],
            key: &[#(#key),*],
            auto_key: #auto_key,
            uniques: &[#(#uniques),*],
            indexes: &[#(#indexes),*],
            search: #search,
            created_at: #created_at,
            updated_at: #updated_at,
            version: #version,
        };
    }
}

fn column(model: &Model, field: &Field) -> TokenStream {
    let Model { root, table, .. } = model;
    let Field {
        ident, ty, name, ..
    } = field;
    let kind = located(ty, quote!(<#ty as #root::ColumnType>::KIND));
    let nullable = located(ty, quote!(<#ty as #root::ColumnType>::NULLABLE));
    let max_len = option(field.column.max_len.as_ref());
    let default = option(
        field
            .column
            .default
            .as_ref()
            .map(|value| default(root, field, value)),
    );
    let references = option(field.references.as_ref().map(|references| {
        let model = &references.model;
        let on_delete = match references.on_delete {
            OnDelete::Restrict => quote!(Restrict),
            OnDelete::Cascade => quote!(Cascade),
            OnDelete::SetNull => quote!(SetNull),
        };
        let parent = located(model, quote!(<#model as #root::Entity>::TABLE));
        quote!(#root::Reference { table: || #parent, on_delete: #root::OnDelete::#on_delete })
    }));
    let shown = quote!(#ty).to_string().replace(' ', "");
    let missing = format!(
        "`{table}.{name}` must be set: add a field `{ident}: {shown}` to this struct, \
         or give the model's field a #[column(default = ..)]"
    );
    quote! {
        #root::ColumnDef {
            name: #name,
            kind: #kind,
            nullable: #nullable,
            max_len: #max_len,
            default: #default,
            references: #references,
            missing: #missing,
        }
    }
}

fn default(root: &TokenStream, field: &Field, value: &Default) -> TokenStream {
    match value {
        Default::Bool(value) => quote!(#root::DefaultValue::Bool(#value)),
        Default::Int(value) => quote!(#root::DefaultValue::Int(#value)),
        Default::Float(value) => quote!(#root::DefaultValue::Float(#value)),
        Default::Text(value) => quote!(#root::DefaultValue::Text(#value)),
        Default::Variant(path) => {
            let ty = &field.ty;
            located(
                path,
                quote!({
                    const DEFAULT: <#ty as #root::ColumnType>::Base = #path;
                    #root::DefaultValue::Text(DEFAULT.as_str())
                }),
            )
        }
    }
}

fn index(root: &TokenStream, constraint: &Constraint) -> TokenStream {
    let Constraint { name, columns, .. } = constraint;
    quote!(#root::Index { name: #name, columns: &[#(#columns),*] })
}

fn insert(model: &Model) -> TokenStream {
    let Model { ident, root, .. } = model;
    let all = 0..model.fields.len();
    quote! {
        #[automatically_derived]
        impl #root::Insert for #ident {
            type Entity = Self;
            const COLUMNS: &'static [usize] = &[#(#all),*];

            fn into_values(self, values: &mut ::std::vec::Vec<#root::Value>) -> #root::Result<()> {
                values.append(&mut #root::Entity::into_values(self)?);
                ::core::result::Result::Ok(())
            }
        }
    }
}

/// What only the compiler can check: that the attributes fit the field's type.
fn checks(model: &Model, field: &Field) -> Vec<TokenStream> {
    let root = &model.root;
    let ty = &field.ty;
    let kind = quote!(<#ty as #root::ColumnType>::KIND);
    let nullable = quote!(<#ty as #root::ColumnType>::NULLABLE);
    let must = |condition: TokenStream, message: &str| {
        located(ty, quote!(#root::must(#condition, #message)))
    };
    let mut checks = Vec::new();
    if field.key.is_some() {
        let message = "a key always has a value: remove the Option";
        checks.push(must(quote!(!#nullable), message));
    }
    if field.auto() {
        let message = "the store makes integer keys only: use Id<Model> or i64, \
                       or write #[key] and set it yourself";
        checks.push(must(quote!(#kind.is_integer()), message));
    }
    match field.keeper {
        Some(Keeper::CreatedAt | Keeper::UpdatedAt) => {
            let message =
                "the layer keeps the time here: make the field a Timestamp, or an Option of one";
            checks.push(must(
                quote!(::core::matches!(#kind, #root::Kind::Timestamp)),
                message,
            ));
        }
        Some(Keeper::Version) => {
            let message = "the layer counts updates here: make the field an i64";
            checks.push(must(quote!(#kind.is_integer() && !#nullable), message));
        }
        None => {}
    }
    if field.column.max_len.is_some() {
        checks.push(must(
            quote!(#kind.is_text()),
            "max_len is for text: remove it",
        ));
    }
    if let Some(value) = &field.column.default {
        let value = default(root, field, value);
        checks.push(located(
            ty,
            quote!(#root::assert_default_fits(#kind, &#value)),
        ));
    }
    if let Some(references) = &field.references {
        let parent = &references.model;
        if references.on_delete == OnDelete::SetNull {
            let message = "set_null needs a column that may be NULL: make the field an Option";
            checks.push(must(nullable, message));
        }
        let held = quote!(<#ty as #root::ColumnType>::Base);
        let key = quote!(<#parent as #root::Entity>::Key);
        checks.push(located(
            parent,
            quote!(#root::assert_refers::<#held, #key>()),
        ));
    }
    checks
}

/// What only the compiler can check of a full-text index.
fn search_checks(model: &Model) -> Vec<TokenStream> {
    let Some(search) = &model.search else {
        return Vec::new();
    };
    let root = &model.root;
    let must = |field: &Field, is: TokenStream, message: &str| {
        let ty = &field.ty;
        located(
            ty,
            quote!(#root::must(<#ty as #root::ColumnType>::KIND.#is(), #message)),
        )
    };
    let texts = search.columns.iter().map(|&at| {
        let message = "only text can be searched: remove the field from `search(..)`";
        must(&model.fields[at], quote!(is_text), message)
    });
    let keys = model.key().into_iter().map(|at| {
        let message = "only a model whose key is one integer can be searched";
        must(&model.fields[at], quote!(is_integer), message)
    });
    texts.chain(keys).collect()
}

/// A key of one column is its type, of several a tuple.
fn one_or_tuple(parts: Vec<TokenStream>) -> TokenStream {
    if let [one] = parts.as_slice() {
        one.clone()
    } else {
        quote!((#(#parts),*))
    }
}

fn option<T: ToTokens>(value: Option<T>) -> TokenStream {
    value.map_or_else(
        || quote!(::core::option::Option::None),
        |value| quote!(::core::option::Option::Some(#value)),
    )
}
