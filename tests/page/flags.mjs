// How Chromium is started: without a screen, nothing that a browser does by itself, and no sandbox of its own, which an
// unprivileged user inside a user namespace could not have. The lab's namespace is what it cannot leave.

export const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
