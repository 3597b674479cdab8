//! Cards of other agents: one small GET each, beside everything else.
//!
//! What comes of one is told as it is; [`probes::card`] says what it means.

use std::future;
use std::time::Duration;

use probes::card::{BYTES, PATH};
use probes::node::cards::{Answered, Ask};
use tokio::task::JoinSet;

use super::call::{self, Limits, Terms};

/// What one card may take.
const LIMITS: Limits = Limits { time: Duration::from_secs(3), body: BYTES };

/// Questions under way.
#[derive(Debug, Default)]
pub struct Cards {
    tasks: JoinSet<Answered>,
}

impl Cards {
    /// Asks one agent.
    pub fn ask(&mut self, ask: Ask, terms: Terms) {
        self.tasks.spawn(answer(ask, terms));
    }

    /// The next answer; never, while none is awaited. Can be dropped at any time.
    pub async fn next(&mut self) -> Answered {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(answered)) => return answered,
                Some(Err(error)) => tracing::error!(%error, "a question for a card is lost"),
                None => future::pending().await,
            }
        }
    }
}

/// Whoever answers first of its addresses, or why the last one does not.
async fn answer(ask: Ask, terms: Terms) -> Answered {
    let mut gave = Err("it has no address".to_owned());
    for to in ask.to {
        gave = match call::get(to, PATH, "application/json", LIMITS, &terms).await {
            Ok(card) => Ok(card.to_vec()),
            Err(failed) => Err(failed.to_string()),
        };
        if gave.is_ok() {
            break;
        }
    }
    Answered { peer: ask.peer, gave }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    /// What a node gets to hear of a peer that listens here.
    fn asked(to: Vec<SocketAddr>) -> Answered {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut cards = Cards::default();
            cards.ask(Ask { peer: "master-2".into(), to }, Terms::default());
            cards.next().await
        })
    }

    #[test]
    fn the_first_address_that_answers_is_believed() {
        let (closed, listener) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let to = vec![closed.local_addr().unwrap(), listener.local_addr().unwrap()];
        drop(closed);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 9];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            // Until it is read: to close with a request unread is to reset.
            _ = stream.read_to_end(&mut Vec::new());
            asked
        });
        let answered = asked(to);
        assert_eq!(answered, Answered { peer: "master-2".into(), gave: Ok(b"{}".to_vec()) });
        assert_eq!(&server.join().unwrap(), b"GET /node");
    }

    #[test]
    fn nobody_there_is_said() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let why = asked(vec![closed]).gave.unwrap_err();
        assert!(why.starts_with(&format!("cannot connect to {closed}")), "{why}");
        assert_eq!(asked(Vec::new()).gave, Err("it has no address".into()));
    }
}
