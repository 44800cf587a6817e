//! [`Facts`]: how two schemas differ, in sentences.

use std::collections::{BTreeMap, BTreeSet};

/// What a database's schema holds: each thing by name, and all that matters of it in words. Engines
/// read it from their own catalogs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    /// Adds a thing, such as a column, and what it is.
    pub fn insert(&mut self, thing: String, fact: String) {
        self.0.insert(thing, fact);
    }

    /// One sentence per difference, naming the thing and both sides; empty if there is none.
    ///
    /// ```
    /// use larder_core::migration::Facts;
    ///
    /// let mut models = Facts::default();
    /// models.insert("column `tags.name`".into(), "TEXT NOT NULL".into());
    /// let differences = models.differences(&Facts::default(), ("the models", "the database"));
    /// let said = "column `tags.name` (TEXT NOT NULL) is in the models, but not in the database";
    /// assert_eq!(differences, [said]);
    /// ```
    pub fn differences(&self, other: &Self, names: (&str, &str)) -> Vec<String> {
        let (ours, theirs) = (&self.0, &other.0);
        let things: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        let difference = |thing: &String| match (ours.get(thing), theirs.get(thing)) {
            (Some(one), Some(two)) if one == two => None,
            (Some(one), Some(two)) => Some(format!(
                "{thing} is {one} in {}, but {two} in {}",
                names.0, names.1
            )),
            (Some(fact), None) => Some(only_in(thing, fact, names.0, names.1)),
            (None, Some(fact)) => Some(only_in(thing, fact, names.1, names.0)),
            (None, None) => None,
        };
        things.into_iter().filter_map(difference).collect()
    }
}

fn only_in(thing: &str, fact: &str, has: &str, lacks: &str) -> String {
    format!("{thing} ({fact}) is in {has}, but not in {lacks}")
}
