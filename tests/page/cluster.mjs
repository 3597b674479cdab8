// What the page of a cluster owes its readers.

import { DEADLINE, look, must, unseen } from './watch.mjs';

const headline = (page) => page.getByRole('heading', { level: 1 });
const one = (text) => (text ?? '').trim().replace(/\s+/g, ' ');

/** The picture, once all have answered: a table in which every node has a row and a column. */
export function pictured(session, { url, headline: wanted, nodes }) {
  return look(session, url, {}, 'the picture', async (page) => {
    const limit = { timeout: DEADLINE + (await unseen(page)), polling: 100 };
    await page.waitForFunction((wanted) => document.querySelector('h1')?.textContent.toLowerCase().includes(wanted), wanted, limit);
    const table = page.getByRole('table').first();
    for (const role of ['rowheader', 'columnheader']) {
      for (const node of nodes) {
        must((await table.getByRole(role).filter({ hasText: node }).count()) > 0, `${node} is no ${role}`);
      }
    }
  });
}

/** A deviating cell says its size and leads to what both of its nodes say. */
export function pair(session, { url, from, to, size }) {
  return look(session, url, {}, 'a pair', async (page) => {
    const link = page.getByRole('table').first().getByTitle(`${from} to ${to}`, { exact: true });
    must(one(await link.textContent()).includes(size), `the cell says ${await link.textContent()} and not ${size}`);
    await link.click();
    await headline(page).filter({ hasText: from }).filter({ hasText: to }).waitFor();
    const text = one(await page.getByRole('main').innerText());
    for (const word of [`${from} says of ${to}`, `${to} says of ${from}`, size]) must(text.includes(word), `${word} is missing in:\n${text}`);
  });
}

/** Of many nodes the one that stands out comes first, in sight; the whole map is there too, one unfolding away. */
export function deviationsFirst(session, { url, sick, nodes }) {
  return look(session, url, {}, 'a large cluster', async (page) => {
    must(/critical/i.test(one(await headline(page).textContent())), `the headline is ${await headline(page).textContent()}`);
    const { y } = await page.getByRole('main').getByText(sick).first().boundingBox();
    must(y < page.viewportSize().height, `${sick} is ${y} px down`);
    await page.getByRole('main').getByText(/^The whole map/).click();
    const map = page.getByRole('region', { name: /: map$/ }).getByRole('table');
    const rows = await map.getByRole('rowheader').count();
    must(rows === nodes.length + 1, `the map has ${rows} rows for ${nodes.length + 1} nodes`);
  });
}
