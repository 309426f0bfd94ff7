//! `dsctl cache set`, `mset`, `del`, `incr`.

use dsync::cache::{self, CacheError, VALUE_MAX};
use dsync_core::cache::op::Condition;

use crate::args::{Del, Incr, Mset, Set, ValueFields, When};
use crate::commands::input;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::cache::Fate;
use crate::output::{View, views};

use super::{Ctx, cache, refusal};

/// What to do with a value that is too large.
const ELSEWHERE: &str = "keep it elsewhere, and its place here";

/// Sets one key.
pub(super) async fn set(args: Set, ctx: &Ctx) -> Result<Exit> {
    let value = input::bytes(args.value.as_deref(), "value", (VALUE_MAX, ELSEWHERE))?;
    let set = with(cache::Set::new(value), &args.fields)?;
    let (set, condition) = match args.when {
        When { nx: true, .. } => (set.if_absent(), Condition::Absent),
        When { xx: true, .. } => (set.if_present(), Condition::Present),
        When { version: Some(version), .. } => {
            (set.if_version(version), Condition::Version(version))
        }
        When { .. } => (set, Condition::Always),
    };
    let changed = cache(ctx).set(args.key.as_str(), set).await;
    let changed = changed.map_err(|error| refusal::of_condition(error, condition, ctx))?;
    ctx.out.show(&views::cache::set(&args.key, &changed))?;
    Ok(Exit::Done)
}

fn with(set: cache::Set, fields: &ValueFields) -> Result<cache::Set> {
    let set = match fields.ttl {
        Some(ttl) => set.ttl(ttl),
        None => set,
    };
    Ok(fields.tags.iter().try_fold(set, |set, tag| set.tag(tag.as_str()))?)
}

/// Sets several keys, each by itself.
pub(super) async fn set_many(args: Mset, ctx: &Ctx) -> Result<Exit> {
    let mut names: Vec<_> = args.pairs.iter().map(|(key, _)| key).collect();
    names.sort();
    if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(Failure::usage(format!("{twice} is given twice"))
            .hint("give each key one value; nothing was set"));
    }
    let mut sets = Vec::with_capacity(args.pairs.len());
    for (key, value) in &args.pairs {
        sets.push((key.as_str(), with(cache::Set::new(value.as_str()), &args.fields)?));
    }
    let ended = cache(ctx).set_many(sets).await.map_err(|error| refusal::of(error, ctx))?;
    let keys = args.pairs.iter().map(|(key, _)| key);
    let mut fates = Vec::with_capacity(ended.len());
    let mut failed = Vec::new();
    for (key, ended) in keys.zip(ended) {
        fates.push((key, fate_of(&ended, |changed| ("set", Some(changed.version)))));
        failed.extend(ended.err());
    }
    let view = views::cache::fates("CacheSetList", "CacheSet", &fates);
    tell(ctx, &view, failed, (fates.len(), "set"))
}

/// Prints what became of each of several keys, if anything became of one.
fn tell(
    ctx: &Ctx,
    view: &View,
    failed: Vec<CacheError>,
    (all, done): (usize, &str),
) -> Result<Exit> {
    if failed.len() < all {
        ctx.out.show(view)?;
    }
    refusal::of_some(failed, all, done, ctx).map_or(Ok(Exit::Done), Err)
}

/// Deletes keys, each by itself.
pub(super) async fn delete(args: Del, ctx: &Ctx) -> Result<Exit> {
    let ended = match (args.if_version, args.keys.as_slice()) {
        (Some(version), [key]) => {
            let deleted = cache(ctx).delete_version(key.as_str(), version).await;
            let condition = Condition::Version(version);
            vec![Ok(deleted.map_err(|error| refusal::of_condition(error, condition, ctx))?)]
        }
        (Some(_), _) => {
            return Err(Failure::usage("--if-version is for one key, and several are given")
                .hint("delete them one by one; nothing was deleted"));
        }
        (None, keys) => {
            cache(ctx).delete_many(keys).await.map_err(|error| refusal::of(error, ctx))?
        }
    };
    let mut fates = Vec::with_capacity(ended.len());
    let mut failed = Vec::new();
    for (key, ended) in args.keys.iter().zip(ended) {
        let word = |existed| if existed { "deleted" } else { "missing" };
        fates.push((key, fate_of(&ended, |deleted| (word(deleted.existed), None))));
        failed.extend(ended.err());
    }
    let view = views::cache::fates("CacheDeletionList", "CacheDeletion", &fates);
    tell(ctx, &view, failed, (fates.len(), "deleted"))
}

/// What became of a key.
fn fate_of<T>(
    ended: &std::result::Result<T, CacheError>,
    done: impl Fn(&T) -> (&'static str, Option<u64>),
) -> Fate {
    match ended {
        Ok(one) => {
            let (result, version) = done(one);
            Fate { result, version, error: None }
        }
        Err(CacheError::NotTried { .. }) => {
            Fate { result: "not-tried", version: None, error: None }
        }
        Err(error @ CacheError::Unknown { .. }) => {
            Fate { result: "unknown", version: None, error: Some(error.to_string()) }
        }
        Err(error) => Fate { result: "failed", version: None, error: Some(error.to_string()) },
    }
}

/// Adds to a number.
pub(super) async fn increment(args: Incr, ctx: &Ctx) -> Result<Exit> {
    let sum = cache(ctx).increment(args.key.as_str(), args.by).await;
    let sum = sum.map_err(|error| refusal::of(error, ctx))?;
    ctx.out.show(&views::cache::sum(&args.key, &sum))?;
    Ok(Exit::Done)
}
