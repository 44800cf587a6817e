//! [`shape_of`]: a fingerprint of what a type reads, so that two versions of a program never take
//! each other's values for their own.
//!
//! The type is asked to read from a source that writes down what it is asked for: names of structs,
//! fields, variants, kinds of numbers. It answers with zeros, empty texts and one element, so that the
//! question goes on into fields; a type that refuses such a value ends it there, the same way each
//! time. Names of types are no part of it but for structs and enums, which serde says.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde::Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::codec::{FNV_OFFSET, fnv1a};

/// How deep types are looked into, and how much is asked: those that hold themselves have no end.
const DEPTH_MAX: usize = 16;
const QUESTIONS_MAX: usize = 2_000;

/// The fingerprint of a type; computed once per type.
pub(super) fn shape_of<T: DeserializeOwned + 'static>() -> u64 {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, u64>>> = LazyLock::new(RwLock::default);
    let id = TypeId::of::<T>();
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(shape) = known.get(&id) {
        return *shape;
    }
    drop(known);
    let mut probe = Probe {
        shape: FNV_OFFSET,
        depth: 0,
        questions: 0,
    };
    // Whether the type takes what it is answered does not matter.
    let _ = T::deserialize(&mut probe);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    known.insert(id, probe.shape);
    probe.shape
}

struct Probe {
    shape: u64,
    depth: usize,
    questions: usize,
}

/// The end of the questions.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("enough is known")
    }
}

impl std::error::Error for Enough {}

impl serde::de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Probe {
    fn note(&mut self, words: &[&str]) -> Result<(), Enough> {
        self.questions += 1;
        for word in words {
            self.shape = fnv1a(self.shape, word.as_bytes());
            self.shape = fnv1a(self.shape, &[0xff]);
        }
        if self.questions > QUESTIONS_MAX || self.depth > DEPTH_MAX {
            return Err(Enough);
        }
        Ok(())
    }

    /// Goes one level down for what it is given to do.
    fn inside<T>(&mut self, ask: impl FnOnce(&mut Self) -> Result<T, Enough>) -> Result<T, Enough> {
        self.depth += 1;
        let outcome = ask(self);
        self.depth -= 1;
        self.shape = fnv1a(self.shape, b")");
        outcome
    }
}

macro_rules! simple {
    ($($method:ident => $visit:ident($($value:expr)?)),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
            self.note(&[stringify!($method)])?;
            visitor.$visit($($value)?)
        })+
    };
}

impl<'de> Deserializer<'de> for &mut Probe {
    type Error = Enough;

    simple! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(0),
        deserialize_i16 => visit_i16(0),
        deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0),
        deserialize_i128 => visit_i128(0),
        deserialize_u8 => visit_u8(0),
        deserialize_u16 => visit_u16(0),
        deserialize_u32 => visit_u32(0),
        deserialize_u64 => visit_u64(0),
        deserialize_u128 => visit_u128(0),
        deserialize_f32 => visit_f32(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_char => visit_char('0'),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
        deserialize_bytes => visit_bytes(&[]),
        deserialize_byte_buf => visit_bytes(&[]),
        deserialize_unit => visit_unit(),
        deserialize_any => visit_unit(),
        deserialize_identifier => visit_str(""),
        deserialize_ignored_any => visit_unit(),
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.note(&["option"])?;
        self.inside(|probe| visitor.visit_some(probe))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.note(&["unit struct", name])?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.note(&["newtype", name])?;
        self.inside(|probe| visitor.visit_newtype_struct(probe))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.note(&["seq"])?;
        self.inside(|probe| visitor.visit_seq(Elements { probe, left: 1 }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.note(&["tuple", &len.to_string()])?;
        self.inside(|probe| visitor.visit_seq(Elements { probe, left: len }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.note(&["tuple struct", name, &len.to_string()])?;
        self.inside(|probe| visitor.visit_seq(Elements { probe, left: len }))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        self.note(&["map"])?;
        self.inside(|probe| visitor.visit_map(Elements { probe, left: 1 }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.note(&["struct", name])?;
        self.note(fields)?;
        let left = fields.len();
        self.inside(|probe| visitor.visit_seq(Elements { probe, left }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.note(&["enum", name])?;
        self.note(variants)?;
        self.inside(|probe| visitor.visit_enum(First { probe }))
    }
}

/// So many answers one after the other.
struct Elements<'a> {
    probe: &'a mut Probe,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Enough;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Enough> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.probe).map(Some)
    }
}

impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Enough;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Enough> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Enough> {
        seed.deserialize(&mut *self.probe)
    }
}

/// The first variant of an enum.
struct First<'a> {
    probe: &'a mut Probe,
}

impl<'de> EnumAccess<'de> for First<'_> {
    type Error = Enough;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Enough> {
        let first = serde::de::value::U32Deserializer::<Enough>::new(0);
        Ok((seed.deserialize(first)?, self))
    }
}

impl<'de> VariantAccess<'de> for First<'_> {
    type Error = Enough;

    fn unit_variant(self) -> Result<(), Enough> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Enough> {
        seed.deserialize(self.probe)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Enough> {
        self.probe.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        self.probe.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(dead_code, reason = "only the shapes of the types matter")]

    use super::*;

    mod v1 {
        #[derive(serde::Deserialize)]
        pub(super) struct User {
            id: u64,
            name: String,
        }
    }

    mod v2 {
        #[derive(serde::Deserialize)]
        pub(super) struct User {
            id: u64,
            name: Option<String>,
        }
    }

    mod v3 {
        #[derive(serde::Deserialize)]
        pub(super) struct User {
            name: String,
            id: u64,
        }
    }

    #[derive(serde::Deserialize)]
    struct Tree {
        children: Vec<Tree>,
    }

    #[test]
    fn another_version_of_a_type_has_another_shape() {
        let shapes = [
            shape_of::<v1::User>(),
            shape_of::<v2::User>(),
            shape_of::<v3::User>(),
            shape_of::<Vec<v1::User>>(),
            shape_of::<Option<v1::User>>(),
            shape_of::<Vec<v2::User>>(),
            shape_of::<(u64, String)>(),
            shape_of::<u64>(),
            shape_of::<i64>(),
        ];
        for (at, shape) in shapes.iter().enumerate() {
            assert!(!shapes[..at].contains(shape), "shape {at}");
        }
    }

    #[test]
    fn the_same_type_has_the_same_shape() {
        assert_eq!(shape_of::<v1::User>(), shape_of::<v1::User>());
        shape_of::<crate::models::User>();
    }

    #[test]
    fn a_type_that_holds_itself_has_one_too() {
        assert_ne!(shape_of::<Tree>(), shape_of::<Vec<Tree>>());
    }
}
