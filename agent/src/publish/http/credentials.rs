//! Who may in: users with passwords, and whoever has a token.
//!
//! A check takes the same time and gives the same answer whoever fails it. What is compared are sums of equal length under
//! a key that this process alone has, all of them, whichever fits. An unknown user's password is tried as well, against
//! the hash of one who exists.
//!
//! bcrypt takes long on purpose, so it could be used against a node. It runs on a thread of its own at a low priority, one
//! check at a time; after one that failed it rests [`REST`] times as long as that took, so that guessing never takes more
//! than a fifth of one processor. [`QUEUE`] may wait, [`EACH`] of them of one client, and others are told to come again. A
//! password that was right is known by its sum until the configuration changes, and needs no check: whoever has one is not
//! held up by those who guess.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::{Semaphore, oneshot};

use super::crowd::Crowd;

/// How many times as long as a failed check took nothing is checked.
const REST: u32 = 4;

/// Most checks that wait.
const QUEUE: usize = 16;

/// Of which one client's are.
const EACH: usize = 2;

/// Longest name with its password that is looked at.
const LONGEST: usize = 4096;

/// How much less than others the thread that checks is let run (nice(2)).
const NICE: i32 = 10;

type Sum = [u8; 32];

/// What came of looking at credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are good.
    Good,
    /// There are none, or they are not.
    Bad,
    /// Too many wait to be checked.
    Busy,
}

/// What is asked for.
pub(super) struct Credentials {
    key: hmac::Key,
    users: Vec<User>,
    tokens: Vec<Sum>,
    checks: Arc<Checks>,
}

struct User {
    name: Sum,
    hash: String,
    /// Of the name and the password that was right.
    verified: Mutex<Option<Sum>>,
}

/// Checks under way.
#[derive(Debug)]
pub(super) struct Checks {
    turn: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    crowd: Arc<Crowd>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), queue: Arc::new(Semaphore::new(QUEUE)), crowd: Arc::default() }
    }
}

impl Credentials {
    /// `None` if nothing is asked for.
    pub(super) fn new(
        users: &[(String, String)],
        tokens: &[String],
        checks: &Arc<Checks>,
    ) -> Result<Option<Self>, String> {
        if users.is_empty() && tokens.is_empty() {
            return Ok(None);
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| format!("no chance for a key: getrandom: {error}"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let user = |(name, hash): &(String, String)| User {
            name: sum(&key, &[name.as_bytes()]),
            hash: hash.clone(),
            verified: Mutex::default(),
        };
        let users = users.iter().map(user).collect();
        let tokens = tokens.iter().map(|token| sum(&key, &[token.as_bytes()])).collect();
        Ok(Some(Self { key, users, tokens, checks: Arc::clone(checks) }))
    }

    /// What a client is told to show.
    pub(super) fn schemes(&self) -> impl Iterator<Item = &'static str> {
        let basic = (!self.users.is_empty()).then_some("Basic realm=\"mtuscope\", charset=\"UTF-8\"");
        let bearer = (!self.tokens.is_empty()).then_some("Bearer realm=\"mtuscope\"");
        basic.into_iter().chain(bearer)
    }

    /// Looks at what a client shows.
    pub(super) async fn look(&self, shown: Option<&HeaderValue>, from: IpAddr) -> Verdict {
        let Some((scheme, rest)) = shown.and_then(|shown| shown.to_str().ok()).and_then(|text| text.split_once(' '))
        else {
            return Verdict::Bad;
        };
        let rest = rest.trim_matches(' ');
        if rest.len() > LONGEST {
            Verdict::Bad
        } else if scheme.eq_ignore_ascii_case("bearer") {
            self.token(rest)
        } else if scheme.eq_ignore_ascii_case("basic") && !self.users.is_empty() {
            self.user(rest, from).await
        } else {
            Verdict::Bad
        }
    }

    fn token(&self, token: &str) -> Verdict {
        let shown = sum(&self.key, &[token.as_bytes()]);
        let known = self.tokens.iter().fold(Choice::from(0), |known, token| known | token.ct_eq(&shown));
        if known.into() { Verdict::Good } else { Verdict::Bad }
    }

    async fn user(&self, rest: &str, from: IpAddr) -> Verdict {
        let Ok(pair) = STANDARD.decode(rest) else { return Verdict::Bad };
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return Verdict::Bad };
        let (name, password) = (&pair[..colon], &pair[colon + 1..]);
        let (known, index) = self.find(name);
        let user = &self.users[index];
        let shown = sum(&self.key, &[name, password]);
        let verified = *user.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.is_some_and(|verified| verified.ct_eq(&shown).into()) {
            return Verdict::Good;
        }
        let Some(right) = self.checks.check(password.to_vec(), user.hash.clone(), known, from).await else {
            return Verdict::Busy;
        };
        if !right {
            return Verdict::Bad;
        }
        *user.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Verdict::Good
    }

    /// Whether there is a user of this name and which; of another name, always the same one of those that there are.
    fn find(&self, name: &[u8]) -> (bool, usize) {
        let name = sum(&self.key, &[name]);
        let chance = u32::from_be_bytes([name[0], name[1], name[2], name[3]]);
        let (mut found, mut known) = (chance % self.users.len() as u32, Choice::from(0));
        for (index, user) in (0..).zip(&self.users) {
            let same = user.name.ct_eq(&name);
            found.conditional_assign(&index, same);
            known |= same;
        }
        (known.into(), found as usize)
    }
}

impl Checks {
    /// Whether the password is right and of a user that is `known`; `None` if too many wait. Can be dropped at any time:
    /// who leaves does not make room for another check before this one is done.
    async fn check(&self, password: Vec<u8>, hash: String, known: bool, from: IpAddr) -> Option<bool> {
        let spot = self.crowd.enter(from, EACH)?;
        let queued = Arc::clone(&self.queue).try_acquire_owned().ok()?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        tokio::spawn(async move {
            let _held = (spot, queued, turn);
            let started = Instant::now();
            let work = move || {
                // Of this thread alone, as Linux has it; where it may not be, the check is as good.
                _ = rustix::process::setpriority_process(None, NICE);
                bcrypt::verify(password, &hash).unwrap_or(false)
            };
            let right = tokio::task::spawn_blocking(work).await.unwrap_or(false) && known;
            // Who asked may have left.
            _ = tell.send(right);
            if !right {
                tokio::time::sleep(started.elapsed() * REST).await;
            }
        });
        told.await.ok()
    }
}

/// The sum of some parts, none of which can be taken for a piece of another.
fn sum(key: &hmac::Key, parts: &[&[u8]]) -> Sum {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("a SHA-256 sum has 32 bytes")
}

#[cfg(test)]
mod tests;
