//! The pods' ends of their links, asked for from here.
//!
//! After a dump of the links every veth whose other end is in another namespace is asked about by one request, many in one
//! call ([`Pipeline`]). That takes `CAP_NET_ADMIN` and nothing else: no namespace is entered, no process of a pod looked
//! at. Where the kernel refuses all of a first batch the right is missing, and nothing more is asked. Where it refuses some,
//! those belong to another user namespace (the NIC of a node that is itself a container): they alone are unread.
//!
//! The kernel searches its list of namespaces from the start for every answer, so its own part is 6 ms for a thousand ends in
//! one namespace and 30 ms in a thousand (Linux 6.18): nothing that is done here makes that less.
//!
//! Addresses are a dump for each namespace, and one follows the other. They are wanted as evidence and never change while
//! a pod lives, so each end's are read once and kept, [`AT_ONCE`] ends in one reading at most: a node of a thousand pods has
//! all of them after a few rounds. An end that had none is asked again, since a link is there before its address.
//!
//! The kernel tells nobody outside of a change inside a pod's namespace: listening to all namespaces takes
//! `CAP_NET_BROADCAST`, which nobody should have to give for it. The next round sees the change.
//!
//! A look between rounds comes of some link's change, and where pods come and go two follow each other every second. It
//! asks about the ends whose link is new or differs in anything (an end that goes down takes its link's carrier along);
//! of all others the last answer stands until the next round asks ([`Ends`]).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use probes::fact::{Reason, Source, Unread};
use probes::kernel::pod_end::{self, Ends, PodEnds, Question, RawPodEnd};
use probes::kernel::{LinkIndex, RawMessage};

use super::channel::Fault;
use super::pipeline::{Answer, BATCH, Pipeline};
use super::{request, unread};

/// Most ends whose addresses are read in one reading.
const AT_ONCE: usize = 256;

/// What was read of ends before, and stays.
#[derive(Debug, Default)]
pub(super) struct Known {
    addresses: BTreeMap<LinkIndex, (Question, Vec<RawMessage>)>,
    answers: BTreeMap<LinkIndex, Answered>,
}

/// What an end answered, and what its link looked like then.
#[derive(Debug)]
struct Answered {
    link: u64,
    end: RawPodEnd,
}

impl Known {
    /// The ends of all veths in a dump of links.
    pub(super) fn read(&mut self, links: &[RawMessage], which: Ends) -> PodEnds {
        let veths = pod_end::questions(links);
        let asks: BTreeMap<_, _> = veths.iter().map(|(question, _)| (question.link, *question)).collect();
        self.addresses.retain(|link, (asked, _)| asks.get(link).is_some_and(|asks| asks == asked));
        let mut ends = self.kept(&veths, which);
        let open: Vec<Question> =
            veths.iter().map(|(question, _)| *question).filter(|asked| !ends.contains_key(&asked.link)).collect();
        if !open.is_empty() {
            let mut pipeline = Pipeline::open()
                .map_err(|error| unread(Source::PodEnds, "rtnetlink socket", &Fault::Closed(error.to_string())))?;
            let strict = pipeline.strict();
            let fresh = ask(&mut pipeline, &open, ends.is_empty())?;
            if strict {
                self.take_addresses(&mut pipeline, &fresh);
            }
            ends.extend(fresh.into_iter().map(|end| (end.question.link, end)));
        }
        self.keep(&veths, &ends);
        for end in ends.values_mut() {
            let known = self.addresses.get(&end.question.link);
            end.addresses = known.map(|(_, rows)| rows.clone()).unwrap_or_default();
        }
        Ok(ends.into_values().collect())
    }

    /// What need not be asked again. Whose addresses are not known is asked again, for they may have come meanwhile.
    fn kept(&mut self, veths: &[(Question, &RawMessage)], which: Ends) -> BTreeMap<LinkIndex, RawPodEnd> {
        let mut answers = std::mem::take(&mut self.answers);
        if which == Ends::All {
            return BTreeMap::new();
        }
        let stands = |(question, link): &(Question, &RawMessage)| {
            let Answered { link: looked, end } = answers.remove(&question.link)?;
            let addressed = self.addresses.get(&question.link).is_some_and(|(_, rows)| !rows.is_empty());
            (looked == looks(link) && end.question == *question && addressed).then_some((question.link, end))
        };
        veths.iter().filter_map(stands).collect()
    }

    /// Keeps what was answered. A pod that was gone, or a failure, is asked again.
    fn keep(&mut self, veths: &[(Question, &RawMessage)], ends: &BTreeMap<LinkIndex, RawPodEnd>) {
        let answered = veths.iter().filter_map(|(question, link)| {
            let end = ends.get(&question.link).filter(|end| matches!(end.answer, Ok(Some(_))))?;
            Some((question.link, Answered { link: looks(link), end: end.clone() }))
        });
        self.answers = answered.collect();
    }

    /// Reads the addresses of ends that none are known of, those first that were never asked.
    fn take_addresses(&mut self, pipeline: &mut Pipeline, ends: &[RawPodEnd]) {
        let there = ends.iter().filter(|end| matches!(end.answer, Ok(Some(_)))).map(|end| end.question);
        let mut bare: Vec<(bool, Question)> = there
            .filter_map(|question| match self.addresses.get(&question.link) {
                None => Some((false, question)),
                Some((_, rows)) => rows.is_empty().then_some((true, question)),
            })
            .collect();
        bare.sort_by_key(|&(asked, _)| asked);
        for (_, question) in bare.into_iter().take(AT_ONCE) {
            // They are evidence and nothing hangs on them: one that cannot be read is read in the next round.
            if let Ok(rows) = pipeline.dump(&request::addresses_of(question)) {
                self.addresses.insert(question.link, (question, rows));
            }
        }
    }
}

/// What a link looks like, in short. Counters of its traffic are not asked for.
fn looks(link: &RawMessage) -> u64 {
    let mut hasher = DefaultHasher::new();
    link.body.hash(&mut hasher);
    hasher.finish()
}

/// Asks about these ends, a batch at a time. `may_lack`: nothing says yet that the right is there.
fn ask(pipeline: &mut Pipeline, questions: &[Question], may_lack: bool) -> PodEnds {
    let mut ends = Vec::with_capacity(questions.len());
    for (number, questions) in questions.chunks(BATCH).enumerate() {
        let messages: Vec<_> = questions.iter().map(|&question| request::pod_end(question)).collect();
        let answers = pipeline.ask(&messages);
        if may_lack && number == 0 && answers.iter().all(is_refused) {
            return Err(refused());
        }
        let end = |(&question, answer)| RawPodEnd { question, answer: found(answer), addresses: Vec::new() };
        ends.extend(questions.iter().zip(answers).map(end));
    }
    Ok(ends)
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Err(Fault::Errno(libc::EPERM | libc::EACCES)))
}

fn refused() -> Unread {
    Unread::new(Source::PodEnds, Reason::Denied { needs: super::NEEDS.into() })
}

/// A pod that went away between dump and question takes its link along, and its namespace or the namespace's number.
fn found(answer: Answer) -> Result<Option<RawMessage>, Unread> {
    match answer {
        Err(Fault::Errno(libc::ENODEV | libc::EINVAL | libc::ESRCH)) => Ok(None),
        Err(fault) => Err(unread(Source::PodEnds, "RTM_GETLINK with IFLA_TARGET_NETNSID", &fault)),
        Ok(message) => Ok(Some(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_gone_is_no_failure_and_a_refusal_names_the_right() {
        for errno in [libc::ENODEV, libc::EINVAL, libc::ESRCH] {
            assert_eq!(found(Err(Fault::Errno(errno))), Ok(None));
        }
        for errno in [libc::EPERM, libc::EACCES] {
            assert_eq!(found(Err(Fault::Errno(errno))), Err(refused()));
        }
        let lost = found(Err(Fault::Lost)).unwrap_err();
        assert!(lost.to_string().contains("IFLA_TARGET_NETNSID"), "{lost}");
    }

    const ASKED: Question = Question { link: LinkIndex(7), namespace: 1, end: LinkIndex(2) };

    fn message(body: &[u8]) -> RawMessage {
        RawMessage { kind: 16, body: body.to_vec() }
    }

    /// What need not be asked again of an end with an address that gave this answer while its link looked like `[1]`.
    fn kept(answer: Result<Option<RawMessage>, Unread>, now: Question, link: &[u8], which: Ends) -> usize {
        let mut known = Known::default();
        known.addresses.insert(ASKED.link, (ASKED, vec![message(&[9])]));
        let end = RawPodEnd { question: ASKED, answer, addresses: Vec::new() };
        known.keep(&[(ASKED, &message(&[1]))], &BTreeMap::from([(ASKED.link, end)]));
        known.kept(&[(now, &message(link))], which).len()
    }

    #[test]
    fn an_end_is_asked_again_by_every_round_and_when_its_link_differs() {
        let answer = || Ok(Some(message(&[5])));
        assert_eq!(kept(answer(), ASKED, &[1], Ends::Changed), 1);
        assert_eq!(kept(answer(), ASKED, &[1], Ends::All), 0);
        assert_eq!(kept(answer(), ASKED, &[2], Ends::Changed), 0, "its carrier went");
        assert_eq!(kept(answer(), Question { namespace: 3, ..ASKED }, &[1], Ends::Changed), 0, "it moved");
        assert_eq!(kept(Ok(None), ASKED, &[1], Ends::Changed), 0, "it was gone");
        assert_eq!(kept(Err(refused()), ASKED, &[1], Ends::Changed), 0, "it failed");
    }

    #[test]
    fn an_end_without_addresses_is_asked_again() {
        let mut known = Known::default();
        let end = RawPodEnd { question: ASKED, answer: Ok(Some(message(&[5]))), addresses: Vec::new() };
        let veth = [(ASKED, &message(&[1]))];
        known.keep(&veth, &BTreeMap::from([(ASKED.link, end)]));
        assert!(known.kept(&veth, Ends::Changed).is_empty());
    }

    #[test]
    fn what_is_known_of_an_end_goes_with_it() {
        let question = |link, namespace| Question { link: LinkIndex(link), namespace, end: LinkIndex(2) };
        let mut known = Known::default();
        known.addresses.insert(LinkIndex(7), (question(7, 1), Vec::new()));
        assert!(known.read(&[], Ends::All).unwrap().is_empty() && known.addresses.is_empty());
    }
}
