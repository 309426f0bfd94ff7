//! Configuration of a node: pure parsing and validation.
//!
//! The edge reads flags, the process environment and `.env` files; this module decides. It gives
//! either a [`NodeConfig`] with the source of each value, or **all** problems at once.
//!
//! Precedence: flag, process environment (an empty value means unset), `.env` file (of several the
//! last one counts), default.
//!
//! # `.env` files
//! One `KEY=value` a line, `export` allowed. A value is bare, in single or in double quotes, and the
//! quotes enclose the whole value. Every value is literal: `$` is a dollar sign, nothing is
//! substituted. A `#` after a space begins a comment. Only double quotes know escapes: `\\`, `\"`,
//! `\'`, `\$`, `\ ` and `\n`. What could be read in two ways is refused with its line.

mod address;
mod build;
mod cache;
mod identity;
mod key;
mod node_config;
mod problem;
mod redis;
mod tuning;
mod values;

pub mod dotenv;

#[cfg(test)]
mod tests;

pub use address::{ADDRESSES_MAX, Address};
pub use build::{AUTO, Resolved, resolve};
pub use cache::CacheConfig;
pub use key::Key;
pub use node_config::{LogFormat, NodeConfig, Redis, Secret, Store, Timers};
pub use problem::{Problem, Refused, Warning};
pub use values::{EnvFile, EnvLine, Flag, Inputs, Setting};
