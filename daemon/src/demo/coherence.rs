//! A key at three nodes: read from each one's own memory, and never old.

use std::time::Duration;

use dsync::cache::{CacheClient, Inspected, Read, Source};
use tokio::time::{Instant, sleep};

use super::cluster::client_of;
use super::story::since;
use super::{Broken, Stage, Story};

const KEY: &str = "theme";
/// Time for a change that waits for a dead node's lease, twice.
const WAIT: Duration = Duration::from_secs(10);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Several nodes have a key, and a change takes it back from all of them first.
pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("A key is read from each node's own memory, and never old");
    let nodes = clients(stage);
    let [first, second, third] = &nodes[..] else {
        return Err(Broken::new("there are not three cache nodes"));
    };
    all_serve(&nodes).await?;
    let blue = first.set(KEY, "blue").await?;
    story.fact(
        format_args!("{KEY}=blue is set at {}", blue.served_by),
        format_args!("version {}", blue.version),
    );
    for node in [second, third] {
        let fetched = node.get(KEY).await?;
        let begun = Instant::now();
        let again = node.get(KEY).await?;
        story.fact(
            format_args!("{} reads {}, then again", fetched.served_by, text(&fetched)),
            format_args!(
                "{}, then {} in {}",
                name(fetched.source),
                name(again.source),
                since(begun)
            ),
        );
        if text(&again) != "blue" || !is_local(again.source) {
            return Err(Broken::new(format!("another value, or not from its memory: {again:?}")));
        }
    }
    let seen = first.inspect(KEY).await?;
    story.fact("who has it, as its home knows", lines(&seen));
    let green = third.set(KEY, "green").await?;
    story.fact(
        format_args!("{KEY}=green is set at {}: the copies are taken back first", green.served_by),
        format_args!("version {}", green.version),
    );
    for node in [first, second] {
        let read = node.get(KEY).await?;
        story.fact(format_args!("{} reads", read.served_by), text(&read));
        if text(&read) != "green" || read.version != green.version {
            return Err(Broken::new(format!("an old value: {read:?}")));
        }
    }
    Ok(())
}

/// The home of the key dies: its values do not, and a write waits for its lease at most.
pub(super) async fn lose_home(stage: &mut Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("The home of the key is killed");
    let nodes = clients(stage);
    let any = nodes.first().ok_or_else(|| Broken::new("there is no cache node"))?;
    let home = any.inspect(KEY).await?.home.ok_or_else(|| Broken::new("the key has no home"))?;
    let number = stage.caches.number(&home)?;
    stage.caches.kill(number).await?;
    story.say(format_args!("{home}, the home of {KEY}, is killed: no goodbye to anyone"));
    let live = nodes.iter().enumerate().filter(|(at, _)| *at != number);
    let live: Vec<CacheClient> = live.map(|(_, node)| node.clone().timeout(WAIT)).collect();
    let [reader, writer] = &live[..] else { return Err(Broken::new("two nodes should be left")) };
    let begun = Instant::now();
    let read = reader.get(KEY).await?;
    story.fact(format_args!("{} reads {} all the same", read.served_by, text(&read)), since(begun));
    let begun = Instant::now();
    let red = writer.set(KEY, "red").await?;
    story.fact(
        format_args!("{} sets red, once no lease of {home} can hold", red.served_by),
        since(begun),
    );
    let read = reader.get(KEY).await?;
    story.fact(format_args!("{} reads", read.served_by), text(&read));
    if text(&read) != "red" {
        return Err(Broken::new(format!("an old value: {read:?}")));
    }
    stage.caches.start_node(number).await.map_err(|error| Broken::new(error.what))?;
    all_serve(&nodes).await?;
    let back = nodes.get(number).ok_or_else(|| Broken::new("the node is not back"))?;
    let read = back.get(KEY).await?;
    story.fact(format_args!("{home} is back, with nothing of before, and reads"), text(&read));
    if text(&read) != "red" {
        return Err(Broken::new(format!("an old value: {read:?}")));
    }
    Ok(())
}

fn clients(stage: &Stage) -> Vec<CacheClient> {
    let nodes = stage.caches.nodes().into_iter();
    nodes.map(|(_, address)| CacheClient::new(&client_of(&address))).collect()
}

/// Waits until every node serves, in one view of all.
async fn all_serve(nodes: &[CacheClient]) -> Result<(), Broken> {
    loop {
        let mut serving = 0;
        for node in nodes {
            let view = node.view().await?;
            serving += usize::from(view.serving && view.members.len() == nodes.len());
        }
        if serving == nodes.len() {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

fn lines(seen: &Inspected) -> String {
    let line = |(node, line): &(String, Result<dsync::cache::LineView, String>)| match line {
        Ok(line) => format!("{node} {}", line.state),
        Err(why) => format!("{node}: {why}"),
    };
    seen.lines.iter().map(line).collect::<Vec<_>>().join("  ")
}

fn is_local(source: Source) -> bool {
    matches!(source, Source::Shared | Source::Exclusive)
}

fn name(source: Source) -> &'static str {
    source.as_str()
}

fn text(read: &Read) -> String {
    String::from_utf8_lossy(read.as_bytes().unwrap_or_default()).into_owned()
}
