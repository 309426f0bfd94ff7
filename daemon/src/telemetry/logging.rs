//! Structured logs on stderr.

use std::any::Any;
use std::io;

use dsync_core::config::{LogFormat, NodeConfig};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::escape::Escaping;
use super::recent::Recent;

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
    let filter = EnvFilter::try_new(&config.log_level).map_err(|error| CannotLog::Filter {
        level: config.log_level.clone(),
        why: error.to_string(),
    })?;
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
        .with(recent.with_filter(LevelFilter::WARN))
        .with(lines.with_filter(filter)))
}
