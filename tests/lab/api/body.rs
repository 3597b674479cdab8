//! Bodies of answers: whole, or line by line for as long as a watch goes on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// A body.
#[derive(Debug)]
pub(super) enum Lines {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// What comes from whoever watches; an error breaks the connection.
    Coming(mpsc::Receiver<io::Result<Bytes>>),
}

impl Lines {
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Coming(lines) => lines.poll_recv(context).map(|line| line.map(|line| line.map(Frame::data))),
        }
    }
}
