//! [`Record`]: what is known of one key, and what follows from it at a moment; shared by the stores
//! that have no scripts of their own.

use std::time::Duration;

use bytes::Bytes;

use super::store::{Found, LeaseRequest, Token};

/// Tags with the versions they had.
pub(super) type Versions = Vec<(String, i64)>;

/// One key. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) value: Option<Bytes>,
    pub(super) shape: u64,
    pub(super) fresh_until: i64,
    pub(super) kept_until: i64,
    pub(super) tags: Versions,
    pub(super) lease: Option<Lease>,
    /// Of a counter.
    pub(super) count: i64,
}

/// Who fills a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lease {
    pub(super) token: Token,
    pub(super) until: i64,
    /// What the entry's tags will be.
    pub(super) tags: Versions,
}

/// What an asker gets.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    Fresh(Found),
    Take { kept: Option<Found> },
    Busy { kept: Option<Found>, wait: Duration },
}

impl Record {
    /// What can be served now, if its tags are what they were.
    pub(super) fn found(&self, shape: u64, now: i64) -> Option<Found> {
        let value = self.value.as_ref()?;
        if self.shape != shape || self.kept_until <= now {
            return None;
        }
        Some(Found {
            value: value.clone(),
            fresh_for: between(now, self.fresh_until),
        })
    }

    /// What the asker gets. `current` says whether tags have the versions they had.
    pub(super) fn decide(
        &self,
        request: &LeaseRequest<'_>,
        current: impl Fn(&Versions) -> bool,
        now: i64,
    ) -> Decision {
        let kept = self.found(request.shape, now);
        let kept = kept.filter(|_| current(&self.tags));
        match kept {
            Some(found) if found.fresh_for.is_some() && !request.even_if_fresh => {
                Decision::Fresh(found)
            }
            kept => match self.held_by_other(request.token, current, now) {
                Some(wait) => Decision::Busy { kept, wait },
                None => Decision::Take { kept },
            },
        }
    }

    /// Whether this token holds the lease, however late.
    pub(super) fn is_leased_to(&self, token: Token) -> bool {
        matches!(&self.lease, Some(lease) if lease.token == token)
    }

    /// Whether there is nothing left to keep.
    pub(super) fn is_gone(&self, now: i64) -> bool {
        let leased = self.lease.as_ref().is_some_and(|lease| lease.until > now);
        self.kept_until <= now && !leased
    }

    /// How long somebody else holds the lease. That of a revoked tag has ended.
    fn held_by_other(
        &self,
        token: Token,
        current: impl Fn(&Versions) -> bool,
        now: i64,
    ) -> Option<Duration> {
        let lease = self.lease.as_ref().filter(|one| one.token != token)?;
        between(now, lease.until).filter(|_| current(&lease.tags))
    }
}

/// The time from one moment to a later one.
fn between(now: i64, until: i64) -> Option<Duration> {
    let left = until.checked_sub(now).filter(|left| *left > 0)?;
    Some(Duration::from_micros(left as u64))
}

/// A moment this much later; at most the last there is.
pub(super) fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::random().expect("random numbers")
    }

    fn request(token: Token) -> LeaseRequest<'static> {
        LeaseRequest {
            key: "k",
            shape: 7,
            tags: &[],
            token,
            lease: Duration::from_secs(1),
            even_if_fresh: false,
        }
    }

    fn record() -> Record {
        Record {
            value: Some(Bytes::from_static(b"v")),
            shape: 7,
            fresh_until: 100,
            kept_until: 200,
            ..Record::default()
        }
    }

    fn found(micros: u64) -> Found {
        Found {
            value: Bytes::from_static(b"v"),
            fresh_for: (micros > 0).then(|| Duration::from_micros(micros)),
        }
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_gone() {
        let (record, request) = (record(), request(token()));
        assert_eq!(
            record.decide(&request, |_| true, 40),
            Decision::Fresh(found(60))
        );
        let kept = Some(found(0));
        assert_eq!(
            record.decide(&request, |_| true, 100),
            Decision::Take { kept }
        );
        assert_eq!(
            record.decide(&request, |_| true, 200),
            Decision::Take { kept: None }
        );
    }

    #[test]
    fn what_a_tag_has_revoked_is_not_even_stale() {
        let (record, request) = (record(), request(token()));
        assert_eq!(
            record.decide(&request, |_| false, 40),
            Decision::Take { kept: None }
        );
    }

    #[test]
    fn another_shape_is_another_value() {
        let (record, mut request) = (record(), request(token()));
        request.shape = 8;
        assert_eq!(
            record.decide(&request, |_| true, 40),
            Decision::Take { kept: None }
        );
    }

    #[test]
    fn a_lease_keeps_others_away_but_not_its_holder() {
        let (mine, other) = (token(), token());
        let mut record = record();
        let (until, tags) = (150, Versions::new());
        record.lease = Some(Lease {
            token: mine,
            until,
            tags,
        });
        let wait = Duration::from_micros(30);
        let kept = Some(found(0));
        let busy = Decision::Busy {
            kept: kept.clone(),
            wait,
        };
        assert_eq!(record.decide(&request(other), |_| true, 120), busy);
        assert_eq!(
            record.decide(&request(mine), |_| true, 120),
            Decision::Take { kept: kept.clone() }
        );
        assert_eq!(
            record.decide(&request(other), |_| true, 150),
            Decision::Take { kept }
        );
    }

    #[test]
    fn the_lease_of_a_revoked_tag_has_ended() {
        let mut record = record();
        let (until, tags) = (150, vec![("t".to_owned(), 1)]);
        record.lease = Some(Lease {
            token: token(),
            until,
            tags,
        });
        let take = Decision::Take {
            kept: Some(found(0)),
        };
        assert_eq!(
            record.decide(&request(token()), Versions::is_empty, 120),
            take
        );
    }

    #[test]
    fn time_ends_where_numbers_do() {
        assert_eq!(later(i64::MAX - 1, Duration::MAX), i64::MAX);
        assert_eq!(between(i64::MIN, i64::MAX), None);
    }
}
