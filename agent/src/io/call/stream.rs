//! A connection to another agent, in the clear or over TLS as [`Terms`] want it.

use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Terms;

/// What HTTP goes over.
pub(in crate::io) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Goes over to TLS on a connection that stands, if the terms want it.
///
/// # Errors
/// What is wrong with the other side, in words.
pub(in crate::io) async fn over(stream: TcpStream, to: SocketAddr, terms: &Terms) -> Result<Box<dyn Stream>, String> {
    let Some(tls) = terms.tls() else { return Ok(Box::new(stream)) };
    let connector = TlsConnector::from(tls.config());
    match connector.connect(tls.name_of(to), stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(format!("no TLS with {to}: {}", why(&error))),
    }
}

/// What a handshake failed of, and what to look at.
fn why(error: &io::Error) -> String {
    let Some(cause) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection; does it serve TLS (web.config_file)?".into(),
            _ => error.to_string(),
        };
    };
    let check = match cause {
        Error::InvalidMessage(_) => "it does not speak TLS; has it a web.config_file?",
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is by nobody in agents.tls.ca_file"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is made out to another name; see agents.tls.server_name",
        Error::AlertReceived(
            AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::CertificateRequired,
        ) => "it does not take this agent's certificate; see agents.tls.cert_file",
        _ => return cause.to_string(),
    };
    format!("{cause}: {check}")
}

/// What went wrong after the connection stood, the error and what is behind it: the first alone often says no more than
/// that something failed.
pub(in crate::io) fn in_words(error: &hyper::Error, terms: &Terms) -> String {
    let said = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let unasked = error.is_parse() || error.is_incomplete_message();
    if unasked && terms.tls().is_none() {
        return format!("{said}; if it serves TLS, this agent needs agents.tls");
    }
    said
}
