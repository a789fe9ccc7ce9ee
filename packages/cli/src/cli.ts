import { ConfigError, version } from '@sluice/gateway'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { target } from './api.ts'
import { broker } from './commands/broker.ts'
import { printConfig } from './commands/config.ts'
import { pub } from './commands/pub.ts'
import { start } from './commands/start.ts'
import { sub } from './commands/sub.ts'
import { createTopic, deleteTopic, describeTopic, listTopics } from './commands/topic.ts'
import { CommandError, type ExitCode, exit } from './exit.ts'

/** Runs one command line; resolves with its exit code. */
export const run = async (args: readonly string[]): Promise<ExitCode> => {
  let code: ExitCode = exit.ok
  const program = build((done) => {
    code = done
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return code
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.ok : exit.usage
    if (error instanceof ConfigError) return say(exit.usage, error.message)
    if (error instanceof CommandError) return say(error.code, error.message)
    return say(exit.failed, error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
}

const say = (code: ExitCode, message: string): ExitCode => {
  process.stderr.write(`sluice: ${message}\n`)
  return code
}

const collect = (value: string, all: readonly string[]): readonly string[] => [...all, value]

const whole = (value: string): number => {
  if (!/^\d{1,9}$/.test(value) || Number(value) === 0) throw new InvalidArgumentError('a whole number above 0')
  return Number(value)
}

const port = (value: string): number => {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) throw new InvalidArgumentError('a port')
  return Number(value)
}

/** Beside a gateway's 9090. */
const ADMIN_PORT = 9091

type Where = { url?: string; admin?: string; data: string }

/** Options of every command that talks to a running gateway. */
const remote = (command: Command): Command =>
  command
    .option('--url <url>', 'HTTP port of the gateway (environment SLUICE_URL)')
    .option('--admin <url>', 'admin port of the gateway (environment SLUICE_ADMIN)')
    .option('--data <dir>', 'data directory whose ports.json says where the gateway is', './.sluice')
    .option('--json', 'JSON on standard output')

const build = (ended: (code: ExitCode) => void): Command => {
  const program = new Command('sluice')
    .description('One gateway for every messaging protocol')
    .version(`sluice ${version} (node ${process.version}, ${process.platform} ${process.arch})`)
    .exitOverride()
    .showHelpAfterError('(--help says more)')

  program
    .command('start')
    .description('run the gateway until a signal')
    .option('-c, --config <file>', 'configuration (default: sluice.yaml where it exists)')
    .option('--data <dir>', 'data directory')
    .option('--set <key.path=value>', 'one setting, above file and environment', collect, [])
    .option('-q, --quiet', 'no table of ports')
    .action(async (flags) => ended(await start(flags)))

  program
    .command('broker')
    .description('run a broker of its own for gateways with backend.brokers')
    .requiredOption('--listen <address>', 'where gateways reach it: unix:PATH or host:port')
    .option('-c, --config <file>', 'configuration (default: sluice.yaml where it exists)')
    .option('--data <dir>', 'data directory')
    .option('--admin-port <port>', 'health, metrics and topics; 0: any free one', port, ADMIN_PORT)
    .option('--set <key.path=value>', 'one setting, above file and environment', collect, [])
    .action(async (flags) => ended(await broker(flags)))

  remote(program.command('pub').description('publish one message'))
    .argument('<topic>')
    .argument('<body>', '- reads it from standard input')
    .option('--tag <tag>')
    .option('--key <key>', 'message key, may come again', collect, [])
    .option('--property <name=value>', 'user property, may come again', collect, [])
    .option('-q, --quiet', 'do not print the message id')
    .action((topic: string, body: string, flags) => pub(target(flags as Where), topic, body, flags))

  remote(program.command('sub').description('print messages as they come'))
    .argument('<topic>')
    .option('--group <group>', 'consumer group', 'sluice-cli')
    .option('--count <n>', 'end after so many messages', whole)
    .option('--timeout <ms>', 'end with code 5 after so long without a message', whole)
    .option('--tag <expression>', 'only these tags, a || b')
    .action((topic: string, flags) => sub(target(flags as Where), topic, flags))

  const topic = program.command('topic').description('list, create, describe and delete topics')
  remote(topic.command('list')).action((flags) => listTopics(target(flags as Where), flags))
  remote(topic.command('create').argument('<topic>'))
    .option('--queues <n>', 'number of queues', whole, 4)
    .addOption(
      new Option('--type <type>', 'what it accepts')
        .choices(['normal', 'fifo', 'delay', 'transaction', 'priority', 'lite', 'mixed'])
        .default('mixed'),
    )
    .action((name: string, flags) => createTopic(target(flags as Where), name, flags))
  remote(topic.command('describe').argument('<topic>')).action((name: string, flags) =>
    describeTopic(target(flags as Where), name, flags),
  )
  remote(topic.command('delete').argument('<topic>')).action((name: string, flags) =>
    deleteTopic(target(flags as Where), name, flags),
  )

  program
    .command('config')
    .description('the configuration as it would be used')
    .command('print')
    .option('-c, --config <file>')
    .option('--set <key.path=value>', 'one setting, above file and environment', collect, [])
    .option('--sources', 'say where each value that is not a default comes from')
    .option('--schema', 'the JSON Schema of the configuration file')
    .option('--json', 'JSON on standard output')
    .action((flags) => printConfig(flags))

  for (const command of [program, ...program.commands, ...topic.commands]) command.exitOverride()
  return program
}
