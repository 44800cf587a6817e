//! The code that `#[derive(Load)]` writes: calls of the helpers in core's `load`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::Ident;
use syn::ext::IdentExt;

use super::Plan;
use super::field::{Field, Relation, Shape, Source};
use crate::attr::located;

/// A column field, its column and the variable that carries it.
struct ColumnField<'a> {
    field: &'a Field,
    column: TokenStream,
}

/// A relation field and the position of its linking value among the row's links.
struct RelationField<'a> {
    field: &'a Field,
    relation: &'a Relation,
    link: usize,
}

/// A plan sorted into what its code needs.
struct Sorted<'a> {
    plan: &'a Plan,
    columns: Vec<ColumnField<'a>>,
    flat: Option<&'a Field>,
    relations: Vec<RelationField<'a>>,
    /// The positions of the columns that link, as expressions.
    links: Vec<TokenStream>,
}

pub(crate) fn generate(plan: &Plan) -> TokenStream {
    let sorted = sort(plan);
    let root = &plan.target.root;
    let (ident, model) = (&plan.ident, &plan.target.model);
    let row = sorted.row_type();
    let columns = sorted.columns_body();
    let decode = sorted.decode_body();
    let finish = sorted.finish_body();
    let checks = sorted.checks();
    quote! {
        #[automatically_derived]
        impl #root::Load for #ident {
            type Entity = #model;
            type Row = #row;

            fn columns() -> ::std::vec::Vec<usize> {
                #columns
            }

            fn decode(row: &dyn #root::Row, at: usize) -> #root::Result<Self::Row> {
                #decode
            }

            fn finish<'a>(
                loader: #root::Loader<'a>,
                rows: ::std::vec::Vec<Self::Row>,
            ) -> #root::BoxFuture<'a, #root::Result<::std::vec::Vec<Self>>> {
                ::std::boxed::Box::pin(async move { #finish })
            }
        }

        #(
            #[automatically_derived]
            const _: () = #checks;
        )*
    }
}

fn sort(plan: &Plan) -> Sorted<'_> {
    let (root, model) = (&plan.target.root, &plan.target.model);
    let mut sorted = Sorted {
        plan,
        columns: Vec::new(),
        flat: None,
        relations: Vec::new(),
        links: Vec::new(),
    };
    for field in &plan.fields {
        match &field.source {
            Source::Column(column) => {
                let column = plan.target.column(&field.ident, column.as_ref());
                sorted.columns.push(ColumnField { field, column });
            }
            Source::Flatten => sorted.flat = Some(field),
            Source::Relation(relation) => {
                let via = &relation.via;
                let link = match relation.shape {
                    Shape::Parent | Shape::MaybeParent => quote!(#via.index()),
                    _ => quote!(#root::own_key::<#model>()),
                };
                let same = |one: &TokenStream| one.to_string() == link.to_string();
                let at = sorted.links.iter().position(same).unwrap_or_else(|| {
                    sorted.links.push(link);
                    sorted.links.len() - 1
                });
                sorted.relations.push(RelationField {
                    field,
                    relation,
                    link: at,
                });
            }
        }
    }
    sorted
}

impl Sorted<'_> {
    fn root(&self) -> &TokenStream {
        &self.plan.target.root
    }

    /// `(column types.., links, flattened row)`: what a row is before its relations are there.
    fn row_type(&self) -> TokenStream {
        let root = self.root();
        let types = self.columns.iter().map(|one| &one.field.ty);
        let flat = self.flat.map(|field| {
            let ty = &field.ty;
            located(ty, quote!(<#ty as #root::Load>::Row,))
        });
        let links = self.links.len();
        quote!((#(#types,)* [#root::Value; #links], #flat))
    }

    /// The variables of a row, in the order of [`row_type`](Self::row_type). They are numbered,
    /// so that no expression in an attribute can mean one of them.
    fn row_pattern(&self) -> TokenStream {
        let columns = (0..self.columns.len()).map(column_variable);
        let links = links_variable();
        let flat = self.flat.map(|_| quote!(flat));
        quote!((#(#columns,)* #links, #flat))
    }

    fn columns_body(&self) -> TokenStream {
        let (root, model) = (self.root(), &self.plan.target.model);
        let columns = self.columns.iter().map(|ColumnField { field, column }| {
            let ty = &field.ty;
            // The annotation makes a field of another type than its column an error right there.
            let annotated = located(ty, quote!(let column: #root::Column<#model, #ty> =));
            quote!({ #annotated #column; column.index() })
        });
        let links = &self.links;
        let flat = self.flat.map(|field| {
            let ty = &field.ty;
            located(ty, quote!(columns.extend(<#ty as #root::Load>::columns());))
        });
        let declare = if flat.is_some() {
            quote!(let mut columns)
        } else {
            quote!(let columns)
        };
        quote! {
            #declare = ::std::vec![#(#columns,)* #(#links,)*];
            #flat
            columns
        }
    }

    fn decode_body(&self) -> TokenStream {
        let (root, model, links) = (self.root(), &self.plan.target.model, &self.links);
        let count = self.columns.len();
        let gets = self.columns.iter().enumerate().map(|(at, one)| {
            let ty = &one.field.ty;
            located(ty, quote!(#root::get::<#ty>(row, at + #at)?))
        });
        let after = count + links.len();
        let flat = self.flat.map(|field| {
            let ty = &field.ty;
            located(ty, quote!(<#ty as #root::Load>::decode(row, at + #after)?,))
        });
        let read = quote!(#root::links::<#model, _>(row, at + #count, [#(#links),*])?);
        quote!(::core::result::Result::Ok((#(#gets,)* #read, #flat)))
    }

    fn finish_body(&self) -> TokenStream {
        let relations = self.load_relations();
        let root = self.root();
        let (mut rows, mut pattern) = (quote!(rows), self.row_pattern());
        let mut split = None;
        if let Some(field) = self.flat {
            // The flattened plan finishes its own rows, which then go back to their places.
            let ty = &field.ty;
            let columns: Vec<_> = (0..self.columns.len()).map(column_variable).collect();
            let links = links_variable();
            split = Some(located(
                ty,
                quote!(let mut flat_rows = ::std::vec::Vec::with_capacity(rows.len());
                let mut kept = ::std::vec::Vec::with_capacity(rows.len());
                for #pattern in rows {
                    kept.push((#(#columns,)* #links,));
                    flat_rows.push(flat);
                }
                let flat_rows = <#ty as #root::Load>::finish(loader, flat_rows).await?;),
            ));
            rows = quote!(kept.into_iter().zip(flat_rows));
            pattern = quote!(((#(#columns,)* #links,), flat));
        } else {
            rows = quote!(#rows.into_iter());
        }
        let links = links_variable();
        let fields = self.field_values();
        let result = quote!(#root::Result<::std::vec::Vec<Self>>);
        let complete = quote! {
            #rows
                .map(|#pattern| {
                    let _ = &#links;
                    ::core::result::Result::Ok(Self { #(#fields),* })
                })
                .collect::<#result>()
        };
        quote! {
            #relations
            #split
            #complete
        }
    }

    /// The queries of the relations, all together.
    fn load_relations(&self) -> TokenStream {
        if self.relations.is_empty() {
            return quote!(let _ = loader;);
        }
        let at = syn::Index::from(self.columns.len());
        let adds = self.relations.iter().enumerate().map(|(i, one)| {
            let (slot, link) = (slot_variable(i), one.link);
            let relation = self.relation(one.relation);
            let add = match one.relation.shape {
                Shape::Count => format_ident!("add_count"),
                _ => format_ident!("add"),
            };
            let add = located(&one.relation.rows, quote!(batch.#add));
            quote!(let #slot = #add(#relation, rows.iter().map(|row| &row.#at[#link]));)
        });
        let takes = self.relations.iter().enumerate().map(|(i, one)| {
            let slot = slot_variable(i);
            let take = located(&one.relation.rows, quote!(loaded.take));
            match one.relation.shape {
                Shape::Count => quote!(let #slot = loaded.take_count(#slot)?;),
                Shape::Parent | Shape::MaybeParent => quote!(let #slot = #take(#slot).await?;),
                _ => quote!(let mut #slot = #take(#slot).await?;),
            }
        });
        // Without rows there is nothing below either; going on would never end in a plan that
        // contains itself. The relations have been checked by then.
        quote! {
            let mut batch = loader.batch();
            #(#adds)*
            let mut loaded = batch.run().await?;
            if rows.is_empty() {
                return ::core::result::Result::Ok(::std::vec::Vec::new());
            }
            #(#takes)*
        }
    }

    /// The relation with its filter, order and limit.
    fn relation(&self, relation: &Relation) -> TokenStream {
        let (root, model) = (self.root(), &self.plan.target.model);
        let Relation {
            shape,
            via,
            rows,
            filters,
            orders,
            limit,
        } = relation;
        let start = located(rows, quote!(#root::Relation::<#rows>));
        let path = match shape {
            Shape::Many | Shape::One | Shape::Count => {
                located(via, quote!(#start::children::<#model, _>(#via)))
            }
            Shape::Parent | Shape::MaybeParent => {
                located(via, quote!(#start::parent::<#model, _>(#via)))
            }
            Shape::Through(to) => {
                located(via, quote!(#start::through::<#model, _, _, _>(#via, #to)))
            }
        };
        let limit = match shape {
            Shape::One => Some(quote!(1)),
            _ => limit.as_ref().map(ToTokens::to_token_stream),
        };
        let limit = limit.into_iter();
        quote!(#path #(.filter(#filters))* #(.order(#orders))* #(.limit(#limit))*)
    }

    /// The struct's fields from the row's variables and the loaded relations.
    fn field_values(&self) -> Vec<TokenStream> {
        let columns = self.columns.iter().enumerate().map(|(at, one)| {
            let (ident, variable) = (&one.field.ident, column_variable(at));
            quote!(#ident: #variable)
        });
        let flat = self.flat.iter().map(|field| {
            let ident = &field.ident;
            quote!(#ident: flat)
        });
        let relations = self.relations.iter().enumerate().map(|(i, one)| {
            let (ident, slot, links) = (&one.field.ident, slot_variable(i), links_variable());
            let (name, link) = (ident.unraw().to_string(), one.link);
            let parent = quote!(&#links[#link]);
            let value = match one.relation.shape {
                Shape::Many | Shape::Through(_) => quote!(#slot.many(#parent)),
                Shape::One => quote!(#slot.one(#parent)),
                Shape::Parent => {
                    located(&one.relation.rows, quote!(#slot.required(#parent, #name)?))
                }
                Shape::MaybeParent => located(&one.relation.rows, quote!(#slot.shared(#parent))),
                Shape::Count => quote!(#slot.get(#parent)),
            };
            quote!(#ident: #value)
        });
        columns.chain(flat).chain(relations).collect()
    }

    /// What only the compiler can check.
    fn checks(&self) -> Vec<TokenStream> {
        let (root, model) = (self.root(), &self.plan.target.model);
        let flat = self.flat.map(|field| {
            let ty = &field.ty;
            located(ty, quote!(#root::assert_loads::<#model, #ty>()))
        });
        let parents = self
            .relations
            .iter()
            .filter(|one| matches!(one.relation.shape, Shape::Parent));
        let required = parents.map(|one| {
            let via = &one.relation.via;
            let table = quote!(<#model as #root::Entity>::TABLE);
            located(
                &one.field.ty,
                quote!(#root::assert_reference_set(#table, #via.index())),
            )
        });
        flat.into_iter().chain(required).collect()
    }
}

fn column_variable(at: usize) -> Ident {
    format_ident!("column_{at}", span = proc_macro2::Span::mixed_site())
}

fn slot_variable(at: usize) -> Ident {
    format_ident!("relation_{at}", span = proc_macro2::Span::mixed_site())
}

fn links_variable() -> Ident {
    format_ident!("links", span = proc_macro2::Span::mixed_site())
}
