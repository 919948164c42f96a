//! A line of the log as text without colour: what tracing-subscriber's own format writes, in a fifth of
//! the time. There is one for each request, and that format spends most of it on colours that a file has
//! not and on the date of each line.

use std::{
    cell::RefCell,
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    field::{RecordFields, VisitOutput as _},
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{DefaultVisitor, Writer},
        time::{FormatTime, SystemTime as InFull},
    },
    registry::LookupSpan,
};

/// Lines of plain text.
#[derive(Debug)]
pub(super) struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write_time(&mut writer, SystemTime::now())?;
        // What comes from the crate `log` has its own in its fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        writer.write_str(match *metadata.level() {
            Level::TRACE => " TRACE ",
            Level::DEBUG => " DEBUG ",
            Level::INFO => "  INFO ",
            Level::WARN => "  WARN ",
            Level::ERROR => " ERROR ",
        })?;
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                writer.write_str(span.name())?;
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>();
                if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                    write!(writer, "{{{fields}}}")?;
                }
                writer.write_char(':')?;
            }
            writer.write_char(' ')?;
        }
        writer.write_str(metadata.target())?;
        writer.write_str(": ")?;
        context.format_fields(writer.by_ref(), event)?;
        writer.write_char('\n')
    }
}

/// Fields of plain text.
#[derive(Debug)]
pub(super) struct PlainFields;

impl<'a> FormatFields<'a> for PlainFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'a>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'a> {
    writer: Writer<'a>,
    is_first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_err() {
            return;
        }
        if field.name().starts_with("log.") {
            return;
        }
        self.result = (|| {
            if !std::mem::take(&mut self.is_first) {
                self.writer.write_char(' ')?;
            }
            let name = field.name();
            self.writer.write_str(name.strip_prefix("r#").unwrap_or(name))?;
            self.writer.write_char('=')?;
            value(&mut self.writer)
        })();
    }

    /// Leaves a field to the visitor that knows what must not reach a terminal.
    fn leave(&mut self, record: impl FnOnce(&mut DefaultVisitor<'_>)) {
        if self.result.is_err() {
            return;
        }
        let mut visitor = DefaultVisitor::new(self.writer.by_ref(), self.is_first);
        record(&mut visitor);
        self.result = visitor.finish();
        self.is_first = false;
    }
}

/// What people are to read, not a value.
const MESSAGE: &str = "message";

impl Visit for Visitor<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |writer| writer.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |writer| writer.write_str(itoa::Buffer::new().format(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |writer| writer.write_str(if value { "true" } else { "false" }));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if field.name() == MESSAGE || !value.bytes().all(is_plain) {
            return self.leave(|visitor| visitor.record_str(field, value));
        }
        self.field(field, |writer| {
            writer.write_char('"')?;
            writer.write_str(value)?;
            writer.write_char('"')
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.leave(|visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            return self.leave(|visitor| visitor.record_debug(field, value));
        }
        self.field(field, |writer| write!(writer, "{value:?}"));
    }
}

/// Characters of a time up to its second, which lines share: `2026-11-26T19:00:00`.
const TO_SECOND: usize = 19;

/// Writes a time as RFC 3339 has it, in UTC, to the microsecond.
fn write_time(writer: &mut Writer<'_>, now: SystemTime) -> fmt::Result {
    thread_local! {
        /// A second since the epoch, and what it is called.
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != now.as_secs() || text.is_empty() {
            match in_full(now) {
                Some(name) => (*second, *text) = (now.as_secs(), name),
                None => return InFull.format_time(writer),
            }
        }
        writer.write_str(text)?;
        let mut micros = *b".000000Z";
        let mut rest = now.subsec_micros();
        for digit in micros.iter_mut().skip(1).take(6).rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        writer.write_str(std::str::from_utf8(&micros).unwrap_or_default())
    })
}

/// The name of a second that is now; none if it is over.
fn in_full(now: Duration) -> Option<String> {
    let mut text = String::new();
    InFull.format_time(&mut Writer::new(&mut text)).ok()?;
    let still = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    text.truncate(TO_SECOND);
    (still.as_secs() == now.as_secs() && text.len() == TO_SECOND).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, sync::Mutex};

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// Lines without their times, which are no two the same.
    fn timeless(text: &str) -> Vec<&str> {
        text.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest)).collect()
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer \u{1b}[31m")]
    struct Outer(#[source] io::Error);

    #[test]
    fn lines_are_those_of_the_format_that_they_stand_for() {
        let (ours, theirs) = (Lines::default(), Lines::default());
        let both = tracing_subscriber::registry()
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(false)
                    .event_format(Plain)
                    .fmt_fields(PlainFields)
                    .with_writer(ours.clone()),
            )
            .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(theirs.clone()));
        tracing::subscriber::with_default(both, || {
            tracing::info!(target: "access", path = "/a?b", n = 1_u64, m = -7_i64, tls = true, "done");
            tracing::warn!(
                text = "quoted \" and \u{1b}[31m and \n",
                r#type = "x",
                "a \u{1b}[31m b"
            );
            tracing::error!(number = 1.5, huge = u128::MAX, none = tracing::field::Empty);
            tracing::debug!(id = %"plain", version = ?http::Version::HTTP_11, "{} {}", 1, 2);
            let error = Outer(io::Error::other("inner"));
            tracing::trace!(error = &error as &dyn std::error::Error, "failed");
            let span = tracing::info_span!("request", workload = "shop", id = 7);
            span.in_scope(|| tracing::info_span!("inner").in_scope(|| tracing::info!("within")));
            let record = tracing_log::log::Record::builder()
                .args(format_args!("of a library"))
                .target("lib")
                .build();
            tracing_log::format_trace(&record).unwrap();
        });
        let (ours, theirs) = (ours.text(), theirs.text());
        assert_eq!(timeless(&ours), timeless(&theirs));
        assert_eq!(timeless(&ours).len(), 7, "{ours}");
    }

    #[test]
    fn a_time_is_written_in_full() {
        let mut text = String::new();
        let now = SystemTime::now();
        write_time(&mut Writer::new(&mut text), now).unwrap();
        let mut again = String::new();
        InFull.format_time(&mut Writer::new(&mut again)).unwrap();
        assert_eq!(text.len(), again.len(), "{text} {again}");
        assert!(text <= again, "{text} {again}");
        let micros = now.duration_since(UNIX_EPOCH).unwrap().subsec_micros();
        assert!(text.ends_with(&format!(".{micros:06}Z")), "{text}");
        // The second's name is there now.
        let mut next = String::new();
        write_time(&mut Writer::new(&mut next), SystemTime::now()).unwrap();
        assert!(text <= next && next.len() == text.len(), "{text} {next}");
    }
}
