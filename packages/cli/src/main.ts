#!/usr/bin/env -S node --conditions=@sluice/source
import { run } from './cli.ts'

process.exitCode = await run(process.argv.slice(2))
