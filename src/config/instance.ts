// What an instance is called, and what its name says of its control socket.

export const INSTANCE_PATTERN = /^[a-z0-9-]{1,32}$/;
export const INSTANCE_WORDS = '1 to 32 of a-z, 0-9 and -';

/** Unless control.socket says otherwise. */
export function usualSocket(name: string): string {
  return `/run/fairlead/${name}.sock`;
}

/** Whose usual socket it is, or null. */
export function instanceOf(socket: string): string | null {
  const name = /^\/run\/fairlead\/([^/]+)\.sock$/.exec(socket)?.[1];
  return name !== undefined && INSTANCE_PATTERN.test(name) ? name : null;
}
