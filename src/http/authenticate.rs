//! Requests with an API key: who the client is, and whether the key is valid.
//!
//! A verified key is a client of its own. Until it is verified, the client is the address: each look-up of a key that
//! this node does not know counts as an attempt of the address. So no address can try keys, or make the store work,
//! faster than that.

use std::{sync::Arc, time::Duration};

use actix_web::rt::spawn;
use tokio::time::{Instant, timeout_at};

use super::{
    AppState,
    edge::{Credential, RequestContext},
    key_look_ups::{LookUp, Verdict},
    problem::ApiError,
    rate_limit::Outcomes,
};
use crate::{
    keys::{ApiKey, Scope, Unavailable, VerifiedKey},
    links::Editor,
    public::Route,
};

/// How long a request to follow a link waits for the store to confirm a key that was valid a moment ago.
const PATIENCE: Duration = Duration::from_millis(100);

/// A request that has presented a key.
pub(super) struct Authenticated<'a> {
    /// What the limiter says, of the key or of the attempt.
    pub(super) outcomes: Outcomes<'a>,
    /// The key, if the request may go on.
    pub(super) key: Result<Arc<VerifiedKey>, ApiError>,
}

/// Finds out whose request it is that presents `credential`, and asks the limiter.
pub(super) async fn authenticate<'a>(
    state: &'a AppState,
    context: &RequestContext,
    credential: Credential,
) -> Authenticated<'a> {
    let Credential::Key(key) = credential else {
        return nonsense(state, context).await;
    };
    if let Some(verified) = state.keys.remembered(&key) {
        return admitted(state, context, verified).await;
    }
    // To follow a link, a key gives no right: it only says who is counted. So while the store does not answer, what was
    // known last will do, as it does for the link itself.
    let stand_in = state.keys.last_known(&key);
    let stand_in = stand_in.filter(|_| context.route() == Route::Follow);
    if let Some(known) = &stand_in
        && state.keys.known_troubles().is_down
    {
        return admitted(state, context, known.clone()).await;
    }
    let (verdict, attempt) = look_up(state, context, &key, stand_in.is_some()).await;
    if let Some(error) = attempt.error() {
        return Authenticated {
            outcomes: attempt,
            key: Err(error),
        };
    }
    match (verdict, stand_in) {
        (Ok(Some(verified)), _) => admitted(state, context, verified).await,
        (Ok(None), _) if attempt.is_empty() => failed(state, context).await,
        (Ok(None), _) => Authenticated {
            outcomes: attempt,
            key: Err(ApiError::InvalidKey),
        },
        (Err(_), Some(known)) => admitted(state, context, known).await,
        (Err(unavailable), None) => Authenticated {
            outcomes: attempt,
            key: Err(unavailable.into()),
        },
    }
}

/// What the store says of a key, and what the limiter says of the attempt. If that is refused, the store is not asked.
/// It is no attempt if another request has made it already, or if the key was valid a moment ago. `is_impatient` says
/// whether the request has something better to do than to wait for the store.
///
/// The look-up goes on when the request does not wait any more: its verdict is for all later requests, too.
async fn look_up<'a>(
    state: &'a AppState,
    context: &RequestContext,
    key: &ApiKey,
    is_impatient: bool,
) -> (Verdict, Outcomes<'a>) {
    let deadline = is_impatient.then(|| Instant::now() + PATIENCE);
    loop {
        let (answer, attempt) = match state.key_look_ups.of(key.hash(), state.keys.calm()) {
            LookUp::Joined(answer) => (answer, Outcomes::default()),
            LookUp::Begun(begun, answer) => {
                // Asked only now: the look-up of another request may have ended just before this one began.
                let attempt = match state.keys.was_good(key) {
                    true => Outcomes::default(),
                    false => attempt(state, context).await,
                };
                if attempt.error().is_some() {
                    return (Err(Unavailable), attempt);
                }
                let (keys, key) = (state.keys.clone(), key.clone());
                spawn(async move { begun.has_ended(keys.verify(&key).await) });
                (answer, attempt)
            }
        };
        let verdict = match deadline {
            Some(deadline) => timeout_at(deadline, answer).await,
            None => Ok(answer.await),
        };
        match verdict {
            Ok(Ok(verdict)) => return (verdict, attempt),
            // The other request was refused.
            Ok(Err(_)) => {}
            Err(_) => return (Err(Unavailable), attempt),
        }
    }
}

/// A request with this key, if the quota of the key allows it.
async fn admitted<'a>(
    state: &'a AppState,
    context: &RequestContext,
    key: Arc<VerifiedKey>,
) -> Authenticated<'a> {
    let outcomes = match &state.rate_limit {
        Some(limit) => limit.decide_for_key(context.client(), &key).await,
        None => Outcomes::default(),
    };
    outcomes.count(&state.metrics);
    let key = match outcomes.error() {
        Some(error) => Err(error),
        None => Ok(key),
    };
    Authenticated { outcomes, key }
}

/// A request with a key of which another request has just learnt that it is not valid.
async fn failed<'a>(state: &'a AppState, context: &RequestContext) -> Authenticated<'a> {
    not_valid(attempt(state, context).await)
}

/// A request with something that is no key. No store is asked, so it is a request of its address like any other, and
/// no attempt: a broken program must not use up the attempts of its neighbours.
async fn nonsense<'a>(state: &'a AppState, context: &RequestContext) -> Authenticated<'a> {
    let outcomes = match &state.rate_limit {
        Some(limit) => limit.decide(context.route(), context.client()).await,
        None => Outcomes::default(),
    };
    outcomes.count(&state.metrics);
    not_valid(outcomes)
}

fn not_valid(outcomes: Outcomes<'_>) -> Authenticated<'_> {
    let error = outcomes.error().unwrap_or(ApiError::InvalidKey);
    Authenticated {
        outcomes,
        key: Err(error),
    }
}

async fn attempt<'a>(state: &'a AppState, context: &RequestContext) -> Outcomes<'a> {
    let outcomes = match &state.rate_limit {
        Some(limit) => limit.decide_attempt(context.client()).await,
        None => Outcomes::default(),
    };
    outcomes.count(&state.metrics);
    outcomes
}

/// Whether the request may do what `scope` is for. `without_key` says whether that needs no key at all.
///
/// # Errors
/// [`ApiError::KeyNeeded`] or [`ApiError::MissingScope`]. A key without the scope does not pass for no key.
pub(super) fn authorize(
    context: &RequestContext,
    scope: Scope,
    without_key: bool,
) -> Result<(), ApiError> {
    match context.key() {
        Some(key) if key.scopes.allows(scope) => Ok(()),
        Some(_) => Err(ApiError::MissingScope(scope)),
        None if without_key => Ok(()),
        None => Err(ApiError::KeyNeeded),
    }
}

/// Whether the key of a request, if it has one, still works and is still for the same. A body may take its time to arrive,
/// and meanwhile the key may be revoked. So whatever is stored asks for this just before.
///
/// # Errors
/// [`ApiError::InvalidKey`]; [`ApiError::Unavailable`] if that cannot be found out, or if the rights of the key have
/// changed: the same request, sent again, gets what the key allows by now.
pub(super) async fn confirm(state: &AppState, context: &RequestContext) -> Result<(), ApiError> {
    let Some(before) = context.key() else {
        return Ok(());
    };
    let Some(Credential::Key(key)) = Credential::of(context.headers()) else {
        return Err(ApiError::InvalidKey);
    };
    let now = state.keys.verify(&key).await?;
    let now = now.ok_or(ApiError::InvalidKey)?;
    if (&now.owner, now.scopes) != (&before.owner, before.scopes) {
        return Err(ApiError::Unavailable);
    }
    Ok(())
}

/// Whose links the holder of a key may manage.
pub(super) fn editor(key: &VerifiedKey) -> Editor {
    if key.scopes.allows(Scope::Admin) {
        Editor::Administrator
    } else {
        Editor::Owner(key.owner.clone())
    }
}
