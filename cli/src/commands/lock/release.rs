//! `dsctl lock release`.

use dsync_core::Code;
use dsync_core::lock::{Command, Holder, Outcome, RequestKey, Token};
use dsync_core::name::Name;

use crate::args::Release;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::lock::released;

use super::{Ctx, get, refusal};

/// Gives a grant back.
pub(super) async fn run(args: Release, ctx: &Ctx) -> Result<Exit> {
    let token = if let Some(token) = args.token {
        token
    } else {
        let owner = ctx.settings.owner(args.owner.as_ref())?;
        let holders = get(ctx, &args.name).await?.map(|lock| lock.holders).unwrap_or_default();
        only_grant(&args.name, &owner, &holders)?
    };
    let command =
        Command::Release { lock: args.name.clone(), token: Some(token), owner: None, all: false };
    let changed = ctx.change(RequestKey::Detached(ctx.request_id), command).await?;
    match changed.outcome {
        Outcome::Released { token, remaining } => {
            ctx.out.show(&released(args.name.as_str(), token, remaining))?;
            Ok(Exit::Done)
        }
        other => Err(refusal::of(&other, args.name.as_str()).of_request(ctx.request_id)),
    }
}

/// The token of the one grant that this owner has.
fn only_grant(name: &Name, owner: &Name, holders: &[Holder]) -> Result<Token> {
    let own: Vec<_> = holders.iter().filter(|holder| holder.owner == *owner).collect();
    match (own.as_slice(), holders) {
        ([one], _) => Ok(one.token),
        ([], []) => Err(Failure::new(Code::NotFound, format!("{name} is not held by anyone"))),
        ([], others) => Err(Failure::new(
            Code::NotOwner,
            format!("{owner} does not hold {name}: it is held by {}", refusal::holder_list(others)),
        )
        .hint("name the holder with --owner, or the grant with --token")),
        (several, _) => {
            let tokens: Vec<_> = several.iter().map(|holder| holder.token.0.to_string()).collect();
            Err(Failure::new(
                Code::Conflict,
                format!(
                    "{owner} holds {name} {} times: tokens {}",
                    tokens.len(),
                    tokens.join(", ")
                ),
            )
            .hint("say which one with --token"))
        }
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::{Mode, SessionId};

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse("name", text).unwrap()
    }

    fn holder(owner: &str, token: u64) -> Holder {
        Holder {
            owner: name(owner),
            session: SessionId(7),
            mode: Mode::Shared,
            token: Token(token),
            count: 1,
            expires_in_ms: 20_000,
        }
    }

    #[test]
    fn without_a_token_the_owners_only_grant_is_meant() {
        let (lock, me) = (name("deploy"), name("me@here"));
        let found = only_grant(&lock, &me, &[holder("a", 1), holder("me@here", 2)]).unwrap();
        assert_eq!(found, Token(2));
        let exit = |holders: &[Holder]| only_grant(&lock, &me, holders).unwrap_err().exit.number();
        assert_eq!(exit(&[]), 66);
        assert_eq!(exit(&[holder("a", 1)]), 77);
        assert_eq!(exit(&[holder("me@here", 1), holder("me@here", 2)]), 73);
    }
}
