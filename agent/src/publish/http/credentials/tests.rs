use super::*;

/// The least cost: what is proven here does not hang on how long it takes.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn credentials(users: &[(&str, &str)], tokens: &[&str]) -> Credentials {
    let users: Vec<_> = users.iter().map(|(name, password)| ((*name).to_owned(), hash(password))).collect();
    let tokens: Vec<_> = tokens.iter().map(|token| (*token).to_owned()).collect();
    Credentials::new(&users, &tokens, &Arc::default()).unwrap().unwrap()
}

fn basic(pair: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).unwrap()
}

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 12));

async fn look(credentials: &Credentials, shown: &str) -> Verdict {
    credentials.look(Some(&HeaderValue::from_str(shown).unwrap()), FROM).await
}

#[tokio::test]
async fn a_user_with_the_password_is_let_in_and_nobody_else() {
    let credentials = credentials(&[("alice", "one:two"), ("bob", "three")], &[]);
    for (pair, wanted) in [
        ("alice:one:two", Verdict::Good),
        ("bob:three", Verdict::Good),
        ("alice:three", Verdict::Bad),
        ("bob:", Verdict::Bad),
        ("carol:three", Verdict::Bad),
        ("carol:one:two", Verdict::Bad),
        (":three", Verdict::Bad),
        ("Bob:three", Verdict::Bad),
        ("bob", Verdict::Bad),
    ] {
        assert_eq!(credentials.look(Some(&basic(pair)), FROM).await, wanted, "{pair}");
    }
    for shown in ["Basic", "Basic !!!", "basic ", "Digest x", "Bearer three", "Basic Ym9iOnRocmVl extra"] {
        assert_eq!(look(&credentials, shown).await, Verdict::Bad, "{shown}");
    }
    assert_eq!(look(&credentials, "bAsIc  Ym9iOnRocmVl").await, Verdict::Good, "schemes have no case (RFC 9110, 11.1)");
    assert_eq!(credentials.look(None, FROM).await, Verdict::Bad);
}

#[tokio::test]
async fn any_of_the_tokens_will_do() {
    let credentials = credentials(&[], &["0123456789abcdef", "fedcba9876543210"]);
    for (shown, wanted) in [
        ("Bearer 0123456789abcdef", Verdict::Good),
        ("bearer fedcba9876543210", Verdict::Good),
        ("Bearer fedcba9876543211", Verdict::Bad),
        ("Bearer 0123456789abcde", Verdict::Bad),
        ("Bearer ", Verdict::Bad),
        ("Basic MDEyMzQ1Njc4OWFiY2RlZg==", Verdict::Bad),
    ] {
        assert_eq!(look(&credentials, shown).await, wanted, "{shown}");
    }
}

/// What the schemes in `WWW-Authenticate` are.
#[test]
fn only_what_would_be_taken_is_asked_for() {
    let schemes = |users: &[(&str, &str)], tokens: &[&str]| credentials(users, tokens).schemes().count();
    assert_eq!((schemes(&[("a", "b")], &[]), schemes(&[], &["x"]), schemes(&[("a", "b")], &["x"])), (1, 1, 2));
    assert!(Credentials::new(&[], &[], &Arc::default()).unwrap().is_none());
}

#[tokio::test]
async fn a_password_that_was_right_is_not_checked_again() {
    let credentials = credentials(&[("bob", "three")], &[]);
    assert_eq!(credentials.look(Some(&basic("bob:three")), FROM).await, Verdict::Good);
    // Nobody gets a turn from here on.
    credentials.checks.turn.close();
    assert_eq!(credentials.look(Some(&basic("bob:three")), FROM).await, Verdict::Good);
    assert_eq!(credentials.look(Some(&basic("bob:four")), FROM).await, Verdict::Busy, "which needs a check");
    assert_eq!(credentials.look(Some(&basic("eve:three")), FROM).await, Verdict::Busy, "as one of nobody does");
}

#[tokio::test(start_paused = true)]
async fn who_is_unknown_is_checked_like_who_is_known() {
    // Of two users, each of whom stands in for some of those who do not exist.
    let credentials = credentials(&[("alice", "one"), ("bob", "two")], &[]);
    let stand_ins: Vec<_> = (0..64).map(|n| credentials.find(format!("user{n}").as_bytes())).collect();
    assert!(stand_ins.iter().all(|(known, _)| !known));
    assert!(stand_ins.iter().any(|(_, index)| *index == 0) && stand_ins.iter().any(|(_, index)| *index == 1));
    let again: Vec<_> = (0..64).map(|n| credentials.find(format!("user{n}").as_bytes())).collect();
    assert_eq!(stand_ins, again, "or it would be told by asking twice");
    // The stand-in's own password lets nobody in.
    for name in ["user1", "user2", "user3", "user4"] {
        for password in ["one", "two"] {
            assert_eq!(credentials.look(Some(&basic(&format!("{name}:{password}"))), FROM).await, Verdict::Bad);
        }
    }
}

#[tokio::test]
async fn guessing_is_one_at_a_time_and_the_rest_are_sent_away() {
    let credentials = Arc::new(credentials(&[("bob", "three")], &[]));
    let held = Arc::clone(&credentials.checks.turn).acquire_owned().await.unwrap();
    let guess = |from: [u8; 4]| {
        let credentials = Arc::clone(&credentials);
        tokio::spawn(async move { credentials.look(Some(&basic("bob:guess")), from.into()).await })
    };
    let mut waiting = Vec::new();
    for client in 0..QUEUE / EACH {
        waiting.extend((0..EACH).map(|_| guess([10, 0, 1, client as u8])));
    }
    while credentials.checks.queue.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(guess([10, 0, 2, 1]).await.unwrap(), Verdict::Busy, "all that may wait do");
    waiting.pop().unwrap().abort();
    while credentials.checks.queue.available_permits() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(guess([10, 0, 1, 0]).await.unwrap(), Verdict::Busy, "this client has its share");
    drop(held);
    for guess in waiting {
        assert_eq!(guess.await.unwrap(), Verdict::Bad);
    }
}

#[tokio::test]
async fn who_leaves_makes_no_room_before_the_check_is_done() {
    let credentials = Arc::new(credentials(&[("bob", "three")], &[]));
    let shown = basic("bob:guess");
    let mut look = Box::pin(credentials.look(Some(&shown), FROM));
    // Until the check has its turn, and no further.
    while credentials.checks.turn.available_permits() > 0 {
        assert!(futures_util::poll!(look.as_mut()).is_pending());
    }
    drop(look);
    assert_eq!(credentials.checks.turn.available_permits(), 0);
    let turn = credentials.checks.turn.acquire().await.unwrap();
    assert_eq!(credentials.checks.queue.available_permits(), QUEUE);
    drop(turn);
}
