//! `dsctl context …`.

use std::path::Path;

use dsync_core::Code;
use dsync_core::name::Name;

use crate::args::{Context as Verb, ContextAdd};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{human, views};
use crate::settings::context::{Context, Contexts};

use super::Ctx;

/// Reads or changes the file of contexts.
pub(super) fn run(verb: Verb, ctx: &Ctx) -> Result<Exit> {
    let file = ctx.settings.context_file.as_deref().ok_or_else(|| {
        Failure::new(
            Code::NotFound,
            "contexts have no place: neither XDG_CONFIG_HOME nor HOME is set",
        )
        .hint("set XDG_CONFIG_HOME to a directory of yours")
        .exit(Exit::Config)
    })?;
    let mut contexts = Contexts::read(file)?;
    match verb {
        Verb::List => ctx.out.show(&views::context::list(&contexts))?,
        Verb::Show { name } => {
            let name = name.or_else(|| contexts.current.clone()).ok_or_else(|| {
                Failure::new(Code::NotFound, "no context is in use")
                    .hint("name one, or choose one with `dsctl context use NAME`")
            })?;
            let context = contexts.get(&name)?;
            let in_use = contexts.current.as_ref() == Some(&name);
            ctx.out.show(&views::context::one(&name, context, in_use))?;
        }
        Verb::Use { name } => {
            contexts.current = match name.as_str() {
                "-" => None,
                _ => contexts.get(&name).map(|_| Some(name))?,
            };
            contexts.write(file)?;
            show_current(ctx, &contexts)?;
        }
        Verb::Add(args) => add(ctx, contexts, args, file)?,
        Verb::Remove { name } => {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            contexts.write(file)?;
            ctx.out.note(&format!("context {name} removed"));
        }
    }
    Ok(Exit::Done)
}

fn add(ctx: &Ctx, mut contexts: Contexts, args: ContextAdd, file: &Path) -> Result<()> {
    let name = String::from(Name::parse("context", &args.name)?);
    if name == "-" {
        return Err(Failure::usage("a context cannot be called -: `context use -` means none"));
    }
    let mut node_files = Vec::new();
    for path in args.node_file {
        let full = std::path::absolute(&path)
            .map_err(|error| Failure::usage(format!("node file {}: {error}", path.display())))?;
        node_files.push(full.to_string_lossy().into_owned());
    }
    crate::settings::env_file::read_all(&node_files)?;
    let endpoints = ctx.settings.named_endpoints.clone();
    if endpoints.is_empty() && node_files.is_empty() {
        return Err(Failure::usage("a context needs --endpoints or --node-file")
            .hint(format!("dsctl context add {name} --endpoints 10.0.0.1:8001,10.0.0.2:8001")));
    }
    let timeout_ms = args.default_timeout.map(human::millis);
    let context = Context { endpoints, node_files, timeout_ms };
    if args.use_it || contexts.contexts.is_empty() {
        contexts.current = Some(name.clone());
    }
    let in_use = contexts.current.as_ref() == Some(&name);
    let view = views::context::one(&name, &context, in_use);
    contexts.contexts.insert(name, context);
    contexts.write(file)?;
    ctx.out.show(&view)
}

fn show_current(ctx: &Ctx, contexts: &Contexts) -> Result<()> {
    let Some(name) = &contexts.current else {
        ctx.out.note("no context is in use");
        return Ok(());
    };
    ctx.out.show(&views::context::one(name, contexts.get(name)?, true))
}
