// Where an instance keeps its region: in memory, under its name.

export function regionFile(name: string): string {
  return `/dev/shm/fairlead.${name}`;
}
