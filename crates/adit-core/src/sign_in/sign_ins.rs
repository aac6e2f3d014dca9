//! Where a user is signed in, and ending that; taking lost second factors away.

use adit_domain::{Capability, Code, Principal, PrincipalId, TokenId};
use adit_store::{Credential, Page, Paging};
use serde_json::json;

use crate::Gateway;
use crate::access::{Caller, Refusal};
use crate::audit;
use crate::bus::Change;

impl Gateway {
    /// Gives a user whose sign-ins the caller may look at and end: itself, or anybody for an administrator.
    async fn owned(&self, caller: &Caller, user: PrincipalId) -> Result<Principal, Refusal> {
        if user == caller.principal.id {
            return Ok(caller.principal.clone());
        }
        self.permit_tenant(caller, Capability::AccessManage).await?;
        self.find_user(caller, user).await.map(|account| account.principal)
    }

    /// Lists where a user is signed in.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not see it.
    pub async fn sign_ins_of(
        &self,
        caller: &Caller,
        user: PrincipalId,
        paging: &Paging,
    ) -> Result<Page<Credential>, Refusal> {
        let who = self.owned(caller, user).await?;
        let tenant = self.store.tenant(who.tenant);
        Ok(tenant.list_sign_ins(who.id, self.clock.now(), paging).await?)
    }

    /// Ends one sign-in of a user.
    ///
    /// # Errors
    /// [`Code::NotFound`] when it is not there, another's, or ended before.
    pub async fn end_sign_in(
        &self,
        caller: &Caller,
        user: PrincipalId,
        sign_in: TokenId,
    ) -> Result<(), Refusal> {
        let who = self.owned(caller, user).await?;
        let tenant = self.store.tenant(who.tenant);
        let found = tenant.find_credential_by_id(sign_in).await?;
        found.filter(|one| one.principal.id == who.id).ok_or(Refusal::Code(Code::NotFound))?;
        let sentence = format!("A sign-in of {} was ended", who.name.name());
        let event = self.event("sign_in.end", &caller.actor(), sentence);
        let event = event.on(audit::party_of(&who)).with("signIn", json!(sign_in.to_string()));
        let tell = move |ended: &Option<Credential>| match ended {
            Some(_) => event.only(),
            None => vec![],
        };
        let ended = tenant.revoke_credential(sign_in, self.clock.now(), tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        ended.map(drop).ok_or(Refusal::Code(Code::NotFound))
    }

    /// Ends every sign-in of a user but the caller's own. Gives how many.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn end_sign_ins(&self, caller: &Caller, user: PrincipalId) -> Result<u64, Refusal> {
        let who = self.owned(caller, user).await?;
        let sentence = format!("The sign-ins of {} were ended", who.name.name());
        let event = self.event("sign_in.end", &caller.actor(), sentence);
        let event = event.on(audit::party_of(&who));
        let tell = move |ended: &u64| event.with("ended", json!(ended)).only();
        let tenant = self.store.tenant(who.tenant);
        let keep = Some(caller.credential);
        let ended = tenant.end_sign_ins(who.id, self.clock.now(), keep, tell).await?;
        self.bus.tell(caller.principal.tenant, Change::Access);
        Ok(ended)
    }

    /// Takes every second factor of a user away, and ends their sign-ins.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not.
    pub async fn reset_factors(&self, caller: &Caller, user: PrincipalId) -> Result<(), Refusal> {
        self.permit_tenant(caller, Capability::AccessManage).await?;
        let who = self.find_user(caller, user).await?.principal;
        if user == caller.principal.id {
            let sentence = "Remove your own under Settings, with a second factor. Another administrator can do it for you.";
            return Err(Refusal::Said(Code::Conflict, sentence.into()));
        }
        let tenant = self.store.tenant(who.tenant);
        for passkey in tenant.list_passkeys(who.id).await? {
            self.take_passkey(caller, &who, passkey.id).await?;
        }
        self.take_authenticator(caller, &who).await?;
        self.end_sign_ins(caller, user).await.map(drop)
    }
}
