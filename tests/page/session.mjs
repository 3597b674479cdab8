// One Chromium, asked by lines.
//
// A line on standard input is a request, {"check": name, "given": {...}}; a line on standard output is its result,
// {"value": ...} or {"error": text}. Checks are functions of the modules beside this one; they share the browser, and
// each has contexts of its own, so that nothing of one is seen by the next. `session.pages` keeps pages open between
// requests, for what has to happen outside meanwhile.
//
// The arguments: Chromium's path, a directory for its profile, a directory for pictures of pages that failed.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

import * as cluster from './cluster.mjs';
import { FLAGS } from './flags.mjs';
import * as manners from './manners.mjs';
import * as near from './near.mjs';
import * as node from './node.mjs';
import * as renewal from './renewal.mjs';
import { DEADLINE, Failure } from './watch.mjs';

const [executablePath, profile, pictures] = process.argv.slice(2);

process.env.TMPDIR = profile;
const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: DEADLINE });
const session = { browser, pictures, pages: new Map() };
const checks = { ...manners, ...node, ...cluster, ...renewal, ...near };

/** Runs one check; whatever it throws is its error, with what the pages said. */
async function answer(line) {
  const { check, given } = JSON.parse(line);
  const run = checks[check];
  if (!run) throw new Failure(`there is no check \`${check}\`: ${Object.keys(checks).join(', ')}`);
  return (await run(session, given)) ?? null;
}

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
say({ value: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say({ value: await answer(line) });
  } catch (error) {
    say({ error: error instanceof Failure ? error.message : (error.stack ?? String(error)) });
  }
}
await browser.close();
