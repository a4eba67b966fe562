// Labs to play in: `fairlead lab` runs this file.
//   up NAME      makes a topology (inline, one-arm) or the stage of a scenario and leaves it standing
//   down LAB     takes one down, by its name or by what it was made of; --all takes all down
//   list         what stands, and what could
import { Lab } from './lib/lab.ts';
import { destroyLab, isOwned, listLabs, namespacesOf, sweepLabs } from './lib/leftovers.ts';
import { playCommands } from './lib/hints.ts';
import { allScenarios, findStage, topologies } from './lib/scenario.ts';

const usage = `usage: fairlead lab up NAME | down LAB | down --all | list

  up NAME      make a topology (${topologies.map((it) => it.name).join(', ')}) or a scenario's stage, and leave it standing
  down LAB     take a lab down; --all takes down every lab that was left standing
  list         show what stands and what can be made`;

function complain(message: string, code: number): number {
  console.error(`fairlead lab: ${message}`);
  return code;
}

async function up(name: string): Promise<number> {
  const stage = await findStage(name);
  if (stage === null) {
    return complain(`nothing is called "${name}"; "fairlead lab list" shows what there is`, 5);
  }
  const lab = new Lab(name, 'auto');
  try {
    const net = await stage.stage(lab);
    console.log(`${stage.title}\n${stage.picture}${playCommands(net)}`);
    lab.keep();
    return 0;
  } catch (error) {
    await lab.close();
    return complain(error instanceof Error ? error.message : String(error), 1);
  }
}

async function down(which: string): Promise<number> {
  await sweepLabs();
  const labs = listLabs().filter((lab) => (which === '--all' ? lab.isKept : lab.name === which || lab.label === which));
  if (labs.length === 0 && which !== '--all') {
    return complain(`no lab "${which}" stands`, 5);
  }
  for (const lab of labs) {
    await destroyLab(lab.name);
    console.log(`took down ${lab.name} (${lab.label})`);
  }
  return 0;
}

async function list(): Promise<number> {
  console.log('standing:');
  for (const lab of listLabs()) {
    const state = lab.isKept ? 'kept' : isOwned(lab) ? `in use by pid ${lab.pid}` : 'left over';
    const hosts = (await namespacesOf(lab.name)).map((it) => it.slice(lab.name.length + 1));
    console.log(`  ${lab.name}  ${lab.label}  ${state}  ${hosts.join(' ')}`);
  }
  console.log('can be made:');
  for (const { name, title } of [...topologies, ...(await allScenarios())]) {
    console.log(`  ${name.padEnd(32)} ${title}`);
  }
  return 0;
}

async function main(args: readonly string[]): Promise<number> {
  const [verb, name, ...rest] = args;
  if (verb === '--help' || verb === '-h' || verb === 'help') {
    console.log(usage);
    return 0;
  }
  if (verb === 'list' && name === undefined) {
    return list();
  }
  if ((verb !== 'up' && verb !== 'down') || name === undefined || rest.length > 0) {
    console.error(usage);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    return complain('network namespaces need root', 7);
  }
  return verb === 'up' ? up(name) : down(name);
}

process.exit(await main(process.argv.slice(2)));
