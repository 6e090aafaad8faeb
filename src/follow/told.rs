//! What a source holds, as far as its lines have told.

use parsers::{Dialect, Format, Wrapper};

/// How much of a source is searched for its format: what a server has to say before its first request.
pub(super) const SEARCHED_MAX: u64 = 256 * 1024;

/// A source's dialect, on its way from assumed to told.
#[derive(Debug)]
pub(crate) struct Told {
    dialect: Option<Dialect>,
    /// Whether no line can tell more.
    is_sure: bool,
    /// The format that is set; only what is around its lines is found then.
    fixed: Option<&'static Format>,
    /// The format as long as no line tells it.
    fallback: Option<&'static Format>,
}

impl Told {
    /// Nothing but what is set.
    pub(super) fn new(fixed: Option<&'static Format>, fallback: Option<&'static Format>) -> Self {
        Self { dialect: fixed.map(Dialect::bare), is_sure: false, fixed, fallback }
    }

    /// The same of a source that lines or its name have told before; a format that is set wins.
    pub(super) fn before(mut self, dialect: Option<Dialect>) -> Self {
        if let Some(dialect) =
            dialect.filter(|it| self.fixed.is_none_or(|fixed| fixed.name == it.format.name))
        {
            self.settle(dialect);
        }
        self
    }

    /// What is known.
    pub(crate) const fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Whether no line can tell more.
    pub(super) const fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// Hears what whole lines tell; tells whether they have told all.
    pub(super) fn hear(&mut self, lines: &[u8]) -> bool {
        let told = match self.fixed {
            Some(format) => parsers::detect_wrapper(lines).map(|wrapper| Dialect { wrapper, format }),
            None => parsers::detect(lines),
        };
        // Of lines that many servers write only the first one says something.
        let is_news = |told: &Dialect| self.dialect.is_none_or(|known| known.format.name != told.format.name);
        if let Some(told) =
            told.filter(|told| self.fixed.is_some() || !told.format.is_generic || is_news(told))
        {
            self.settle(told);
        }
        self.is_sure
    }

    fn settle(&mut self, dialect: Dialect) {
        self.dialect = Some(dialect);
        self.is_sure = self.fixed.is_some() || !dialect.format.is_generic;
    }

    /// Lines have told nothing: until one does they are of the fallback's format, if there is one.
    pub(super) fn assume(&mut self, wrapper: impl FnOnce() -> Option<Wrapper>) {
        if let (None, Some(format)) = (self.dialect, self.fallback) {
            self.dialect = Some(Dialect { wrapper: wrapper().unwrap_or_default(), format });
        }
    }

    /// What to read lines as that have not told anything yet.
    pub(super) fn or_assumed(&self) -> Option<Dialect> {
        self.dialect.or(self.fallback.map(Dialect::bare))
    }

    /// Another fallback from now on. What was read as the one before stays so.
    pub(super) fn fall_back_on(&mut self, fallback: Option<&'static Format>) {
        let before = std::mem::replace(&mut self.fallback, fallback).map(|format| format.name);
        let is_assumed = self.fixed.is_none() && !self.is_sure;
        if let Some(known) = self.dialect.filter(|known| is_assumed && Some(known.format.name) == before) {
            self.dialect = fallback.map(|format| Dialect { wrapper: known.wrapper, format });
        }
    }

    /// A line was read that only this format has.
    pub(super) const fn confirm(&mut self) {
        self.is_sure = true;
    }
}
