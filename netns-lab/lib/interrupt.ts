// Labs that stand are taken down whatever ends this process: Ctrl-C, a polite signal, an exception nobody caught.

interface Closable {
  close(): Promise<void>;
}

const standing = new Set<Closable>();
let isWatching = false;
let isEnding = false;

function fail(error: unknown): void {
  // Once the labs are being taken down, whatever still ran in them fails; that is no news.
  if (!isEnding) {
    console.error(error instanceof Error ? error.stack : error);
    void closeAllAndExit(1);
  }
}

async function closeAllAndExit(code: number): Promise<void> {
  isEnding = true;
  await Promise.allSettled([...standing].map((lab) => lab.close()));
  process.exit(code);
}

function endBy(signal: string, code: number): void {
  if (!isEnding && standing.size > 0) {
    console.error(`\n${signal}: taking down what was made`);
  }
  void closeAllAndExit(code);
}

function watch(): void {
  isWatching = true;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.on(signal, () => endBy(signal, code));
  }
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(event, fail);
  }
}

export function rememberLab(lab: Closable): void {
  standing.add(lab);
  if (!isWatching) {
    watch();
  }
}

export function forgetLab(lab: Closable): void {
  standing.delete(lab);
}
