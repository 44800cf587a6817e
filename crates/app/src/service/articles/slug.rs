//! [`Slugs`]: names of articles in addresses, made from their titles.

use larder_core::Uuid;

/// The most characters taken from a title.
const CHARS_MAX: usize = 150;
/// How many random endings are tried; that two agree is already one in a billion.
const ENDINGS: usize = 4;
/// The address `/articles/feed` is another one's.
const RESERVED: &str = "feed";

/// The slugs to try for a title, one after the other: the title itself, then with random endings,
/// because several articles may have one title.
#[derive(Debug)]
pub(super) struct Slugs {
    base: String,
    tried: usize,
}

impl Slugs {
    /// For this title.
    pub(super) fn of(title: &str) -> Self {
        let base = in_address(title);
        let tried = usize::from(base == RESERVED);
        Self { base, tried }
    }
}

impl Iterator for Slugs {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.tried += 1;
        match self.tried {
            1 => Some(self.base.clone()),
            n if n <= 1 + ENDINGS => Some(format!("{}-{}", self.base, ending())),
            _ => None,
        }
    }
}

/// Eight random characters.
fn ending() -> String {
    let mut text = Uuid::new_v4().simple().to_string();
    text.truncate(8);
    text
}

/// Letters and digits in lower case, `-` for whatever stands between them.
fn in_address(title: &str) -> String {
    let mut slug = String::with_capacity(title.len());
    let mut chars = 0;
    for c in title.chars().flat_map(char::to_lowercase) {
        if chars == CHARS_MAX {
            break;
        }
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        } else {
            continue;
        }
        chars += 1;
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "article" } else { slug }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_become_addresses() {
        for (title, slug) in [
            ("How to train your dragon", "how-to-train-your-dragon"),
            ("  C++ & Rust: 2 -- 0!  ", "c-rust-2-0"),
            ("Über die Grenze", "über-die-grenze"),
            ("../../etc/passwd", "etc-passwd"),
            ("!!!", "article"),
        ] {
            assert_eq!(in_address(title), slug);
        }
        assert_eq!(in_address(&"x".repeat(1_000)).len(), CHARS_MAX);
    }

    #[test]
    fn the_next_ones_differ_and_end() {
        let slugs: Vec<String> = Slugs::of("On").collect();
        assert_eq!(slugs.len(), 1 + ENDINGS);
        assert_eq!(slugs[0], "on");
        assert!(
            slugs[1..]
                .iter()
                .all(|slug| slug.starts_with("on-") && slug.len() == 11)
        );
        assert_ne!(slugs[1], slugs[2]);
        assert_ne!(Slugs::of("Feed").next().as_deref(), Some(RESERVED));
    }
}
