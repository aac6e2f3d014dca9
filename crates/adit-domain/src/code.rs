//! Stable codes: errors, end reasons and notices, each with what they mean to HTTP, to a WebSocket and to a person.
//!
//! A code is never renamed. The table below is the whole list; the docs page of codes is written from it.

use std::fmt;
use std::str::FromStr;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $close:literal, $sentence:literal;)*) => {
        /// A stable code.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Gives the code as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Gives the HTTP status (RFC 9110) that answers a request refused with it.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Gives the WebSocket close code (RFC 6455 §7.4) of a connection that ends with it.
            pub const fn close_code(self) -> u16 {
                match self { $(Self::$name => $close,)* }
            }

            /// Says what happened and what to do, to a person.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

codes! {
    /// The request's form is wrong.
    RequestInvalid = "request.invalid", 400, 1008, "The request is not well formed.";
    /// A body over the limit.
    RequestTooLarge = "request.too_large", 413, 1009, "The request is larger than this gateway takes.";
    /// A body of another media type.
    RequestMediaType = "request.media_type", 415, 1008, "Send the body as application/json.";
    /// A method that the path does not have.
    RequestMethod = "request.method", 405, 1008, "This address does not take that method.";
    /// A body that took too long to arrive.
    RequestTimeout = "request.timeout", 408, 1008, "The request took too long to arrive.";
    /// Another site's page asked.
    OriginDenied = "request.origin", 403, 1008, "This request came from another site's page, so it was refused.";
    /// A Host header that is not ours.
    HostDenied = "request.host", 421, 1008, "This gateway does not answer to that host name. Add it under `hosts` in the settings.";
    /// Nothing of that address.
    NotFound = "not_found", 404, 1008, "There is nothing at this address.";
    /// Something with that name is there already.
    Conflict = "conflict", 409, 1008, "Something with that name exists already.";
    /// No credential, or none that counts here.
    AuthRequired = "auth.required", 401, 1008, "Sign in first, or send a valid API token.";
    /// A sign-in, or a token, that ended while a connection rested on it.
    AuthEnded = "auth.ended", 401, 1008, "The sign-in or token that this connection rests on has ended. Sign in again and come back to the session.";
    /// A sign-in code that was used, has expired or never was.
    SignInRefused = "auth.sign_in_refused", 401, 1008, "This sign-in link is used, expired or wrong. Ask for a new one.";
    /// A name and a password that do not open anything, whatever is wrong with them.
    PasswordRefused = "auth.password_refused", 401, 1008, "This name and password open nothing here. Check both, or ask an administrator for a sign-in link.";
    /// A step of a sign-in that was used, took too long or never was.
    StepRefused = "auth.step_refused", 401, 1008, "This sign-in took too long or was used. Begin again.";
    /// A code, passkey or password that was to prove something and does not.
    ProofRefused = "auth.proof_refused", 403, 1008, "This code is wrong, used or too old. Wait for the next one, then try again.";
    /// The setup token is wrong, or somebody is there already.
    SetupRefused = "auth.setup_refused", 401, 1008, "This setup token is used, expired or wrong. Start the gateway again to get a new one.";
    /// A credential of another plane.
    PlaneWrong = "auth.wrong_plane", 401, 1008, "This kind of credential does not open this door.";
    /// An enrolment token that was used, has expired or never was.
    EnrolRefused = "auth.enrol_refused", 401, 1008, "This enrolment token is used, expired or wrong. Ask an operator for a new one.";
    /// A company's account that does not get in.
    CompanyRefused = "auth.company_refused", 403, 1008, "This company account does not sign in here. Ask an administrator; the audit log says why.";
    /// A sign-in with a company's account that was not begun in this browser, or too long ago.
    CompanyExpired = "auth.company_expired", 403, 1008, "This sign-in took too long, or began in another browser. Begin again.";
    /// A company's issuer's word that sign-ins are over, which does not hold.
    LogoutRefused = "auth.logout_refused", 400, 1008, "This logout token does not hold, or was taken before.";
    /// A company's issuer that does not answer.
    CompanyUnavailable = "auth.company_unavailable", 503, 1013, "The company's sign-in does not answer. Try again in a minute; other ways to sign in still work.";
    /// A certificate that was revoked, or that this gateway never gave.
    CertificateRefused = "certificate.refused", 401, 1008, "This certificate was revoked, or this gateway did not give it. Ask an operator for a new one.";
    /// A certificate past its end.
    CertificateExpired = "certificate.expired", 401, 1008, "This certificate has expired. Renew it, or join the gateway again with a new enrolment token.";
    /// A certificate authority that gave none.
    CertificateNotIssued = "certificate.not_issued", 502, 1011, "No new certificate could be got; the one before is still used. The audit log says why.";
    /// Too many attempts.
    AuthLimited = "auth.limited", 429, 1013, "Too many attempts. Wait a minute and try again.";
    /// More passwords wait than the machine checks in a few seconds.
    Busy = "auth.busy", 503, 1013, "Too many sign in at once. Wait a moment, then try again.";
    /// The principal was removed or switched off.
    PrincipalInactive = "access.inactive", 403, 1008, "This account is switched off.";
    /// No grant for the target.
    AccessNoGrant = "access.no_grant", 403, 1008, "You have no role on this target. Ask an administrator for one.";
    /// The grant is over.
    AccessGrantExpired = "access.grant_expired", 403, 1008, "Your role on this target has expired. Ask for it again.";
    /// The role does not allow it.
    AccessCapabilityMissing = "access.capability_missing", 403, 1008, "Your role on this target does not allow this.";
    /// The credential's scopes do not reach.
    AccessScopeMissing = "access.scope_missing", 403, 1008, "This token's scopes do not allow this. Ask for a token with the scope.";
    /// The second factor was not shown lately enough.
    AccessSecondFactor = "access.second_factor", 403, 1008, "Show your second factor again, then try again.";
    /// Somebody has to approve.
    AccessApproval = "access.approval", 403, 1008, "Somebody has to approve this first. Ask for it with `adit request add`.";
    /// Another time of the day or week.
    AccessHours = "access.hours", 403, 1008, "Your role on this target does not count at this time of day.";
    /// Another network.
    AccessNetwork = "access.network", 403, 1008, "Your role on this target does not count from this network.";
    /// A right was taken away.
    AccessRevoked = "access.revoked", 403, 1008, "The right to this session was taken away.";
    /// No such target, or none that the caller may know of.
    TargetUnknown = "target.unknown", 404, 1008, "There is no such target, or you may not see it.";
    /// The machine was removed.
    TargetInactive = "target.inactive", 403, 1008, "This machine was removed.";
    /// The machine has no connection to a gateway.
    TargetOffline = "target.offline", 503, 1011, "The machine is offline. Start its agent, then try again.";
    /// The machine refused or could not start the shell.
    TargetFailed = "target.failed", 502, 1011, "The machine could not start the shell.";
    /// A ticket that was used, has expired or never was.
    TicketInvalid = "ticket.invalid", 401, 1008, "This ticket is used, expired or wrong. Ask for a new one.";
    /// The first frame did not come in time.
    TicketMissing = "ticket.missing", 401, 1008, "No ticket came in the first frame.";
    /// A credential in a URL.
    TicketInUrl = "ticket.in_url", 400, 1008, "A ticket goes into the first frame, never into the address.";
    /// A stream between machines that is not allowed, for whatever reason.
    ReachUnknown = "ticket.unreachable", 404, 1008, "There is no such instance or target, or no ticket is given for it. An operator sees why in the audit log.";
    /// An instance whose source is not heard of.
    InstanceStale = "instance.stale", 503, 1013, "This instance's machine has not been heard of for five minutes. Try again when it is back.";
    /// No such instance, or not the caller's.
    InstanceUnknown = "instance.unknown", 404, 1008, "There is no such instance, or it is not yours.";
    /// As many instances as may be.
    InstanceLimit = "instance.limit", 503, 1013, "There are as many instances as this gateway keeps. Remove one, or ask an operator to raise the limit.";
    /// No such scope.
    ScopeUnknown = "scope.unknown", 404, 1008, "No scope of that name is registered.";
    /// A source asked too often.
    TicketRate = "ticket.rate", 429, 1013, "This machine asked for too many tickets within a minute.";
    /// As many live tickets as may be, in all or of one source.
    TicketLimit = "ticket.limit", 503, 1013, "There are as many live tickets as this gateway keeps. They run out within seconds; try again.";
    /// A ticket that opens no session: not validated, or too long ago.
    TicketState = "ticket.state", 400, 1008, "Validate the ticket first; it opens a session for a minute after that.";
    /// A ticket that has its session.
    TicketTaken = "ticket.taken", 409, 1008, "This ticket has its session already.";
    /// As many sessions between machines as may be.
    ReachLimit = "ticket.sessions", 503, 1013, "There are as many sessions between machines as this gateway keeps. End one, or ask an operator to raise the limit.";
    /// A session between machines that is over.
    ReachOver = "ticket.session_over", 409, 1008, "This session is over. Ask for a new ticket.";
    /// No such session, or none that the caller may know of.
    SessionUnknown = "session.unknown", 404, 1008, "There is no such session, or you may not see it.";
    /// A session whose gateway is another one on the same database.
    SessionElsewhere = "session.elsewhere", 421, 1008, "This session lives at another gateway. Go to that one.";
    /// The shell ended by itself.
    SessionExited = "session.exited", 410, 1000, "The shell ended.";
    /// A signal ended the shell.
    SessionSignalled = "session.signalled", 410, 1000, "A signal ended the shell.";
    /// Somebody with the right to ended it.
    SessionKilled = "session.killed", 410, 1008, "An operator ended this session.";
    /// Its own user ended it.
    SessionClosed = "session.closed", 410, 1000, "You ended this session.";
    /// The length limit.
    SessionExpired = "session.expired", 410, 1008, "The session reached its longest length.";
    /// Nobody did anything for too long.
    SessionIdle = "session.idle", 410, 1008, "The session was idle for too long.";
    /// The machine's link did not come back within the grace.
    SessionLostLink = "session.lost_link", 410, 1011, "The machine lost its connection for longer than the grace.";
    /// The agent died, and its shells with it.
    SessionLostAgent = "session.lost_agent", 410, 1011, "The machine's agent stopped, and the shell with it.";
    /// The viewer did not come back within the grace.
    SessionAbandoned = "session.abandoned", 410, 1011, "Nobody came back to the session within the grace.";
    /// Nobody redeemed the ticket that it was reserved for.
    SessionUnused = "session.unused", 410, 1011, "The session's ticket was not used in time.";
    /// A recording that policy demands cannot be written.
    SessionRecordingFailed = "session.recording_failed", 410, 1011, "The recording could not be written, and policy demands one.";
    /// Too many bad frames on the machine's link.
    SessionCorrupted = "session.corrupted", 410, 1011, "The machine's link carried damaged or forged frames.";
    /// Part of the gateway failed.
    SessionFailed = "session.failed", 410, 1011, "The gateway could not go on with this session.";
    /// The database comes from a backup.
    SessionRestored = "session.restored", 410, 1008, "The gateway was restored from a backup; what was open before is over.";
    /// A user's live sessions are at the cap.
    SessionLimit = "session.limit", 429, 1013, "You have as many live sessions as you may. End one, then try again.";
    /// The session ends soon.
    SessionEnding = "session.ending_soon", 200, 1000, "The session ends soon, within a minute: it reaches its longest length.";
    /// Nobody typed for long, and the session ends when nobody does.
    SessionIdleSoon = "session.idle_soon", 200, 1000, "Nobody has typed here for a while; the session ends soon unless somebody does.";
    /// A viewer that fell too far behind was given the screen anew.
    ViewerLagged = "viewer.lagged", 200, 1000, "This connection fell behind, so the screen was drawn anew.";
    /// Too many messages.
    RateLimited = "rate_limited", 429, 1013, "Too many messages at once; they are sent again by themselves.";
    /// Sockets or requests are at a cap.
    TooMany = "too_many", 429, 1013, "Too many connections or requests from here. Wait a moment, then try again.";
    /// A frame over the cap.
    FrameTooLarge = "frame.too_large", 400, 1009, "A frame was larger than this connection takes.";
    /// A frame that cannot be read.
    FrameInvalid = "frame.invalid", 400, 1002, "A frame could not be read.";
    /// A frame that the session's capabilities do not cover.
    FrameForbidden = "frame.forbidden", 403, 1008, "This session does not allow that.";
    /// Input that skipped ahead.
    StreamGap = "stream_gap", 409, 1008, "Input was missing on the way; it is sent again by itself.";
    /// The machine's link came back.
    Reconnected = "reconnected", 200, 1000, "The machine's connection is back.";
    /// The gateway is going down.
    GatewayRestarting = "gateway.restarting", 503, 1012, "The gateway restarts; the session goes on by itself.";
    /// No such recording, or none that the caller may know of.
    RecordingUnknown = "recording.unknown", 404, 1008, "There is no such recording, or you may not see it.";
    /// It was deleted; its hash remains.
    RecordingDeleted = "recording.deleted", 410, 1008, "This recording was deleted; its fingerprint remains in the audit log.";
    /// The database does not answer.
    StoreUnavailable = "store.unavailable", 503, 1013, "The database does not answer. Nothing was changed; try again.";
    /// A defect.
    Internal = "internal", 500, 1011, "Something failed inside the gateway. Nothing more was changed; the log has the reason.";
    /// A warrant that the agent cannot accept.
    WarrantInvalid = "warrant.invalid", 403, 1008, "The machine refused the gateway's warrant for this session.";
    /// A user that the agent cannot become.
    RunAsRefused = "run_as.refused", 403, 1011, "The machine's agent may not start a shell as that user.";
    /// The clock jumped.
    ClockSkew = "clock.skew", 400, 1008, "The clocks differ by more than the tolerance. Set the time, then try again.";
    /// A second agent with the same key.
    AgentDuplicate = "agent.duplicate", 409, 1008, "Another agent is connected with this machine's key.";
    /// Nobody at the machine agreed to this, or not for this caller.
    AccessConsent = "access.consent", 403, 1008, "The person at this machine has not agreed to this.";
    /// A support code that was used, has expired, was revoked or never was.
    SupportCodeRefused = "support.code_refused", 401, 1008, "This support code is used, expired or wrong. Ask for a new one.";
    /// The person said no.
    SupportDeclined = "support.declined", 403, 1008, "The person at the machine said no.";
    /// Nobody answered in time.
    SupportSilence = "support.no_answer", 408, 1008, "Nobody at the machine answered in time, which is a no.";
    /// The person ended it.
    SupportStopped = "support.stopped", 410, 1008, "The person at the machine ended the support.";
    /// The technician ended it, or took the code back.
    SupportWithdrawn = "support.withdrawn", 410, 1008, "The technician ended the support.";
    /// No template of that name, or none that the caller may run.
    TemplateUnknown = "template.unknown", 404, 1008, "There is no such template, or you may not run it. `adit templates ls` lists yours.";
    /// A machine that the template is not for.
    TemplateTarget = "template.target", 403, 1008, "This template does not run on this machine.";
    /// A template that asks for what this version does not do.
    TemplateUnsupported = "template.unsupported", 409, 1008, "This template asks for what this gateway cannot do yet, so it runs nothing.";
    /// Parameters that the template does not take.
    JobParameters = "job.parameters", 400, 1008, "The parameters are not as the template wants them.";
    /// A key that was used for something else.
    JobIdempotency = "job.idempotency_key", 409, 1008, "This idempotency key was used for another job. Take a new one.";
    /// No such job, or none that the caller may know of.
    JobUnknown = "job.unknown", 404, 1008, "There is no such job, or you may not see it.";
    /// No such alert.
    AlertUnknown = "alert.unknown", 404, 1008, "There is no such alert, or you may not see it.";
    /// Nothing to deliver alerts to.
    AlertNoWebhook = "alert.no_webhook", 409, 1008, "No webhook is set for alerts. Set alerts.webhook in the gateway's configuration.";
    /// As many waiting jobs as may be.
    JobQueueFull = "job.queue_full", 429, 1013, "There are as many waiting jobs as this gateway keeps. Try again later.";
    /// Somebody who was to agree said no.
    JobDenied = "job.denied", 410, 1008, "Somebody who was to agree to this job said no.";
    /// A word about a job that is not awaited: it is one's own, was said before, or nobody waits for it.
    JobConsent = "job.consent", 409, 1008, "Your word about this job is not awaited.";
    /// A word about something else than what the job is.
    JobContent = "job.content", 409, 1008, "This is not what the job would do. Look at it again, then decide.";
    /// A job that is over.
    JobOver = "job.over", 409, 1008, "This job is over.";
    /// The job ran for as long as it may.
    JobTimedOut = "job.timed_out", 410, 1008, "The job took longer than it may.";
    /// Somebody with the right to cancelled it.
    JobCancelled = "job.cancelled", 410, 1008, "The job was cancelled.";
    /// The machine or its agent went while the job ran.
    JobInterrupted = "job.interrupted", 410, 1011, "The machine or its agent stopped while the job ran; nobody knows how far it came.";
    /// Its machine did not come within the time that a job waits.
    JobExpired = "job.expired", 410, 1008, "The job waited for longer than a job waits, and was not run.";
    /// It used more than it may.
    JobResource = "job.resource_exceeded", 410, 1008, "The job used more than it may.";
    /// The machine cannot confine it as its template demands.
    SandboxUnavailable = "job.sandbox_unavailable", 410, 1011, "This machine cannot confine the job as its template demands, so it was not run. `adit doctor` there says why.";
    /// A path leads where it may not, seen from the machine.
    JobPathRefused = "job.path_refused", 410, 1008, "A path parameter leads where it may not on that machine, so the job was not run.";
    /// The template's program is not on the machine.
    JobProgram = "job.program_unavailable", 410, 1011, "The template's program is not on that machine, or cannot be run.";
    /// Its longest length.
    SupportExpired = "support.expired", 410, 1008, "The support reached its longest length.";
}

/// A text that is no code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such code")]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text).ok_or(UnknownCode)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_codes_are_written_alike() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn every_sentence_is_a_sentence() {
        for code in Code::ALL {
            assert!(code.sentence().ends_with('.'), "{code}");
        }
    }
}
