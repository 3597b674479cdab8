// What the page of a cluster owes its readers.

import { look, must } from './watch.mjs';

const headline = (page) => page.getByRole('heading', { level: 1 });
const one = (text) => (text ?? '').trim().replace(/\s+/g, ' ');

/** The picture, once all have answered: a table in which every node has a row and a column. */
export function pictured(session, { url, headline: wanted, nodes }) {
  return look(session, url, {}, 'the picture', async (page) => {
    await page.waitForFunction((wanted) => document.querySelector('h1')?.textContent.toLowerCase().includes(wanted), wanted, { polling: 100 });
    const table = page.getByRole('table').first();
    for (const role of ['rowheader', 'columnheader']) {
      for (const node of nodes) {
        must((await table.getByRole(role).filter({ hasText: node }).count()) > 0, `${node} is no ${role}`);
      }
    }
  });
}

/** A deviating cell leads to what is known of its two nodes. */
export function pair(session, { url, from, to, size }) {
  return look(session, url, {}, 'a pair', async (page) => {
    const link = page.getByRole('table').first().getByRole('link', { name: new RegExp(`${from}.*${to}`) }).filter({ hasText: size }).first();
    await link.focus();
    await page.keyboard.press('Enter');
    await page.waitForFunction(([from, to]) => [from, to].every((name) => document.querySelector('h1, :target')?.textContent.includes(name)), [from, to]);
    const text = one(await page.getByRole('main').innerText());
    for (const word of [from, to, size]) must(text.includes(word), `${word} is missing in:\n${text}`);
  });
}

/** Of many nodes the one that stands out comes first, in sight; the whole is there too. */
export function deviationsFirst(session, { url, sick, nodes }) {
  return look(session, url, {}, 'a large cluster', async (page) => {
    must(/critical/i.test(one(await headline(page).textContent())), `the headline is ${await headline(page).textContent()}`);
    const first = page.getByRole('main').getByText(sick).first();
    const { y } = await first.boundingBox();
    must(y < page.viewportSize().height, `${sick} is ${y} px down`);
    const text = await page.getByRole('main').evaluate((element) => element.textContent);
    for (const node of nodes) must(text.includes(node), `${node} is nowhere`);
  });
}
