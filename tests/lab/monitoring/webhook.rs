//! Whoever is told: a server that takes Alertmanager's notifications and keeps them in order.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::namespace::Namespace;
use crate::wait::{self, Look};
use crate::{Error, Result};

/// Whether an alert fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It does.
    Firing,
    /// It did.
    Resolved,
}

/// What Alertmanager sends: a group of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Firing while one of its alerts is.
    pub status: Status,
    /// The receiver that the route chose.
    pub receiver: String,
    /// The labels that all its alerts share by the route's grouping.
    pub group_labels: BTreeMap<String, String>,
    /// Its alerts.
    pub alerts: Vec<Alert>,
}

/// One alert, as whoever is on call is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Whether it fires.
    pub status: Status,
    /// Its labels, `alertname` and `severity` among them.
    pub labels: BTreeMap<String, String>,
    /// Its texts.
    pub annotations: BTreeMap<String, String>,
    /// When it began to fire.
    pub starts_at: String,
    /// Which alert it is: the same for firing and resolved.
    pub fingerprint: String,
}

impl Alert {
    /// A label, empty if there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }

    /// A text, empty if there is none.
    pub fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Firing => "firing",
            Status::Resolved => "resolved",
        };
        write!(f, "{status} {:?}: {}", self.labels, self.annotation("summary"))
    }
}

/// A webhook that listens. It ends with this value.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    _end: oneshot::Sender<()>,
}

/// What has arrived.
#[derive(Debug, Default)]
struct Told {
    notifications: Vec<Notification>,
    /// Why something that arrived was no notification.
    garbage: Option<String>,
}

impl Webhook {
    /// Listens on a loopback.
    ///
    /// # Errors
    /// If it cannot.
    pub fn start(place: &Namespace) -> Result<Self> {
        let failed = |error: io::Error| Error::new("starting the webhook", error);
        let listener = place.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let told = Arc::<Mutex<Told>>::default();
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(&told);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    served = accept(listener, shared) => served,
                    _ = ended => Ok(()),
                }
            })
        };
        thread::Builder::new().name("webhook".into()).spawn(serve).map_err(failed)?;
        Ok(Self { address, told, _end: end })
    }

    /// Where Alertmanager posts to.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Everything that has arrived, in its order.
    ///
    /// # Errors
    /// If something else than a notification has.
    pub fn notifications(&self) -> Result<Vec<Notification>> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match &told.garbage {
            Some(why) => Err(Error::new("reading what Alertmanager sent", why)),
            None => Ok(told.notifications.clone()),
        }
    }

    /// The alerts of everything that has arrived, in its order.
    ///
    /// # Errors
    /// As [`Self::notifications`].
    pub fn alerts(&self) -> Result<Vec<Alert>> {
        Ok(self.notifications()?.into_iter().flat_map(|notification| notification.alerts).collect())
    }

    /// The alerts that fire by what was told last of each.
    ///
    /// # Errors
    /// As [`Self::notifications`].
    pub fn firing(&self) -> Result<Vec<Alert>> {
        let last: BTreeMap<_, _> = self.alerts()?.into_iter().map(|alert| (alert.fingerprint.clone(), alert)).collect();
        Ok(last.into_values().filter(|alert| alert.status == Status::Firing).collect())
    }

    /// Waits until the alerts that have arrived are as wanted, and returns them.
    ///
    /// # Errors
    /// If they never are in time, with what has arrived; or if something else than a notification has.
    pub fn until(&self, what: &str, there: impl FnMut(&[Alert]) -> bool) -> Result<Vec<Alert>> {
        self.until_after(Duration::ZERO, what, there)
    }

    /// The same for what may rightly take as long as `pause` by itself.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn until_after(
        &self,
        pause: Duration,
        what: &str,
        mut there: impl FnMut(&[Alert]) -> bool,
    ) -> Result<Vec<Alert>> {
        wait::until_after(pause, what, || {
            let alerts = self.alerts()?;
            Ok(if there(&alerts) { Look::There(alerts) } else { Look::NotYet(shown(&alerts)) })
        })
    }

    /// Forgets what has arrived.
    pub fn forget(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Told::default();
    }
}

fn shown(alerts: &[Alert]) -> String {
    if alerts.is_empty() { "nothing".into() } else { alerts.iter().map(|alert| format!("\n  {alert}")).collect() }
}

async fn accept(listener: TcpListener, told: Arc<Mutex<Told>>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            let service = service_fn(|request| take(request, &told));
            // However a connection ends, what has arrived is what the test looks at.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    told: &Mutex<Told>,
) -> std::result::Result<Response<Empty<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string());
    let read = body.and_then(|body| read(&body));
    let status = if read.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    match read {
        Ok(notification) => told.notifications.push(notification),
        Err(why) => told.garbage = Some(why),
    }
    let mut answer = Response::new(Empty::new());
    *answer.status_mut() = status;
    Ok(answer)
}

fn read(body: &[u8]) -> std::result::Result<Notification, String> {
    serde_json::from_slice(body).map_err(|error| format!("{error} in {}", String::from_utf8_lossy(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_alertmanager_sends() {
        let body = br#"{"receiver":"webhook","status":"resolved","alerts":[{"status":"resolved","labels":{"alertname":"A",
            "node":"n"},"annotations":{"summary":"It was."},"startsAt":"2026-01-01T00:00:00Z","endsAt":
            "2026-01-01T00:00:09Z","generatorURL":"http://x/graph","fingerprint":"f"}],"groupLabels":{"alertname":"A"},
            "commonLabels":{},"commonAnnotations":{},"externalURL":"http://y","version":"4","groupKey":"{}","truncatedAlerts":0}"#;
        let Notification { status, group_labels, alerts, .. } = read(body).unwrap();
        assert_eq!((status, group_labels["alertname"].as_str()), (Status::Resolved, "A"));
        assert_eq!(alerts[0].to_string(), r#"resolved {"alertname": "A", "node": "n"}: It was."#);
        assert!(read(b"{}").unwrap_err().contains("missing field"));
    }
}
