//! `dsctl cache …`.

mod keys;
mod nodes;

pub(crate) use keys::{
    CacheGet, CacheKey, CacheKeys, Del, Incr, Inv, Mset, Set, ValueFields, When,
};
pub(crate) use nodes::{CacheStatsArgs, KeyList};

use clap::Subcommand;

/// Verbs of `cache`.
#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Read a key
    ///
    /// The value is current, whatever node is asked. With -o plain it is printed as it is, byte for
    /// byte; in JSON it is `value`, or `value_base64` if it is no UTF-8. `state` tells how the node had
    /// it: shared, exclusive or modified in its own memory, fetched for this, or read from the memory
    /// behind all nodes. Exit code 66 when there is no such key.
    #[command(
        before_help = "Example:\n  dsctl cache get user/17\n  dsctl cache get logo -o plain > logo.png"
    )]
    Get(CacheGet),
    /// Give a key a value
    ///
    /// The value is the argument, stdin (-) or a file (@FILE). It replaces the tags and the time to live
    /// that the key had. Exit code 73 when --nx, --xx or --if-version does not hold; nothing was changed
    /// then.
    #[command(
        before_help = "Example:\n  dsctl cache set user/17 ada --ttl 10m --tag users\n  dsctl cache set user/17 @ada.json --if-version 3"
    )]
    Set(Box<Set>),
    /// Delete keys, each by itself
    #[command(before_help = "Example:\n  dsctl cache del user/17 user/18")]
    Del(Del),
    /// Add to the number that a key holds
    ///
    /// A key that is not there counts as 0. Tags and time to live stay. Exit code 65 when the key holds
    /// something else than a decimal number of 64 bits, or the sum would be none.
    #[command(before_help = "Example:\n  dsctl cache incr visits\n  dsctl cache incr stock/17 -3")]
    Incr(Incr),
    /// Read several keys, each by itself; those that are not there are shown as missing
    #[command(before_help = "Example:\n  dsctl cache mget user/17 user/18")]
    Mget(CacheKeys),
    /// Give several keys values, each by itself
    ///
    /// Not all or nothing: others see the keys in between, and when one fails those before it stay. Each
    /// key is listed with what became of it.
    #[command(before_help = "Example:\n  dsctl cache mset user/17=ada user/18=bob --ttl 10m")]
    Mset(Mset),
    /// Delete all keys that begin so, or that have a tag
    ///
    /// A key that comes into being meanwhile may stay. They are deleted one by one: for many keys give
    /// it time with --timeout.
    #[command(
        before_help = "Example:\n  dsctl cache invalidate --prefix user/\n  dsctl cache invalidate --tag users"
    )]
    Invalidate(Inv),
    /// Show where a key is: its home, what that knows, and the line of every node
    ///
    /// A look at several nodes one after the other, not the picture of one moment. `-o name` prints the
    /// home.
    #[command(before_help = "Example:\n  dsctl cache inspect user/17")]
    Inspect(CacheKey),
    /// Show the figures of every cache node
    #[command(before_help = "Example:\n  dsctl cache stats --watch")]
    Stats(CacheStatsArgs),
    /// List keys in order of name
    ///
    /// With -o jsonl, plain and name they are printed as they come.
    #[command(before_help = "Example:\n  dsctl cache keys --prefix user/ --limit 100")]
    Keys(KeyList),
    /// List changes that were acknowledged and then lost, as every node knows them
    ///
    /// There are none with write-through, the default. Exit code 69 when a node did not answer: the list
    /// may have gaps then.
    #[command(before_help = "Example:\n  dsctl cache lost")]
    Lost,
    /// Show who takes part, and how many partitions each node is the home of
    #[command(before_help = "Example:\n  dsctl cache view")]
    View,
}
