//! Reads: what to ask the script of reads, and its answers.

use super::decode::state as state_of;
use super::encode::{clock, id_bytes, number};
use super::record::{Marks, Record, consumer, limits, state};
use super::{PARTITIONS, names_key, partition, prefix, queue_key};
use crate::name::Name;
use crate::queue::{JOBS_PAGE, JobView, QUEUES_PAGE, Query, Seen, State, Stats};
use crate::redis::Call;
use crate::redis::reply::{Read, Reply};

/// The calls of [`READS`](super::READS) that answer a query: one, but one for each partition for a
/// list of queues.
///
/// # Time
/// Of Redis; `now_ms` is for tests.
pub fn encode_query(query: &Query, now_ms: Option<u64>) -> Vec<Call> {
    let one = |queue: &Name, args: Vec<Vec<u8>>| {
        let keys = vec![queue_key(queue), names_key(partition(queue))];
        vec![Call { keys, args: std::iter::once(clock(now_ms)).chain(args).collect() }]
    };
    match query {
        Query::Queues { prefix: begin, after, limit } => {
            let limit = (*limit).clamp(1, QUEUES_PAGE).saturating_add(1);
            let from = match after {
                Some(after) if after.as_str() >= begin.as_str() => format!("({after}"),
                _ => format!("[{begin}"),
            };
            // No UTF-8 has this byte: it is behind all that begin so.
            let to = [b"[", begin.as_bytes(), &[0xff]].concat();
            let of_partition = |partition| Call {
                keys: vec![names_key(partition)],
                args: vec![
                    clock(now_ms),
                    "Q".into(),
                    from.clone().into(),
                    to.clone(),
                    number(limit),
                    prefix(partition).into(),
                ],
            };
            (0..PARTITIONS).map(of_partition).collect()
        }
        Query::Stats { queue } => one(queue, vec!["S".into()]),
        Query::Peek { queue, state, skip, limit } => {
            let limit = (*limit).clamp(1, JOBS_PAGE);
            one(queue, vec!["V".into(), letter(*state).into(), number(*skip), number(limit)])
        }
        Query::Job { queue, id } => one(queue, vec!["J".into(), id_bytes(id)]),
        Query::Audit { queue } => one(queue, vec!["C".into()]),
    }
}

fn letter(state: State) -> &'static str {
    match state {
        State::Ready => "r",
        State::Delayed => "z",
        State::Leased => "l",
        State::Dead => "x",
        State::Done => "o",
    }
}

/// Reads the answers to the calls that [`encode_query`] made of `query`, in their order.
///
/// # Errors
/// Answers that the script does not give: words for the log.
pub fn decode_query(query: &Query, replies: Vec<Reply>) -> Result<Seen, String> {
    let mut answers = Vec::with_capacity(replies.len());
    for reply in replies {
        let [now, answer] = reply.array()?;
        answers.push((now.count()?, answer));
    }
    if let Query::Queues { limit, .. } = query {
        let lists = answers.into_iter().map(|(_, answer)| queues(answer));
        return Ok(merge(lists.collect::<Read<_>>()?, *limit));
    }
    let (now, answer) = answers.pop().ok_or("no answer")?;
    match query {
        Query::Stats { queue } => {
            let stats = answer.option().map(|answer| stats(queue.clone(), answer));
            Ok(Seen::Stats(stats.transpose()?))
        }
        Query::Peek { .. } => {
            let [more, views] = answer.array()?;
            let items = views.list()?.into_iter().map(|one| view(one, now));
            Ok(Seen::Jobs { items: items.collect::<Read<_>>()?, more: more.count()? > 0 })
        }
        Query::Job { .. } => {
            Ok(Seen::Job(answer.option().map(|answer| view(answer, now)).transpose()?))
        }
        Query::Audit { .. } | Query::Queues { .. } => {
            let words = answer.list()?.into_iter().map(Reply::text);
            Ok(Seen::Audit(words.collect::<Read<_>>()?))
        }
    }
}

/// One page of the queues of all partitions, in order of name. Each list is itself in that order and
/// no shorter than the page and one more, if there are so many.
fn merge(lists: Vec<Vec<Stats>>, limit: u32) -> Seen {
    let mut items: Vec<Stats> = lists.into_iter().flatten().collect();
    items.sort_by(|a, b| a.queue.cmp(&b.queue));
    let limit = usize::try_from(limit.clamp(1, QUEUES_PAGE)).unwrap_or(1);
    let more = items.len() > limit;
    items.truncate(limit);
    Seen::Queues { items, more }
}

fn queues(answer: Reply) -> Read<Vec<Stats>> {
    let one = |answer: Reply| {
        let [name, counts] = answer.array()?;
        let name = Name::parse("queue", &name.text()?).map_err(|fault| fault.message)?;
        stats(name, counts)
    };
    answer.list()?.into_iter().map(one).collect()
}

fn stats(queue: Name, answer: Reply) -> Read<Stats> {
    let [ready, delayed, leased, dead, oldest, packed, paused, of_limits] = answer.array()?;
    let (bytes, totals) = state(&packed.bytes()?)?;
    Ok(Stats {
        queue,
        ready: ready.count()?,
        delayed: delayed.count()?,
        leased: leased.count()?,
        dead: dead.count()?,
        oldest_ms: oldest.count_or_none()?,
        bytes,
        paused: paused.option().map(Reply::text).transpose()?,
        limits: limits(of_limits.option().map(Reply::bytes).transpose()?)?,
        totals,
    })
}

fn view(answer: Reply, now: u64) -> Read<JobView> {
    let [id, letter, record, marks, time, holder, cause] = answer.array()?;
    let state = state_of(letter.bytes()?.first().copied().unwrap_or(0))?;
    let record = Record::read(&id.bytes()?, record.bytes()?)?;
    let marks = Marks::read(marks.option().map(Reply::bytes).transpose()?)?;
    let holder = holder.option().map(Reply::text).transpose()?;
    Ok(JobView {
        id: record.id,
        state,
        priority: record.priority,
        attempts: marks.attempts.saturating_add(u32::from(state == State::Leased)),
        max_attempts: record.max_attempts,
        age_ms: now.saturating_sub(record.pushed_ms),
        time_ms: time.count()?,
        consumer: holder.map(|text| consumer(&text)).transpose()?.or(marks.consumer),
        errors: marks.errors,
        cause: cause.option().map(Reply::text).transpose()?,
        headers: record.headers,
        payload: record.payload,
        payload_bytes: record.payload_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{Limits, Totals};

    fn named(text: &str) -> Stats {
        Stats {
            queue: Name::parse("queue", text).unwrap(),
            ready: 0,
            delayed: 0,
            leased: 0,
            dead: 0,
            oldest_ms: None,
            bytes: 0,
            paused: None,
            limits: Limits::default(),
            totals: Totals::default(),
        }
    }

    #[test]
    fn pages_of_partitions_become_one_page() {
        let lists = || vec![vec![named("b"), named("d")], vec![], vec![named("a"), named("c")]];
        let names = |seen: Seen| {
            let Seen::Queues { items, more } = seen else { panic!("{seen:?}") };
            (items.iter().map(|one| one.queue.to_string()).collect::<String>(), more)
        };
        assert_eq!(names(merge(lists(), 3)), ("abc".to_owned(), true));
        assert_eq!(names(merge(lists(), 4)), ("abcd".to_owned(), false));
        assert_eq!(names(merge(lists(), 0)), ("a".to_owned(), true), "a page has at least one");
    }
}
