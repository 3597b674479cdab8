//! `/` as browsers and others ask for it.

use super::*;

/// As Chromium says it.
const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n";

fn header(answer: &str, name: &str) -> Option<String> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
}

fn running() -> Running {
    let server = start(Bounds::default());
    server.publish.send_replace(Some(Arc::new(example::published())));
    server
}

#[test]
fn a_browser_gets_a_page_that_may_do_nothing_else() {
    let server = running();
    let answer = request(&server, "GET", "/", BROWSER);
    assert_eq!(status(&answer), "200");
    for (name, wanted) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "private, no-cache"),
        ("vary", "accept"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(header(&answer, name).as_deref(), Some(wanted), "{name}");
    }
    let policy = header(&answer, "content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(answer.contains("master-1") && answer.trim_end().ends_with("</html>"));
}

#[test]
fn everything_else_gets_the_list_and_either_can_say_what_it_wants() {
    let server = running();
    for (path, headers, html) in [
        ("/", "", false),
        ("/", "Accept: */*\r\n", false),
        ("/?format=html", "Accept: */*\r\n", true),
        ("/?format=text", BROWSER, false),
    ] {
        let answer = request(&server, "GET", path, headers);
        assert_eq!(answer.contains("<html"), html, "{path} {headers}");
        assert!(html || answer.contains("/report?format=text   the same for people"), "{answer}");
        assert_eq!(header(&answer, "vary").as_deref(), Some("accept"), "a cache would mix them up");
    }
    assert_eq!(status(&request(&server, "GET", "/?format=xml", BROWSER)), "400");
}

#[test]
fn the_same_round_is_sent_once_and_the_next_one_again() {
    let server = running();
    let tag = header(&request(&server, "GET", "/", BROWSER), "etag").unwrap();
    let again = format!("{BROWSER}If-None-Match: {tag}\r\n");
    let answer = request(&server, "GET", "/", &again);
    assert_eq!((status(&answer), header(&answer, "etag")), ("304", Some(tag)));
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(status(&request(&server, "GET", "/?format=text", &again)), "200", "the list is another document");
    let mut next = example::published();
    Arc::make_mut(&mut next.report).generated_at += jiff::ToSpan::seconds(30);
    server.publish.send_replace(Some(Arc::new(next)));
    assert_eq!(status(&request(&server, "GET", "/", &again)), "200", "a new round is not shown");
}

#[test]
fn before_the_first_round_a_browser_is_told_to_come_again() {
    let server = start(Bounds::default());
    let answer = request(&server, "GET", "/", BROWSER);
    assert_eq!((status(&answer), header(&answer, "retry-after").as_deref()), ("503", Some("3")));
    assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
    assert!(answer.contains("the first round is not finished") && answer.contains("http-equiv=\"refresh\""));
    assert!(header(&answer, "content-security-policy").is_some());
}

#[test]
fn icons_are_kept_and_everything_else_is_asked_for() {
    let server = start(Bounds::default());
    for (path, kind) in [("/favicon.svg", "image/svg+xml"), ("/favicon.ico", "image/x-icon")] {
        let answer = request(&server, "HEAD", path, "");
        assert_eq!((status(&answer), header(&answer, "content-type").as_deref()), ("200", Some(kind)));
        assert_eq!(header(&answer, "cache-control").as_deref(), Some("public, max-age=86400"));
    }
}

#[test]
fn the_list_and_the_page_name_what_is_served() {
    let server = running();
    for (path, _) in crate::publish::page::ENDPOINTS {
        let wanted = if path == probes::transfer::PATH { "403" } else { "200" };
        assert_eq!(status(&request(&server, "GET", path, "")), wanted, "{path}");
    }
}
