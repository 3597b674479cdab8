"use strict";
(() => {
  const body = document.body;
  const notice = document.getElementById("notice");
  const told = document.getElementById("told");
  // Longer than the agent lets a connection live: it hears others for most of that, and not to hear it is its own word.
  const PATIENCE = 20000;
  const pace = (of) => Math.max(2, Number(of.body.dataset.refresh) || 30) * 1000;
  const make = (of) => ["own-style", "own-script"].map((id) => of.getElementById(id)?.textContent).join();
  const made = make(document);
  let every = pace(document);
  // How far the clock here is behind the agent's; it takes the first answer to know.
  let behind = 0;
  let asked = 0;
  let asking = false;
  let last = document.getElementById("main").innerHTML;
  let title = document.title;
  // When what is shown was the latest that there is.
  let renewed = Date.now();

  const main = () => document.getElementById("main");
  const headline = (of) => (of.querySelector("h1")?.textContent || "").trim().replace(/\s+/g, " ");

  const ago = (ms) => {
    const s = Math.max(0, Math.round(ms / 1000));
    return s < 120 ? `${s} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
  };
  const age = () => {
    const at = Date.parse(main().querySelector("[data-age]")?.dataset.age || "");
    return Number.isNaN(at) ? "" : ago(Date.now() + behind - at);
  };
  const tick = () => {
    const old = age();
    for (const place of main().querySelectorAll("[data-age]")) place.textContent = old && ` (${old} ago)`;
  };
  const isOld = () => Date.now() - renewed > 2 * every;
  const entitle = (old) => { document.title = old ? `? old – ${title}` : title; };
  const say = (text) => {
    if (notice.textContent !== text) notice.textContent = text;
    body.classList.toggle("stale", text !== "");
    entitle(text !== "");
  };

  // Where the reader is: what is open, what has the focus, how far tables are scrolled, what is at the top of the window.
  const reachable = "a[href], button, summary, [tabindex='0']";
  const keyed = (key) => [...main().querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
  const place = () => {
    const open = new Map();
    const along = new Map();
    for (const one of main().querySelectorAll("details[data-key]")) open.set(one.dataset.key, one.open);
    for (const one of main().querySelectorAll(".wide[data-key]")) along.set(one.dataset.key, [one.scrollLeft, one.scrollTop]);
    const at = document.activeElement;
    const home = main().contains(at) && at.closest("[data-key]");
    const focus = home && { key: home.dataset.key, nth: at === home ? -1 : [...home.querySelectorAll(reachable)].indexOf(at) };
    const all = [...main().querySelectorAll("[data-key]")];
    const box = (one) => one.getBoundingClientRect();
    // The innermost that the window's edge cuts, else the first below it: what is read moves with it.
    const top = all.findLast((one) => box(one).top <= 0 && box(one).bottom > 0) ?? all.find((one) => box(one).bottom > 0);
    return { open, along, focus, top: top && { key: top.dataset.key, y: box(top).top } };
  };
  const back = ({ open, along, focus, top }) => {
    for (const [key, was] of open) { const one = keyed(key); if (one) one.open = was; }
    for (const [key, [left, top]] of along) { const one = keyed(key); if (one) one.scrollTo(left, top); }
    if (focus) {
      const home = keyed(focus.key);
      const one = home && (focus.nth < 0 ? home : home.querySelectorAll(reachable)[focus.nth]);
      (one || main()).focus({ preventScroll: true });
    }
    const anchor = top && window.scrollY > 0 && keyed(top.key);
    if (anchor) window.scrollBy(0, anchor.getBoundingClientRect().top - top.y);
  };

  const copy = async (code, button) => {
    let done = false;
    try { await navigator.clipboard.writeText(code.textContent); done = true; } catch {
      // Browsers keep the clipboard from pages that come without TLS; this is the old way.
      const selection = getSelection();
      selection.selectAllChildren(code);
      try { done = document.execCommand("copy"); } catch { /* it stays selected, to be copied by hand */ }
      if (done) selection.removeAllRanges();
    }
    button.textContent = done ? "Copied" : "Press Ctrl+C";
    told.textContent = done ? "The command is copied." : "The command is selected; press Control and C.";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const dress = () => {
    for (const code of main().querySelectorAll("pre.command > code")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy ${code.textContent.slice(0, 80)}`);
      button.addEventListener("click", () => copy(code, button));
      code.parentElement.after(button);
    }
    tick();
  };

  const swap = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const next = fresh.getElementById("main");
    if (!next) return "The agent's answer is not this page.";
    every = pace(fresh);
    document.getElementById("every").textContent = every / 1000;
    if (next.innerHTML !== last) {
      // Whoever is copying or choosing something is not to lose it.
      const here = getSelection();
      const selected = here && !here.isCollapsed && main().contains(here.anchorNode) && "text in it is selected";
      const held = selected || (main().querySelector("form:focus-within") && "its form is in use");
      if (held) return isOld() ? `The page is not renewed while ${held}.` : "";
    }
    renewed = Date.now();
    if (next.innerHTML === last) return "";
    // Another version of the agent: what it shows goes with its own style and script.
    if (make(fresh) !== made) { location.reload(); return ""; }
    const [before, after, was] = [headline(main()), headline(next), place()];
    last = next.innerHTML;
    main().replaceWith(document.adoptNode(next));
    title = fresh.title;
    dress();
    back(was);
    if (before !== after) told.textContent = after;
    return "";
  };
  const ask = async () => {
    if (asking || document.hidden) return;
    asking = true;
    asked = Date.now();
    let why = "";
    try {
      const answer = await fetch(location.href.split("#")[0], {
        headers: { Accept: "text/html" }, cache: "no-cache", credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE),
      });
      const clock = Date.parse(answer.headers.get("date") || "");
      if (!Number.isNaN(clock)) behind = clock - Date.now();
      const page = (answer.headers.get("content-type") || "").startsWith("text/html");
      why = page ? swap(await answer.text()) : `The agent answers ${answer.status} in place of this page.`;
    } catch {
      why = "The agent does not answer any more.";
    }
    asking = false;
    tick();
    const old = main().querySelector("time")?.textContent;
    say(why && `${why} What is shown below is old${old ? `: it was measured at ${old}` : ""}. It is asked again every ${every / 1000} s.`);
  };

  dress();
  ask();
  setInterval(() => {
    // Nobody is asked for what nobody looks at, but the title of a tab behind others is still read.
    if (document.hidden) { if (isOld()) entitle(true); return; }
    tick();
    if (Date.now() - asked >= every) ask();
  }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
