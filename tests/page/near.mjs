// That the checks can fail: pages that each have one thing wrong, seen by the very functions that see the real ones.

import { fits, isAccessible, isStrict } from './manners.mjs';
import { Failure, look, must } from './watch.mjs';

const STRICT = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const page = (body) => `<!DOCTYPE html><html lang="en"><head><title>near</title></head><body><main><h1>Near</h1>${body}</main></body></html>`;

/** Serves `html` in the place of `/near-miss`, and holds `check` against it. */
async function on(session, { url, html, policy = STRICT, options = {} }, check) {
  const place = new URL('/near-miss', url).href;
  const headers = { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': policy };
  // What is meant to fail leaves no picture.
  const serve = { ...session, pictures: undefined, browser: { newContext: async (more) => served(await session.browser.newContext(more), place, html, headers) } };
  await look(serve, place, { viewport: { width: 320, height: 700 }, ...options }, 'a near miss', check);
}

async function served(context, place, html, headers) {
  const route = context.route.bind(context);
  // The watch's own route comes last and is asked first; this one answers what it lets pass.
  await route(place, (one) => one.fulfill({ body: html, headers }));
  return context;
}

/** Fails unless `run` fails with these words. */
async function fails(what, words, run) {
  let failure;
  try {
    await run();
  } catch (error) {
    failure = error;
  }
  must(failure instanceof Failure, `${what}: nothing was found${failure ? `: ${failure.stack}` : ''}`);
  must(words.every((word) => failure.message.includes(word)), `${what}: found, but not as it is: ${failure.message}`);
}

/** Every check against the page that only it objects to, and all against one with nothing wrong. */
export async function nearMisses(session, { url }) {
  const all = async (page, { response }) => {
    isStrict(await response.headerValue('content-security-policy'));
    await fits(page);
    await isAccessible(page);
  };
  const given = (body, more = {}) => ({ url, html: page(body), ...more });
  const style = (value) => `default-src 'none'; style-src ${value}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  await on(session, given('<p>Nothing is wrong.</p>'), all);
  const wrong = [
    ['a picture without words', ['axe-core found', 'image-alt'], given('<img src="data:,">', { policy: STRICT.replace(';', "; img-src data:;") }), isAccessible],
    ['a control without a name', ['axe-core found', 'button-name'], given('<button></button>'), isAccessible],
    ['a page that is too wide', ['px wide', 'beyond it: <pre'], given(`<pre>${'x'.repeat(400)}</pre>`), fits],
    ['an inline script', ['policy violated: script-src-elem'], given('<script>document.title = 1</script>'), () => {}],
    ['an inline style', ['policy violated: style-src-attr'], given('<p style="color: red">red</p>'), () => {}],
    ['a request to somebody else', ['a request left the origin: http://203.0.113.9/'],
      given('<img alt="a" src="http://203.0.113.9/x.png">', { policy: STRICT.replace(';', '; img-src http:;') }), () => {}],
    ['a policy that lets styles in', ["style-src allows 'unsafe-inline'"], given('<p>a</p>', { policy: style("'unsafe-inline'") }), all],
    ['a policy with a host', ['allows https://'], given('<p>a</p>', { policy: style('https://cdn.example') }), all],
    ['no policy', ["default-src is not 'none'"], given('<p>a</p>', { policy: '' }), all],
  ];
  for (const [what, words, where, check] of wrong) await fails(what, words, () => on(session, where, check));
  await fails('a script that came later', ['policy violated: script-src-elem'], () =>
    on(session, given('<p>a</p>'), (page) =>
      page.evaluate(() => {
        const script = document.createElement('script');
        script.textContent = 'alert(1)';
        document.body.append(script);
      })));
  await fails('a dialog', ['a dialog opened: hello'], () => on(session, given('<p>a</p>'), (page) => page.evaluate(() => alert('hello'))));
}
