//! What the model does not try: a key that is to be forgotten.

use super::directory::{Entry, HomeEffect, Numbers, Request, Want};
use super::item::{Item, Right, Session};

const SESSION: Session = Session { epoch: 1, generation: 1 };

type Effects = Vec<HomeEffect<&'static str, u8, u8>>;

fn line(id: u64) -> Request<&'static str, u8> {
    Request { id, by: Some(("a", SESSION)), want: Want::Line(Right::Shared) }
}

#[test]
fn a_key_that_is_cleared_goes_on() {
    let live = |_: &&'static str| Some(SESSION);
    let (mut entry, mut numbers) = (Entry::default(), Numbers::new(1));
    let item = Item { version: 1, value: Some(7) };
    drop::<Effects>(entry.request(&mut numbers, &live, line(1)));
    drop::<Effects>(entry.read(&mut numbers, &live, &item));
    let clear = |id| Request { id, by: None, want: Want::Clear };
    let todo: Effects = entry.request(&mut numbers, &live, clear(2));
    assert!(matches!(todo.as_slice(), [HomeEffect::Revoke { id: 1, .. }]), "{todo:?}");
    let todo: Effects = entry.request(&mut numbers, &live, line(3));
    assert!(todo.is_empty() && entry.waiting() == Some(1));
    let todo: Effects = entry.acknowledged(&"a", 1, false);
    let cleared = [HomeEffect::Cleared { request: 2 }, HomeEffect::Read { request: 3 }];
    assert_eq!(todo, cleared, "whoever came meanwhile is served");
    drop::<Effects>(entry.unread(&mut numbers, &live));
    assert!(entry.is_empty());
    let todo: Effects = entry.request(&mut numbers, &live, clear(4));
    assert_eq!(todo, [HomeEffect::Cleared { request: 4 }]);
    assert!(entry.is_empty() && entry.waiting().is_none(), "it can be forgotten");
}
