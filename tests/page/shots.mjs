// The pictures of README's demo, of a lab that runs:
//
//   cargo run -p mtuscope-tests --bin lab -- --fault path-black-hole --together
//   node tests/page/shots.mjs http://127.0.0.1:9751 http://127.0.0.1:9754 manifests/pictures
//
// It waits for the alert, and takes the page of the sick node, the map of the cluster and the list of alerts. The
// arguments: the first node's agent, Prometheus, the directory to write to.

import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';

import { FLAGS } from './flags.mjs';

const [agent, prometheus, directory] = process.argv.slice(2);
const LARGEST = 120_000;
const PATIENCE = { timeout: 120_000, polling: 500 };

const executablePath = execFileSync('sh', ['-c', 'command -v chromium']).toString().trim();
const browser = await chromium.launch({ executablePath, args: FLAGS });
mkdirSync(directory, { recursive: true });

/** One picture: `there` says, in the page, that what is to be seen is there. */
async function shot(name, url, size, there, prepare = () => {}) {
  const page = await browser.newPage({ viewport: size, colorScheme: 'light' });
  await page.goto(url);
  await page.waitForFunction(there, undefined, PATIENCE);
  await prepare(page);
  const file = path.join(directory, `${name}.png`);
  await page.screenshot({ path: file, animations: 'disabled' });
  await page.close();
  const bytes = statSync(file).size;
  if (bytes > LARGEST) throw new Error(`${file} has ${bytes} bytes, more than ${LARGEST}`);
  process.stdout.write(`${file}: ${bytes} bytes\n`);
}

const fires = async () => {
  const { data } = await (await fetch(`${prometheus}/api/v1/alerts`)).json();
  return data.alerts.some(({ state }) => state === 'firing');
};
const until = Date.now() + PATIENCE.timeout;
while (!(await fires())) {
  if (Date.now() > until) throw new Error(`no alert fires at ${prometheus}: is something broken in the lab?`);
  await new Promise((resolve) => setTimeout(resolve, PATIENCE.polling));
}
const listed = (await fetch(`${prometheus}/alerts`)).ok ? '/alerts' : '/classic/alerts';
await shot('node', `${agent}/`, { width: 900, height: 640 }, () => /critical/i.test(document.querySelector('h1')?.textContent ?? ''));
await shot('cluster', `${agent}/cluster`, { width: 820, height: 780 }, () => /critical/i.test(document.querySelector('h1')?.textContent ?? ''));
await shot('alerts', `${prometheus}${listed}`, { width: 820, height: 330 }, () => /MtuscopePathBlackHole \([1-9]/.test(document.body.innerText), async (page) => {
  // Only what fires.
  for (const quiet of [/Inactive \(\d/, /Pending \(\d/]) await page.getByText(quiet).first().click();
});
await browser.close();
