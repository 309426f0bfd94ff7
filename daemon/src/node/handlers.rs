//! What every connection calls.

use dsync::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    QueueReply, QueueRequest,
};
use dsync::peer::{CacheAnswer, CacheCall, CacheFrom, Destination, RaftCall, RaftReply};
use dsync_core::node::Hello;
use dsync_core::{Code, Effect, Fault};
use tokio::time::Instant;

use super::{NodeService, RunningRole};
use crate::server::{Call, NodeHandler, PeerHandler};
use crate::telemetry::{Outcome, RequestKind};

impl NodeService {
    fn account<T>(&self, kind: RequestKind, begun: Instant, answer: &Answer<T>) {
        let outcome = match &answer.result {
            Ok(_) => Outcome::Ok,
            Err(fault) => Outcome::from(fault.code),
        };
        self.parts.telemetry.metrics.request(kind, outcome, begun.elapsed());
    }
}

impl NodeHandler for NodeService {
    async fn lock(&self, call: Call, head: Head, request: LockRequest) -> Answer<LockReply> {
        let begun = Instant::now();
        let kind = RequestKind::from(&request);
        // In a box, what is under way is not moved about with each step above.
        let answer = Box::pin(self.serve_lock(&head, request, &call)).await;
        warn_of_unknown(&head, &call, &answer);
        self.account(kind, begun, &answer);
        answer
    }

    async fn queue(&self, call: Call, head: Head, request: QueueRequest) -> Answer<QueueReply> {
        let begun = Instant::now();
        let kind = RequestKind::from(&request);
        let answer = Box::pin(self.serve_queue(&head, request, &call)).await;
        warn_of_unknown(&head, &call, &answer);
        self.account(kind, begun, &answer);
        answer
    }

    async fn cache(&self, call: Call, head: Head, request: CacheRequest) -> Answer<CacheReply> {
        let begun = Instant::now();
        let kind = RequestKind::from(&request);
        let answer = Box::pin(self.serve_cache(&head, request, &call)).await;
        warn_of_unknown(&head, &call, &answer);
        self.account(kind, begun, &answer);
        answer
    }

    async fn admin(&self, call: Call, head: Head, request: AdminRequest) -> Answer<AdminReply> {
        let begun = Instant::now();
        let kind = RequestKind::from(&request);
        if changes_cluster(&request) {
            tracing::info!(
                caller = %call.caller.id,
                address = %call.caller.address,
                request = format!("{:032x}", head.request_id),
                action = ?short(&request),
                "admin action"
            );
        }
        // As long as the caller has time: replacing a node, or a backup, may take minutes.
        let until = begun + call.time_left();
        let answer = Box::pin(self.serve_admin(&head, request, until)).await;
        self.account(kind, begun, &answer);
        answer
    }
}

fn warn_of_unknown<T>(head: &Head, call: &Call, answer: &Answer<T>) {
    if let Err(fault) = &answer.result
        && fault.effect == Effect::Unknown
    {
        tracing::warn!(
            request = format!("{:032x}", head.request_id),
            caller = %call.caller.id,
            %fault,
            "the outcome of a request is unknown"
        );
    }
}

fn changes_cluster(request: &AdminRequest) -> bool {
    match request {
        AdminRequest::RaftTransfer { .. } | AdminRequest::RaftReplace { .. } => true,
        AdminRequest::SnapshotWrite { offset, done, .. } => *offset == 0 || *done,
        AdminRequest::Ping
        | AdminRequest::NodeInfo
        | AdminRequest::Directory
        | AdminRequest::RaftStatus
        | AdminRequest::RaftProbe
        | AdminRequest::SnapshotRead { .. }
        | AdminRequest::DialCheck { .. } => false,
    }
}

/// The action in a log line, without the bytes of a backup.
fn short(request: &AdminRequest) -> String {
    if let AdminRequest::SnapshotWrite { id, done, .. } = request {
        return format!("restore {id}, done={done}");
    }
    format!("{request:?}")
}

impl PeerHandler for NodeService {
    async fn hello(&self, _call: Call, from: Hello) -> Result<Hello, Fault> {
        from.check()?;
        self.parts.greeter.heard(&from);
        Ok(self.hello_of_mine().await)
    }

    async fn raft(
        &self,
        _call: Call,
        to: Destination,
        request: RaftCall,
    ) -> Result<RaftReply, Fault> {
        self.parts.raft.call(to, request).await
    }

    async fn cache(
        &self,
        call: Call,
        from: CacheFrom,
        request: CacheCall,
    ) -> Result<CacheAnswer, Fault> {
        if let RunningRole::Cache(role) = &self.parts.role {
            return Box::pin(role.asked(from, request, call.deadline)).await;
        }
        let text =
            format!("{} is no cache node, as {} takes it for", self.parts.me.name, from.node);
        Err(Fault::new(Code::WrongRole, text))
    }
}
