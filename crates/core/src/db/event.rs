//! The events of a call: one at its end, at DEBUG, and a warning if it was slow.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::{Duration, Instant};

use super::{Db, DbOptions, Site};
use crate::describe::{self, Brief, Values};
use crate::error::Error;
use crate::observe;
use crate::raw::{RawAccess, RawStatement};
use crate::select::Select;
use crate::write::Write;

/// One call on its way. Dropped before its [`end`](Self::end) it reports that it was cancelled.
///
/// | target | level | when |
/// |---|---|---|
/// | `larder::statement` | DEBUG | at the end of every call |
/// | `larder::slow` | WARN | at the end of a call that took as long as [`DbOptions::slow`] |
pub(super) struct Event<'a> {
    settings: &'a DbOptions,
    engine: &'static str,
    verb: &'static str,
    table: Option<&'static str>,
    site: Site,
    words: Words,
    /// Whether somebody listens to every call, not only to slow ones.
    debug: bool,
    ended: bool,
    paced: bool,
    /// How long the store waited for whoever takes the rows.
    waited: Duration,
    started: Instant,
}

/// What a call asked, as far as somebody listens.
enum Words {
    /// Nobody does.
    Unheard,
    /// To be made into text only if the call turns out slow.
    Brief(Brief),
    Text(String),
}

impl<'a> Event<'a> {
    /// Notes a read.
    pub(super) fn read(db: &'a Db, select: &Select, site: Site) -> Self {
        let words = |values| vec![describe::select(select, values)];
        let brief = || Brief::of_select(select);
        Self::new(db, "read", Some(select.table.name), site, words, brief)
    }

    /// Notes a write.
    pub(super) fn write(db: &'a Db, write: &Write, site: Site) -> Self {
        let words = |values| vec![describe::write(write, values)];
        let brief = || Brief::of_write(write);
        Self::new(db, "write", Some(write.table().name), site, words, brief)
    }

    /// Notes reads that go out together.
    pub(super) fn reads(
        db: &'a Db,
        table: &'static str,
        site: Site,
        words: impl Fn(Values) -> Vec<String>,
    ) -> Self {
        Self::new(db, "read", Some(table), site, words, || None)
    }

    /// Notes a statement in SQL.
    pub(super) fn sql(db: &'a Db, statement: &RawStatement, site: Site) -> Self {
        let verb = match statement.access {
            RawAccess::Read => "read",
            RawAccess::Write => "write",
        };
        let words = |values| vec![describe::raw(statement, values)];
        Self::new(db, verb, None, site, words, || None)
    }

    /// Notes a call that is no statement.
    pub(super) fn control(db: &'a Db, verb: &'static str, site: Site) -> Self {
        Self::new(db, verb, None, site, |_| Vec::new(), || None)
    }

    /// Makes words only if somebody listens, and late where that is possible.
    fn new(
        db: &'a Db,
        verb: &'static str,
        table: Option<&'static str>,
        site: Site,
        words: impl Fn(Values) -> Vec<String>,
        brief: impl FnOnce() -> Option<Brief>,
    ) -> Self {
        if observe::is_active() {
            observe::record(words(Values::Hidden), site);
        }
        let debug = tracing::enabled!(target: "larder::statement", tracing::Level::DEBUG);
        let listening = debug || tracing::enabled!(target: "larder::slow", tracing::Level::WARN);
        let shown = db.settings.log_values;
        let words = match listening {
            false => Words::Unheard,
            true if shown => Words::Text(words(Values::Some).join("; ")),
            true => match brief() {
                Some(brief) => Words::Brief(brief),
                None => Words::Text(words(Values::Hidden).join("; ")),
            },
        };
        Self {
            settings: &db.settings,
            engine: db.storage.capabilities().engine,
            verb,
            table,
            site,
            words,
            debug,
            ended: false,
            paced: false,
            waited: Duration::ZERO,
            started: Instant::now(),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Says that whoever takes the rows may make the store wait: a call that does not come to its
    /// end is then not called slow.
    pub(super) fn paced(&mut self) {
        self.paced = true;
    }

    /// Leaves out the time that the store waited for whoever takes the rows.
    pub(super) fn waited(&mut self, waited: Duration) {
        self.waited = waited;
        self.paced = false;
    }

    /// Reports the end of the call, and how many rows it read or wrote.
    pub(super) fn end(mut self, outcome: Result<Option<u64>, &Error>) {
        self.ended = true;
        let elapsed = self.elapsed();
        match outcome {
            Ok(rows) => self.report(elapsed, None, rows),
            Err(error) => self.report(elapsed, Some(error), None),
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.waited)
    }

    #[inline]
    fn report(&self, elapsed: Duration, error: Option<&dyn Display>, rows: Option<u64>) {
        if self.debug {
            self.tell(elapsed, error, rows);
        }
        if elapsed >= self.settings.slow && !self.paced {
            self.warn(elapsed, error, rows);
        }
    }

    #[cold]
    fn tell(&self, elapsed: Duration, error: Option<&dyn Display>, rows: Option<u64>) {
        tracing::debug!(
            target: "larder::statement",
            engine = self.engine,
            verb = self.verb,
            table = self.table,
            shape = self.shape().as_deref(),
            site = %self.site,
            rows,
            elapsed_us = elapsed.as_micros() as u64,
            error = error.map(tracing::field::display),
        );
    }

    #[cold]
    fn warn(&self, elapsed: Duration, error: Option<&dyn Display>, rows: Option<u64>) {
        tracing::warn!(
            target: "larder::slow",
            engine = self.engine,
            verb = self.verb,
            table = self.table,
            shape = self.shape().as_deref(),
            site = %self.site,
            rows,
            elapsed_ms = elapsed.as_millis() as u64,
            error = error.map(tracing::field::display),
            "slow statement"
        );
    }

    fn shape(&self) -> Option<Cow<'_, str>> {
        match &self.words {
            Words::Unheard => None,
            Words::Brief(brief) => Some(Cow::Owned(brief.text())),
            Words::Text(text) if text.is_empty() => None,
            Words::Text(text) => Some(Cow::Borrowed(text)),
        }
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.report(self.elapsed(), Some(&"cancelled"), None);
        }
    }
}
