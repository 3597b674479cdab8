//! Silence and outage, in a runtime whose clock runs on whenever server and client have nothing to do.
//!
//! On a busy machine the kernel may hold a packet back for a moment, in which the clock runs on to the next deadline: a
//! request is then given up that was about to be answered. So nothing here hangs on how often something was asked.

use std::future::Future;

use lab::api::{Fault, Verb};
use tokio::time::{Instant, sleep, timeout};

use super::*;

/// Runs a test in which an hour passes in a moment.
fn hastened<F: Future<Output = ()>>(test: impl FnOnce(Api, watch::Receiver<Announced>) -> F) {
    let scratch = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let api = Api::start_here(loopback()).unwrap();
        api.put(one());
        let wanted = by(api.kubeconfig(scratch.path(), None).unwrap());
        let (_orders, ordered) = watch::channel(Some(wanted));
        let (tell, told) = watch::channel(Announced::default());
        tokio::select! {
            why = kubernetes::watch(ordered, Pod::default(), tell) => panic!("it ended: {why}"),
            () = test(api, told) => {}
        }
    });
}

/// Waits for what is announced to be so, for an hour at most.
async fn until(told: &mut watch::Receiver<Announced>, holds: impl FnMut(&Announced) -> bool) -> Announced {
    let there = timeout(60 * MINUTE, told.wait_for(holds)).await;
    there.expect("it is so within an hour").expect("somebody asks").clone()
}

fn fine(nodes: usize) -> impl FnMut(&Announced) -> bool {
    move |announced| announced.failing.is_none() && names(announced).is_some_and(|names| names.len() == nodes)
}

fn says(word: &'static str) -> impl FnMut(&Announced) -> bool {
    move |announced| announced.failing.as_ref().is_some_and(|unread| unread.to_string().contains(word))
}

#[test]
fn an_hour_of_outage_takes_nobody_away_and_passes() {
    hastened(|api, mut told| async move {
        let before = until(&mut told, fine(1)).await;
        api.close();
        until(&mut told, says("can be reached")).await;
        sleep(60 * MINUTE).await;
        let after = told.borrow().clone();
        assert_eq!((names(&after), after.heard), (Some(vec!["master-2"]), before.heard));
        assert!(after.failing.is_some());
        api.put(two());
        api.expire();
        api.open();
        let started = Instant::now();
        until(&mut told, fine(2)).await;
        assert!(started.elapsed() < 5 * MINUTE, "it came back after {:?}", started.elapsed());
    });
}

#[test]
fn an_hour_of_refusals_is_few_requests() {
    hastened(|api, mut told| async move {
        until(&mut told, fine(1)).await;
        api.always(Some(Fault::status(503, "ServiceUnavailable")));
        api.cut();
        until(&mut told, says("503")).await;
        let before = api.requests().len();
        sleep(60 * MINUTE).await;
        let asked = api.requests().len() - before;
        assert!((20..360).contains(&asked), "{asked}");
        assert_eq!(names(&told.borrow()), Some(vec!["master-2"]));
        api.always(None);
        until(&mut told, fine(1)).await;
    });
}

#[test]
fn a_watch_that_says_nothing_any_more_is_noticed() {
    hastened(|api, mut told| async move {
        until(&mut told, fine(1)).await;
        api.next(Verb::Watch, Fault::Silence);
        api.cut();
        until(&mut told, says("nothing came for 150 s")).await;
        api.put(two());
        until(&mut told, fine(2)).await;
    });
}

#[test]
fn a_request_that_is_never_answered_is_given_up() {
    hastened(|api, mut told| async move {
        until(&mut told, fine(1)).await;
        api.next(Verb::Watch, Fault::Hang);
        api.cut();
        until(&mut told, says("nothing came for 30 s")).await;
        api.put(two());
        until(&mut told, fine(2)).await;
    });
}

#[test]
fn a_streamed_list_that_does_not_come_is_asked_for_in_chunks() {
    hastened(|api, mut told| async move {
        api.next(Verb::Stream, Fault::Silence);
        until(&mut told, fine(1)).await;
        assert!(api.count(Verb::List) > 0);
    });
}

#[test]
fn a_watch_whose_time_is_up_is_resumed_and_is_a_sign_of_life() {
    hastened(|api, mut told| async move {
        let heard = until(&mut told, fine(1)).await.heard;
        let beating = async {
            loop {
                sleep(MINUTE).await;
                api.bookmark();
            }
        };
        tokio::select! {
            () = beating => {}
            () = sleep(60 * MINUTE) => {}
        }
        let after = until(&mut told, fine(1)).await;
        assert!(after.heard >= heard + 20, "{after:?}");
        assert!(api.count(Verb::Watch) >= 5, "one every ten minutes at least");
    });
}

#[test]
fn asking_once_ends_in_time() {
    hastened(|api, mut told| async move {
        until(&mut told, fine(1)).await;
        let scratch = tempfile::tempdir().unwrap();
        let wanted = by(api.kubeconfig(scratch.path(), None).unwrap());
        api.always(Some(Fault::Hang));
        let announced = kubernetes::once(&wanted, &Pod::default(), Duration::from_secs(5)).await;
        assert_eq!(announced.endpoints, None);
        assert!(announced.failing.unwrap().to_string().contains("no list of endpoints within 5 s"));
    });
}
