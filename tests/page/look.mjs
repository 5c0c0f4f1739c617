// Looks at a page as people do: wide, narrow and dark, with the keyboard and with the rules of axe. Prints what it found as JSON.
//
//   node look.mjs <folder with node_modules> <url> <folder for screenshots> [password]

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [modules, url, shots, password] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  // Root in a container has no sandbox; the page is our own.
  args: ["--no-sandbox", "--disable-gpu"],
});
const found = { foreign: [], console: [], axe: {}, overflow: {}, screenshots: [] };

async function open(options) {
  const credentials = password ? { httpCredentials: { username: "ops", password } } : {};
  const context = await browser.newContext({ ...credentials, ...options });
  const page = await context.newPage();
  // Nothing may come from elsewhere: the page has to work without a network.
  await context.route("**/*", (route) => {
    const request = route.request().url();
    if (new URL(request).host === new URL(url).host) return route.continue();
    found.foreign.push(request);
    return route.abort();
  });
  page.on("console", (message) => found.console.push(message.text()));
  page.on("pageerror", (error) => found.console.push(String(error)));
  const answer = await page.goto(url);
  found.status = answer.status();
  return page;
}

const views = {
  wide: { viewport: { width: 1280, height: 900 } },
  narrow: { viewport: { width: 390, height: 800 } },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
};
for (const [name, view] of Object.entries(views)) {
  const page = await open(view);
  found.overflow[name] = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
  found.screenshots.push(`${name}.png`);
  await page.context().close();
  // The page's own policy lets no script in: axe needs a context without it.
  const checked = await open({ ...view, bypassCSP: true });
  await checked.$$eval("details", (all) => all.forEach((one) => { one.open = true; }));
  await checked.addScriptTag({ content: axe });
  const { violations } = await checked.evaluate(() => axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  found.axe[name] = violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
  await checked.context().close();
}

// Without scripts at all, as the page is meant to work.
const page = await open({ ...views.wide, javaScriptEnabled: false });
found.text = await page.locator("main").innerText();
await page.keyboard.press("Tab");
found.first_focus = await page.locator(":focus").innerText();
found.skip_link_visible = (await page.locator(":focus").boundingBox())?.x >= 0;
await page.keyboard.press("Enter");
// Where it went is told a moment later; if it goes nowhere, the hash says so.
await page.waitForURL((now) => now.hash !== "", { timeout: 10_000 }).catch(() => {});
found.skipped_to = new URL(page.url()).hash;
await page.context().close();

const structure = await open(views.wide);
Object.assign(found, await structure.evaluate(() => ({
  scripts: document.scripts.length,
  landmarks: ["header", "nav", "main", "footer"].map((name) => document.querySelectorAll(name).length),
  headings: [...document.querySelectorAll("h1, h2")].map((one) => `${one.tagName} ${one.innerText}`),
  captions: [...document.querySelectorAll("table")].map((one) => one.caption?.textContent ?? ""),
  pictures: [...document.querySelectorAll("svg")].map((one) => one.getAttribute("role") + " " + (one.getAttribute("aria-label") ?? "")),
  boxes: [...document.querySelectorAll(".graph .id")].map((one) => one.textContent),
  arrows: document.querySelectorAll(".graph .edge").length,
  bars: [...document.querySelectorAll(".drift")].map((one) => [...one.querySelectorAll(".count")].map((count) => count.textContent)),
  styled: getComputedStyle(document.querySelector("section")).borderTopStyle,
  // A box's text must stay inside it.
  spilling: [...document.querySelectorAll(".graph g")].filter((one) => {
    const box = one.querySelector("rect")?.getBoundingClientRect();
    return box && [...one.querySelectorAll("text")].some((text) => {
      const inner = text.getBoundingClientRect();
      return inner.left < box.left || inner.right > box.right;
    });
  }).map((one) => one.textContent),
})));
await browser.close();
console.log(JSON.stringify(found));
