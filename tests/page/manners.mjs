// What every page owes its reader, whatever it shows: an accessibility checker finds nothing, in light and in dark,
// narrow and wide; a narrow document does not scroll sideways; the policy is strict; without scripts it is all there.

import { AxeBuilder } from '@axe-core/playwright';

import { look, must } from './watch.mjs';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const NARROW = { width: 320, height: 700 };
const WIDE = { width: 1400, height: 900 };

/** Nothing that axe-core knows is wrong, and nothing that it leaves for a person to decide about contrast. */
export async function isAccessible(page) {
  const { violations } = await new AxeBuilder({ page }).withTags(RULES).analyze();
  const told = violations.map(({ id, help, nodes }) => {
    const places = nodes.slice(0, 4).map(({ target, failureSummary }) => `${target.join(' ')}: ${failureSummary?.replaceAll('\n', ' ')}`);
    return `${id} (${help}), ${nodes.length} times: ${places.join('; ')}`;
  });
  must(violations.length === 0, `axe-core found: ${told.join('\n  ')}`);
}

/** The document is no wider than the window; tables may scroll inside of it, by a box that keyboards reach. */
export async function fits(page) {
  const { wide, room, widest } = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    const inside = (element) => {
      for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
        if (getComputedStyle(up).overflowX !== 'visible') return true;
      }
      return false;
    };
    // What is written in a box may be wider than the box.
    const end = (element) => Math.max(element.getBoundingClientRect().right, element.getBoundingClientRect().left + (getComputedStyle(element).overflowX === 'visible' ? element.scrollWidth : 0));
    const over = [...document.body.querySelectorAll('*')].filter((element) => end(element) > room + 0.5 && !inside(element)).reverse();
    const name = (element) => `<${element.tagName.toLowerCase()} class="${element.getAttribute('class') ?? ''}"> ${element.textContent.trim().slice(0, 60)}`;
    return { wide: document.documentElement.scrollWidth, room, widest: over.slice(0, 5).map(name) };
  });
  must(wide <= room, `the document is ${wide} px wide and the window ${room}; beyond it: ${widest.join('; ')}`);
}

/** Of the policy that came with a page: what may run, and from where. */
export function isStrict(policy) {
  const directives = new Map(
    (policy ?? '').split(';').map((part) => part.trim().split(/\s+/)).filter(([name]) => name).map(([name, ...sources]) => [name, sources]),
  );
  must(directives.get('default-src')?.join() === "'none'", `default-src is not 'none': ${policy}`);
  must(["'none'", "'self'"].includes(directives.get('form-action')?.join()), `forms may lead elsewhere: ${policy}`);
  for (const name of ['base-uri', 'frame-ancestors']) {
    must(directives.get(name)?.join() === "'none'", `${name} is not 'none': ${policy}`);
  }
  const allowed = /^('none'|'self'|'sha(256|384|512)-[A-Za-z0-9+/]+=*')$/;
  for (const [name, sources] of directives) {
    for (const source of sources) must(allowed.test(source), `${name} allows ${source}: ${policy}`);
  }
  // A file of the origin's own could be one that a stranger named; style and script are known by what they say.
  for (const name of ['script-src', 'style-src']) {
    const sources = directives.get(name) ?? [];
    must(sources.every((source) => source.startsWith("'sha")), `${name} is not by hash: ${policy}`);
  }
}

/** A page in both schemes, at both widths, and without scripts. `says` are texts that a reader without scripts gets. */
export async function manners(session, { url, says }) {
  await look(session, url, { viewport: NARROW }, 'manners', async (page, watched) => {
    const { response } = watched;
    must(response.ok(), `it answers ${response.status()}`);
    isStrict(await response.headerValue('content-security-policy'));
    for (const viewport of [NARROW, WIDE]) {
      await page.setViewportSize(viewport);
      await fits(page);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        watched.at = `${colorScheme}, ${viewport.width} px`;
        await isAccessible(page);
      }
    }
  });
  await look(session, url, { viewport: NARROW, javaScriptEnabled: false }, 'without scripts', async (page) => {
    const text = await page.locator('body').innerText();
    for (const said of says) must(text.includes(said), `\`${said}\` is missing in:\n${text}`);
    await fits(page);
  });
}
