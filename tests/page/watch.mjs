// A page under watch: everything that it must not do is written down while it lives.
//
// - a request that leaves its origin (it is refused as well),
// - an error on the console, or one that no script caught,
// - a violation of its Content-Security-Policy,
// - a dialog: something that was meant as text has run.

import path from 'node:path';

/** What a check found wrong, in words for whoever reads the test's output. */
export class Failure extends Error {}

/** Fails with `text` unless `held`. */
export function must(held, text) {
  if (!held) throw new Failure(text);
}

/** How long a condition may take on a busy machine; it decides nothing but how long a broken test takes to fail. */
export const DEADLINE = 40_000;

/** How long what happens may rightly go unseen, in milliseconds: until the page asks again, and is given what was made before. */
export async function unseen(page) {
  const refresh = await page.evaluate(() => Number(document.body.dataset.refresh));
  must(refresh > 0, 'the page does not say how often it asks');
  const answer = await page.request.get(page.url(), { headers: { accept: 'application/json' } });
  const [, kept] = /max-age=(\d+)/.exec(answer.headers()['cache-control'] ?? '') ?? [];
  return (refresh + Number(kept ?? 0)) * 1000;
}

/** Opens pages in a context of their own. `options` are playwright's, as colorScheme, viewport, javaScriptEnabled. */
export class Watched {
  static async open(session, url, options = {}) {
    const context = await session.browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
    context.setDefaultTimeout(DEADLINE);
    const watched = new Watched(session, context, new URL(url).origin, options);
    await watched.begin();
    watched.response = await watched.page.goto(url, { waitUntil: 'load' });
    return watched;
  }

  constructor(session, context, origin, options) {
    Object.assign(this, { session, context, origin, options, faults: [], said: [] });
  }

  async begin() {
    await this.context.route('**/*', (route) => {
      const url = route.request().url();
      if (this.isOwn(url)) return route.fallback();
      this.faults.push(`a request left the origin: ${url}`);
      return route.abort();
    });
    if (this.options.javaScriptEnabled !== false) {
      await this.context.exposeBinding('__violated', (_, text) => this.faults.push(`policy violated: ${text}`));
      await this.context.addInitScript(() => {
        document.addEventListener('securitypolicyviolation', (event) => {
          const { effectiveDirective, blockedURI, sourceFile, lineNumber } = event;
          window.__violated(`${effectiveDirective} refused ${blockedURI} (${sourceFile}:${lineNumber})`);
        });
      });
    }
    this.page = await this.context.newPage();
    this.page.on('console', (message) => {
      this.said.push(`${message.type()}: ${message.text()}`);
      if (message.type() === 'error') this.faults.push(`console: ${message.text()}`);
    });
    this.page.on('pageerror', (error) => this.faults.push(`no script caught: ${error.message}`));
    this.page.on('crash', () => this.faults.push('the page crashed'));
    this.page.on('dialog', async (dialog) => {
      this.faults.push(`a dialog opened: ${dialog.message()}`);
      await dialog.dismiss();
    });
  }

  isOwn(url) {
    return url === 'about:blank' || new URL(url).origin === this.origin;
  }

  /** Runs `look` on the page and fails with everything that the page did if it fails, or if the page did anything. */
  async that(what, look = () => {}) {
    try {
      await look(this.page);
      // What the page has been told to do is done once it answers again.
      if (!this.page.isClosed() && this.options.javaScriptEnabled !== false) await this.page.evaluate(() => 0);
      must(this.faults.length === 0, 'the page did what it must not');
    } catch (error) {
      const picture = await this.picture();
      const told = error instanceof Failure ? error.message : (error.stack ?? String(error));
      const where = `${what} (${this.page.url()} ${this.at ?? JSON.stringify(this.options)})`;
      const said = [...new Set(this.said)].join(' | ');
      throw new Failure([`${where}: ${told}`, ...new Set(this.faults), `console: ${said || 'nothing'}`, picture].join('\n  '));
    }
  }

  /** That what the page is known to do now, and must not, is known. The list begins anew. */
  taken() {
    return this.faults.splice(0);
  }

  async picture() {
    if (!this.session.pictures) return 'no picture is wanted';
    const file = path.join(this.session.pictures, `mtuscope-page-${process.pid}-${Date.now()}.png`);
    try {
      await this.page.screenshot({ path: file, fullPage: true });
      return `picture: ${file}`;
    } catch (error) {
      return `no picture: ${error.message}`;
    }
  }

  close() {
    return this.context.close();
  }
}

/** Opens a page, holds `look` against it, closes it. */
export async function look(session, url, options, what, look) {
  const watched = await Watched.open(session, url, options);
  try {
    await watched.that(what, (page) => look(page, watched));
  } finally {
    await watched.close();
  }
}
