//! Bars and spinners on stderr, only where someone looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Output;

/// A spinner with a text; invisible where nobody looks.
pub(crate) fn spinner(out: &Output, text: String) -> ProgressBar {
    let bar = bar_of(out, ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(text);
    if out.progress() {
        bar.enable_steady_tick(Duration::from_millis(120));
    }
    bar
}

/// A bar over so many bytes.
pub(crate) fn bytes(out: &Output, total: u64, text: String) -> ProgressBar {
    styled(out, total, "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec}", text)
}

/// A bar over so many steps.
pub(crate) fn steps(out: &Output, total: u64, text: String) -> ProgressBar {
    styled(out, total, "{msg} [{bar:30}] {pos}/{len}", text)
}

/// A bar over so many milliseconds.
pub(crate) fn time(out: &Output, total: Duration, text: String) -> ProgressBar {
    styled(out, super::human::millis(total), "{prefix} [{bar:30}] {elapsed} {msg}", String::new())
        .with_prefix(text)
}

fn styled(out: &Output, total: u64, template: &str, text: String) -> ProgressBar {
    let bar = bar_of(out, ProgressBar::new(total));
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(text);
    bar
}

fn bar_of(out: &Output, bar: ProgressBar) -> ProgressBar {
    if !out.progress() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}
