// One TCP connection held open for as long as a scenario likes: HTTP requests typed into socat. Each answer tells which
// server gave it and which client port it saw, so that a connection silently replaced by another would be noticed.
import type { Background } from './background.ts';
import type { Host } from './host.ts';
import { waitFor } from './wait-for.ts';

let opened = 0;

export class Session {
  private readonly socat: Background;
  private asked = 0;

  constructor(socat: Background) {
    this.socat = socat;
  }

  private answers(): string[] {
    return this.socat.output().match(/^web-\S+ \S+ \d+$/gm) ?? [];
  }

  /** Sends a request on the connection and gives the answer: "SERVER CLIENT PORT". */
  async ask(withinMs = 15_000): Promise<string> {
    this.asked += 1;
    this.socat.write('GET / HTTP/1.1\r\nHost: lab\r\n\r\n');
    const answered = (answers: string[]) => answers.length === this.asked || !this.socat.isRunning;
    const answers = await waitFor(`answer ${this.asked} on an open connection`, () => this.answers(), answered, {
      withinMs,
    });
    if (answers.length !== this.asked) {
      throw new Error(
        `the connection ended, its client with ${this.socat.exitCode}: ${this.socat.output().slice(-500)}`,
      );
    }
    return answers.at(-1) ?? '';
  }

  async close(): Promise<void> {
    this.socat.endInput();
    await this.socat.stop();
  }
}

/** Opens a connection; its first answer comes with the first `ask`. */
export async function openSession(client: Host, address: string, port = 80): Promise<Session> {
  opened += 1;
  const target = address.includes(':') ? `TCP6:[${address}]:${port}` : `TCP4:${address}:${port}`;
  return new Session(await client.start(`session-${opened}`, `socat - ${target}`));
}
