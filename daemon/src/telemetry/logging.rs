//! Structured logs on stderr.

use std::any::Any;
use std::io;

use dsync_core::config::{LogFormat, NodeConfig};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::escape::Escaping;
use super::recent::Recent;

/// Libraries whose own lines are silent unless `LOG_LEVEL` names them.
const LIBRARIES: [&str; 2] = ["openraft", "tarpc"];

/// Logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum CannotLog {
    /// `LOG_LEVEL` is no filter.
    #[error("LOG_LEVEL={level:?} is no filter ({why}); set LOG_LEVEL=info")]
    Filter {
        /// As configured.
        level: String,
        /// The reader's words.
        why: String,
    },
    /// There is a subscriber already.
    #[error("logging was already set up in this process")]
    Twice,
}

/// Begins to log to stderr as configured, and to keep the last warnings whatever `LOG_LEVEL` says.
/// Panics are logged as errors. Call it once per process.
///
/// # Errors
/// The level is no filter, or the process logs already.
pub fn init(config: &NodeConfig) -> Result<Recent, CannotLog> {
    let recent = Recent::default();
    subscriber(config, recent.clone(), io::stderr)?.try_init().map_err(|_| CannotLog::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let words = panic_words(panic.payload());
        tracing::error!(place, "panic: {words}");
    }));
    Ok(recent)
}

fn panic_words(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A bare level is that of our own lines: what the libraries below say is for those who build on
/// them, and what matters of it is told in our words by the log and by what follows the engine. A
/// level that names targets stands as it is.
fn quiet_libraries(level: &str) -> String {
    if level.contains(['=', ',']) {
        return level.to_owned();
    }
    LIBRARIES.iter().fold(level.to_owned(), |filter, library| format!("{filter},{library}=off"))
}

/// The subscriber that [`init`] installs, with another writer than stderr.
fn subscriber<W, M>(
    config: &NodeConfig,
    recent: Recent,
    writer: M,
) -> Result<impl tracing::Subscriber + Send + Sync + use<W, M>, CannotLog>
where
    W: io::Write,
    M: Fn() -> W + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(quiet_libraries(&config.log_level)).map_err(|error| {
        CannotLog::Filter { level: config.log_level.clone(), why: error.to_string() }
    })?;
    let kept = Targets::new().with_default(LevelFilter::WARN);
    let kept = kept.with_targets(LIBRARIES.map(|library| (library, LevelFilter::OFF)));
    let format = config.log_format;
    let writer = move || Escaping::new(writer(), format);
    let lines = match format {
        LogFormat::Text => fmt::layer().with_ansi(false).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
    };
    Ok(tracing_subscriber::registry()
        .with(recent.with_filter(kept))
        .with(lines.with_filter(filter)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dsync_core::config::{EnvFile, EnvLine, Inputs, resolve};
    use parking_lot::Mutex;

    use super::*;

    /// What a subscriber with these settings writes while `events` runs, and what it keeps.
    fn logged(settings: &[(&str, &str)], events: impl FnOnce()) -> (String, Recent) {
        let base = [("NODE_ID", "n"), ("NODE_TYPE", "lock"), ("NODE_PORT", "1")];
        let lines = base
            .iter()
            .chain(settings)
            .map(|(key, value)| EnvLine { number: 1, key: (*key).into(), value: (*value).into() })
            .collect();
        let files = vec![EnvFile { name: "t".to_owned(), lines }];
        let config = resolve(Inputs { files, ..Inputs::default() }).unwrap().config;
        let out = Arc::new(Mutex::new(Vec::new()));
        let recent = Recent::default();
        let writer = {
            let out = Arc::clone(&out);
            move || Sink(Arc::clone(&out))
        };
        let subscriber = subscriber(&config, recent.clone(), writer).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(out.lock().clone()).unwrap();
        (text, recent)
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const HOSTILE: &str = "x\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[31m\u{9b}m";

    #[test]
    fn a_hostile_name_cannot_forge_a_line() {
        let (text, recent) = logged(&[], || {
            tracing::warn!(lock = HOSTILE, owner = ?HOSTILE, "refused {HOSTILE}");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
        let kept = recent.list();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].contains("WARN refused x\\n2026"), "{kept:?}");
        assert!(!kept[0].chars().any(char::is_control), "{kept:?}");
    }

    #[test]
    fn json_lines_are_json_whatever_is_in_them() {
        let (text, _) = logged(&[("LOG_FORMAT", "json")], || {
            tracing::info!(lock = HOSTILE, term = 7, "refused");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["lock"], HOSTILE);
        assert_eq!(event["term"], 7);
        assert_eq!(event["message"], "refused");
        assert_eq!(event["level"], "INFO");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }

    #[test]
    fn the_level_decides_what_is_written_but_not_what_is_kept() {
        let (text, recent) = logged(&[("LOG_LEVEL", "off")], || {
            tracing::error!("lost");
            tracing::info!("fine");
        });
        assert_eq!(text, "");
        assert_eq!(recent.list().len(), 1);
        let (text, _) = logged(&[("LOG_LEVEL", "warn,dsd=debug")], || {
            tracing::debug!("ours");
            tracing::info!(target: "openraft", "theirs");
        });
        assert!(text.contains("ours") && !text.contains("theirs"), "{text}");
    }

    #[test]
    fn the_libraries_are_silent_until_they_are_asked_for() {
        let theirs = || tracing::error!(target: "openraft::raft::raft_inner", "failed to send");
        let burst = || {
            (0..60).for_each(|_| theirs());
            tracing::error!("raft has stopped");
        };
        let (text, recent) = logged(&[("LOG_LEVEL", "debug")], burst);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(recent.list()[0].contains("raft has stopped"));
        assert_eq!(recent.list().len(), 1, "a burst drives out no warning of ours");
        let (text, _) = logged(&[("LOG_LEVEL", "info,openraft=error")], burst);
        assert_eq!(text.lines().count(), 61, "{text}");
    }

    #[test]
    fn the_last_fifty_warnings_are_kept_and_none_is_long() {
        let (_, recent) = logged(&[("LOG_LEVEL", "off")], || {
            for number in 0..60 {
                tracing::warn!(number, long = "é".repeat(10_000), "warning");
            }
        });
        let kept = recent.list();
        assert_eq!(kept.len(), 50);
        assert!(kept[0].contains("number=10 ") && kept[49].contains("number=59 "));
        assert!(kept.iter().all(|line| line.chars().count() == 513));
    }
}
