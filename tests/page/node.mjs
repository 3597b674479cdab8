// What the page of a node owes each of its states. Everything is found as a reader finds it: by role, name and text.

import { DEADLINE, Watched, look, must, unseen } from './watch.mjs';

const headline = (page) => page.getByRole('heading', { level: 1 });
const main = (page) => page.getByRole('main');
const one = (text) => (text ?? '').trim().replace(/\s+/g, ' ');

/** A command of a remedy, as it is typed; nothing if the line is a sentence. */
const command = (line) => (line.startsWith('$ ') ? line.slice(2) : undefined);

/** A line of a remedy as it is shown: what stands between backquotes is code, and they are not shown. */
const shown = (line) => command(line) ?? line.replaceAll('`', '');

/** The colour that the headline stands on, and the line around it: what the page looks like from afar. */
const air = (page) =>
  headline(page).evaluate((element) => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor, borderTopStyle } = getComputedStyle(at);
      if (!['transparent', 'rgba(0, 0, 0, 0)'].includes(backgroundColor)) return `${backgroundColor} ${borderTopStyle}`;
    }
    return 'nothing';
  });

const saysAll = (text, words) => {
  for (const word of words) must(text.includes(one(word)), `\`${word}\` is missing in:\n${text}`);
};

/** A healthy node says so first, with its name, and advises nothing. */
export function healthy(session, { url, node }) {
  return look(session, url, {}, 'healthy', async (page) => {
    const said = one(await headline(page).textContent());
    must(/healthy/i.test(said), `the headline is \`${said}\``);
    must(one(await main(page).innerText()).includes(`Node ${node}`), `it does not say that it is ${node}`);
    must((await page.getByRole('button', { name: /^Copy/ }).count()) === 0, 'there is something to do on a healthy page');
    must(/healthy/i.test(await page.title()) && (await page.title()).includes(node), `its title is ${await page.title()}`);
  });
}

/** A sick node names code, subject and fix without a click; what follows from it is folded away. */
export function sick(session, { url, code, subject, fixes, folded }) {
  return look(session, url, {}, 'sick', async (page) => {
    const said = one(await headline(page).textContent());
    must(/critical/i.test(said), `the headline is \`${said}\``);
    must((await page.title()).toLowerCase().includes('critical'), `its title is ${await page.title()}`);
    const finding = page.getByRole('article').filter({ hasText: code }).filter({ hasText: subject }).first();
    await finding.waitFor();
    const text = one(await finding.innerText());
    saysAll(text, fixes.map(shown));
    const top = (await finding.boundingBox()).y;
    must(top < page.viewportSize().height, `the finding begins ${top} px down: nobody sees it in five seconds`);
    if (folded) {
      must(!one(await main(page).innerText()).includes(folded), `${folded} is a consequence, and loud`);
      const fold = page.getByRole('group').filter({ hasText: folded }).first();
      await fold.locator('summary').first().click();
      must(one(await main(page).innerText()).includes(folded), `${folded} does not unfold`);
    }
  });
}

/** What was not seen neither reads nor looks like what is well, and the reason is there. */
export async function unknown(session, { url, healthy, says }) {
  let well;
  await look(session, healthy, {}, 'what is well', async (page) => { well = await air(page); });
  await look(session, url, {}, 'unknown', async (page) => {
    const said = one(await headline(page).textContent());
    must(/unknown/i.test(said), `the headline is \`${said}\``);
    must(!/healthy|fine|all .*clear|\bok\b/i.test(said), `the headline calms: \`${said}\``);
    must(!/healthy/i.test(await page.title()), `its title is ${await page.title()}`);
    const looks = await air(page);
    must(looks !== well, `it looks as healthy does: ${looks}`);
    const text = one(await main(page).innerText());
    must(/not concluded/i.test(text), `it does not say what could not be concluded:\n${text}`);
    saysAll(text, [says]);
  });
}

/** Names are shown as they are, and nothing comes of them. */
export function names(session, { url, names }) {
  return look(session, url, {}, 'hostile names', async (page) => {
    saysAll(one(await main(page).innerText()), names);
    const made = await page.evaluate(() => document.querySelectorAll('main img, main script, main b, [onerror]').length);
    must(made === 0, `${made} elements were made of names`);
  });
}

/** Of many peers the page says how many there are and how they do, and where those are that it leaves out; it is no wall. */
export function crowd(session, { url, peers }) {
  return look(session, url, {}, 'a crowd', async (page) => {
    const said = one(await headline(page).textContent());
    must(said.includes(String(peers.length)), `the headline is \`${said}\``);
    // Folded or not, it has to be in the document.
    const text = one(await main(page).evaluate((element) => element.textContent));
    const missing = peers.filter((peer) => !text.includes(peer)).length;
    const left = `${peers.length - missing} of ${peers.length}`;
    must(missing === 0 || text.includes(left), `${missing} peers are not there, and it does not say that it shows ${left}`);
    must((await headline(page).boundingBox()).y < 400, 'the headline is out of sight');
    const folded = await main(page).evaluate((element) => element.scrollHeight);
    must(folded < 20 * page.viewportSize().height, `${folded} px of it are to be scrolled through`);
  });
}

/** Tab reaches everything that does something, in the order of the document, each seen to have the focus; Enter unfolds. */
export function keyboard(session, { url, fixes }) {
  return look(session, url, {}, 'by keys alone', async (page) => {
    const wanted = fixes.map(command).filter(Boolean).length;
    const all = await page.evaluate(() => {
      const able = [...document.querySelectorAll('a[href], button, summary, input, select, [tabindex="0"]')];
      return able.filter((element) => element.checkVisibility({ visibilityProperty: true })).length;
    });
    const met = [];
    for (let presses = 0; presses <= all; presses += 1) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return undefined;
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        window.__met ??= [];
        const earlier = window.__met.at(-1);
        const inOrder = !earlier || Boolean(earlier.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING);
        window.__met.push(element);
        return {
          name: element.getAttribute('aria-label') ?? element.textContent.trim().slice(0, 60),
          tag: element.tagName,
          seen: (outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2) || boxShadow !== 'none',
          there: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
          inOrder,
        };
      });
      if (!at) break;
      met.push(at);
      must(at.seen, `the focus on ${at.tag} \`${at.name}\` cannot be seen`);
      must(at.there, `${at.tag} \`${at.name}\` has the focus out of sight`);
      must(at.inOrder, `${at.tag} \`${at.name}\` has the focus out of turn`);
    }
    must(/skip/i.test(met[0]?.name ?? ''), `the first thing is ${met[0]?.name}, not the way past the navigation`);
    must(met.length >= all, `Tab reached ${met.length} of ${all}: ${met.map(({ name }) => name).join(', ')}`);
    const copies = met.filter(({ tag, name }) => tag === 'BUTTON' && name.startsWith('Copy')).length;
    must(copies >= wanted && wanted > 0, `Tab reached ${copies} buttons for ${wanted} commands`);
    const fold = main(page).locator('summary').first();
    const isOpen = () => fold.evaluate((element) => element.parentElement.open);
    const before = await isOpen();
    await fold.focus();
    await page.keyboard.press('Enter');
    must((await isOpen()) !== before, 'Enter does not unfold');
  });
}

/** A command is copied as it is to be typed, and a screen reader hears of it. */
export function copies(session, { url, fixes }) {
  const options = { permissions: ['clipboard-read', 'clipboard-write'] };
  return look(session, url, options, 'copying', async (page) => {
    const wanted = fixes.map(command).find(Boolean);
    must(wanted, `no line of the remedy is a command: ${fixes.join('; ')}`);
    const button = page.getByRole('button', { name: `Copy ${wanted.slice(0, 80)}`, exact: true }).first();
    await button.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('status').filter({ hasText: /copied/i }).waitFor({ state: 'attached' });
    const got = await page.evaluate(() => navigator.clipboard.readText());
    must(got === wanted, `the clipboard holds \`${got}\` and not \`${wanted}\``);
  });
}

/** On paper everything that is folded is open, fixes are there, and dark is light. */
export async function prints(session, { url, fixes }) {
  await look(session, url, { colorScheme: 'dark' }, 'in print', async (page) => {
    await page.evaluate(() => {
      addEventListener('beforeprint', () => {
        // After the page's own.
        const closed = document.querySelectorAll('main details:not([open])').length;
        window.__paper = { closed, text: document.querySelector('main').innerText };
      });
    });
    const paper = await page.pdf();
    must(paper.subarray(0, 5).toString() === '%PDF-', 'it was not printed');
    const { closed, text } = await page.evaluate(() => window.__paper);
    must(closed === 0, `${closed} folds are closed on paper`);
    saysAll(one(text), fixes.map(shown));
    must((await page.locator('main details[open]').count()) < (await page.locator('main details').count()) || (await page.locator('main details').count()) === 0,
      'what was folded stays open after printing');
  });
  await look(session, url, { javaScriptEnabled: false, colorScheme: 'dark' }, 'in print without scripts', async (page) => {
    await page.emulateMedia({ media: 'print' });
    saysAll(one(await main(page).innerText()), fixes.map(shown));
  });
  await look(session, url, { colorScheme: 'dark' }, 'ink', async (page) => {
    await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
    const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    must(['rgb(255, 255, 255)', 'rgba(0, 0, 0, 0)'].includes(paper), `the paper is ${paper}`);
  });
}

const folded = (page, { fold }) => main(page).locator('summary').filter({ hasText: fold }).last();

/** Opens a page to be read while things happen: something is unfolded, and has the focus. */
export async function follow(session, { as, url }) {
  const watched = await Watched.open(session, url);
  session.pages.set(as, watched);
  await watched.that('opened to be followed', async (page) => {
    // Of what the node is like: it is there whatever happens.
    watched.fold = one(await main(page).locator('details:not([open]) > summary').last().textContent());
    const fold = folded(page, watched);
    await fold.click();
    await fold.focus();
    await page.evaluate(() => { window.__same = true; });
  });
}

const atFocus = (page) => page.evaluate(() => document.activeElement?.textContent);

/** What happens is shown without a reload, and the reader's place is kept. */
export function turns(session, { as, headline: wanted, says }) {
  const watched = session.pages.get(as);
  return watched.that(`to turn ${wanted}`, async (page) => {
    await page.waitForFunction(
      ([wanted, says]) => {
        const text = document.querySelector('main')?.innerText ?? '';
        const said = document.querySelector('h1')?.textContent ?? '';
        return said.toLowerCase().includes(wanted) && says.every((word) => text.includes(word));
      },
      [wanted, says],
      { timeout: DEADLINE + (await unseen(page)), polling: 100 },
    );
    must(await page.evaluate(() => window.__same === true), 'it was loaded anew');
    const fold = folded(page, watched);
    must(await fold.evaluate((element) => element.parentElement.open), `\`${watched.fold}\` was folded by a refresh`);
    const focus = one(await atFocus(page));
    must(await fold.evaluate((element) => element === document.activeElement), `the focus went to \`${focus.slice(0, 80)}\``);
  });
}

/** An agent that answers no more: the page says so, and does not go on looking well. */
export async function fallsSilent(session, { as }) {
  const watched = session.pages.get(as);
  const well = await air(watched.page);
  await watched.page.getByRole('alert').filter({ hasText: /does not answer/ }).waitFor();
  const complaints = watched.taken().filter((fault) => !/ERR_CONNECTION_REFUSED/.test(fault));
  await watched.that('to fall silent', async (page) => {
    must(complaints.length === 0, complaints.join('; '));
    must((await air(page)) !== well, `it still looks as it did: ${well}`);
  });
  session.pages.delete(as);
  await watched.close();
}
