// What a page that stays open owes its reader: it follows its agent at the agent's pace and keeps his place, and where it
// does not follow, it says so, in its title as well.
//
// A real page of a real agent. Its time is the check's, which lets it pass by the second; answers to what it asks are
// changed on their way, so that each is news.

import { DEADLINE, look, must } from './watch.mjs';

/** What it complains of, seen or not. */
const alert = (page) => page.getByRole('alert', { includeHidden: true }).textContent();

/** A page whose answers are the agent's, changed by `tab.change`, and whose time is `tab`'s. */
class Tab {
  constructor() {
    Object.assign(this, { change: (text) => text, asked: 0, gone: false, under: new Set() });
  }

  /** Puts itself between the page and its agent. */
  async between(context) {
    const now = Date.now();
    await context.clock.install({ time: now });
    await context.clock.pauseAt(now + 60_000);
    await context.route((url) => !url.pathname.startsWith('/favicon'), (route) => this.held(this.answer(route)));
    return context;
  }

  async held(work) {
    this.under.add(work);
    await work.finally(() => this.under.delete(work));
  }

  async answer(route) {
    const isLoad = route.request().isNavigationRequest();
    this.asked += isLoad ? 0 : 1;
    if (this.gone) return route.abort('connectionrefused');
    const response = await route.fetch();
    const text = await response.text();
    return route.fulfill({ response, body: isLoad ? text : this.change(text, this.asked) });
  }

  /** Lets so many seconds pass, each with all that is asked in it. */
  async pass(page, seconds) {
    for (let at = 0; at < seconds; at += 1) {
      await page.clock.runFor(1000);
      await this.settled();
    }
  }

  /** What is asked is answered. */
  async settled() {
    while (this.under.size > 0) await Promise.allSettled(this.under);
  }

  /** Lets time pass until `there` holds in the page. */
  async until(page, what, there, given) {
    const end = Date.now() + DEADLINE;
    while (!(await page.evaluate(there, given))) {
      must(Date.now() < end, `it never happens: ${what}; the title is \`${await page.title()}\`, the alert \`${await alert(page)}\``);
      await this.pass(page, 1);
    }
  }
}

/** Opens a page in a time of its own, and holds `check` against it. */
async function open(session, url, options, what, check) {
  const tab = new Tab();
  const browser = { newContext: async (more) => tab.between(await session.browser.newContext(more)) };
  await look({ ...session, browser }, url, options, what, async (page, watched) => {
    try {
      await check(page, tab, watched);
    } finally {
      // A page that is closed answers nothing.
      await tab.settled();
    }
  });
}

/** Answers that are news each time, by a line below the headline. */
const news = (text, nth) => text.replace('</h1>', `</h1><p>News ${nth}.</p>`);
const isNew = () => /News \d/.test(document.querySelector('main').innerText);
const pace = (page) => page.evaluate(() => Number(document.body.dataset.refresh));

/** A page that cannot be renewed for what its reader does says so once it is old, and is renewed when he is done. */
export async function holds(session, { url, cluster }) {
  const cases = [
    [url, 'text in it is selected', () => getSelection().selectAllChildren(document.querySelector('h1')), () => getSelection().removeAllRanges()],
    [cluster, 'its form is in use', () => document.querySelector('form select, form input').focus(), () => document.activeElement.blur()],
  ];
  for (const [at, why, hold, release] of cases) {
    await open(session, at, {}, `while ${why}`, async (page, tab) => {
      const title = await page.title();
      const every = await pace(page);
      await tab.pass(page, 1);
      await page.evaluate(hold);
      tab.change = news;
      await tab.pass(page, every + 1);
      must((await alert(page)) === '', `it complains at once: ${await alert(page)}`);
      await tab.until(page, 'that it says why it is old', (why) => document.getElementById('notice').textContent.includes(`not renewed while ${why}`), why);
      must(!(await page.evaluate(isNew)), 'it was renewed under its reader');
      must((await page.title()) === `? old – ${title}`, `its title is ${await page.title()}`);
      await page.evaluate(release);
      await tab.until(page, 'that it is renewed', isNew);
      must((await alert(page)) === '' && (await page.title()) === title, `it still complains: ${await page.title()}, ${await alert(page)}`);
    });
  }
}

/** The title tells that the agent is gone, and that nobody asks it while the page is hidden for long. */
export async function titled(session, { url }) {
  await open(session, url, {}, 'titles', async (page, tab, watched) => {
    const title = await page.title();
    const every = await pace(page);
    await tab.pass(page, 1);
    tab.gone = true;
    await tab.until(page, 'that its title says that the agent is gone', (title) => document.title === `? old – ${title}`, title);
    const complaints = watched.taken().filter((fault) => !/ERR_CONNECTION_REFUSED/.test(fault));
    must(complaints.length === 0, complaints.join('; '));
    tab.gone = false;
    await tab.until(page, 'that its title is as it was', (title) => document.title === title, title);
    watched.taken();
    const hide = (hidden) => page.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await hide(true);
    const asked = tab.asked;
    await tab.pass(page, every);
    must((await page.title()) === title, `it calls itself old after one period: ${await page.title()}`);
    await tab.until(page, 'that its title says that it was hidden for long', (title) => document.title === `? old – ${title}`, title);
    must(tab.asked === asked, 'it asks while nobody looks');
    await hide(false);
    await tab.until(page, 'that it is as it was', (title) => document.title === title, title);
    must(tab.asked > asked, 'its title is as it was, and nobody was asked');
  });
}

/** It asks as often as the latest document says, and what another version draws is shown by that version. */
export async function follows(session, { url }) {
  await open(session, url, {}, 'another pace', async (page, tab) => {
    // As it is before the first round: the page that comes then asks less often.
    const slow = 40;
    tab.change = (text) => text.replace(/data-refresh="\d+"/, `data-refresh="${slow}"`);
    await tab.until(page, 'that its foot tells of the pace', (slow) => document.querySelector('footer').textContent.includes(`every ${slow} s`), slow);
    const asked = tab.asked;
    await tab.pass(page, slow - 5);
    must(tab.asked === asked, `it asked ${tab.asked - asked} times in ${slow - 5} s, every ${slow} s`);
    await tab.pass(page, 10);
    must(tab.asked === asked + 1, `it asked ${tab.asked - asked} times in ${slow + 5} s, every ${slow} s`);
  });
  for (const [what, from, to] of [['style', '</style>', '/**/</style>'], ['script', '</script>', '//\n</script>']]) {
    await open(session, url, {}, `another ${what}`, async (page, tab, watched) => {
      await tab.pass(page, 1);
      await page.evaluate(() => { window.__same = true; });
      tab.change = news;
      await tab.until(page, 'that it is renewed', isNew);
      must(await page.evaluate(() => window.__same === true), 'it is loaded anew for news');
      let once = 1;
      tab.change = (text, nth) => (once-- > 0 ? news(text, nth).replace(from, to) : text);
      const loaded = page.waitForEvent('load').then(() => true);
      // Time stands still where there is no page for a moment.
      while ((await Promise.race([loaded, tab.pass(page, 1).catch(() => false)])) !== true);
      // Chromium holds the other style against the policy before it is known to be another.
      const complaints = watched.taken().filter((fault) => !/style-src/.test(fault));
      must(complaints.length === 0, complaints.join('; '));
      must(!(await page.evaluate(() => window.__same)), `what another ${what} goes with is shown with the old one`);
    });
  }
}

/** What is read stays where it is when something grows above it, in the same section too. */
export function keepsPlace(session, { url }) {
  return open(session, url, { viewport: { width: 1000, height: 240 } }, 'the place', async (page, tab) => {
    await tab.pass(page, 1);
    // Inside of a section that begins above the window.
    const inner = '[data-key^="ladder "]';
    await page.evaluate((inner) => { const one = document.querySelector(inner); scrollTo(0, scrollY + one.getBoundingClientRect().top + 40); }, inner);
    const at = () => page.evaluate((inner) => document.querySelector(inner).getBoundingClientRect().top, inner);
    const before = await at();
    must(Math.abs(before + 40) < 1, `it could not be scrolled to: it is at ${before}`);
    tab.change = (text, nth) => news(text, nth).replace(/<h2 id="ladder">.*?<\/h2>/, (head) => head + '<p>Another line.</p>'.repeat(8));
    await tab.until(page, 'that it is renewed', isNew);
    const after = await at();
    must(Math.abs(after - before) < 2, `what is read moved by ${after - before} px`);
  });
}
