//! Accepting connections within bounds.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Bounds, Site, pages};

/// Pause after a failed accept: without one, running out of file descriptors would spin.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `site` for as long as the future lives.
///
/// # Errors
/// If the listening socket cannot be used at all.
pub async fn serve(listener: std::net::TcpListener, site: Site, bounds: Bounds) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = pages::router(Arc::new(site));
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => _ = tokio::spawn(connection(stream, router.clone(), bounds, place)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, bounds: Bounds, place: OwnedSemaphorePermit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(bounds.head_time)
        .max_headers(bounds.headers)
        .max_buf_size(bounds.head_bytes);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(bounds.connection_time, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection failed"),
        Err(_) => tracing::debug!("an HTTP connection took too long and was dropped"),
    }
    drop(place);
}
