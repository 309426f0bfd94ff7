//! Snapshots: the same machine, canonical bytes, tokens that go on.

use crate::api::queue::{Command, QueueMachine, Snapshot};
use crate::support::bench::{Bench, job};

fn bytes(machine: &QueueMachine) -> Vec<u8> {
    postcard::to_stdvec(&machine.snapshot_ref()).unwrap()
}

fn read(bytes: &[u8]) -> Snapshot {
    postcard::from_bytes(bytes).unwrap()
}

/// A queue with something everywhere.
fn full() -> Bench {
    let mut bench = Bench::default();
    bench.push_all(&["a", "b", "c", "d", "e"]);
    let taken = bench.pop(4);
    let receipt = |at: usize| taken.get(at).unwrap().receipt.clone();
    bench.ack(&receipt(0));
    bench.nack(&receipt(1), None);
    bench.settle(Command::Reject { receipts: vec![receipt(2)], error: "bad".to_owned() });
    bench
}

#[test]
fn a_restored_machine_is_the_same_and_goes_on_the_same() {
    let mut bench = full();
    let mut copy = bench.clone();
    copy.machine = QueueMachine::restore(read(&bytes(&bench.machine))).unwrap();
    assert_eq!(copy.machine, bench.machine);
    for _ in 0..5 {
        bench.now += 5_000;
        copy.now += 5_000;
        assert_eq!(bench.pop(2), copy.pop(2));
        assert_eq!(bytes(&bench.machine), bytes(&copy.machine));
    }
}

#[test]
fn a_restored_backup_gives_no_token_twice() {
    let mut bench = full();
    let backup = read(&bytes(&bench.machine));
    bench.push(vec![job("later")]);
    let later = bench.pop(2).pop().unwrap().receipt;
    bench.machine = bench.machine.restore_backup(backup).unwrap();
    let after = bench.pop(1).pop().unwrap().receipt;
    assert!(after.token > later.token + (1 << 31), "{after} after {later}");
}

#[test]
fn a_queue_that_was_emptied_leaves_only_what_it_counted() {
    let mut bench = Bench::default();
    for round in 0_u32..2_000 {
        bench.push_all(&[&format!("job-{round}")]);
        let receipt = bench.pop(1).pop().unwrap().receipt;
        bench.ack(&receipt);
        bench.now += 1_000;
    }
    bench.now += 300_000;
    bench.pop(1);
    let small = bytes(&bench.machine).len();
    assert!(small < 200, "{small} bytes are left of an empty queue");
}
