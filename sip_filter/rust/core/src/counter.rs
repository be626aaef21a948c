//! What the element counts, by name: one row each, shared by code, exporters and the manual.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// One thing that happened to a datagram. Several may happen to one.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Counter { $($(#[doc = $doc])+ $variant),+ }

        impl Counter {
            pub const ALL: &'static [Counter] = &[$(Counter::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name),+ }
            }

            /// What it counts, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Counter::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

counters!(
    /// Datagrams, and messages over connections, read from a socket.
    Received = "received",
    /// Datagrams and messages handed to the kernel.
    Sent = "sent",
    /// Datagrams that the kernel refused to send.
    SendError = "send_errors",
    /// Groups of datagrams to one peer that the kernel would not cut from one send, so that each was sent alone.
    SegmentRefused = "segments_refused",
    /// Errors of the receiving socket, ICMP errors of earlier sends among them.
    ReceiveError = "receive_errors",
    /// Datagrams from a source that is neither trunk nor next hop: no answer.
    UnknownSource = "unknown_source",
    /// Keep-alives of line ends only.
    KeepAlive = "keepalives",
    /// Datagrams without a start line or Via: no answer is possible.
    NotSip = "not_sip",
    /// Requests refused as malformed (400, 416, 505, 513).
    Malformed = "malformed",
    /// Requests refused because they carry more than one From.
    RepeatedFrom = "repeated_from",
    /// Calls and messages judged against the list.
    Judged = "judged",
    /// Calls and messages refused by a rule, each call once.
    Rejected = "rejected",
    /// Calls and messages labelled by a rule.
    Labelled = "labelled",
    /// Labels that found no P-Asserted-Identity to stand in.
    LabelNowhere = "label_nowhere",
    /// Calls and messages that a shadow rule, or a trunk in shadow, would have refused or labelled.
    Shadowed = "shadowed",
    /// Calls to a protected callee, passed unjudged.
    Protected = "protected",
    /// Calls and messages without any identity that yields a number, passed.
    Anonymous = "anonymous",
    /// Identities meant as numbers that are none in the trunk's dial plan.
    Unreadable = "unreadable",
    /// Calls and messages passed unjudged because the gateway is bypassed.
    Bypassed = "bypassed",
    /// Calls and messages passed unjudged because there is no list.
    NoList = "no_list",
    /// Attempts to open a new generation of the list that failed; the former one stays.
    ListError = "list_errors",
    /// Calls and messages passed because judging them failed.
    JudgeError = "judge_errors",
    /// Requests forwarded to a next hop or a trunk.
    Forwarded = "forwarded",
    /// Copies of a request that was forwarded before, kept on its course.
    ForwardedAgain = "forwarded_again",
    /// Copies of a request that was answered before, answered again.
    RefusedAgain = "refused_again",
    /// Calls and messages over their trunk's limit (max_per_s), refused unjudged; on a dip trunk passed.
    Shed = "shed",
    /// Calls and messages of a dip trunk that may go on, answered so.
    DipPassed = "dip_passed",
    /// Refusals sent as 603 because no card that is young enough was there for a 608.
    CardStale = "cards_stale",
    /// Calls that carry an ISUP message (SIP-I).
    Isup = "isup",
    /// Messages to an untrusted trunk whose asserted identity was removed because they ask for privacy.
    Private = "private",
    /// Requests inside a dialog, passed unjudged.
    InDialog = "in_dialog",
    /// CANCEL requests sent after their INVITE.
    Cancelled = "cancelled",
    /// CANCEL requests for what was already refused: no answer (RFC 3261 §8.2.7).
    CancelAbsorbed = "cancels_absorbed",
    /// ACK requests to our own final responses.
    AckAbsorbed = "acks_absorbed",
    /// ACK requests that can't be sent anywhere.
    AckDropped = "acks_dropped",
    /// OPTIONS requests to the gateway itself, answered.
    Options = "options",
    /// Requests refused because of their method out of dialog (405).
    NotAllowed = "not_allowed",
    /// Requests refused because they ask a proxy for an unknown extension (420).
    BadExtension = "bad_extension",
    /// Requests refused because Max-Forwards was used up (483).
    TooManyHops = "too_many_hops",
    /// Requests refused because they came back to us unchanged (482).
    Loop = "loops",
    /// Requests refused because nothing is there to send them to (404, 500).
    NoRoute = "no_route",
    /// Requests refused because they would not fit a datagram once forwarded (513).
    TooLarge = "too_large",
    /// Responses passed on by Via.
    Response = "responses",
    /// Responses dropped: malformed, or without a Via of ours that verifies.
    ResponseDropped = "responses_dropped",
    /// Responses 503 of a next hop, passed on as 500.
    HopBusy = "next_hop_503",
    /// Requests that the connection to their next hop could not take: sent to another, or answered 500.
    HopUnreachable = "hop_unreachable",
    /// OPTIONS sent to next hops to see whether they live.
    CheckSent = "checks_sent",
    /// Answers of next hops to them.
    CheckAnswered = "checks_answered",
    /// Those that had no good answer in their time.
    CheckMissed = "checks_missed",
    /// Hits that found their ring full.
    HitLost = "hits_lost",
    /// Counts of traffic that were lost because they found no room.
    TrafficLost = "traffic_lost",
    /// Messages dropped because handling them failed; the worker lives on.
    Panic = "panics",
    /// Connections taken (TCP, TLS).
    Connection = "connections",
    /// Connections closed at once: the source, or all together, had as many as the settings allow.
    ConnectionOver = "connections_over",
    /// Connections closed because a message was not complete in time, or nothing came for too long.
    ConnectionLate = "connections_late",
    /// Connections closed because the bytes on them could not be told into messages.
    Unframeable = "unframeable",
    /// Connections closed because TLS failed: no handshake in time, no certificate that we trust, no TLS at all.
    TlsFailure = "tls_failures",
    /// Messages dropped because the connection that they should go over is gone, or its peer doesn't read.
    ConnectionGone = "connection_gone",
    /// Failures to take a connection, such as no file descriptors left; the listener pauses and goes on.
    AcceptError = "accept_errors",
    /// Workers started again after their thread ended.
    WorkerRestart = "worker_restarts",
    /// Workers replaced because their thread showed no sign of life for a second.
    WorkerHung = "workers_hung",
);

/// How many counters there are.
pub const COUNTERS: usize = Counter::ALL.len();

/// What happened to one datagram.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    items: [Counter; 12],
    length: usize,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks {
            items: [Counter::Received; 12],
            length: 0,
        }
    }
}

impl Marks {
    pub fn add(&mut self, counter: Counter) {
        if let Some(cell) = self.items.get_mut(self.length) {
            *cell = counter;
            self.length += 1;
        }
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    pub fn as_slice(&self) -> &[Counter] {
        &self.items[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_one_name_and_a_meaning() {
        let mut names: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        assert!(Counter::ALL
            .iter()
            .all(|counter| counter.meaning().ends_with('.')));
        assert!(Counter::ALL
            .iter()
            .enumerate()
            .all(|(i, counter)| *counter as usize == i));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNTERS);
    }
}
